//! What is fuzzed: functions of any bytes that stop the test when a property does not hold.
//!
//! Each tells whether the input was accepted, so that a corpus can say which of its files must be.

#[path = "delta.rs"]
mod delta;
#[path = "text.rs"]
mod text;
#[path = "wire.rs"]
mod wire;

/// A target and its name, which is that of its corpus below `tests/data/fuzz`.
pub(crate) type Target = (&'static str, fn(&[u8]) -> bool);

/// All targets, cheap ones first.
pub(crate) const TARGETS: &[Target] = &[
    ("path", text::path),
    ("key", text::key),
    ("marker", text::marker),
    ("config", text::config),
    ("filter", text::filter),
    ("row", text::row),
    ("frame", wire::frame),
    ("hello", wire::hello),
    ("message", wire::message),
    ("page", wire::page),
    ("outline", delta::outline),
    ("signature", delta::signature),
    ("chunker", delta::chunker),
    ("delta_apply", delta::delta_apply),
    ("zstd_frame", delta::zstd_frame),
];

//! The targets of the tests, for the fuzzer.

#[path = "../../tests/fuzz/targets.rs"]
mod targets;

/// Runs the target of this name.
///
/// # Panics
/// Its property does not hold for `data`, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = targets::TARGETS.iter().find(|target| target.0 == name);
    target.expect("the name is that of a target").1(data);
}

//! What the corpora were made of: for each target valid inputs, and the same with something broken in them.
//!
//! `just seeds` writes them anew where a format has changed.

mod delta;
mod text;
mod wire;

/// Broken inputs of each target.
const BROKEN: usize = 20;

/// A target, and what makes its valid inputs.
type Target = (&'static str, fn() -> Vec<Vec<u8>>);

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    ("path", text::paths),
    ("key", text::keys),
    ("marker", text::markers),
    ("config", text::configs),
    ("filter", text::filters),
    ("row", text::rows),
    ("frame", wire::frames),
    ("hello", wire::hellos),
    ("message", wire::messages),
    ("page", wire::pages),
    ("outline", delta::outlines),
    ("signature", delta::signatures),
    ("chunker", delta::recipes),
    ("delta_apply", delta::differences),
    ("zstd_frame", delta::blocks),
];

/// Returns the files of a corpus, name and bytes: the `valid` inputs, and others made of them.
pub(crate) fn seeds(valid: Vec<Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    let mut random = fastrand::Rng::with_seed(1);
    let broken: Vec<Vec<u8>> =
        (0..BROKEN).map(|at| broken(valid[at % valid.len()].clone(), &mut random)).collect();
    let named = |what: &'static str, inputs: Vec<Vec<u8>>| {
        inputs.into_iter().enumerate().map(move |(at, input)| (format!("{what}-{at:02}"), input))
    };
    named("valid", valid).chain(named("broken", broken)).collect()
}

/// Returns `input` with one to three things broken in it.
fn broken(mut input: Vec<u8>, random: &mut fastrand::Rng) -> Vec<u8> {
    for _ in 0..random.usize(1..=3) {
        let at = random.usize(..=input.len());
        let run = random.usize(1..=8).min(input.len() - at);
        match random.u8(..6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..at + run)),
            2 => drop(input.splice(at..at, [0xff; 4])),
            3 => drop(input.splice(at..at, input[at..at + run].to_vec())),
            4 => input[at..at + run].fill(0),
            _ => input[at..at + run].iter_mut().for_each(|byte| *byte ^= 1 << random.u8(..8)),
        }
    }
    input
}

//! The corpora of the fuzzer as plain tests: what it was given, and what it once found.

#![allow(clippy::expect_used, clippy::panic, reason = "a helper of a test may stop the test")]
#![allow(clippy::print_stdout, reason = "a suite tells what it counted")]

#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::{fs, panic};

/// Fewest files of a corpus.
const SEEDS_MIN: usize = 20;

/// Files that a target must accept are named so: otherwise a corpus would rot with the first change of a format.
const VALID: &str = "valid";

#[test]
fn every_target_holds_on_its_whole_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz");
    let mut inputs = 0;
    for (name, target) in targets::TARGETS {
        let corpus =
            fs::read_dir(corpora.join(name)).unwrap_or_else(|error| panic!("no corpus of {name}: {error}"));
        let mut files: Vec<_> = corpus.map(|entry| entry.expect("a listing").path()).collect();
        files.sort();
        assert!(files.len() >= SEEDS_MIN, "{name} has {} seeds", files.len());
        inputs += files.len();
        for file in files {
            let bytes = fs::read(&file).expect("a file of the corpus");
            let shown = file.display();
            let held = panic::catch_unwind(|| target(&bytes));
            let accepted =
                held.unwrap_or_else(|_| panic!("the property of {name} does not hold for {shown}"));
            let is_valid =
                file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(VALID.as_bytes()));
            assert!(accepted || !is_valid, "{name} does not accept {shown}");
        }
    }
    println!("counted {} fuzz targets, {inputs} inputs", targets::TARGETS.len());
}

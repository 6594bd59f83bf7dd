//! Writes the corpora below `tests/data/fuzz` anew; what fuzzing found stays.

#![allow(clippy::expect_used, reason = "a tool of the tests may stop")]

mod seeds;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz");
    for target in seeds::TARGETS {
        let corpus = corpora.join(target.0);
        std::fs::create_dir_all(&corpus)?;
        for (name, bytes) in seeds::seeds(target.1()) {
            std::fs::write(corpus.join(name), bytes)?;
        }
    }
    Ok(())
}

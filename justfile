# What a change must pass: the same line as the gate.
check:
    .ci/run

# Quick: what an edit usually breaks.
quick:
    cargo fmt --check
    cargo clippy --all-targets --features system -- -D warnings
    cargo test

# Spelling, by typos-cli.
typos:
    typos

# The suites that want root, strace, rsync and unison.
system *SUITES:
    cargo test --features system {{ SUITES }}

# Fuzzes one target (`just fuzz page 60`); what it finds goes to `fuzz/artifacts`. Wants cargo-fuzz.
fuzz TARGET SECONDS="60":
    mkdir -p fuzz/corpus/{{ TARGET }}
    RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none {{ TARGET }} fuzz/corpus/{{ TARGET }} tests/data/fuzz/{{ TARGET }} -- \
        -max_total_time={{ SECONDS }} -timeout=5 -rss_limit_mb=1024 -print_final_stats=1

# Writes the seeds of the fuzz corpora anew, after a change of a format.
seeds:
    cargo run --example seeds

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

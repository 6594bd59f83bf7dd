//! `csync`: parse, call one verb, exit.
fn main() {}

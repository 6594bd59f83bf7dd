//! `csyncd`: serves folders.
fn main() {}

//! A sound small house, and a fault planted in it for every rule: the rules can fail.

use crate::{
    LINES_MAX, RULES, Rule, Source, circles, files_off_the_plan, imports_against_the_floors, impurities,
    long_files, misspelt_imports, strangers,
};

/// A small house that keeps every rule.
fn sound() -> Vec<Source> {
    vec![
        Source::new("lib.rs", LIB),
        Source::new("model/path.rs", "pub struct RelPath;\n"),
        Source::new("rules/filter.rs", "use crate::model::path::RelPath;\nuse regex::bytes::Regex;\n"),
        Source::new("plan/action.rs", "use crate::model::path::RelPath;\npub struct Action;\n"),
        Source::new("plan/order.rs", "use crate::plan::action::Action;\n"),
        Source::new("disk/root.rs", "use rustix::fs::openat2;\nuse crate::model::path::RelPath;\n"),
        Source::new("store/db.rs", "use rusqlite::Connection;\n"),
        Source::new("bin/csync.rs", "fn main() { csync::cli::args::run() }\n"),
        Source::new("cli/args.rs", "use clap::Parser;\nuse crate::plan::action::Action;\n"),
    ]
}

const LIB: &str = "pub mod model {\n    pub mod path;\n}\npub mod rules {\n    pub mod filter;\n}\n\
    pub mod plan {\n    pub mod action;\n    pub mod order;\n}\npub mod disk {\n    pub mod root;\n}\n\
    pub mod store {\n    pub mod db;\n}\npub mod cli {\n    pub mod args;\n}\n";

/// Faults to plant: the case | the file | the line | what the fault must say.
const PLANTED: &[(Rule, &str)] = &[
    (
        imports_against_the_floors,
        "plan names store | plan/order.rs | use crate::store::db::Db; | plan may not name crate::store
         disk names store | disk/root.rs | fn f() { crate::store::db::open() } | disk may not name crate::store
         the engine names cli | engine/cycle.rs | use crate::cli::args::Args; | engine may not name crate::cli
         a program goes past cli | bin/csync.rs | use csync::disk::root::Root; | bin may not name crate::disk
         nobody planned this floor | util/misc.rs | fn f() {} | no such floor",
    ),
    (
        misspelt_imports,
        "an import by super | plan/order.rs | use super::action::Action; | super:: in
         super's glob outside of tests | plan/order.rs | use super::*; | outside of tests
         a bundle | plan/order.rs | use crate::{model, rules}; | a bundle
         a re-export | plan/order.rs | pub use crate::plan::action::Action; | a façade
         a floor imported whole | plan/order.rs | use crate::model::{path::RelPath}; | not floor::file::Name",
    ),
    (
        circles,
        "two files name each other | plan/action.rs | use crate::plan::order::Order; | plan::action: on or above
         a file names what stands on it | model/path.rs | use crate::plan::order::Order; | on or above a circle",
    ),
    (
        impurities,
        "plan reads the clock | plan/order.rs | use std::time::SystemTime; | says SystemTime
         a rule opens a file | rules/filter.rs | fn f() { std::fs::read(\"x\"); } | says std::fs
         the model starts a thread | model/path.rs | use std::thread; | says std::thread",
    ),
    (
        strangers,
        "the engine speaks SQL | engine/cycle.rs | use rusqlite::Connection; | rusqlite may only be named
         a program calls the kernel | bin/csync.rs | fn f() { rustix::process::getpid(); } | rustix may only
         plan parses TOML | plan/order.rs | use toml::Value; | toml may only be named",
    ),
    (files_off_the_plan, "lib.rs forgot a file | plan/guard.rs | fn f() {} | does not declare plan::guard"),
];

#[test]
fn a_sound_house_has_no_faults() {
    for (name, rule) in RULES {
        assert_eq!(rule(&sound()), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_planted_fault_is_found() {
    for (rule, row) in PLANTED.iter().flat_map(|(rule, rows)| rows.lines().map(move |row| (rule, row))) {
        let cells: Vec<&str> = row.trim().split(" | ").collect();
        let [case, path, line, words] = cells[..] else { panic!("a row has four cells: {row}") };
        let mut sources = sound();
        match sources.iter_mut().find(|source| source.path == path) {
            Some(source) => source.text.push_str(line),
            None => sources.push(Source::new(path, line)),
        }
        let faults = rule(&sources);
        assert!(faults.iter().any(|fault| fault.contains(words)), "{case}: found {faults:?}");
    }
}

#[test]
fn a_file_of_501_lines_is_found() {
    let mut sources = sound();
    sources.push(Source::new("plan/long.rs", &"// a line\n".repeat(LINES_MAX)));
    assert_eq!(long_files(&sources), Vec::<String>::new());
    sources.push(Source::new("plan/longer.rs", &"// a line\n".repeat(LINES_MAX + 1)));
    assert_eq!(long_files(&sources).len(), 1);
}

#[test]
fn comments_and_tests_may_say_what_code_may_not() {
    let text = "// std::fs\n/// SystemTime\npub fn f() {}\n#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::store::db::Db;\n}\n";
    let mut sources = sound();
    sources.push(Source::new("plan/order.rs", text));
    for rule in [impurities, imports_against_the_floors, misspelt_imports, strangers] {
        assert_eq!(rule(&sources), Vec::<String>::new());
    }
}

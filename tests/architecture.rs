//! The floors of the house as a test: who may import whom, and what stays out of the pure floors.
//!
//! Each rule is a function from the sources to a list of faults, so that every rule is also shown a planted fault.

#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]

#[path = "architecture/planted.rs"]
mod planted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Floor, and the floors that it may name. A floor may always name itself.
const FLOORS: &[(&str, &[&str])] = &[
    ("fault", &[]),
    ("model", &[]),
    ("rules", &["model"]),
    ("plan", &["model", "rules"]),
    ("delta", &["model"]),
    ("config", &["model", "rules"]),
    ("disk", &["model", "rules", "plan", "fault"]),
    ("store", &["model", "plan", "fault"]),
    ("transport", &["model", "delta"]),
    ("engine", &["model", "rules", "plan", "delta", "config", "disk", "store", "transport", "fault"]),
    ("daemon", &["model", "rules", "config", "disk", "store", "transport", "engine"]),
    ("cli", &["model", "rules", "plan", "config", "disk", "store", "transport", "engine", "daemon"]),
    ("bin", &["cli"]),
];

/// Foreign crate, and the floors that are its only doors. `*` is every floor.
const DOORS: &[(&str, &[&str])] = &[
    ("anyhow", &["cli", "bin"]),
    ("blake3", &["model", "delta", "disk"]),
    ("bytes", &["transport"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("data_encoding", &["model", "store", "transport", "engine", "cli"]),
    ("fastcdc", &["delta"]),
    ("getrandom", &["disk", "store", "transport", "engine"]),
    ("indicatif", &["cli"]),
    ("jiff", &["rules", "cli"]),
    ("minicbor", &["transport"]),
    ("notify", &["disk"]),
    ("quinn", &["transport"]),
    ("regex", &["rules"]),
    ("ring", &["transport"]),
    ("rusqlite", &["store"]),
    ("rusqlite_migration", &["store"]),
    ("rustix", &["disk", "fault"]),
    ("rustls", &["transport"]),
    ("serde", &["config", "cli"]),
    ("serde_json", &["daemon", "cli"]),
    ("signal_hook", &["cli"]),
    ("similar", &["cli"]),
    ("thiserror", &["*"]),
    ("tokio", &["transport", "engine", "daemon", "cli"]),
    ("toml", &["config", "cli"]),
    ("uzers", &["disk"]),
    ("zstd", &["delta"]),
];

/// Floors of values in, values out.
const PURE: &[&str] = &["model", "rules", "plan", "delta"];

/// What a pure floor may not say.
const BARRED: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::sync::atomic",
    "std::sync::mpsc",
    "Condvar",
    "LazyLock",
    "Mutex",
    "OnceLock",
    "RwLock",
    "Instant",
    "SystemTime",
    "tokio",
    "tracing",
    "rand::",
    "async fn",
    "println!",
    "eprintln!",
];

const LINES_MAX: usize = 500;

/// One file below `src`.
struct Source {
    /// Below `src`, such as `disk/root.rs`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Such as `["disk", "root"]`.
    fn module(&self) -> Vec<&str> {
        self.path.trim_end_matches(".rs").split('/').collect()
    }

    fn floor(&self) -> &str {
        self.module()[0]
    }

    fn is_library(&self) -> bool {
        self.path != "lib.rs" && self.floor() != "bin"
    }

    /// A sibling file of tests, such as `plan/detect/tests.rs`.
    fn is_test(&self) -> bool {
        self.module().last() == Some(&"tests")
    }

    /// The text without comments and without its module of tests.
    fn code(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        let before_tests = match self.text.find("#[cfg(test)]\nmod ") {
            Some(at) => &self.text[..at],
            None => &self.text,
        };
        without_comments(before_tests)
    }
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The places of `word` in `code` that are not the tail of a longer name or path.
fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| !code[..at].ends_with(|c: char| is_name(c) || c == ':'))
}

/// Every path that the code of `source` names in this crate, as components after `crate::`.
fn named_paths(source: &Source) -> Vec<Vec<String>> {
    let code = source.code();
    let prefix = if source.floor() == "bin" { "csync::" } else { "crate::" };
    places(&code, prefix)
        .map(|at| {
            let rest = &code[at + prefix.len()..];
            let end = rest.find(|c: char| !is_name(c) && c != ':').unwrap_or(rest.len());
            rest[..end].split("::").map(str::to_owned).collect()
        })
        .collect()
}

fn imports_against_the_floors(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        let floor = source.floor();
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == floor) else {
            faults.push(format!("{}: no such floor in the table", source.path));
            continue;
        };
        for path in named_paths(source) {
            if path[0] != floor && !allowed.contains(&path[0].as_str()) {
                faults.push(format!("{}: {floor} may not name crate::{}", source.path, path.join("::")));
            }
        }
    }
    faults
}

fn misspelt_imports(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<Vec<&str>> = sources.iter().map(Source::module).collect();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        let text = without_comments(&source.text);
        for line in text.lines().filter(|line| line.contains("super::") && line.trim() != "use super::*;") {
            faults.push(format!("{}: super:: in `{}`", source.path, line.trim()));
        }
        if source.code().contains("use super::*;") {
            faults.push(format!("{}: super:: outside of tests", source.path));
        }
        for line in
            text.lines().filter(|line| line.contains("crate::{") || line.trim().starts_with("pub use "))
        {
            faults.push(format!("{}: `{}` is a façade or a bundle", source.path, line.trim()));
        }
        for path in named_paths(source) {
            let parts: Vec<&str> = path.iter().map(String::as_str).collect();
            if !(1..=parts.len()).any(|count| modules.contains(&parts[..count])) {
                faults.push(format!("{}: crate::{} is not floor::file::Name", source.path, path.join("::")));
            }
        }
    }
    faults
}

fn circles(sources: &[Source]) -> Vec<String> {
    let library: Vec<&Source> = sources.iter().filter(|source| source.is_library()).collect();
    let modules: BTreeSet<String> = library.iter().map(|source| source.module().join("::")).collect();
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in &library {
        let own = source.module().join("::");
        let files = named_paths(source).into_iter().filter_map(|path| {
            (1..=path.len()).rev().map(|n| path[..n].join("::")).find(|module| modules.contains(module))
        });
        named.insert(own.clone(), files.filter(|module| *module != own).collect());
    }
    // Files that name no remaining file are taken away until none is left, or only circles and what hangs on them.
    loop {
        let bottom: Vec<String> = named
            .iter()
            .filter(|(_, below)| !below.iter().any(|module| named.contains_key(module)))
            .map(|(module, _)| module.clone())
            .collect();
        if bottom.is_empty() {
            break;
        }
        for module in bottom {
            named.remove(&module);
        }
    }
    named
        .into_iter()
        .map(|(module, below)| format!("{module}: on or above a circle through {below:?}"))
        .collect()
}

fn impurities(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| PURE.contains(&source.floor())) {
        let code = source.code();
        for word in
            BARRED.iter().filter(|word| code.match_indices(*word).any(|(at, _)| is_whole(&code, at, word)))
        {
            faults.push(format!("{}: a pure floor says {word}", source.path));
        }
    }
    faults
}

fn is_whole(code: &str, at: usize, word: &str) -> bool {
    let after = &code[at + word.len()..];
    !code[..at].ends_with(is_name) && (word.ends_with("::") || !after.starts_with(is_name))
}

fn strangers(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let code = source.code();
        for (name, doors) in DOORS {
            let path = format!("{name}::");
            let open = doors.contains(&"*") || doors.contains(&source.floor());
            if !open && places(&code, &path).next().is_some() {
                faults.push(format!("{}: {name} may only be named in {doors:?}", source.path));
            }
        }
    }
    faults
}

fn crates_without_a_door(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim().replace('-', "_")))
        .filter(|name| !DOORS.iter().any(|(door, _)| door == name))
        .map(|name| format!("Cargo.toml: {name} has no door in the table"))
        .collect()
}

fn long_files(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines, at most {LINES_MAX} are allowed", source.path))
        .collect()
}

/// The modules that `lib.rs` declares, such as `disk::root`.
fn declared(library: &str) -> BTreeSet<String> {
    let mut above = Vec::new();
    let mut modules = BTreeSet::new();
    for line in without_comments(library).lines().map(|line| line.trim().trim_start_matches("pub ")) {
        let Some(name) = line.strip_prefix("mod ") else {
            if line == "}" {
                above.pop();
            }
            continue;
        };
        above.push(name.trim_end_matches([' ', '{', ';']).to_owned());
        if name.ends_with(';') {
            modules.insert(above.join("::"));
            above.pop();
        }
    }
    modules
}

fn files_off_the_plan(sources: &[Source]) -> Vec<String> {
    let library = sources.iter().find(|source| source.path == "lib.rs").map_or("", |source| &source.text);
    let declared = declared(library);
    let kept = sources.iter().filter(|source| source.is_library() && !source.is_test());
    kept.map(|source| (source, source.module().join("::")))
        .filter(|(source, module)| !declared.contains(module) || source.path.ends_with("/mod.rs"))
        .map(|(source, module)| format!("{}: lib.rs does not declare {module}", source.path))
        .collect()
}

fn read_sources(directory: &Path, below: &Path, sources: &mut Vec<Source>) {
    for item in std::fs::read_dir(directory).expect("src is readable") {
        let path: PathBuf = item.expect("src is readable").path();
        if path.is_dir() {
            read_sources(&path, below, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(below).expect("below src").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a source is text");
            sources.push(Source { path: name, text });
        }
    }
}

fn this_crate() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_sources(&src, &src, &mut sources);
    assert!(sources.len() > 5, "only {} sources found", sources.len());
    sources
}

type Rule = fn(&[Source]) -> Vec<String>;

const RULES: &[(&str, Rule)] = &[
    ("a floor names only floors below it", imports_against_the_floors),
    ("imports are spelt crate::floor::file::Name", misspelt_imports),
    ("no circle among files", circles),
    ("pure floors do no I/O and know no clock", impurities),
    ("one door for each foreign crate", strangers),
    ("a file is short", long_files),
    ("lib.rs declares every file", files_off_the_plan),
];

#[test]
fn this_crate_keeps_every_rule() {
    let sources = this_crate();
    let faults: Vec<String> = RULES
        .iter()
        .flat_map(|(name, rule)| rule(&sources).into_iter().map(move |fault| format!("{name}: {fault}")))
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_dependency_has_a_door() {
    let manifest = include_str!("../Cargo.toml");
    assert_eq!(crates_without_a_door(manifest), Vec::<String>::new());
    let planted = format!("{manifest}\n").replace("[dependencies]\n", "[dependencies]\nleft-pad = \"1\"\n");
    assert_eq!(crates_without_a_door(&planted), ["Cargo.toml: left_pad has no door in the table"]);
}

#[test]
fn no_floor_lists_a_floor_above_it() {
    for (at, (floor, allowed)) in FLOORS.iter().enumerate() {
        for name in *allowed {
            let below = FLOORS.iter().position(|(other, _)| other == name);
            assert!(below.is_some_and(|below| below < at), "{floor} lists {name}, which is not below it");
        }
    }
}

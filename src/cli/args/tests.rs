//! The command line, flag by flag.

use std::time::Duration;

use super::*;
use crate::engine::options::{Backup, FilterArg, MaxDelete, Wire};
use crate::rules::conflict::{Policy, Side};

fn parsed(line: &[&str]) -> Result<Invocation, Stop> {
    parse(std::iter::once("csync").chain(line.iter().copied()).map(OsString::from))
}

fn options(flags: &[&str]) -> Options {
    let line: Vec<&str> =
        std::iter::once("push").chain(flags.iter().copied()).chain(["src/", "dest"]).collect();
    match parsed(&line) {
        Ok(Invocation { verb: Verb::Transfer(transfer), .. }) => {
            assert_eq!(transfer.sources, [Operand::Local(PathBuf::from("src/"))]);
            transfer.options
        }
        other => panic!("{flags:?}: {other:?}"),
    }
}

fn wrong(line: &[&str]) -> Failure {
    match parsed(line) {
        Err(Stop::Wrong(failure)) => failure,
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn the_grammar_is_sound() {
    command().debug_assert();
}

#[test]
fn archive_is_the_default_and_asking_for_it_changes_nothing() {
    assert_eq!(options(&[]), Options::archive());
    assert_eq!(options(&["-a"]), Options::archive());
    assert_eq!(options(&["-rlptgoD", "-z", "--no-W", "--partial"]), Options::archive());
}

#[test]
fn the_later_of_two_flags_wins() {
    for (case, flags, owner, group, devices) in [
        ("off", &["--no-owner"][..], false, true, true),
        ("rsync's short negation", &["--no-o", "--no-g", "--no-D"], false, false, false),
        ("archive again", &["--no-o", "-a"], true, true, true),
        ("archive off, owner on", &["--no-archive", "-o"], true, false, false),
        ("off, on, off", &["--no-o", "-o", "--no-o"], false, true, true),
        ("on after off in one word", &["--no-o", "-aog"], true, true, true),
        ("D then devices off", &["-D", "--no-devices"], true, true, false),
    ] {
        let preserve = options(flags).preserve;
        assert_eq!((preserve.owner, preserve.group, preserve.devices), (owner, group, devices), "{case}");
    }
    assert_eq!(options(&["--max-size=1k", "--max-size=2k"]).select.max_size, Some(2048));
    assert!(options(&["--no-D"]).preserve.recursive && !options(&["--no-D"]).preserve.specials);
}

#[test]
fn filters_keep_their_order_across_all_kinds() {
    let filters = options(&[
        "--exclude=*.o",
        "-F",
        "--include",
        "keep",
        "-f",
        "- /x",
        "--exclude-from=list",
        "-F",
        "--filter=P /y",
        "--include-from",
        "-",
        "--exclude",
        "-dash",
        "-F",
    ])
    .select
    .filters;
    assert_eq!(
        filters,
        [
            FilterArg::Exclude("*.o".into()),
            FilterArg::PerDirectory,
            FilterArg::Include("keep".into()),
            FilterArg::Rule("- /x".into()),
            FilterArg::ExcludeFrom("list".into()),
            FilterArg::HidePerDirectory,
            FilterArg::Rule("P /y".into()),
            FilterArg::IncludeFrom("-".into()),
            FilterArg::Exclude("-dash".into()),
        ]
    );
    assert_eq!(options(&["-FF"]).select.filters, [FilterArg::PerDirectory, FilterArg::HidePerDirectory]);
}

#[test]
fn combined_shorts_and_counts() {
    let given = options(&["-aiinvvhbP0", "-q"]);
    assert!(given.dry_run && given.select.from0 && given.telling.progress && given.telling.quiet);
    assert_eq!((given.telling.itemize, given.telling.verbose, given.telling.human_readable), (2, 2, 1));
    assert_eq!(given.removal.backup, Some(Backup { dir: None, suffix: "~".into() }));
    assert_eq!(options(&["-vv", "--no-v", "-v"]).telling.verbose, 1);
}

#[test]
fn backups_are_named_as_rsync_names_them() {
    let dir = Some(PathBuf::from("old"));
    for (flags, backup) in [
        (&["--backup-dir=old"][..], Some(Backup { dir: dir.clone(), suffix: "".into() })),
        (&["-b", "--backup-dir=old", "--suffix=.bak"], Some(Backup { dir, suffix: ".bak".into() })),
        (&["-b", "--no-b"], None),
        (&["--suffix=.bak"], None),
    ] {
        assert_eq!(options(flags).removal.backup, backup, "{flags:?}");
    }
}

#[test]
fn bounds_of_deletions() {
    for (text, bound) in
        [("0", MaxDelete::Count(0)), ("20", MaxDelete::Count(20)), ("25%", MaxDelete::Percent(25))]
    {
        assert_eq!(options(&["--delete", "--max-delete", text]).removal.max_delete, Some(bound));
    }
    assert!(options(&["--delete-excluded"]).removal.delete);
    for text in ["150%", "-1", "many", ""] {
        assert_eq!(wrong(&["push", "--max-delete", text, "a", "b"]).number, Number::Value, "{text}");
    }
}

#[test]
fn sync_takes_policies_and_sides_and_push_does_not() {
    match parsed(&["sync", "a/", "b", "--conflict", "prefer:2"]) {
        Ok(Invocation { verb: Verb::Sync(pair), .. }) => {
            assert_eq!(pair.options.conflict, Policy::Prefer(Side::Two));
            assert_eq!((pair.one, pair.two), (Operand::Local("a/".into()), Operand::Local("b".into())));
        }
        other => panic!("{other:?}"),
    }
    for (line, words) in [
        (&["sync", "a", "b", "--conflict", "loudest"][..], "keep-both"),
        (&["sync", "a", "b", "--force", "3"], "1 (the first root wins) or 2"),
        (&["push", "a", "b", "--force", "1"], "flag of sync"),
        (&["sync", "a", "b", "--force", "1", "--conflict", "newest"], "--conflict"),
        (&["sync", "a"], "csync sync wants A B"),
        (&["push", "a"], "no destination"),
        (&["push"], "SRC"),
        (&["push", "--link-dest=x", "a", "b"], "--link-dest"),
        (&["push", "-aH", "a", "b"], "--hard-links (-H) comes in a later version"),
        (&["push", "a", "host:b"], "later version"),
        (&["push", "nas::f", "b"], "csync pull nas::f DEST"),
        (&["pull", "a", "nas::f"], "csync push SRC nas::f"),
        (&["pull", "nas::f", "web::f"], "both on other nodes"),
        (&["sync", "nas::f", "csync://web/f"], "both on other nodes"),
        (&["diff", "nas::f", "nas::g"], "both on other nodes"),
        (&["pull", "nas::f", "a", "b"], "only source"),
        (&["push", "a", "nas::"], "csync nas:: lists"),
        (&["push", "--bwlimit=1m", "a", "b"], "--bwlimit is a rate on the wire"),
        (&["push", "--bwlimit=fast", "a", "nas::f"], "--bwlimit fast"),
        (&["push", "--bwlimit=100b", "a", "nas::f"], "slower than 1K"),
        (&["push", "--timeout=soon", "a", "nas::f"], "--timeout soon"),
        (&["push", "--contimeout=5", "a", "nas::f"], "10 seconds"),
        (&["nas::", "more"], "one HOST::"),
        (&["versions", "nas::f"], "this machine"),
        (&["log", "--since", "1h"], "csync log is not in this version"),
        (&["wait", "--all"], "csync wait wants one FOLDER"),
        (&["wait", "web", "web2"], "csync wait wants one FOLDER"),
        (&["wait", "web", "--all", "--for", "web2"], "--for and --all"),
        (&["wait", "web", "--timeout", "5"], "`5` is no duration"),
        (&["held", "approve"], "want ID"),
        (&["held", "one", "two"], "at most one FOLDER"),
        (&["conflicts", "one", "two"], "at most one FOLDER"),
        (&["push", "--usermap=a:b", "--chown=c:d", "a", "b"], "--usermap"),
        (&["push", "--delete", "--no-r", "a", "b"], "--delete"),
    ] {
        let failure = wrong(line);
        assert!(failure.to_string().contains(words), "{line:?}: {failure}");
        assert_eq!(failure.exit.code(), 1);
    }
}

#[test]
fn the_wire_is_told_in_rsyncs_units() {
    let wire = |flags: &[&str]| {
        let line: Vec<&str> = ["push"].iter().chain(flags).chain(&["src/", "nas::f"]).copied().collect();
        match parsed(&line) {
            Ok(Invocation { verb: Verb::Transfer(transfer), .. }) => transfer.options.wire,
            other => panic!("{flags:?}: {other:?}"),
        }
    };
    assert_eq!(wire(&[]), Wire { timeout: None, bwlimit: None, compress: true, whole: false });
    for (rate, bytes) in [
        ("0", None),
        ("100", Some(102_400)),
        ("1.5", Some(1536)),
        ("2m", Some(2 << 20)),
        ("2MB", Some(2_000_000)),
    ] {
        assert_eq!(wire(&["--bwlimit", rate]).bwlimit, bytes, "{rate}");
    }
    for (time, seconds) in [("30", 30), ("5m", 300)] {
        assert_eq!(wire(&["--timeout", time]).timeout, Some(Duration::from_secs(seconds)), "{time}");
    }
    for never in ["0", "0s"] {
        let patience = wire(&["--timeout", never]).timeout;
        assert!(patience.is_some_and(|patience| patience > Duration::from_secs(365 * 24 * 3600)), "{never}");
    }
    assert!(!wire(&["--no-compress"]).compress && !wire(&["-z", "--no-z"]).compress);
    assert!(wire(&["-aW"]).whole && !wire(&["-W", "--no-whole-file"]).whole);
}

#[test]
fn a_node_alone_is_asked_for_its_folders() {
    for (line, name, json) in [
        (&["nas::"][..], "nas", false),
        (&["--state-dir", "s", "nas::", "--json"], "nas", true),
        (&["csync://[fd00::1]:9/"], "fd00::1", false),
        (&["nas::", "--timeout=3", "--json"], "nas", true),
        (&["nas::", "--timeout", "3s"], "nas", false),
    ] {
        match parsed(line) {
            Ok(Invocation { verb: Verb::Folders { host, timeout, listing }, .. }) => {
                assert_eq!((host.name.as_str(), listing.json), (name, json), "{line:?}");
                let wanted =
                    (line.len() > 1 && line[1].starts_with("--timeout")).then_some(Duration::from_secs(3));
                assert_eq!(timeout, wanted, "{line:?}");
            }
            other => panic!("{line:?}: {other:?}"),
        }
    }
}

#[test]
fn what_is_nearly_right_gets_a_suggestion() {
    for (line, near) in [
        (&["synk", "a", "b"][..], "sync"),
        (&["push", "--delte", "a", "b"], "--delete"),
        (&["push", "--exclud=x", "a", "b"], "--exclude"),
        (&["config", "chekc"], "check"),
        (&["completions", "bahs"], "bash"),
    ] {
        let failure = wrong(line);
        assert!(failure.fix.as_deref().unwrap_or_default().contains(near), "{line:?}: {failure}");
    }
}

#[test]
fn an_id_is_what_follows_the_last_at() {
    for (text, path, id) in [
        ("a@4f1c", "a", Some("4f1c")),
        ("a", "a", None),
        ("mail@host@4f1c", "mail@host", Some("4f1c")),
        ("mail@host@", "mail@host", None),
        ("dir@x/a", "dir@x/a", None),
    ] {
        let versioned = versioned(OsStr::new(text)).unwrap();
        assert_eq!((versioned.path.to_str(), versioned.id.as_deref()), (Some(path), id), "{text}");
    }
}

#[test]
fn places_are_taken_before_and_after_the_verb() {
    for line in [&["--state-dir", "s", "id"][..], &["id", "--state-dir=s"]] {
        assert_eq!(parsed(line).unwrap().state_dir, Some("s".into()));
    }
    assert!(matches!(parsed(&["push", "--help"]), Err(Stop::Told(_))));
    assert!(matches!(parsed(&[]), Err(Stop::NoVerb(_))));
}

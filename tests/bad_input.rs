//! Bad input: each row names what is wrong, the exit code, and the words of the message; nothing on disk changes.

#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use csync::model::key::PublicKey;

/// A home of its own, with two roots, a file, a link and a state directory in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a directory"));
        for dir in ["one", "one/sub", "two", "state"] {
            fs::create_dir(home.at(dir)).expect(dir);
        }
        fs::write(home.at("one/a"), "a").expect("a file");
        fs::write(home.at("file"), "f").expect("a file");
        symlink(home.at("one"), home.at("link")).expect("a link");
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts this home's path where `text` starts a path with `@`.
    fn fill(&self, text: &str) -> String {
        text.replace("@/", &format!("{}/", self.0.path().display()))
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        Command::new(program)
            .args(args.iter().map(|arg| self.fill(arg)))
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .env("XDG_CONFIG_HOME", self.at("config"))
            .env("XDG_STATE_HOME", self.at("xdg-state"))
            .env("CSYNC_STATE_DIR", self.at("state"))
            .env("CSYNC_CONFIG", self.at("csync.toml"))
            .output()
            .expect("the program runs")
    }

    /// Every path below, with what tells a change.
    fn listing(&self) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
        let mut listing = BTreeMap::new();
        list(self.0.path(), &mut listing);
        listing
    }
}

fn list(path: &Path, listing: &mut BTreeMap<PathBuf, (u32, u64, i64, i64)>) {
    let stat = fs::symlink_metadata(path).expect("a stat");
    listing.insert(path.to_owned(), (stat.mode(), stat.size(), stat.mtime(), stat.mtime_nsec()));
    if stat.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            list(&entry.expect("an entry").path(), listing);
        }
    }
}

const CSYNC: &str = env!("CARGO_BIN_EXE_csync");
const CSYNCD: &str = env!("CARGO_BIN_EXE_csyncd");

fn key(byte: u8) -> String {
    PublicKey([byte; 32]).to_string()
}

/// A peer named `name`.
fn peer(name: &str, byte: u8) -> String {
    format!("[peer.{name}]\nkey = \"{}\"\naddr = [\"10.0.0.{byte}\"]\n", key(byte))
}

/// A folder at `path` with more lines.
fn folder(path: &str, more: &str) -> String {
    format!("[folder.f]\npath = \"{path}\"\n{more}\n")
}

/// Case, config with `@` for the home, words of the message.
#[expect(clippy::too_many_lines, reason = "a table")]
fn configs() -> Vec<(&'static str, String, Vec<&'static str>)> {
    let key_a = key(1);
    let ok_peer = peer("a", 1);
    vec![
        ("B2 not TOML", "node = \n".into(), vec!["1:", "not TOML"]),
        (
            "B3 unknown key",
            folder("@/one", "fliter = []"),
            vec!["3:1", "unknown key \"fliter\"", "did you mean \"filter\""],
        ),
        ("B3 unknown top key", "nodes = \"a\"".into(), vec!["1:1", "did you mean \"node\""]),
        (
            "B4 folder twice",
            folder("@/one", "") + &folder("@/two", ""),
            vec!["4:", "duplicate", "first at 1:1"],
        ),
        (
            "B5 nested roots",
            folder("@/one", "") + "[folder.g]\npath = \"@/one/sub\"",
            vec!["5:8", "nested roots", "/one/sub"],
        ),
        ("B6 relative root", folder("one", ""), vec!["2:8", "relative", "absolute"]),
        ("B7 root missing", folder("@/none", ""), vec!["2:8", "missing", "create it, or check the mount"]),
        ("B8 root is a file", folder("@/file", ""), vec!["2:8", "not a directory"]),
        ("B9 root is a symlink", folder("@/link", ""), vec!["2:8", "symlink", "its target", "/one"]),
        ("B10 root is /", folder("/", ""), vec!["2:8", "may not be `/`"]),
        ("B10 root is the state dir", folder("@/state", ""), vec!["2:8", "state directory"]),
        (
            "B11 one root twice",
            folder("@/one", "") + "[folder.g]\npath = \"@/one/\"",
            vec!["5:8", "one root for two folders"],
        ),
        (
            "B12 pin too short",
            ok_peer.replace(&key_a, &key_a[..40]),
            vec!["2:7", "[peer.a]", "55 letters", "has 35"],
        ),
        (
            "B12 pin alphabet",
            ok_peer.replace(&key_a, &key_a.replacen("csk1:a", "csk1:1", 1)),
            vec!["[peer.a]", "position 6"],
        ),
        (
            "B12 pin checksum",
            ok_peer.replace(&key_a, &key_a.replacen("csk1:a", "csk1:b", 1)),
            vec!["[peer.a]", "checksum"],
        ),
        ("B14 peer without address", format!("[peer.a]\nkey = \"{key_a}\""), vec!["1:7", "no address"]),
        ("B14 empty address", ok_peer.replace("\"10.0.0.1\"", ""), vec!["no address"]),
        ("B15 port 0", ok_peer.replace("10.0.0.1", "10.0.0.1:0"), vec!["3:9", "port", "1 to 65535"]),
        ("B15 port 70000", ok_peer.replace("10.0.0.1", "10.0.0.1:70000"), vec!["`70000`", "1 to 65535"]),
        ("B15 port abc", "listen = \"10.0.0.1:abc\"".into(), vec!["1:10", "`abc`", "1 to 65535"]),
        ("B16 bad address", ok_peer.replace("10.0.0.1", "10.0.0.300"), vec!["3:9", "no address"]),
        ("B17 size", folder("@/one", "versions = { max = \"10GG\" }"), vec!["3:20", "10GG", "10GiB"]),
        (
            "B18 duration",
            folder("@/one", "limits = { timeout = \"5 minuets\" }"),
            vec!["3:22", "5 minuets", "5m"],
        ),
        ("B19 limit 0", folder("@/one", "limits = { connections = 0 }"), vec!["3:26", "1 to 10000"]),
        ("B19 limit above the cap", folder("@/one", "limits = { connections = 10001 }"), vec!["1 to 10000"]),
        ("B19 rate", folder("@/one", "limits = { rate = \"1\" }"), vec!["1KiB to 1TiB"]),
        (
            "B20 percent",
            folder("@/one", "delete = { hold-above = \"150%\" }"),
            vec!["3:25", "150%", "0% to 100%"],
        ),
        ("B21 glob", folder("@/one", "filter = [\"- [a-\"]"), vec!["3:11", "character 3"]),
        (
            "B23 policy",
            folder("@/one", "conflict = \"loudest\""),
            vec!["3:12", "loudest", "keep-both", "manual"],
        ),
        (
            "B24 keeps nothing",
            folder("@/one", "versions = { keep = \"\" }"),
            vec!["3:21", "keeps no version"],
        ),
        ("key of two peers", peer("a", 1) + &peer("b", 1), vec!["5:7", "one key for two peers", "a and b"]),
        ("job without target", "[job.n]\npush = \"/x\"".into(), vec!["1:6", "no target"]),
        ("job without source", "[job.n]\nto = \"/x\"".into(), vec!["1:6", "one of push, pull and sync"]),
        (
            "member that is no peer",
            peer("web1", 1) + &folder("@/one", "members = [\"web\"]"),
            vec!["6:12", "web1"],
        ),
        (
            "grant for nobody",
            peer("web1", 1) + &folder("@/one", "allow = { wbe1 = \"read\", \"*\" = \"read\" }"),
            vec!["6:11", "wbe1 in allow of folder f is no peer", "did you mean \"web1\""],
        ),
        ("mode of nobody", folder("@/one", "mode = { a = \"send\" }"), vec!["3:10", "a in mode", "[peer.a]"]),
        ("wrong type", "node = 3".into(), vec!["1:8", "text in quotes"]),
        (
            "bad mode",
            folder("@/one", "mode = { a = \"both\" }"),
            vec!["3:14", "two-way, send, receive, primary"],
        ),
    ]
}

#[test]
fn a_wrong_config_is_told_by_line_and_column() {
    let home = Home::new();
    for (case, config, words) in configs() {
        fs::write(home.at("csync.toml"), home.fill(&config)).expect("the config");
        let before = home.listing();
        for (program, args, exit) in
            [(CSYNC, ["config", "check"].as_slice(), 1), (CSYNCD, &["--check-config"], 78)]
        {
            let output = home.run(program, args);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(exit), "{case}: {told}");
            assert!(output.stdout.is_empty(), "{case}");
            assert!(told.contains(&home.fill("@/csync.toml:")), "{case}: {told}");
            for word in &words {
                assert!(told.contains(word), "{case}: `{word}` is not in {told}");
            }
        }
        assert_eq!(home.listing(), before, "{case}");
    }
}

#[test]
fn every_problem_is_listed_and_a_warning_is_no_error() {
    let home = Home::new();
    let all = "nodes = 1\n[folder.f]\npath = \"one\"\nconflict = \"x\"\n";
    fs::write(home.at("csync.toml"), all).expect("the config");
    let told = home.run(CSYNC, &["config", "check"]).stderr;
    let told = String::from_utf8_lossy(&told);
    assert_eq!(told.lines().filter(|line| line.contains("csync.toml:")).count(), 3, "{told}");
    // B22: a rule that leaves out everything.
    fs::write(home.at("csync.toml"), home.fill(&folder("@/one", "filter = [\"- *\"]"))).expect("the config");
    let output = home.run(CSYNC, &["config", "check"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("3:11: warning:") && told.contains("everything"), "{told}");
}

#[test]
fn this_nodes_own_key_for_another_peer_is_refused() {
    let home = Home::new();
    assert_eq!(home.run(CSYNC, &["init", "--name", "web1"]).status.code(), Some(0));
    let id = home.run(CSYNC, &["id"]).stdout;
    let id = String::from_utf8_lossy(&id).trim().to_owned();
    let config = format!("node = \"web1\"\n[peer.web2]\nkey = \"{id}\"\naddr = [\"web2\"]\n");
    fs::write(home.at("csync.toml"), config).expect("the config");
    let output = home.run(CSYNC, &["config", "check"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("3:7") && told.contains("own key"), "{told}");
}

/// Case, arguments with `@` for the home, exit code, words of the message.
const LINES: &[(&str, &[&str], i32, &[&str])] = &[
    ("B1 config missing", &["config", "check"], 1, &["error[E011]", "csync.toml", "csync init"]),
    ("B37 no verb", &[], 1, &["Usage", "push", "sync"]),
    ("B38 unknown verb", &["pusj", "one", "two"], 1, &["pusj", "did you mean push"]),
    ("B38 unknown flag", &["push", "--delet", "one", "two"], 1, &["--delet", "did you mean --delete"]),
    ("B39 push without target", &["push", "one"], 1, &["no destination", "DEST"]),
    ("B39 push without anything", &["push"], 1, &["SRC"]),
    ("B39 sync with one root", &["sync", "one"], 1, &["csync sync wants A B"]),
    ("B40 source missing", &["push", "none/", "two"], 3, &["error[E051]", "none/", "nothing was changed"]),
    ("B40 root missing", &["sync", "one", "none"], 3, &["none"]),
    ("B40 root is a file", &["sync", "one", "file"], 3, &["file", "not a directory"]),
    ("B41 one root twice", &["sync", "one", "@/one/"], 1, &["error[E052]", "both roots"]),
    ("B41 root in a root", &["sync", "one/sub", "one"], 1, &["lies inside"]),
    ("B41 through a link", &["sync", "one", "link"], 1, &["both roots"]),
    ("B42 no such peer", &["resolve", "17", "--take", "web9"], 1, &["web9", "no such peer"]),
    (
        "B43 delete with an empty source",
        &["push", "-q", "--delete", "--no-times", "two/", "one"],
        25,
        &["error[E073]", "would empty the destination", "--yes"],
    ),
    (
        "B44 two policies",
        &["sync", "one", "two", "--force", "1", "--conflict", "newest"],
        1,
        &["--force", "--conflict"],
    ),
    ("B44 two sides", &["resolve", "17", "--newest", "--both"], 1, &["--newest", "--both"]),
    (
        "B44 two owners",
        &["push", "--chown=a:b", "--groupmap=c:d", "one", "two"],
        1,
        &["--chown", "--groupmap"],
    ),
    (
        "B44 JSON and raw names",
        &["push", "--json", "--raw-names", "one", "two"],
        1,
        &["--json", "--raw-names"],
    ),
    ("B48 a name with escapes", &["push", "no\n\u{1b}[2J", "two"], 3, &["no\\#012\\#033[2J"]),
    ("remote without a config", &["nas::"], 1, &["error[E011]", "csync init"]),
    ("remote by ssh", &["pull", "root@web:/srv", "two"], 1, &["ssh", "later version", "HOST::FOLDER"]),
    ("push from another node", &["push", "nas::f", "two"], 1, &["nas::f", "csync pull nas::f DEST"]),
    ("pull to another node", &["pull", "one", "nas::f"], 1, &["nas::f", "csync push SRC nas::f"]),
    ("two other nodes", &["sync", "nas::f", "csync://web/f"], 1, &["nas::f", "csync://web/f", "other nodes"]),
    ("no folder", &["push", "one", "nas::"], 1, &["names no folder", "csync nas:: lists"]),
    ("a folder that no config has", &["push", "one", "nas::a b"], 1, &["nas::a b", "1 to 64"]),
    ("out of the folder", &["pull", "nas::f/../g", "two"], 1, &["nas::f/../g", "`..`"]),
    ("an earlier state", &["pull", "nas::f@2026-01-01", "two"], 1, &["error[E002]", "later version"]),
    ("a user of csyncd", &["pull", "me@nas::f", "two"], 1, &["no user", "csync://HOST:PORT"]),
    ("port 0", &["pull", "csync://nas:0/f", "two"], 1, &["1 to 65535"]),
    ("rate", &["push", "--bwlimit=fast", "one", "nas::f"], 1, &["--bwlimit fast", "10GiB"]),
    ("rate without a wire", &["push", "--bwlimit=1M", "one", "two"], 1, &["--bwlimit", "ionice"]),
    ("timeout", &["push", "--timeout=soon", "one", "nas::f"], 1, &["--timeout soon", "5m"]),
    ("verb of later", &["log", "web"], 1, &["error[E002]: csync log is not in this version", "fix:"]),
    ("wait for no folder", &["wait", "--all"], 1, &["error[E001]: csync wait wants one FOLDER", "fix:"]),
    (
        "B45 wait without a daemon",
        &["wait", "web"],
        1,
        &["error[E062]", "no csyncd answers", "systemctl start"],
    ),
    ("flag of later", &["push", "-aH", "one", "two"], 1, &["--hard-links (-H) comes in a later version"]),
    ("rsync's flag", &["push", "--link-dest=x", "one", "two"], 1, &["--link-dest", "use --keep"]),
    ("rsync's delete", &["push", "-a", "--delete-before", "one", "two"], 1, &["use --delete"]),
    ("size", &["push", "--max-size=10GG", "one", "two"], 1, &["10GG", "10GiB"]),
    ("bound", &["push", "--max-delete=150%", "one", "two"], 1, &["150%", "0% to 100%"]),
    ("policy", &["sync", "one", "two", "--conflict=loudest"], 1, &["loudest", "keep-both"]),
    ("cat without id", &["cat", "one/a"], 1, &["no version is named", "csync versions one/a"]),
    ("B45 no daemon", &["status"], 1, &["error[E062]", "control.sock", "run csyncd", "work without it"]),
    ("no key", &["id"], 1, &["error[E014]", "csync init"]),
    ("bad name", &["init", "--name", "a b"], 1, &["--name", "1 to 64"]),
];

#[test]
fn a_wrong_command_line_is_told_and_changes_nothing() {
    let home = Home::new();
    for (case, args, exit, words) in LINES {
        let before = home.listing();
        let output = home.run(CSYNC, args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*exit), "{case}: {told}");
        assert!(output.stdout.is_empty(), "{case}");
        assert!(!told.contains("panicked") && !told.contains('\u{1b}'), "{case}: {told}");
        for word in *words {
            assert!(told.contains(word), "{case}: `{word}` is not in {told}");
        }
        assert_eq!(home.listing(), before, "{case}");
    }
}

#[test]
fn an_unsafe_key_is_refused_and_init_keeps_what_is_there() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    assert_eq!(home.run(CSYNC, &["init", "--name", "web1"]).status.code(), Some(0));
    let made = home.listing();
    let again = home.run(CSYNC, &["init", "--name", "other"]);
    assert_eq!(String::from_utf8_lossy(&again.stdout).matches("kept").count(), 2);
    assert_eq!(home.listing(), made);
    let toml = home.run(CSYNC, &["id", "--toml"]).stdout;
    assert!(String::from_utf8_lossy(&toml).starts_with("[peer.web1]\nkey = \"csk1:"));
    let file = home.at("state/node.key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    for (case, words) in [("B27", ["0644", "chmod 0600"]), ("B29", ["is no key", "restore"])] {
        if case == "B29" {
            fs::write(&file, "nothing").expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
        }
        let output = home.run(CSYNC, &["id"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{case}: {told}");
        assert!(words.iter().all(|word| told.contains(word)), "{case}: {told}");
    }
}

/// B30.
#[test]
fn a_config_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let config = home.at("csync.toml");
    fs::write(&config, "node = \"web1\"\n").expect("the config");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).expect("chmod");
    for (program, args, exit) in [
        (CSYNC, &["config", "check"][..], 1),
        (CSYNC, &["config", "show"], 1),
        (CSYNCD, &["--check-config"], 78),
    ] {
        let output = home.run(program, args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {told}");
        assert!(told.contains("0666") && told.contains("chmod go-w"), "{args:?}: {told}");
    }
}

/// B47.
#[test]
fn a_closed_standard_output_is_a_quiet_end() {
    let home = Home::new();
    for args in [&["--help"][..], &["completions", "bash"], &["--version"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output =
            Command::new(CSYNC).args(args).env_clear().env("HOME", home.0.path()).stdout(writer).output();
        let output = output.expect("the program runs");
        assert!(output.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn csyncd_says_what_it_does_not_do() {
    let home = Home::new();
    for (args, exit) in
        [(&["--version"][..], 0), (&["--help"], 0), (&[], 78), (&["--bogus"], 64), (&["--check-config"], 78)]
    {
        assert_eq!(home.run(CSYNCD, args).status.code(), Some(exit), "{args:?}");
    }
    fs::write(home.at("csync.toml"), "node = \"web1\"\n").expect("the config");
    assert_eq!(home.run(CSYNCD, &["--check-config"]).status.code(), Some(0));
}

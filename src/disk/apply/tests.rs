use std::path::PathBuf;

use super::*;
use crate::disk::private::names_in;
use crate::disk::stage::{Stage, Target};
use crate::model::entry::Content;
use crate::model::metadata::Timestamp;

pub(crate) struct Ground {
    pub(crate) tree: tempfile::TempDir,
    pub(crate) root: Arc<Root>,
    pub(crate) private: Arc<Private>,
    pub(crate) stage: Stage,
    pub(crate) apply: Apply,
}

pub(crate) fn ground() -> Ground {
    let tree = tempfile::tempdir().unwrap();
    let root = Arc::new(Root::open(tree.path()).unwrap());
    let private = Arc::new(Private::open_or_create(&root).unwrap());
    let kept = Arc::new(Kept::new(Arc::clone(&private)));
    let stage = Stage::new(Arc::clone(&root), Arc::clone(&private));
    let apply = Apply::new(Arc::clone(&root), Arc::clone(&private), kept, b"b1");
    Ground { tree, root, private, stage, apply }
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

impl Ground {
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.tree.path().join(name)
    }

    /// Makes `name`: `f:TEXT` a file, `l:TO` a symlink, `d` a directory, `p` a FIFO, `-` nothing.
    pub(crate) fn plant(&self, name: &str, what: &str) {
        match what.split_once(':') {
            Some(("f", text)) => std::fs::write(self.at(name), text).unwrap(),
            Some((_, to)) => std::os::unix::fs::symlink(to, self.at(name)).unwrap(),
            None if what == "d" => std::fs::create_dir(self.at(name)).unwrap(),
            None if what == "p" => {
                rustix::fs::mkfifoat(self.root.fd(), name, Mode::from_raw_mode(0o600)).unwrap();
            }
            None => {}
        }
    }

    /// Says what stands at `name`, in the words of `plant`.
    pub(crate) fn look(&self, name: &str) -> String {
        match self.root.stat(&path(name)).unwrap().map(|stat| stat.kind) {
            None => "-".to_owned(),
            Some(Kind::File) => format!("f:{}", std::fs::read_to_string(self.at(name)).unwrap()),
            Some(Kind::Symlink) => {
                format!("l:{}", String::from_utf8(self.root.read_link(&path(name)).unwrap().into()).unwrap())
            }
            Some(Kind::Dir) => "d".to_owned(),
            Some(_) => "p".to_owned(),
        }
    }

    pub(crate) fn stat(&self, name: &str) -> Stat {
        self.root.stat(&path(name)).unwrap().unwrap()
    }

    pub(crate) fn staged(&self, name: &str, what: &str, target: Target) -> Staged {
        let other = |content| self.stage.other(&path(name), &content).unwrap();
        match what.split_once(':') {
            Some(("f", text)) => {
                self.stage.file(&path(name), target).unwrap().fill(&mut text.as_bytes(), None).unwrap()
            }
            Some((_, to)) => other(Content::Symlink(to.as_bytes().into())),
            None if what == "d" => other(Content::Dir),
            None => other(Content::Fifo),
        }
    }

    pub(crate) fn left_in_stage(&self) -> usize {
        names_in(self.private.stage()).unwrap().len()
    }
}

const KINDS: [&str; 4] = ["f:old content", "l:old", "d", "p"];
const NEW: [&str; 4] = ["f:new", "l:newer", "d", "p"];

#[test]
fn any_kind_takes_the_place_of_any_kind() {
    for exchange in [true, false] {
        for old in KINDS {
            for new in NEW {
                for fate in [Fate::Keep, Fate::Discard] {
                    let case = format!("{old} -> {new}, {fate:?}, exchange {exchange}");
                    let mut ground = ground();
                    if !exchange {
                        ground.apply = ground.apply.without_exchange();
                    }
                    ground.plant("a", old);
                    let staged = ground.staged("a", new, Target::Taken);
                    let replaced = ground.apply.replace(staged, &ground.stat("a"), fate);
                    let replaced = replaced.unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(ground.look("a"), new, "{case}");
                    assert_eq!(replaced.live, ground.stat("a"), "{case}");
                    let keeps = fate == Fate::Keep && old != "d";
                    assert_eq!(ground.look(".csync/kept/b1/a"), if keeps { old } else { "-" }, "{case}");
                    assert_eq!(replaced.kept.map(|kept| kept.path), keeps.then(|| path("a")), "{case}");
                    assert_eq!(ground.left_in_stage(), 0, "{case}");
                }
            }
        }
    }
}

#[test]
fn what_changed_after_the_plan_stays_and_the_new_entry_goes() {
    for exchange in [true, false] {
        for planned in KINDS {
            for found in ["f:somebody else's longer text", "l:elsewhere", "d", "-"] {
                let case = format!("{planned} became {found}, exchange {exchange}");
                let mut ground = ground();
                if !exchange {
                    ground.apply = ground.apply.without_exchange();
                }
                ground.plant("b", planned);
                let expected = ground.stat("b");
                ground.plant("a", found);
                let staged = ground.staged("a", "f:new", Target::Taken);
                let error = ground.apply.replace(staged, &expected, Fate::Discard).unwrap_err();
                assert!(matches!(error, ApplyError::Changed { .. }), "{case}: {error}");
                assert_eq!(ground.look("a"), found, "{case}");
                assert_eq!(ground.left_in_stage(), 0, "{case}");
            }
        }
    }
}

#[test]
fn others_that_write_at_the_same_moment_lose_nothing() {
    for exchange in [true, false] {
        let mut ground = ground();
        if !exchange {
            ground.apply = ground.apply.without_exchange();
        }
        ground.plant("a", "f:0");
        let stop = AtomicBool::new(false);
        let saves = std::thread::scope(|scope| {
            // An editor that saves by rename, each time with more bytes.
            let editor = scope.spawn(|| {
                let mut saves = 0usize;
                while !stop.load(Ordering::Relaxed) {
                    saves += 1;
                    ground.plant("save", &format!("f:{}", "s".repeat(saves % 4000)));
                    rustix::fs::renameat(ground.root.fd(), "save", ground.root.fd(), "a").unwrap();
                }
                saves
            });
            for turn in 0..300 {
                let Ok(Some(expected)) = ground.root.stat(&path("a")) else {
                    continue;
                };
                let staged = ground.staged("a", &format!("f:c{turn}"), Target::Taken);
                match ground.apply.replace(staged, &expected, Fate::Keep) {
                    Ok(_) | Err(ApplyError::Changed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            stop.store(true, Ordering::Relaxed);
            editor.join().unwrap()
        });
        assert!(saves > 0);
        assert_eq!(ground.left_in_stage(), 0);
        assert!(ground.look("a").starts_with("f:"));
    }
}

#[test]
fn a_directory_that_is_not_empty_is_never_replaced() {
    for exchange in [true, false] {
        let mut ground = ground();
        if !exchange {
            ground.apply = ground.apply.without_exchange();
        }
        ground.plant("a", "d");
        ground.plant("a/inside", "f:x");
        let staged = ground.staged("a", "f:new", Target::Taken);
        let error = ground.apply.replace(staged, &ground.stat("a"), Fate::Keep).unwrap_err();
        assert_eq!(error, ApplyError::NotEmpty { path: path("a") }, "exchange {exchange}");
        assert_eq!(ground.look("a/inside"), "f:x", "exchange {exchange}");
        assert_eq!(ground.left_in_stage(), 0, "exchange {exchange}");
    }
}

#[test]
fn a_new_entry_never_replaces() {
    for what in NEW {
        for target in [Target::Free, Target::Taken] {
            let ground = ground();
            let stat = ground.apply.publish_new(ground.staged("a", what, target)).unwrap();
            assert_eq!((ground.look("a").as_str(), stat), (what, ground.stat("a")));
            let error = ground.apply.publish_new(ground.staged("a", "f:second", target)).unwrap_err();
            assert_eq!(error, ApplyError::Taken { path: path("a") }, "{what}");
            assert_eq!(ground.look("a"), what);
            assert_eq!(ground.left_in_stage(), 0, "{what}");
        }
    }
}

#[test]
fn what_is_removed_is_what_was_planned() {
    for what in ["f:text", "l:to", "p"] {
        let ground = ground();
        ground.plant("a", what);
        let kept = ground.apply.remove(&path("a"), &ground.stat("a"), Fate::Keep).unwrap().unwrap();
        assert_eq!((ground.look("a"), kept.path), ("-".to_owned(), path("a")));
        assert_eq!(ground.look(".csync/kept/b1/a"), what);
        ground.plant("a", what);
        assert_eq!(ground.apply.remove(&path("a"), &ground.stat("a"), Fate::Discard), Ok(None));
        assert_eq!(ground.look("a"), "-");
        ground.plant("b", what);
        ground.plant("a", "f:another");
        let error = ground.apply.remove(&path("a"), &ground.stat("b"), Fate::Discard).unwrap_err();
        assert!(matches!(error, ApplyError::Changed { .. }), "{what}");
        assert_eq!(ground.look("a"), "f:another");
        assert_eq!(ground.left_in_stage(), 0, "{what}");
    }
}

#[test]
fn directories_go_only_when_empty() {
    let ground = ground();
    ground.apply.make_dir(&path("d")).unwrap();
    assert_eq!(ground.apply.make_dir(&path("d")), Err(ApplyError::Taken { path: path("d") }));
    ground.plant("d/x", "f:x");
    assert_eq!(ground.apply.remove_dir(&path("d")), Ok(DirRemoval::NotEmpty));
    assert!(matches!(ground.apply.remove_dir(&path("d/x")), Err(ApplyError::Changed { .. })));
    ground.apply.remove(&path("d/x"), &ground.stat("d/x"), Fate::Discard).unwrap();
    assert_eq!(ground.apply.remove_dir(&path("d")), Ok(DirRemoval::Removed));
    assert_eq!(ground.apply.remove_dir(&path("d")), Ok(DirRemoval::Gone));
    assert_eq!(ground.apply.remove_dir(&path("d/e")), Ok(DirRemoval::Gone));
}

#[test]
fn a_rename_takes_what_was_planned_to_where_nothing_is() {
    let ground = ground();
    ground.plant("d", "d");
    ground.plant("d/x", "f:x");
    ground.plant("e", "d");
    ground.plant("f", "f:other");
    let (d, e) = (ground.stat("d"), ground.stat("e"));
    let moved = |from: &str, to: &str, stat: &Stat| ground.apply.rename(&path(from), &path(to), stat);
    assert_eq!(moved("d", "e", &d), Err(ApplyError::Taken { path: path("e") }));
    assert!(matches!(moved("f", "g", &d), Err(ApplyError::Changed { .. })));
    assert!(matches!(moved("d", "g", &e), Err(ApplyError::Changed { .. })));
    assert_eq!(moved("d", "e/g", &d).unwrap().ino, d.ino);
    assert_eq!(ground.look("e/g/x"), "f:x");
    ground.apply.sync_dirs(&[RelPath::root(), path("e"), path("gone")], 2).unwrap();
}

#[test]
fn attributes_are_set_on_the_planned_inode_and_never_through_a_link() {
    let ground = ground();
    for what in KINDS {
        ground.plant("a", what);
        let stat = ground.stat("a");
        let attributes =
            Attributes { mode: 0o510, mtime: Timestamp::new(1_000_000_000, 5), ..stat.attributes };
        let (refused, after) =
            ground.apply.set_attributes(&path("a"), &attributes, Which::ALL, &stat).unwrap();
        assert!(refused.is_empty(), "{what}");
        let mode = if what.starts_with('l') { 0o777 } else { 0o510 };
        assert_eq!(after.attributes, Attributes { mode, ..attributes }, "{what}");
        std::os::unix::fs::symlink("a", ground.at("link")).unwrap();
        let error = ground.apply.set_attributes(&path("link"), &attributes, Which::ALL, &stat).unwrap_err();
        assert!(matches!(error, ApplyError::Changed { .. }), "{what}");
        for name in ["link", "a"] {
            let flags =
                if ground.stat(name).kind == Kind::Dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(ground.root.fd(), name, flags).unwrap();
        }
    }
    let stat = ground.stat("");
    let attributes = Attributes { mode: 0o750, ..stat.attributes };
    let set = ground.apply.set_attributes(&RelPath::root(), &attributes, Which::ALL, &stat).unwrap();
    assert_eq!(set.1.attributes, attributes);
}

#[test]
fn what_cannot_be_kept_is_neither_removed_nor_replaced() {
    let mut ground = ground();
    ground.plant("a", "f:old content");
    let stat = ground.stat("a");
    // No name for a batch: the store refuses whatever comes.
    ground.apply.batch = b"../b"[..].into();
    assert!(matches!(ground.apply.remove(&path("a"), &stat, Fate::Keep), Err(ApplyError::Disk(_))));
    assert_eq!(ground.look("a"), "f:old content");
    let staged = ground.staged("a", "f:new", Target::Taken);
    assert!(matches!(ground.apply.replace(staged, &stat, Fate::Keep), Err(ApplyError::Disk(_))));
    assert_eq!(ground.look("a"), "f:old content");
    assert_eq!(ground.left_in_stage(), 0);
}

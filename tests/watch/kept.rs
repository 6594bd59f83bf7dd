//! A keeper takes up by itself what happens in its folder.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use csync::disk::lister::Lister;
use csync::engine::error::EngineError;
use csync::engine::glance::glance;
use csync::engine::host::Host;
use csync::engine::keeper::{Folder, Keeper, Rhythm};
use csync::engine::observe::{Sight, Watching, observe_by};
use csync::plan::settle::Hint;
use csync::store::looks::Looks;

use crate::tree::{build, clear, rename};
use crate::watched::{path, serve};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(1);

struct Kept {
    directory: tempfile::TempDir,
    host: Host,
    watching: Watching,
    log: Mutex<Log>,
    news: Condvar,
}

#[derive(Default)]
struct Log {
    observed: u32,
    glanced: u32,
    warned: Vec<String>,
    halted: Option<String>,
}

impl Kept {
    fn new() -> Arc<Self> {
        let (directory, host, watching) = serve(&[]);
        Arc::new(Self { directory, host, watching, log: Mutex::default(), news: Condvar::new() })
    }

    fn root(&self) -> &Path {
        self.host.root.path()
    }

    fn keep(self: &Arc<Self>, rhythm: Rhythm) -> Keeper {
        let folder: Arc<dyn Folder> = Arc::<Self>::clone(self);
        Keeper::begin(Arc::clone(&self.host.root), folder, rhythm).unwrap()
    }

    /// Waits until `is_so`, which is asked after each look.
    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&Log) -> bool) {
        let log = self.log.lock().unwrap();
        let (log, waited) = self.news.wait_timeout_while(log, LONG, |log| !is_so(log)).unwrap();
        drop(log);
        assert!(!waited.timed_out(), "{what}");
    }

    fn has(&self, at: &str) -> bool {
        self.host.replica().record(&path(at)).unwrap().is_some_and(|record| record.row.live().is_some())
    }

    fn note(&self, note: impl FnOnce(&mut Log)) {
        note(&mut self.log.lock().unwrap());
        self.news.notify_all();
    }
}

impl Folder for Kept {
    fn observe(&self, lister: &Arc<dyn Lister>) -> Result<Sight, EngineError> {
        let replica = self.host.replica();
        self.host.check(&replica)?;
        let sight = observe_by(&replica, &self.watching, lister)?;
        drop(replica);
        self.note(|log| log.observed += 1);
        Ok(sight)
    }

    fn glance(&self, lister: &Arc<dyn Lister>, hints: &[Hint]) -> Result<Sight, EngineError> {
        let replica = self.host.replica();
        self.host.check(&replica)?;
        let sight = glance(&replica, &self.watching, lister, hints)?;
        drop(replica);
        self.note(|log| log.glanced += 1);
        Ok(sight)
    }

    fn put_off(&self, hints: &[Hint]) -> Result<(), EngineError> {
        let replica = self.host.replica();
        hints.iter().try_for_each(|hint| Looks::of(&replica.db).put(hint))?;
        drop(replica);
        self.note(|_| ());
        Ok(())
    }

    fn seen(&self, _: &Sight) {}

    fn warn(&self, what: String) {
        self.note(|log| log.warned.push(what));
    }

    fn halt(&self, why: EngineError) {
        self.note(|log| log.halted = Some(why.to_string()));
    }
}

#[test]
fn what_happens_is_taken_up_without_being_asked_for() {
    let kept = Kept::new();
    build(kept.root(), "old/f=1");
    let keeper = kept.keep(Rhythm::default());
    kept.until("the first look", |log| log.observed == 1);
    assert!(kept.has("old/f"));
    build(kept.root(), "new/deep/er/f=22 old/g=3");
    kept.until("new files", |_| kept.has("new/deep/er/f") && kept.has("old/g"));
    rename(kept.root(), "new", "moved");
    kept.until("a rename", |_| kept.has("moved/deep/er/f") && !kept.has("new"));
    fs::write(kept.root().join("moved/deep/er/late"), "4").unwrap();
    kept.until("a file under the new name", |_| kept.has("moved/deep/er/late"));
    clear(kept.root(), "moved");
    kept.until("a deletion", |_| !kept.has("moved"));
    keeper.rescan();
    drop(keeper);
    let glanced = kept.log.lock().unwrap().glanced;
    build(kept.root(), "after=5");
    assert!(!kept.has("after"));
    assert_eq!(kept.log.lock().unwrap().glanced, glanced, "a keeper that was dropped looks no more");
}

#[test]
fn a_file_left_open_waits_in_the_journal_and_is_taken_when_it_is_quiet() {
    let kept = Kept::new();
    let _keeper = kept.keep(Rhythm::default());
    kept.until("the first look", |log| log.observed == 1);
    let open = fs::File::create(kept.root().join("open")).unwrap();
    let journal = |kept: &Kept| Looks::of(&kept.host.replica().db).all().unwrap();
    kept.until("it waits", |_| journal(&kept) == [Hint { path: path("open"), recursive: false }]);
    assert!(!kept.has("open"));
    kept.until("it is quiet", |_| kept.has("open"));
    assert_eq!(journal(&kept), []);
    drop(open);
}

#[test]
fn a_root_that_goes_halts_its_keeper() {
    let kept = Kept::new();
    build(kept.root(), "a=1");
    let _keeper = kept.keep(Rhythm::default());
    kept.until("the first look", |log| log.observed == 1);
    let root = kept.root().to_owned();
    fs::rename(&root, kept.directory.path().join("away")).unwrap();
    kept.until("the halt", |log| log.halted.is_some());
    assert!(kept.has("a"), "nothing was deleted");
}

use super::*;
use crate::disk::apply::tests::{Ground, ground, path};
use crate::disk::stage::Target;

/// Stages `f:new` for `a`, exchanges it with what stands there, and returns all that `settle` is given.
fn exchanged(ground: &Ground) -> (Staged, OwnedFd, String, Stat) {
    let mut staged = ground.staged("a", "f:new", Target::Taken);
    let ours = staged.stat().unwrap();
    let name = staged.ensure_name().unwrap();
    staged.mark().unwrap();
    let parent = ground.root.parent(&path("a")).unwrap();
    rustix::fs::renameat_with(ground.private.stage(), &*name, &parent, "a", RenameFlags::EXCHANGE).unwrap();
    staged.forget_name();
    (staged, parent, name, ours)
}

#[test]
fn after_two_turns_the_live_entry_stays_and_the_other_is_kept() {
    for (case, meanwhile, live, kept) in [
        ("nobody came", None, "f:first", "-"),
        ("others replaced ours", Some("f:second, longer"), "f:first", "f:second, longer"),
        ("others removed ours", Some("-"), "-", "f:first"),
    ] {
        let ground = ground();
        ground.plant("a", "f:planned");
        let planned = ground.stat("a");
        ground.plant("save", "f:first");
        rustix::fs::renameat(ground.root.fd(), "save", ground.root.fd(), "a").unwrap();
        let (staged, parent, name, ours) = exchanged(&ground);
        if let Some(what) = meanwhile {
            rustix::fs::unlinkat(ground.root.fd(), "a", AtFlags::empty()).unwrap();
            ground.plant("a", what);
        }
        let (at, digest) = (path("a"), staged.digest());
        let place = Place { path: &at, parent: &parent, name, digest };
        let error = ground.apply.settle(staged, &place, &ours, &planned, Fate::Discard).unwrap_err();
        let ApplyError::Changed { kept: told, .. } = error else { panic!("{case}: {error}") };
        assert_eq!(told.is_some(), kept != "-", "{case}");
        assert_eq!((ground.look("a"), ground.look(".csync/kept/b1/a")), (live.into(), kept.into()), "{case}");
        assert_eq!(ground.left_in_stage(), 0, "{case}");
    }
}

#[test]
fn a_write_into_our_file_before_it_is_swapped_back_is_kept() {
    let ground = ground();
    ground.plant("a", "f:planned");
    let planned = ground.stat("a");
    ground.plant("save", "f:first");
    rustix::fs::renameat(ground.root.fd(), "save", ground.root.fd(), "a").unwrap();
    let (staged, parent, name, ours) = exchanged(&ground);
    ground.plant("a", "f:written into the new file");
    let (at, digest) = (path("a"), staged.digest());
    let place = Place { path: &at, parent: &parent, name, digest };
    ground.apply.settle(staged, &place, &ours, &planned, Fate::Discard).unwrap_err();
    assert_eq!(ground.look("a"), "f:first");
    assert_eq!(ground.look(".csync/kept/b1/a"), "f:written into the new file");
}

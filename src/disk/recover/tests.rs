use super::*;
use crate::disk::apply::tests::{Ground, ground, path};

/// Leaves `what` in the stage, under a mark as it is when `staged` was made for `at`.
fn leave(ground: &Ground, what: &str, mark: Option<(Option<&str>, &str)>) {
    let name = ground.private.next_name();
    ground.plant(&format!(".csync/stage/{name}"), what);
    if let Some((staged, at)) = mark {
        let digest = staged.map(|text| Digest::of(text.as_bytes()));
        mark::set(ground.private.stage(), &name, digest, &path(at)).unwrap();
    }
}

/// Case; what is left in the stage; its mark: the content staged for it and the path; what stands at `a`; what
/// recovery does; what stands at `a` then.
type Case = (
    &'static str,
    &'static str,
    Option<(Option<&'static str>, &'static str)>,
    &'static str,
    &'static str,
    &'static str,
);

const CASES: &[Case] = &[
    ("never marked", "f:half", None, "f:live", "cleared", "f:live"),
    ("a directory never marked", "d", None, "f:live", "cleared", "f:live"),
    ("marked, not exchanged", "f:new", Some((Some("new"), "a")), "f:old", "cleared", "f:old"),
    ("exchanged", "f:old", Some((Some("new"), "a")), "f:new", "kept f:old", "f:new"),
    ("exchanged with a symlink", "l:old", Some((Some("new"), "a")), "f:new", "kept l:old", "f:new"),
    ("exchanged, then removed by others", "f:old", Some((Some("new"), "a")), "-", "kept f:old", "-"),
    ("taken away to be removed", "f:old", Some((None, "a")), "-", "restored", "f:old"),
    ("taken away, and others came", "f:old", Some((None, "a")), "f:other", "kept f:old", "f:other"),
    ("below a directory that went", "f:old", Some((None, "a/b")), "-", "kept below", "-"),
];

#[test]
fn after_a_stop_at_any_step_what_is_the_users_is_saved() {
    for &(case, what, mark, live, want, then) in CASES {
        let ground = ground();
        ground.plant("a", live);
        leave(&ground, what, mark);
        let recovered = ground.apply.recover().unwrap();
        assert_eq!(recovered.len(), 1, "{case}");
        assert_eq!(recovered[0].path, mark.map(|(_, at)| path(at)), "{case}");
        let did = match &recovered[0].outcome {
            Outcome::Cleared => "cleared".to_owned(),
            Outcome::Restored => "restored".to_owned(),
            Outcome::Kept(at) if at.path == path("a") => format!("kept {}", ground.look(".csync/kept/b1/a")),
            Outcome::Kept(_) => "kept below".to_owned(),
        };
        assert_eq!(did, want, "{case}");
        assert_eq!(ground.look("a"), then, "{case}");
        assert_eq!(ground.left_in_stage(), 0, "{case}");
        assert_eq!(ground.apply.recover(), Ok(Vec::new()), "{case}");
    }
}

#[test]
fn a_displaced_directory_with_something_in_it_is_kept_whole() {
    let ground = ground();
    let name = ground.private.next_name();
    ground.plant(&format!(".csync/stage/{name}"), "d");
    ground.plant(&format!(".csync/stage/{name}/inside"), "f:x");
    mark::set(ground.private.stage(), &name, Some(Content::Dir.digest()), &path("a")).unwrap();
    ground.apply.recover().unwrap();
    assert_eq!(ground.look(".csync/kept/b1/a/inside"), "f:x");
}

#[test]
fn a_second_name_of_what_still_stands_is_only_removed() {
    let ground = ground();
    ground.plant("a", "f:live");
    let name = ground.private.next_name();
    mark::set(ground.private.stage(), &name, Some(Digest::of(b"new")), &path("a")).unwrap();
    rustix::fs::linkat(ground.root.fd(), "a", ground.private.stage(), &*name, AtFlags::empty()).unwrap();
    let recovered = ground.apply.recover().unwrap();
    assert_eq!(recovered[0].outcome, Outcome::Cleared);
    assert_eq!((ground.look("a").as_str(), ground.look(".csync/kept/b1/a").as_str()), ("f:live", "-"));
}

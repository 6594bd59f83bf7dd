use rustix::fs::OFlags;

use super::*;
use crate::disk::root::{Root, open_at};
use crate::model::metadata::{Owner, Timestamp};

/// Does `work` with the rights of an ordinary user: on a thread of its own, as `nobody` if the test runs as root.
pub(crate) fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let drop_rights = || {
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            drop_rights();
            work()
        });
        thread.join().unwrap()
    })
}

/// Returns an empty directory in which [`unprivileged`] may write.
pub(crate) fn common_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(dir.path(), mode).unwrap();
    dir
}

const WANT: Attributes = Attributes {
    mode: 0o6755,
    owner: Owner { uid: 12345, gid: 54321 },
    mtime: Timestamp { secs: 77, nanos: 5 },
};

#[test]
fn a_refused_owner_is_told_and_takes_the_set_id_bits_with_it() {
    let tree = common_dir();
    unprivileged(|| {
        let file = std::fs::File::create(tree.path().join("f")).unwrap();
        let refused = set_fd(&file, Kind::File, &WANT, Which::ALL).unwrap();
        assert_eq!(refused, Which { owner: true, group: true, ..Which::default() });
        let after = stat_fd(&file).unwrap().attributes;
        assert_eq!((after.mode, after.mtime), (0o755, WANT.mtime));
    });
}

#[test]
fn what_belongs_to_another_user_is_refused_whole() {
    let tree = common_dir();
    let root = Root::open(tree.path()).unwrap();
    if !rustix::process::geteuid().is_root() {
        // Only root can make a file that belongs to somebody else.
        return;
    }
    std::fs::write(tree.path().join("f"), "x").unwrap();
    unprivileged(|| {
        let fd = open_at(root.fd(), b"f", OFlags::PATH).unwrap();
        let before = stat_fd(&fd).unwrap();
        assert_eq!(set_fd(&fd, Kind::File, &WANT, Which::ALL), Ok(Which::ALL));
        assert_eq!(stat_fd(&fd), Ok(before));
    });
}

#[test]
fn what_is_not_chosen_is_left_alone() {
    let tree = common_dir();
    let file = std::fs::File::create(tree.path().join("f")).unwrap();
    for (case, which) in [
        ("mode", Which { mode: true, ..Which::default() }),
        ("mtime", Which { mtime: true, ..Which::default() }),
        ("nothing", Which::default()),
    ] {
        let before = stat_fd(&file).unwrap().attributes;
        let mut want = before;
        if which.mode {
            want.mode = 0o611;
        }
        if which.mtime {
            want.mtime = WANT.mtime;
        }
        let attributes = Attributes { mode: 0o611, ..WANT };
        assert_eq!(set_fd(&file, Kind::File, &attributes, which), Ok(Which::default()), "{case}");
        assert_eq!(stat_fd(&file).unwrap().attributes, want, "{case}");
    }
}

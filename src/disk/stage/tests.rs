use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::model::metadata::{Owner, Timestamp};

struct Ground {
    tree: tempfile::TempDir,
    private: Arc<Private>,
    stage: Stage,
}

fn ground(means: bool) -> Ground {
    let tree = tempfile::tempdir().unwrap();
    let root = Arc::new(Root::open(tree.path()).unwrap());
    let private = Arc::new(Private::open_or_create(&root).unwrap());
    let stage = Stage::new(root, Arc::clone(&private));
    let stage = if means { stage } else { stage.without_means() };
    Ground { tree, private, stage }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

impl Ground {
    fn staged_names(&self) -> usize {
        crate::disk::private::names_in(self.private.stage()).unwrap().len()
    }

    /// Returns the bytes of a staged file.
    fn bytes(staged: &Staged) -> Vec<u8> {
        use std::os::unix::fs::FileExt as _;
        let mut bytes = vec![0; usize::try_from(staged.size()).unwrap()];
        staged.as_file().unwrap().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }
}

#[test]
fn what_is_staged_is_what_came_and_nothing_is_visible() {
    for (case, means, target) in [
        ("without a name", true, Target::Free),
        ("with a name", true, Target::Taken),
        ("without O_TMPFILE", false, Target::Free),
    ] {
        for size in [0, 1, 70_000, 700_000] {
            let ground = ground(means);
            let bytes: Vec<u8> = (0..size).map(|at: u32| at.to_be_bytes()[3]).collect();
            let expect = Some((Digest::of(&bytes), u64::from(size)));
            let staged =
                ground.stage.file(&path("a"), target).unwrap().fill(&mut &bytes[..], expect).unwrap();
            assert_eq!(Ground::bytes(&staged), bytes, "{case} {size}");
            assert_eq!(staged.digest(), Digest::of(&bytes), "{case} {size}");
            assert_eq!(std::fs::read_dir(ground.tree.path()).unwrap().count(), 1, "{case} {size}");
            assert_eq!(
                ground.staged_names(),
                usize::from(!means || target == Target::Taken),
                "{case} {size}"
            );
            drop(staged);
            assert_eq!(ground.staged_names(), 0, "{case} {size}");
        }
    }
}

#[test]
fn other_bytes_than_expected_are_an_error_and_leave_nothing() {
    let ground = ground(true);
    for (case, bytes) in
        [("other bytes", &b"abd"[..]), ("fewer", b"ab"), ("more", b"abcd"), ("endless", &[0; 9999])]
    {
        let blank = ground.stage.file(&path("a"), Target::Taken).unwrap();
        let error = blank.fill(&mut &bytes[..], Some((Digest::of(b"abc"), 3))).unwrap_err();
        let StageError::Mismatch { size, .. } = error else { panic!("{case}: {error}") };
        assert!(size <= 4, "{case}");
        assert_eq!(ground.staged_names(), 0, "{case}");
    }
}

#[test]
fn a_reader_that_fails_is_told_apart_from_a_disk_that_fails() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let ground = ground(true);
    let blank = ground.stage.file(&path("a"), Target::Taken).unwrap();
    assert!(matches!(blank.fill(&mut Broken, None), Err(StageError::Source { .. })));
}

#[test]
fn holes_stay_holes() {
    for means in [true, false] {
        let ground = ground(means);
        let source = tempfile::tempfile().unwrap();
        source.set_len(50_000_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&source, b"middle", 20_000_000).unwrap();
        let staged = ground.stage.file(&path("a"), Target::Free).unwrap().fill_from(&source, None).unwrap();
        let mut whole = vec![0; 50_000_000];
        whole[20_000_000..20_000_006].copy_from_slice(b"middle");
        assert_eq!(staged.digest(), Digest::of(&whole));
        assert_eq!(Ground::bytes(&staged), whole);
        let blocks = staged.as_file().unwrap().metadata().unwrap().blocks();
        assert!(blocks * 512 < 1_000_000, "{blocks} blocks");
    }
}

#[test]
fn files_are_copied_whole() {
    let ground = ground(true);
    for size in [0, 1, 4096, 300_000, 1_000_001] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| at.to_be_bytes()[2] ^ at.to_be_bytes()[3]).collect();
        let source = ground.tree.path().join("source");
        std::fs::write(&source, &bytes).unwrap();
        let source = File::open(&source).unwrap();
        let staged = ground.stage.file(&path("a"), Target::Free).unwrap().fill_from(&source, None).unwrap();
        assert_eq!(Ground::bytes(&staged), bytes, "{size}");
        assert_eq!((staged.digest(), staged.size()), (Digest::of(&bytes), u64::from(size)), "{size}");
    }
}

#[test]
fn all_attributes_are_set_before_there_is_a_name() {
    let ground = ground(true);
    let uid = rustix::process::geteuid().as_raw();
    let attributes = Attributes {
        mode: 0o4751,
        owner: Owner { uid, gid: rustix::process::getegid().as_raw() },
        mtime: Timestamp::new(-5, 123_456_789),
    };
    let link = Content::Symlink(b"to"[..].into());
    for (case, staged) in [
        ("file", ground.stage.file(&path("a"), Target::Free).unwrap().fill(&mut &b"x"[..], None).unwrap()),
        ("dir", ground.stage.other(&path("a"), &Content::Dir).unwrap()),
        ("fifo", ground.stage.other(&path("a"), &Content::Fifo).unwrap()),
        ("socket", ground.stage.other(&path("a"), &Content::Socket).unwrap()),
        ("symlink", ground.stage.other(&path("a"), &link).unwrap()),
    ] {
        assert_eq!(staged.set_attributes(&attributes, Which::ALL), Ok(Which::default()), "{case}");
        let stat = staged.stat().unwrap();
        let mode = if case == "symlink" { 0o777 } else { 0o4751 };
        assert_eq!(stat.attributes, Attributes { mode, ..attributes }, "{case}");
    }
}

#[test]
fn flushing_keeps_the_order() {
    let ground = ground(true);
    for threads in [1, 3] {
        let staged = (0..20u8)
            .map(|at| {
                ground.stage.file(&path("a"), Target::Free).unwrap().fill(&mut &[at][..], None).unwrap()
            })
            .collect();
        let digests: Vec<_> =
            flush_all(staged, threads).into_iter().map(|staged| staged.unwrap().digest()).collect();
        assert_eq!(digests, (0..20u8).map(|at| Digest::of(&[at])).collect::<Vec<_>>());
    }
}

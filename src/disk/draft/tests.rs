use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::*;
use crate::disk::private::{Private, names_in};
use crate::disk::root::Root;
use crate::disk::stage::{Stage, Target};
use crate::model::path::RelPath;

struct Ground {
    _tree: tempfile::TempDir,
    private: Arc<Private>,
    stage: Stage,
}

fn ground() -> Ground {
    let tree = tempfile::tempdir().unwrap();
    let root = Arc::new(Root::open(tree.path()).unwrap());
    let private = Arc::new(Private::open_or_create(&root).unwrap());
    Ground { _tree: tree, stage: Stage::new(root, Arc::clone(&private)), private }
}

impl Ground {
    fn draft(&self, whole: &[u8], basis: Option<&Basis>) -> Draft {
        let blank = self.stage.file(&RelPath::new(b"a").unwrap(), Target::Taken).unwrap();
        Draft::begin(blank, Digest::of(whole), u64::try_from(whole.len()).unwrap(), basis).unwrap()
    }

    fn is_clear(&self) -> bool {
        names_in(self.private.stage()).unwrap().is_empty()
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| random.u8(..)).collect()
}

fn file_of(bytes: &[u8]) -> Basis {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    Basis::of([file]).unwrap()
}

fn bytes_of(staged: &Staged) -> Vec<u8> {
    let file = staged.as_file().unwrap();
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().size()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_file_is_assembled_from_written_and_copied_parts() {
    let ground = ground();
    let old = noise(1_500_000);
    let basis = file_of(&old);
    let new = noise(700_001);
    let whole = [&old[..600_000], &new[..], &old[700_000..], &old[..10], &new[..0]].concat();
    for shared in [None, Some(&basis)] {
        let mut draft = ground.draft(&whole, shared);
        draft.copy(&basis, 0, 600_000).unwrap();
        for piece in new.chunks(99_999) {
            draft.write(piece).unwrap();
        }
        draft.copy(&basis, 700_000, 800_000).unwrap();
        draft.copy(&basis, 0, 10).unwrap();
        assert_eq!(draft.missing(), 0);
        let staged = draft.finish().unwrap();
        assert_eq!(bytes_of(&staged), whole);
        assert_eq!((staged.digest(), staged.size()), (Digest::of(&whole), whole.len() as u64));
    }
}

#[test]
fn a_file_shorter_than_its_basis_is_cut() {
    let ground = ground();
    let old = noise(900_000);
    let basis = file_of(&old);
    let mut draft = ground.draft(&old[..500_000], Some(&basis));
    draft.copy(&basis, 0, 500_000).unwrap();
    assert_eq!(bytes_of(&draft.finish().unwrap()), &old[..500_000]);
}

#[test]
fn other_bytes_than_expected_leave_nothing() {
    let ground = ground();
    let whole = noise(300_000);
    let mut draft = ground.draft(&whole, None);
    draft.write(&whole[..299_999]).unwrap();
    assert!(matches!(draft.finish(), Err(StageError::Mismatch { size: 299_999, .. })), "too few");
    let mut draft = ground.draft(&whole, None);
    draft.write(&noise(300_000).iter().map(|byte| !byte).collect::<Vec<_>>()).unwrap();
    assert!(matches!(draft.finish(), Err(StageError::Mismatch { size: 300_000, .. })), "others");
    let mut draft = ground.draft(&whole, None);
    draft.write(&whole[1..]).unwrap();
    assert!(matches!(draft.write(&[0; 2]), Err(StageError::Mismatch { size: 300_001, .. })), "too many");
    let basis = file_of(&whole);
    assert!(matches!(draft.copy(&basis, 0, u64::MAX), Err(StageError::Mismatch { .. })), "far too many");
    assert!(matches!(draft.copy(&basis, 300_000, 1), Err(StageError::Source { .. })), "past the basis");
    drop(draft);
    assert!(ground.is_clear());
}

fn is_direct(file: &File) -> bool {
    rustix::fs::fcntl_getfl(file).unwrap().contains(OFlags::DIRECT)
}

#[test]
fn a_large_file_past_the_page_cache_has_every_byte_and_is_left_as_others_are() {
    let ground = ground();
    let old = noise(70 << 20);
    let basis = file_of(&old);
    for tail in [0, 1, 5_000] {
        let new = noise(1_234_567);
        let whole = [&old[..3_000_001], &new[..], &old[1 << 20..], &old[..tail]].concat();
        let mut draft = ground.draft(&whole, None);
        assert_eq!(is_direct(&draft.sink.to), draft.sink.direct.is_on());
        draft.copy(&basis, 0, 3_000_001).unwrap();
        new.chunks(100_000).for_each(|part| draft.write(part).unwrap());
        draft.copy(&basis, 1 << 20, 69 << 20).unwrap();
        draft.copy(&basis, 0, u64::try_from(tail).unwrap()).unwrap();
        let staged = draft.finish().unwrap();
        assert_eq!(staged.digest(), Digest::of(&whole), "{tail}");
        assert!(bytes_of(&staged) == whole, "{tail}");
        assert!(!is_direct(staged.as_file().unwrap()));
    }
}

#[test]
fn bytes_that_no_device_takes_directly_are_written_as_usual() {
    let file = tempfile::tempfile().unwrap();
    let mut direct = Direct::of(&file, u64::MAX);
    // No buffer of this length begins and ends at a block.
    let bytes = noise(3 * 4096 + 1);
    direct.write_all_at(&file, &bytes[1..], 0).unwrap();
    direct.write_all_at(&file, &bytes[..10], 3 * 4096).unwrap();
    assert!(!direct.is_on());
    let mut found = vec![0; 3 * 4096 + 10];
    file.read_exact_at(&mut found, 0).unwrap();
    assert_eq!(found, [&bytes[1..], &bytes[..10]].concat());
}

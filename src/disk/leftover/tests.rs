use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::*;
use crate::disk::apply::tests::{Ground, ground, path};
use crate::disk::stage::{Blank, Target};

const GIVER: PublicKey = PublicKey([7; 32]);

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    (0..length).map(|_| random.u8(..)).collect()
}

fn label(bytes: &[u8]) -> Label {
    Label::new(Digest::of(bytes), bytes.len() as u64, &GIVER)
}

impl Ground {
    fn incoming(&self, bytes: &[u8], target: Target) -> Blank {
        self.stage.incoming(&path("a"), target, label(bytes)).unwrap()
    }

    fn fill(&self, bytes: &[u8], target: Target) {
        let expect = Some((Digest::of(bytes), bytes.len() as u64));
        drop(self.incoming(bytes, target).fill(&mut &bytes[..], expect).unwrap());
    }

    fn left(&self, bytes: &[u8]) -> Option<u64> {
        let leftovers = Leftovers::of(&self.private, &GIVER);
        leftovers.open(Digest::of(bytes), bytes.len() as u64).map(|(_, bytes)| bytes)
    }

    fn partial(&self, label: &Label) -> std::path::PathBuf {
        self.tree.path().join(".csync/partial").join(label.to_string())
    }

    fn count(&self) -> usize {
        names_in(self.private.partial()).unwrap().len()
    }
}

#[test]
fn what_finds_no_place_is_left_over_if_it_is_worth_it() {
    for target in [Target::Free, Target::Taken] {
        for (case, bytes, want) in [
            ("tiny", noise(100), None),
            ("small", noise(10_000), Some(10_000)),
            ("large", noise(3_000_000), Some(3_000_000)),
        ] {
            let ground = ground();
            ground.fill(&bytes, target);
            assert_eq!(ground.left(&bytes), want, "{case} {target:?}");
            assert_eq!(ground.left_in_stage(), 0, "{case} {target:?}");
            let others = Leftovers::of(&ground.private, &PublicKey([8; 32]));
            assert!(
                others.open(Digest::of(&bytes), bytes.len() as u64).is_none(),
                "{case}: for its giver alone"
            );
        }
    }
}

#[test]
fn of_a_large_content_the_most_that_came_is_left_over() {
    let ground = ground();
    let bytes = noise(5_000_000);
    for (came, left) in [(500_000, None), (2_000_000, Some(2_000_000)), (1_500_000, Some(2_000_000))] {
        for target in [Target::Free, Target::Taken] {
            let (staged, file, _) = ground.incoming(&bytes, target).into_parts();
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 5_000_000).ok();
            file.write_all_at(&bytes[..came], 0).unwrap();
            drop((staged, file));
            assert_eq!(ground.left(&bytes), left, "{came} {target:?}");
            assert_eq!(ground.left_in_stage(), 0, "{came} {target:?}");
        }
    }
    let blocks = std::fs::metadata(ground.partial(&label(&bytes))).unwrap().blocks();
    assert!(blocks * 512 < 2_200_000, "room that was taken ahead is given back: {blocks}");
}

#[test]
fn what_turned_out_as_something_else_is_not_left_over() {
    let ground = ground();
    let bytes = noise(2_000_000);
    let expect = Some((Digest::of(b"other"), 2_000_000));
    assert!(ground.incoming(&bytes, Target::Free).fill(&mut &bytes[..], expect).is_err());
    assert_eq!((ground.count(), ground.left_in_stage()), (0, 0));
}

#[test]
fn after_a_kill_recovery_finds_what_was_being_staged() {
    for (case, target, came, want) in [
        ("part of a new file", Target::Free, 1_400_000, Some(1_400_000)),
        ("part of a replaced file", Target::Taken, 1_400_000, Some(1_400_000)),
        ("too little", Target::Taken, 1000, None),
    ] {
        let ground = ground();
        let bytes = noise(2_000_000);
        let (staged, file, _) = ground.incoming(&bytes, target).into_parts();
        file.write_all_at(&bytes[..came], 0).unwrap();
        // A run that was cut off and does not know it yet is not waited for.
        assert_eq!(ground.left(&bytes), Some(came as u64), "{case}");
        Box::leak(Box::new((staged, file)));
        ground.apply.recover().unwrap();
        assert_eq!(ground.left(&bytes), want, "{case}");
        assert_eq!(ground.left_in_stage(), 0, "{case}");
    }
    let ground = ground();
    let small = noise(9000);
    let staged = ground.incoming(&small, Target::Free).fill(&mut &small[..], None).unwrap();
    Box::leak(Box::new(staged));
    ground.apply.recover().unwrap();
    assert_eq!(ground.left(&small), Some(9000), "a small one that was verified");
}

#[test]
fn what_stands_in_the_tree_as_well_or_may_be_the_users_is_not_left_over() {
    let ground = ground();
    let bytes = noise(10_000);
    let staged = ground.incoming(&bytes, Target::Free).fill(&mut &bytes[..], None).unwrap();
    let name = staged.name().unwrap().to_owned();
    let at = ground.tree.path().join(".csync/stage").join(&name);
    std::fs::hard_link(&at, ground.tree.path().join("live")).unwrap();
    drop(staged);
    assert_eq!((ground.count(), ground.left_in_stage()), (0, 0), "another name of a live file");
    let mut staged = ground.incoming(&bytes, Target::Taken).fill(&mut &bytes[..], None).unwrap();
    staged.mark().unwrap();
    assert_eq!(ground.left(&bytes), None, "a marked one is not even read");
    drop(staged);
    assert_eq!((ground.count(), ground.left_in_stage()), (0, 0), "marked");
}

#[test]
fn what_others_planted_is_not_read_and_goes() {
    let bytes = noise(10_000);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), &bytes).unwrap();
    for case in ["symlink", "directory", "full directory", "fifo", "hard link"] {
        let ground = ground();
        let at = ground.partial(&label(&bytes));
        match case {
            "symlink" => std::os::unix::fs::symlink(secret.path(), &at).unwrap(),
            "directory" => std::fs::create_dir(&at).unwrap(),
            "full directory" => std::fs::create_dir_all(at.join("x")).unwrap(),
            "fifo" => rustix::fs::mknodat(
                ground.private.partial(),
                label(&bytes).to_string(),
                rustix::fs::FileType::Fifo,
                Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap(),
            _ => {
                let twin = ground.tree.path().join("twin");
                std::fs::write(&twin, &bytes).unwrap();
                std::fs::hard_link(twin, &at).unwrap();
            }
        }
        assert_eq!(ground.left(&bytes), None, "{case}");
        ground.fill(&bytes, Target::Free);
        assert_eq!(ground.left_in_stage(), 0, "{case}");
        clear(&ground.private, &GIVER);
        assert_eq!(ground.count(), usize::from(case == "full directory"), "{case}");
        assert_eq!(std::fs::read(secret.path()).unwrap(), bytes, "{case}");
    }
}

#[test]
fn leftovers_are_cleared_for_their_giver_and_swept_by_age_and_room() {
    let ground = ground();
    let (one, two) = (noise(10_000), noise(20_000));
    let other = PublicKey([8; 32]);
    ground.fill(&one, Target::Free);
    let foreign = Label::new(Digest::of(&two), 20_000, &other);
    std::fs::write(ground.partial(&foreign), &two).unwrap();
    clear(&ground.private, &GIVER);
    assert_eq!((ground.left(&one), ground.count()), (None, 1), "each giver for itself");
    std::fs::write(ground.tree.path().join(".csync/partial/junk"), "x").unwrap();
    let now = crate::disk::clock::now();
    sweep(&ground.private, now);
    assert_eq!(ground.count(), 1, "what is no leftover goes");
    sweep(&ground.private, Timestamp::new(now.secs + AGE_MAX_SECS - 60, 0));
    assert_eq!(ground.count(), 1, "young");
    sweep(&ground.private, Timestamp::new(now.secs + AGE_MAX_SECS + 60, 0));
    assert_eq!(ground.count(), 0, "old");
    let huge = ground.partial(&foreign);
    File::create(&huge).unwrap().set_len(BYTES_MAX).unwrap();
    sweep(&ground.private, now);
    assert_eq!(ground.count(), 1, "as much as there may be");
    ground.fill(&one, Target::Free);
    assert_eq!(ground.left(&one), None, "no more than there may be");
    File::create(&huge).unwrap().set_len(BYTES_MAX + 1).unwrap();
    sweep(&ground.private, now);
    assert_eq!(ground.count(), 0, "more than there may be");
}

#[test]
fn a_label_reads_back_and_there_is_one_way_to_write_it() {
    let written = label(b"x").to_string();
    assert_eq!(Label::parse(written.as_bytes()), Some(label(b"x")));
    let staged = format!("1f-2a-{written}");
    assert_eq!(Label::of(staged.as_bytes()), Some(label(b"x")));
    assert_eq!(Label::parse(staged.as_bytes()), None);
    for wrong in
        [written.to_uppercase(), written.replace("-1-", "-01-"), format!("{written}-"), "a-b-c".to_owned()]
    {
        assert_eq!(Label::parse(wrong.as_bytes()), None, "{wrong}");
        assert_eq!(Label::of(wrong.as_bytes()), None, "{wrong}");
    }
}

use super::*;

struct Ground {
    tree: tempfile::TempDir,
    root: Root,
    kept: Kept,
}

fn ground() -> Ground {
    let tree = tempfile::tempdir().unwrap();
    let root = Root::open(tree.path()).unwrap();
    let kept = Kept::new(Arc::new(Private::open_or_create(&root).unwrap()));
    Ground { tree, root, kept }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

impl Ground {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.tree.path().join(name), text).unwrap();
    }

    fn put(&self, batch: &str, at: &str, name: &str) -> Result<KeptAt, DiskError> {
        self.kept.put(batch.as_bytes(), &path(at), self.root.fd(), name.as_bytes())
    }
}

#[test]
fn what_is_kept_can_be_listed_read_and_removed() {
    let ground = ground();
    ground.write("x", "one");
    ground.write("y", "second");
    ground.put("b1", "d/e/x", "x").unwrap();
    ground.put("b2", "y", "y").unwrap();
    assert_eq!(ground.kept.batches().unwrap(), [b"b1"[..].into(), b"b2"[..].into()]);
    let batch = ground.kept.batch(b"b1").unwrap().unwrap();
    assert_eq!(batch.stat(&path("d/e/x")).unwrap().unwrap().size, 3);
    let listed: Vec<_> = ground.kept.list(b"b1").unwrap().map(|entry| entry.unwrap().0).collect();
    assert_eq!(listed, [path("d/e/x")]);
    assert_eq!(ground.kept.list(b"b9").unwrap().count(), 0);
    ground.kept.remove(b"b1", &path("d/e/x")).unwrap();
    ground.kept.remove(b"b1", &path("d/e/x")).unwrap();
    assert_eq!(ground.kept.batches().unwrap(), [b"b2"[..].into()]);
}

#[test]
fn nothing_kept_is_ever_replaced() {
    let ground = ground();
    for (case, first, second) in
        [("same path", "a", "a"), ("below a file", "b", "b/c"), ("file for a directory", "d/e", "d")]
    {
        ground.write("x", "one");
        ground.write("y", "second");
        ground.put("b", first, "x").unwrap();
        let kept = ground.put("b", second, "y").unwrap();
        assert_eq!((&kept.batch[..], kept.path), (&b"b-1"[..], path(second)), "{case}");
        let old = ground.tree.path().join(".csync/kept/b").join(first);
        assert_eq!(std::fs::read_to_string(old).unwrap(), "one", "{case}");
        ground.kept.flush().unwrap();
        ground.kept.remove(b"b", &path(first)).unwrap();
        ground.kept.remove(b"b-1", &path(second)).unwrap();
        assert!(ground.kept.batches().unwrap().is_empty(), "{case}");
    }
}

#[test]
fn a_file_with_other_links_is_kept_as_a_copy() {
    let ground = ground();
    ground.write("x", "one");
    std::fs::hard_link(ground.tree.path().join("x"), ground.tree.path().join("other")).unwrap();
    let before = ground.root.stat(&path("other")).unwrap().unwrap();
    let stat = ground.put("b", "x", "x").unwrap().stat;
    assert_ne!(stat.ino, before.ino);
    assert_eq!((stat.attributes, stat.links), (before.attributes, 1));
    ground.write("other", "changed through the other name");
    let kept = std::fs::read_to_string(ground.tree.path().join(".csync/kept/b/x")).unwrap();
    assert_eq!(kept, "one");
}

#[test]
fn a_batch_is_a_plain_name() {
    let ground = ground();
    ground.write("x", "one");
    for batch in ["", "..", "a/b", ".", "a.b"] {
        assert!(ground.put(batch, "x", "x").is_err(), "{batch:?}");
        assert!(ground.kept.batch(batch.as_bytes()).is_err(), "{batch:?}");
    }
}

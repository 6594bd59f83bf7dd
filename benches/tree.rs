//! What a tree costs: walking it, remembering it, reading what is remembered.

#![allow(missing_docs, reason = "the macros of criterion make public items")]
#![allow(clippy::expect_used, reason = "a bench may stop")]
#![allow(clippy::disallowed_methods, reason = "a bench makes its own files")]

use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use csync::disk::listing::Hides;
use csync::disk::root::Root;
use csync::disk::walk::{Walk, WalkOptions, Window};
use csync::engine::options::Select;
use csync::engine::selection;
use csync::model::entry::{Content, Digest};
use csync::model::metadata::{Attributes, Timestamp};
use csync::model::path::RelPath;
use csync::model::row::{Live, Record, Row, State};
use csync::model::version::{Dot, ReplicaId, VersionVector};
use csync::store::db::{Database, Mode};
use csync::store::error::StoreError;
use csync::store::index::Index;

const DIRS: u64 = 100;
const FILES_EACH: u64 = 100;
const ENTRIES: u64 = DIRS * FILES_EACH;

fn build(root: &Path) {
    for dir in 0..DIRS {
        let dir = root.join(format!("dir{dir:03}"));
        std::fs::create_dir(&dir).expect("a directory");
        (0..FILES_EACH).for_each(|file| drop(std::fs::File::create(dir.join(format!("file{file:03}")))));
    }
}

fn options(threads: usize) -> WalkOptions {
    WalkOptions {
        threads,
        cross_mounts: false,
        recurse: true,
        skip_private: true,
        start: RelPath::root(),
        scope: selection::scope(&Select::default(), false, &[]).expect("no rules"),
        hides: Hides::Both,
        only: None,
        window: Window::default(),
    }
}

fn walk(criterion: &mut Criterion) {
    let tree = tempfile::tempdir().expect("a directory");
    build(tree.path());
    let root = Arc::new(Root::open(tree.path()).expect("a root"));
    let mut group = criterion.benchmark_group("walk");
    group.throughput(Throughput::Elements(ENTRIES + DIRS));
    for threads in [0, 2] {
        group.bench_function(format!("{ENTRIES} files, {threads} threads ahead"), |bencher| {
            bencher.iter(|| Walk::new(Arc::<Root>::clone(&root), None, options(threads)).count());
        });
    }
}

fn records() -> Vec<(RelPath, Record)> {
    let attributes = Attributes { mode: 0o644, ..Attributes::default() };
    let record = |at: u64| {
        let path = format!("dir{:03}/file{:03}", at / FILES_EACH, at % FILES_EACH);
        let dot = Dot { replica: ReplicaId([1; 16]), counter: at + 1 };
        let content = Content::File { digest: Digest::of(&at.to_be_bytes()), size: at };
        let state = State::Live(Live::new(content, attributes, dot, Timestamp::new(1_750_000_000, 0)));
        let row = Row { vector: VersionVector::of(dot), state, losers: Vec::new() };
        let path = RelPath::new(path.as_bytes()).expect("a path");
        (path, Record { row, seq: at + 1, seen: None, residue: false })
    };
    (0..ENTRIES).map(record).collect()
}

fn put(db: &Database, records: &[(RelPath, Record)]) {
    let index = Index::of(db);
    db.batch(|| records.iter().try_for_each(|(path, record)| index.put(path, record)))
        .map_err(|error: StoreError| error)
        .expect("rows are written");
}

fn index(criterion: &mut Criterion) {
    let home = tempfile::tempdir().expect("a directory");
    let records = records();
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Elements(ENTRIES));
    let mut count = 0;
    group.bench_function("put 10000 new rows in one batch", |bencher| {
        let fresh = || {
            count += 1;
            Database::open(&home.path().join(format!("{count}.db")), Mode::Durable).expect("a database")
        };
        bencher.iter_batched_ref(fresh, |db| put(db, &records), BatchSize::PerIteration);
    });
    let db = Database::open(&home.path().join("read.db"), Mode::Durable).expect("a database");
    put(&db, &records);
    group.bench_function("read 10000 rows in order", |bencher| {
        bencher.iter(|| Index::of(&db).cursor(None).count());
    });
    group.bench_function("get 10000 rows by path", |bencher| {
        let get = |(path, _): &(RelPath, Record)| Index::of(&db).get(path).is_ok_and(|found| found.is_some());
        bencher.iter(|| records.iter().filter(|record| get(record)).count());
    });
}

criterion_group!(benches, walk, index);
criterion_main!(benches);

//! What a difference costs: cutting and hashing, searching a region for known blocks, compressing, and writing the whole.

#![allow(missing_docs, reason = "the macros of criterion make public items")]
#![allow(clippy::expect_used, reason = "a bench may stop")]

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

use csync::delta::chunk::{Chunker, chunks_of};
use csync::delta::compress::Compressor;
use csync::delta::diff::diff;
use csync::delta::signature::Signature;
use csync::disk::basis::Basis;
use csync::disk::draft::Draft;
use csync::disk::private::Private;
use csync::disk::root::Root;
use csync::disk::stage::{Stage, Target, flush_all};
use csync::model::entry::Digest;
use csync::model::path::RelPath;

const MIB: usize = 1 << 20;
/// As a receiver reads.
const READ_BYTES: usize = 256 << 10;
/// As the wire uses it.
const LEVEL: i32 = 3;

fn random(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

/// Lines of a log: words that come back, numbers that do not.
fn text(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(8);
    let mut text = Vec::with_capacity(bytes + 64);
    while text.len() < bytes {
        let word = ["open", "close", "read", "write"][random.usize(..4)];
        text.extend_from_slice(format!("{} {word} object {}\n", random.u32(..), random.u16(..)).as_bytes());
    }
    text.truncate(bytes);
    text
}

fn throughput(bytes: usize) -> Throughput {
    Throughput::Bytes(bytes.try_into().unwrap_or(u64::MAX))
}

fn chunk(criterion: &mut Criterion) {
    let content = random(32 * MIB);
    let mut group = criterion.benchmark_group("chunk");
    group.throughput(throughput(content.len()));
    group.bench_function("32 MiB in one piece", |bencher| bencher.iter(|| chunks_of(black_box(&content))));
    group.bench_function("32 MiB as it is read", |bencher| {
        bencher.iter(|| {
            let (mut chunker, mut count) = (Chunker::new(), 0u32);
            content.chunks(READ_BYTES).for_each(|piece| chunker.push(piece, &mut |_chunk| count += 1));
            chunker.finish(&mut |_chunk| count += 1);
            count
        });
    });
}

fn search(criterion: &mut Criterion) {
    let old = random(MIB);
    let signature = Signature::of(&old).expect("a region of this size");
    let mut edited = old.clone();
    edited.splice(300_000..300_010, *b"a few new bytes");
    let mut group = criterion.benchmark_group("diff");
    group.throughput(throughput(old.len()));
    for (case, new) in [("1 MiB, one insertion", edited), ("1 MiB, nothing known", text(MIB))] {
        let mut operations = Vec::new();
        group.bench_function(case, |bencher| {
            bencher.iter(|| {
                operations.clear();
                diff(&signature, black_box(&new), &mut operations)
            });
        });
    }
}

fn compress(criterion: &mut Criterion) {
    let mut compressor = Compressor::new().expect("a context");
    let mut group = criterion.benchmark_group("compress");
    group.throughput(throughput(MIB));
    for (case, bytes) in [("1 MiB of text", text(MIB)), ("1 MiB of noise", random(MIB))] {
        let mut frame = Vec::new();
        group.bench_function(case, |bencher| {
            bencher.iter(|| {
                frame.clear();
                if compressor.is_worth(black_box(&bytes)).expect("a probe") {
                    compressor.compress(&bytes, LEVEL, &mut frame).expect("a frame");
                }
                frame.len()
            });
        });
    }
}

/// A file that stays as it was, taken over from its basis and flushed: through the page cache, and past it.
fn draft(criterion: &mut Criterion) {
    let tree = tempfile::tempdir().expect("a directory");
    let root = Arc::new(Root::open(tree.path()).expect("a root"));
    let private = Arc::new(Private::open_or_create(&root).expect("a private directory"));
    let stage = Stage::new(root, private);
    let path = RelPath::new(b"file").expect("a path");
    let mut group = criterion.benchmark_group("draft");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    for (case, size) in [("63 MiB, with pages", 63 * MIB), ("64 MiB, without", 64 * MIB)] {
        let old = random(size);
        let mut basis = tempfile::tempfile_in(tree.path()).expect("a basis");
        basis.write_all(&old).and_then(|()| basis.sync_all()).expect("write the basis");
        let basis = Basis::of([basis]).expect("a basis");
        let (digest, length) = (Digest::of(&old), u64::try_from(size).expect("a length"));
        group.throughput(throughput(size));
        group.bench_function(case, |bencher| {
            bencher.iter(|| {
                let blank = stage.file(&path, Target::Free).expect("a blank");
                let mut draft = Draft::begin(blank, digest, length, None).expect("room");
                draft.copy(&basis, 0, length).expect("a copy");
                flush_all(vec![draft.finish().expect("the digest")], 1)
            });
        });
    }
}

criterion_group!(benches, chunk, search, compress, draft);
criterion_main!(benches);

//! What a guest asks for that it must not get: paths, rows, contents, differences.

use std::os::unix::ffi::OsStrExt as _;

use csync::model::entry::{Content, Digest, Kind};
use csync::model::path::RelPath;
use csync::transport::message::{
    Act, Block, Carried, Change, Code, Fetch, Item, List, Message, Names, Right, Step, StepResult,
};

use crate::contents::{bomb, bomb_frame, difference, equal_sums, never_reads, parts, void, void_of};
use crate::peer::{End, bytes_item, forged, framed, number_item, packed, raw};
use crate::world::{
    LARGE_BYTES, PROTOCOL, Visitor, World, blocks, end_of, file, link, make, nothing, path, same, whole,
};
use crate::{Case, Expected};

/// Stands where something that has no place in a message is put.
const PLACE: &str = "placeholder";
const CHANGE: u8 = 19;
const FETCH: u8 = 18;

pub(crate) const CASES: &[Case] = &[
    Case("H24", "`..` in a change, a fetch, a list, a source, a rename", Expected::One(PROTOCOL), |world| {
        everywhere(world, &[b"../outside/x", b"dir/../../outside/x", b".."])
    }),
    Case("H25", "absolute paths", Expected::One(PROTOCOL), |world| {
        everywhere(world, &[b"/etc/csync-was-here", b"/"])
    }),
    Case("H26", "empty names, `.`, NUL", Expected::One(PROTOCOL), |world| {
        everywhere(world, &[b"dir//x", b"dir/", b".", b"dir/./x", b"a\0b"])
    }),
    Case("H27", "a name of 256 B, a path of 5,000 B, 10,000 deep", Expected::One(PROTOCOL), |world| {
        everywhere(
            world,
            &[&[b'n'; 256], &[b'p'; 5000], &b"d/".repeat(257)[..513], &b"d/".repeat(10_000)[..19_999]],
        )
    }),
    Case("H28", "our own names", Expected::One(PROTOCOL), |world| {
        everywhere(world, &[b".csync", b".csync/stage/x", b".csync/versions", b"dir/.csync/root"])
    }),
    Case("H29", "a symlink, then a child beneath it", Expected::One(End::Refused(Code::Missing)), |world| {
        let mut visitor = world.visitor();
        let steps = vec![make("ok-link", link("../outside")), make("ok-link/child", file(b"child"))];
        last(visitor.change(steps, &|_| whole(&[b"child"])))
    }),
    Case(
        "H29b",
        "a child beneath a symlink that stood there",
        Expected::One(End::Refused(Code::Missing)),
        |world| world.visitor().step(make("way-out/child", file(b"child")), &|_| whole(&[b"child"])),
    ),
    Case(
        "H29c",
        "a symlink in place of a directory, then a child",
        Expected::Any(&[End::Refused(Code::Missing), End::Changed]),
        |world| {
            let mut visitor = world.visitor();
            done(&visitor.change(vec![make("ok-dir", Content::Dir)], &nothing));
            let expect = visitor.seq("ok-dir");
            let steps = vec![
                Step { expect, ..make("ok-dir", link("../outside")) },
                make("ok-dir/child", file(b"child")),
            ];
            last(visitor.change(steps, &|_| whole(&[b"child"])))
        },
    ),
    Case("H30", "one path twice, of two types: the later stands", Expected::One(End::Done), |world| {
        last(
            world
                .visitor()
                .change(vec![make("ok-twice", Content::Dir), make("ok-twice", link("x"))], &nothing),
        )
    }),
    Case("H31", "a child without a parent", Expected::One(End::Refused(Code::Missing)), |world| {
        world.visitor().step(make("no/such/dir", Content::Dir), &nothing)
    }),
    Case("H31b", "a child of a file", Expected::One(End::Refused(Code::Missing)), |world| {
        world.visitor().step(make("kept/child", Content::Dir), &nothing)
    }),
    Case(
        "H32",
        "the end of the root",
        Expected::Any(&[End::Refused(Code::Unacceptable), PROTOCOL]),
        |world| {
            let remove = Step { path: RelPath::root(), expect: 0, act: Act::Remove { moved_to: None } };
            world.visitor().step(remove, &nothing)
        },
    ),
    Case(
        "H32b",
        "a file in place of the root",
        Expected::Any(&[End::Refused(Code::Unacceptable), PROTOCOL]),
        |world| world.visitor().step(make("", link("x")), &nothing),
    ),
    Case("H33", "a removal of what the asker does not know", Expected::One(End::Changed), |world| {
        let mut visitor = world.visitor();
        let known = visitor.seq("kept");
        let removals = [0, known - 1, known + 1, 1 << 60].map(|expect| remove("kept", expect));
        let mut change = visitor.batch(removals.into());
        if let Message::Change(change) = &mut change {
            change.deletes = 1;
        }
        let results = visitor.play(&change, &nothing).expect("an outcome");
        assert!(results.iter().all(|result| end_of(result) == End::Changed), "{results:?}");
        End::Changed
    }),
    Case(
        "H33b",
        "a directory that holds something",
        Expected::One(End::Refused(Code::Unacceptable)),
        |world| {
            let mut visitor = world.visitor();
            let expect = visitor.seq("dir");
            visitor.step(Step { expect, ..make("dir", link("../outside")) }, &nothing)
        },
    ),
    Case("H35", "a counter of 2^64-1", Expected::One(PROTOCOL), |world| {
        let visitor = world.visitor();
        let step = Step { expect: 0x1234_5678, ..make("ok-x", Content::Dir) };
        let frame = forged(&one(step), &number_item(0x1234_5678), &number_item(u64::MAX));
        visitor.ask(&frame)
    }),
    Case("H37", "10 million steps in one batch", Expected::One(PROTOCOL), |world| {
        world.visitor().ask(&raw(CHANGE, &packed(&[0x85, 0, 0x9a, 0, 0x98, 0x96, 0x80])))
    }),
    Case("H37b", "10 million contents, a list without end", Expected::One(PROTOCOL), |world| {
        let ends = [&[0x81, 0x9a, 0, 0x98, 0x96, 0x80][..], &[0x81, 0x9f]]
            .map(|body| world.visitor().ask(&raw(FETCH, &packed(body))));
        same(&ends)
    }),
    Case(
        "H39b",
        "a change in a folder opened to be read",
        Expected::One(End::Refused(Code::Denied)),
        |world| {
            let mut visitor = world.visitor_of("data", Right::Read).expect("it is granted");
            let shown = world
                .visitor_of("shown", Right::Read)
                .expect("it is granted")
                .step(make("x", Content::Dir), &nothing);
            same(&[visitor.step(make("x", Content::Dir), &nothing), shown])
        },
    ),
    Case("H40", "a size of 2^63", Expected::One(PROTOCOL), |world| {
        let sized = make("ok-x", Content::File { digest: Digest([1; 32]), size: 0x1234_5678_9abc });
        world.visitor().ask(&forged(&one(sized), &number_item(0x1234_5678_9abc), &number_item(1 << 63)))
    }),
    Case(
        "H40b",
        "a size of 2^62, which no disk has",
        Expected::One(End::Refused(Code::Unacceptable)),
        |world| {
            let sized = make("ok-x", Content::File { digest: Digest([1; 32]), size: 1 << 62 });
            world.visitor().step(sized, &|_| whole(&[b"short"]))
        },
    ),
    Case("H40c", "times beyond all", Expected::One(PROTOCOL), |world| {
        let mut dated = make("ok-x", Content::Dir);
        if let Act::Make { attributes, .. } = &mut dated.act {
            attributes.mtime.secs = 0x1234_5678_9abc;
            attributes.mtime.nanos = 999_999_998;
        }
        let one = one(dated);
        let late = forged(&one, &number_item(0x1234_5678_9abc), &number_item(1 << 60));
        let nanos = forged(&one, &number_item(999_999_998), &number_item(1_000_000_000));
        same(&[world.visitor().ask(&late), world.visitor().ask(&nanos)])
    }),
    Case("H41", "a set-id file", Expected::One(End::Done), |world| {
        use std::os::unix::fs::PermissionsExt as _;
        let mut visitor = world.visitor();
        let mut step = make("ok-setid", file(b"x"));
        if let Act::Make { attributes, which, .. } = &mut step.act {
            attributes.mode = 0o6755;
            *which = Carried { mode: true, user: true, group: true, mtime: true };
        }
        let end = visitor.step(step, &|_| whole(&[b"x"]));
        let mode =
            std::fs::metadata(world.root().join("ok-setid")).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "the bits are stripped");
        end
    }),
    Case("H41b", "devices and sockets", Expected::One(End::Refused(Code::Unacceptable)), |world| {
        let contents = [
            Content::Device { kind: Kind::CharDevice, rdev: 0x0101 },
            Content::Device { kind: Kind::BlockDevice, rdev: 0x0800 },
            Content::Socket,
        ];
        let steps = contents.map(|content| make("ok-dev", content)).into();
        let results = world.visitor().change(steps, &nothing).expect("an outcome");
        same(&results.iter().map(end_of).collect::<Vec<_>>())
    }),
    Case("H43", "link targets of 64 KiB, empty, with NUL", Expected::One(PROTOCOL), |world| {
        let step = one(make("ok-x", link(PLACE)));
        let targets = [vec![b't'; 60_000], Vec::new(), b"a\0b".to_vec()];
        same(&targets.map(|target| {
            world.visitor().ask(&forged(&step, &bytes_item(PLACE.as_bytes()), &bytes_item(&target)))
        }))
    }),
    Case("H46", "contents that are not recorded", Expected::One(End::Ignored), |world| {
        let visitor = world.visitor();
        for (at, seq) in [("nowhere", 1), ("way-out/kept", 1), ("dir", 1), ("kept", 1 << 50), ("way-out", 1)]
        {
            assert_eq!(void(&visitor, at, seq), Some(1), "{at}");
        }
        End::Ignored
    }),
    Case("H46b", "ids beyond what was asked for", Expected::One(End::Ignored), |world| {
        let visitor = world.visitor();
        assert_eq!(void_of(&visitor, Vec::new(), 7), Some(1));
        assert_eq!(void_of(&visitor, Vec::new(), u32::MAX), Some(1));
        End::Ignored
    }),
    Case(
        "H48",
        "ranges past the end, of no bytes, that overflow, that overlap",
        Expected::One(PROTOCOL),
        |world| {
            let size = u64::try_from(LARGE_BYTES).expect("64 bits");
            let ranges: [&[(u64, u64)]; 6] = [
                &[(size, 1)],
                &[(0, size + 1)],
                &[(0, 0)],
                &[(u64::MAX, 2)],
                &[(0, 5000), (4999, 10)],
                &[(0, 4 << 30)],
            ];
            same(
                &ranges.map(|ranges| {
                    parts(&world.visitor_of("data", Right::Read).expect("granted"), ranges, &[])
                }),
            )
        },
    ),
    Case("H49", "wrong bytes for a digest", Expected::One(End::Refused(Code::Mismatch)), |world| {
        world.visitor().step(make("ok-x", file(b"right")), &|_| whole(&[b"wrong"]))
    }),
    Case("H50", "too few bytes", Expected::One(End::Refused(Code::Mismatch)), |world| {
        world.visitor().step(make("ok-x", file(b"right")), &|_| whole(&[b"rig"]))
    }),
    Case("H50b", "too many bytes", Expected::One(PROTOCOL), |world| {
        world.visitor().step(make("ok-x", file(b"right")), &|_| whole(&[b"right and more"]))
    }),
    Case("H50c", "blocks that end in the middle", Expected::One(PROTOCOL), |world| {
        world.visitor().step(make("ok-x", file(b"right")), &|_| blocks(&[5, 0, 0, 0, b'r']))
    }),
    Case("H50d", "blocks that go on after the last content", Expected::One(End::Done), |world| {
        world.visitor().step(make("ok-more", file(b"right")), &|_| whole(&[b"right", b"right"]))
    }),
    Case("H51", "800 MiB out of 25 KiB", Expected::One(PROTOCOL), |world| {
        bomb(world, 1 << 20, &bomb_frame())
    }),
    Case("H51b", "a window of 2 GiB", Expected::One(PROTOCOL), |world| {
        bomb(world, 5, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x29, 0, 0, b'r', b'i', b'g', b'h', b't'])
    }),
    Case("H52", "copies past the basis", Expected::Any(&[PROTOCOL, End::Refused(Code::Mismatch)]), |world| {
        difference(
            world,
            &[b"\x02\xff\xff\xff\xff\x0f", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", b"\x80\x01\x00"],
        )
    }),
    Case(
        "H53",
        "more bytes than were declared",
        Expected::Any(&[PROTOCOL, End::Refused(Code::Mismatch)]),
        |world| {
            let long = [&b"\x81\x80\xc0\x00"[..], &[b'x'; 4096]].concat();
            difference(
                world,
                &[
                    &long,
                    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x",
                    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                ],
            )
        },
    ),
    Case("H54", "blocks of no bytes, and longer than they say", Expected::One(PROTOCOL), |world| {
        let lengths = [(0, 0), (0, 5), (5, 0), (4 << 20, 5), (u32::MAX, 5)];
        same(&lengths.map(|(length, held)| {
            let block = Block { length, packed: false, bytes: vec![0; held] };
            world
                .visitor()
                .step(make("ok-x", file(b"right")), &|_| vec![framed(&Message::Block(block.clone()))])
        }))
    }),
    Case("H55", "a signature of equal sums", Expected::One(End::Done), equal_sums),
    Case(
        "H56",
        "a content that changes while it is given",
        Expected::One(End::Refused(Code::Internal)),
        |world| {
            let half = [&5u32.to_le_bytes()[..], b"right", &[0, 0, 0, 0, 1]].concat();
            world.visitor().step(make("ok-x", file(b"right and more")), &|_| blocks(&half))
        },
    ),
    Case("H58", "batches out of order", Expected::One(PROTOCOL), |world| {
        let mut visitor = world.visitor();
        done(&visitor.change(vec![make("ok-first", Content::Dir)], &nothing));
        let again = |number| {
            let steps = vec![make("ok-second", Content::Dir)];
            Message::Change(Change {
                number,
                steps,
                names: Names::default(),
                deletes: 0,
                approved: false,
                whole: false,
            })
        };
        let back = visitor.ask(&framed(&again(0)));
        let ahead = world.visitor().ask(&framed(&again(1 << 40)));
        same(&[back, ahead])
    }),
    Case("H59", "a reader that never reads", Expected::One(End::Ignored), never_reads),
    Case("H60", "everything is to be deleted", Expected::One(End::Refused(Code::Held)), |world| {
        delete_all(world, true)
    }),
    Case("H60b", "everything, and only one is said", Expected::One(End::Refused(Code::Held)), |world| {
        delete_all(world, false)
    }),
    Case("H60c", "everything is to be emptied", Expected::One(End::Refused(Code::Held)), empty_all),
    Case("H58b", "a batch whose forerunner does not come", Expected::One(End::Ignored), |world| {
        let visitor = world.visitor();
        let mut stream = visitor.line.stream();
        let mut change = one(make("ok-x", Content::Dir));
        if let Message::Change(change) = &mut change {
            change.number = 1;
        }
        stream.send(&change);
        assert!(matches!(stream.hear(), Some(Message::Working(_))), "it is not told that it waits");
        End::Ignored
    }),
    Case("H63", "results of 3 MiB", Expected::One(End::Changed), heavy_results),
];

fn remove(at: &str, expect: u64) -> Step {
    Step { path: path(at), expect, act: Act::Remove { moved_to: None } }
}

/// A batch of one step.
fn one(step: Step) -> Message {
    Message::Change(Change {
        number: 0,
        steps: vec![step],
        names: Names::default(),
        deletes: 0,
        approved: false,
        whole: false,
    })
}

fn last(results: Result<Vec<StepResult>, End>) -> End {
    results.map_or_else(|end| end, |results| end_of(results.last().expect("one at least")))
}

#[track_caller]
fn done(results: &Result<Vec<StepResult>, End>) {
    assert!(
        results.as_ref().is_ok_and(|results| results.iter().all(|result| end_of(result) == End::Done)),
        "{results:?}"
    );
}

/// Puts each of `paths` wherever a request has a path.
fn everywhere(world: &World, paths: &[&[u8]]) -> End {
    let place = || path(PLACE);
    let mut from = make("ok-x", file(b"x"));
    if let Act::Make { from, .. } = &mut from.act {
        *from = Some(place());
    }
    let messages = [
        one(make(PLACE, Content::Dir)),
        one(from),
        one(Step { act: Act::Remove { moved_to: Some(place()) }, ..remove("kept", 1) }),
        Message::Fetch(Fetch { items: vec![Item { path: place(), seq: 1 }], plain: false }),
        Message::List(List { since: 0, below: place(), after: None }),
        Message::List(List { since: 0, below: RelPath::root(), after: Some(place()) }),
    ];
    let mut ends = Vec::new();
    for hostile in paths {
        for message in &messages {
            let frame = forged(message, &bytes_item(PLACE.as_bytes()), &bytes_item(hostile));
            ends.push(world.visitor().ask(&frame));
        }
    }
    same(&ends)
}

fn made_many(visitor: &mut Visitor, world: &World) {
    let names: Vec<String> = (0..60).map(|at| format!("many-{at}")).collect();
    let steps = names.iter().map(|name| make(name, file(b"x"))).collect();
    visitor
        .change(steps, &|asked| match asked {
            Message::Whole(ids) => whole(&vec![&b"x"[..]; ids.len()]),
            _ => Vec::new(),
        })
        .expect("an outcome");
    assert!(world.root().join("many-59").exists());
}

fn delete_all(world: &World, says_so: bool) -> End {
    made_many(&mut world.visitor(), world);
    let mut visitor = world.visitor();
    let rows = visitor.list("", 0);
    let files =
        rows.iter().filter(|listed| listed.row.live().is_some_and(|live| !live.content.value.is_dir()));
    // The last first: what every case needs stands at the beginning.
    let mut steps: Vec<Step> = files.map(|listed| remove(&listed.path.to_string(), listed.seq)).collect();
    steps.reverse();
    let all = u64::try_from(steps.len()).expect("64 bits");
    let mut ends = Vec::new();
    // One by one, so that no batch alone is too many.
    for step in steps {
        let mut change = visitor.batch(vec![step]);
        if let Message::Change(change) = &mut change {
            change.deletes = if says_so { all } else { 1 };
        }
        ends.push(last(visitor.play(&change, &nothing)));
    }
    let gone = ends.iter().filter(|end| **end == End::Done).count();
    assert!(gone <= if says_so { 0 } else { 20 }, "{gone} of {all} are gone");
    *ends.last().expect("one at least")
}

fn empty_all(world: &World) -> End {
    made_many(&mut world.visitor(), world);
    let mut visitor = world.visitor();
    let rows = visitor.list("", 0);
    let files =
        rows.iter().filter(|listed| listed.row.live().is_some_and(|live| live.content.value.size() > 0));
    let steps: Vec<Step> = files
        .map(|listed| Step { expect: listed.seq, ..make(&listed.path.to_string(), file(b"")) })
        .collect();
    let give = |asked: &Message| match asked {
        Message::Whole(ids) => whole(&vec![&b""[..]; ids.len()]),
        _ => Vec::new(),
    };
    last(visitor.change(steps, &give))
}

/// Wants to make what stands there already; what does is told, and far more of it than one message holds.
fn heavy_results(world: &World) -> End {
    let names: Vec<String> = (0..700).map(|at| format!("many-links-{at:03}")).collect();
    let mut rng = fastrand::Rng::with_seed(9);
    for name in &names {
        let target: Vec<u8> = (0..4000).map(|_| rng.u8(1..)).collect();
        std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), world.root().join(name))
            .expect("a link");
    }
    let steps = names.iter().map(|name| make(name, file(b"x"))).collect();
    let results = world.visitor().change(steps, &|asked| match asked {
        Message::Whole(ids) => whole(&vec![&b"x"[..]; ids.len()]),
        _ => Vec::new(),
    });
    let results = results.expect("an outcome");
    assert_eq!(results.len(), names.len());
    same(&results.iter().map(end_of).collect::<Vec<_>>())
}

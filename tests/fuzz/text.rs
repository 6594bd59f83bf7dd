//! What people, disks and settings files say.

use std::path::Path;

use csync::config::check::{Here, Seen, check};
use csync::engine::marker::Marker;
use csync::model::key::PublicKey;
use csync::model::path::{DEPTH_MAX, PATH_BYTES_MAX, RelPath, escape};
use csync::model::version::ReplicaId;
use csync::rules::filter::FilterBuilder;
use csync::rules::rule::Side;
use csync::store::pack::pack_record;
use csync::store::slots::Slots;
use csync::store::unpack::unpack_record;

/// Two paths, one a line: what is accepted stays below the root, and every relation agrees with every other.
pub(crate) fn path(data: &[u8]) -> bool {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (first, second) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let shown = escape(first);
    assert!(!shown.chars().any(char::is_control), "{shown:?} can steer a terminal");
    let (Ok(first), Ok(second)) = (checked(first), checked(second)) else { return false };
    assert_eq!(first.cmp(&second), first.key().cmp(&second.key()));
    assert_eq!(first.cmp(&second), second.cmp(&first).reverse());
    assert_eq!(first.is_below(&second), first.strip(&second).is_some());
    if let Ok(joined) = first.append(&second) {
        assert_eq!(joined.is_below(&first), !second.is_root());
        assert!(second.is_root() || joined.strip(&first).as_ref() == Some(&second));
    }
    true
}

fn checked(bytes: &[u8]) -> Result<RelPath, ()> {
    let path = RelPath::new(bytes).map_err(drop)?;
    assert_eq!(path.as_bytes(), bytes);
    assert!(bytes.len() <= PATH_BYTES_MAX && path.depth() <= DEPTH_MAX);
    assert!(
        path.is_root() || bytes.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
    );
    assert!(!bytes.contains(&0));
    assert_eq!(RelPath::from_key(&path.key()).as_ref(), Ok(&path));
    if let Some(parent) = path.parent() {
        assert_eq!(parent.join(path.name()).as_ref(), Ok(&path));
    }
    let mut above = RelPath::root();
    for ancestor in path.ancestors() {
        assert!(ancestor.is_below(&above) && path.is_below(&ancestor) && above < ancestor);
        above = ancestor;
    }
    Ok(path)
}

/// A text that is taken for a key is the text of that key and of no other.
pub(crate) fn key(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let key = PublicKey::parse(text);
    key.inspect(|key| assert_eq!(key.to_string(), text)).is_ok()
}

/// A marker that is understood is the same after it was written anew.
pub(crate) fn marker(data: &[u8]) -> bool {
    let marker = Marker::parse(data);
    marker
        .inspect(|marker| assert_eq!(Marker::parse(marker.to_text().as_bytes()).as_ref(), Ok(marker)))
        .is_ok()
}

/// A settings file gives settings or problems, which lie inside of it.
pub(crate) fn config(data: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(data) else { return false };
    let here = Here { key: None, state_dir: Path::new("/var/lib/csync") };
    let (_, problems) = check(text, here, |_| Seen::Dir);
    let lines = text.matches('\n').count() + 1;
    for problem in &problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem}");
        assert!(problem.column <= text.len() + 1, "{problem}");
    }
    problems.iter().all(|problem| problem.warning)
}

/// Rules, an empty line, paths: both sides get an answer, the same each time, and the root is never excluded.
pub(crate) fn filter(data: &[u8]) -> bool {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut builder = FilterBuilder::new(false);
    for rule in lines.by_ref().take_while(|line| !line.is_empty()) {
        let merged = builder.rule(rule).map(|request| {
            request.is_none_or(|request| builder.merge(request, b"- *.merged\n+ */\n").is_ok())
        });
        if !merged.is_ok_and(|merged| merged) {
            return false;
        }
    }
    let Ok(above) = builder.build() else { return false };
    let files: Vec<_> =
        above.merge_names().map(|name| (name.to_vec(), b"- *.found\n!\n+ /here\n".to_vec())).collect();
    let Ok(scope) = above.enter(&RelPath::root(), &files) else { return false };
    for path in lines.filter_map(|line| RelPath::new(line).ok()) {
        for is_dir in [false, true] {
            let sides =
                [Side::Sender, Side::Receiver].map(|side| scope.verdict(&path, is_dir, side).is_excluded());
            assert_eq!(scope.is_frozen(&path, is_dir), sides.contains(&true));
            assert!(!path.is_root() || sides == [false, false]);
            assert!(scope.sparing(&path).is_frozen(&path, is_dir) || path.is_root());
        }
    }
    true
}

/// A row that a database gives back is the same after it was stored anew.
pub(crate) fn row(data: &[u8]) -> bool {
    let mut slots = Slots::saved(vec![ReplicaId([1; 16]), ReplicaId([2; 16]), ReplicaId([3; 16])]);
    let Ok(record) = unpack_record(data, 7, &slots) else { return false };
    let packed = pack_record(&record, &mut slots);
    assert_eq!(unpack_record(&packed, 7, &slots), Ok(record));
    assert_eq!(slots.unsaved().count(), 0, "a replica that the database does not know");
    true
}

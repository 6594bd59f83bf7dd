//! Contents that came from a peer and had no place yet when a run broke off: the next run takes them up.
//!
//! What comes from a peer is staged under a name that says what it is to be. What is left of it, be it whole or in part,
//! goes to `.csync/partial/` under DIGEST-SIZE-GIVER: at once when a run breaks off, by recovery after a kill. Nothing
//! of it was flushed and nobody believes it: it is only read, and what is made of it is verified as if it had come over
//! the wire. It counts for whoever gave it and for nobody else, so that nobody learns from it what others sent.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::disk::mark::parse_digest;
use crate::disk::private::{Private, names_in};
use crate::disk::root::{open_file_at, stat_at};
use crate::model::entry::{Digest, Kind};
use crate::model::key::PublicKey;
use crate::model::metadata::{Stat, Timestamp};

/// A part of a content is kept from this size on. A file of which a part may be kept has a name from its first byte on.
const PART_BYTES_MIN: u64 = 1 << 20;
/// A smaller content is sent again rather than kept.
const WHOLE_BYTES_MIN: u64 = 4 << 10;
/// All leftovers of a root take at most about so much ...
const BYTES_MAX: u64 = 64 << 30;
/// ... where each counts so much at least.
const BYTES_EACH: u64 = 1 << 20;
/// After so many seconds nobody will ask for it any more.
const AGE_MAX_SECS: i64 = 7 * 24 * 3600;

/// What a content is to be, and who gives it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Label {
    digest: Digest,
    size: u64,
    giver: u64,
}

impl Label {
    /// Returns the label of the content with this digest and size from `giver`.
    #[must_use]
    pub fn new(digest: Digest, size: u64, giver: &PublicKey) -> Self {
        Self { digest, size, giver: short(giver) }
    }

    /// Returns what the `name` of a staged entry says; `None` for one that came from no peer.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        Self::parse(name.splitn(3, |b| *b == b'-').nth(2)?)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = text.split(|b| *b == b'-');
        let (digest, size, giver) = (fields.next()?, fields.next()?, fields.next()?);
        let number = |text| u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok();
        let label = Self { digest: parse_digest(digest)?, size: number(size)?, giver: number(giver)? };
        // One way to write it, so that one name stands for it.
        (label.to_string().as_bytes() == text).then_some(label)
    }

    /// Whether a part of the content is worth keeping.
    pub(crate) fn is_long(&self) -> bool {
        self.size >= PART_BYTES_MIN
    }

    /// Whether the whole content is.
    pub(crate) fn is_worth_a_name(&self) -> bool {
        self.size >= WHOLE_BYTES_MIN
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}-{:016x}", self.digest, self.size, self.giver)
    }
}

/// Returns what stands for `giver` in a name.
fn short(giver: &PublicKey) -> u64 {
    giver.0.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Returns a name for the stage that was not used yet, which carries `label`.
pub(crate) fn name(private: &Private, label: Option<&Label>) -> String {
    let name = private.next_name();
    label.map_or(name.clone(), |label| format!("{name}-{label}"))
}

/// What is left over of the contents of one giver, as it was when this was made. Files that are being staged are among
/// it: their run may have been cut off and not know it yet.
#[derive(Debug)]
pub struct Leftovers {
    private: Arc<Private>,
    giver: PublicKey,
    found: BTreeMap<Label, Vec<Box<[u8]>>>,
}

impl Leftovers {
    /// Returns what `private` has of `giver`. What cannot be listed is not there.
    #[must_use]
    pub fn of(private: &Arc<Private>, giver: &PublicKey) -> Self {
        let mut found: BTreeMap<Label, Vec<Box<[u8]>>> = BTreeMap::new();
        let mut find = |label: Option<Label>, name| {
            if let Some(label) = label.filter(|label| label.giver == short(giver)) {
                found.entry(label).or_default().push(name);
            }
        };
        for name in names_in(private.partial()).unwrap_or_default() {
            find(Label::parse(&name), name);
        }
        // A mark has the name of what it marks up to its dot: behind that name may be something of the user's.
        let staged = names_in(private.stage()).unwrap_or_default();
        for (at, name) in staged.iter().enumerate() {
            let is_marked =
                staged.get(at + 1).is_some_and(|next| next.starts_with(&[&name[..], b"."].concat()));
            find(Label::of(name).filter(|_| !is_marked), name.clone());
        }
        Self { private: Arc::clone(private), giver: *giver, found }
    }

    /// Returns the most that there is of the content with this digest and size, and its bytes.
    #[must_use]
    pub fn open(&self, digest: Digest, size: u64) -> Option<(File, u64)> {
        let names = self.found.get(&Label::new(digest, size, &self.giver))?;
        let open = |name: &[u8]| {
            let dir =
                if Label::parse(name).is_some() { self.private.partial() } else { self.private.stage() };
            open_file_at(dir, name).ok().filter(|(_, stat)| stat.links <= 1 && stat.size > 0)
        };
        let files = names.iter().filter_map(|name| open(name)).map(|(file, stat)| (file, stat.size));
        files.max_by_key(|(_, bytes)| *bytes)
    }

    /// Removes what is left over of that content.
    pub fn remove(&self, digest: Digest, size: u64) {
        let label = Label::new(digest, size, &self.giver);
        if self.found.contains_key(&label) {
            remove(&self.private, label.to_string().as_bytes());
        }
    }
}

/// Keeps what `private` has staged under `name` of the content that `label` says, if it is worth it and more than was
/// kept of it before. Returns whether it is in the stage no more.
pub(crate) fn keep(private: &Private, name: &[u8], label: &Label) -> bool {
    let (stage, partial, kept) = (private.stage(), private.partial(), label.to_string());
    let Ok(found) = stat_at(stage, name) else { return false };
    let is_whole = found.size == label.size && label.is_worth_a_name();
    if found.kind != Kind::File || found.links != 1 || !(is_whole || found.size >= PART_BYTES_MIN) {
        return false;
    }
    let more = charge(&found);
    let has_room = || private.left_over.load(Ordering::Relaxed).saturating_add(more) <= BYTES_MAX;
    let has_more =
        stat_at(partial, kept.as_bytes()).is_ok_and(|old| old.kind == Kind::File && old.size > found.size);
    if has_more || !has_room() {
        return false;
    }
    // Room that was taken ahead is given back.
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if !is_whole && let Ok(file) = rustix::fs::openat(stage, name, flags, Mode::empty()) {
        rustix::fs::ftruncate(file, found.size).ok();
    }
    let is_kept = rustix::fs::renameat(stage, name, partial, kept.as_str()).is_ok();
    if is_kept {
        private.left_over.fetch_add(more, Ordering::Relaxed);
    }
    is_kept
}

/// Removes everything that is left over of the contents of `giver`: a run with it has ended whole.
pub fn clear(private: &Private, giver: &PublicKey) {
    for name in names_in(private.partial()).unwrap_or_default() {
        if Label::parse(&name).is_none_or(|label| label.giver == short(giver)) {
            remove(private, &name);
        }
    }
}

/// Removes everything that is left over, whoever gave it: the room is needed.
pub fn clear_all(private: &Private) {
    names_in(private.partial()).unwrap_or_default().iter().for_each(|name| remove(private, name));
}

/// Removes what is too old, was put there by others, or is more than all leftovers may take, the oldest first.
pub fn sweep(private: &Private, now: Timestamp) {
    let mut found: Vec<(Timestamp, u64, Box<[u8]>)> = Vec::new();
    for name in names_in(private.partial()).unwrap_or_default() {
        let stat = stat_at(private.partial(), &name).ok().filter(|stat| stat.kind == Kind::File);
        let is_young = |stat: &Stat| now.secs.saturating_sub(stat.ctime.secs) <= AGE_MAX_SECS;
        match stat.filter(|stat| is_young(stat) && Label::parse(&name).is_some()) {
            Some(stat) => found.push((stat.ctime, charge(&stat), name)),
            None => remove(private, &name),
        }
    }
    found.sort_unstable_by(|one, two| two.cmp(one));
    let mut bytes = 0u64;
    for (_, charge, name) in found {
        let sum = bytes.saturating_add(charge);
        if sum > BYTES_MAX {
            remove(private, &name);
        } else {
            bytes = sum;
        }
    }
    private.left_over.store(bytes, Ordering::Relaxed);
}

fn charge(stat: &Stat) -> u64 {
    stat.size.max(BYTES_EACH)
}

/// What cannot be removed is in nobody's way: it is tried again by the next run.
fn remove(private: &Private, name: &[u8]) {
    let partial = private.partial();
    if rustix::fs::unlinkat(partial, name, AtFlags::empty()).is_err() {
        rustix::fs::unlinkat(partial, name, AtFlags::REMOVEDIR).ok();
    }
}

#[cfg(test)]
mod tests;

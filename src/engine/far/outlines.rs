//! The outlines of the contents that a taker looked into, so that a file is chunked once.

use std::collections::VecDeque;
use std::ops::Range;

use crate::delta::chunk::Chunk;
use crate::delta::group::{Group, Grouper};
use crate::delta::outline::Outline;

/// Contents whose outlines are kept.
const KEPT: usize = 8;
/// Groups that are kept, of all of them together: about 4 MiB.
const KEPT_GROUPS: usize = 128 << 10;
/// Groups of one content: as many as one message takes. That is about 64 GiB.
const GROUPS_MAX: usize = 64 << 10;

/// The groups of one content with their offsets.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    grouper: Grouper,
    outline: Outline,
    starts: Vec<u64>,
    end: u64,
}

impl Bounds {
    /// Takes the next chunk.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        if let Some(group) = self.grouper.push(chunk) {
            self.add(group);
        }
    }

    /// Returns the bounds of the whole content.
    pub(crate) fn finished(mut self) -> Self {
        if let Some(group) = std::mem::take(&mut self.grouper).finish() {
            self.add(group);
        }
        self
    }

    /// Returns how many groups there are.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Returns the group at the place `index`, and where it lies.
    pub(crate) fn range(&self, index: u32) -> Option<(Group, Range<u64>)> {
        let index = usize::try_from(index).ok()?;
        let (group, start) = (self.outline.groups.get(index)?, *self.starts.get(index)?);
        Some((*group, start..start.saturating_add(group.length)))
    }

    /// Returns the outline as it goes over the wire.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.outline.encode()
    }

    /// A content of more groups than a message takes is counted on, but they are not held.
    fn add(&mut self, group: Group) {
        if self.count() <= GROUPS_MAX {
            self.starts.push(self.end);
            self.outline.groups.push(group);
        }
        self.end = self.end.saturating_add(group.length);
    }
}

/// The last few outlines.
#[derive(Debug, Default)]
pub(crate) struct Outlines {
    kept: VecDeque<(u32, Bounds)>,
}

impl Outlines {
    /// Whether the outline of `id` is here.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.get(id).is_some()
    }

    /// Returns the bounds of `id`.
    pub(crate) fn get(&self, id: u32) -> Option<&Bounds> {
        self.kept.iter().find(|(kept, _)| *kept == id).map(|(_, bounds)| bounds)
    }

    /// Keeps `bounds` for `id`, and drops the oldest where they become too many. A content with too many groups for an
    /// outline is not kept.
    pub(crate) fn keep(&mut self, id: u32, bounds: Bounds) {
        if bounds.count() > GROUPS_MAX {
            return;
        }
        self.kept.push_back((id, bounds));
        while self.kept.len() > KEPT || self.groups() > KEPT_GROUPS {
            self.kept.pop_front();
        }
    }

    fn groups(&self) -> usize {
        self.kept.iter().map(|(_, bounds)| bounds.count()).sum()
    }
}

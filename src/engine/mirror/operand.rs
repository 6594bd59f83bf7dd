//! What the operands of `push` and `pull` name: sources as trees to walk, and the destination.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::error::DiskError;
use crate::disk::listing::Hides;
use crate::disk::walk::{Step, Walk, WalkOptions, Window};
use crate::engine::mirror::error::MirrorError;
use crate::engine::tree::Tree;
use crate::model::path::{RelPath, escape};
use crate::rules::scope::Scope;

/// One source: a tree, and where in it the walk starts. Paths of the walk are paths below the destination too.
pub(crate) struct Source {
    pub(crate) root: Tree,
    /// The root for the contents of a directory, else one name.
    pub(crate) start: RelPath,
    /// The name that a single file gets where it is not its own.
    pub(crate) rename: Option<RelPath>,
}

/// The destination: a directory that is there or is to be made.
pub(crate) struct Destination {
    pub(crate) path: PathBuf,
    pub(crate) exists: bool,
}

impl Source {
    /// Returns the source that `operand` names: with a trailing slash the contents, else the thing itself.
    fn new(operand: &Path) -> Result<Self, MirrorError> {
        let bytes = operand.as_os_str().as_bytes();
        let end = bytes.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
        let trimmed = &bytes[..end];
        let name_at = trimmed.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let name = &trimmed[name_at..];
        let missing = |source: DiskError| MirrorError::Source { path: escape(bytes), source };
        if end < bytes.len() || matches!(name, b"" | b"." | b"..") {
            let root = Tree::open(operand).map_err(missing)?;
            return Ok(Self { root, start: RelPath::root(), rename: None });
        }
        let above = if name_at == 0 { &b"."[..] } else { &trimmed[..name_at] };
        let root = Tree::open(Path::new(OsStr::from_bytes(above))).map_err(missing)?;
        let start =
            RelPath::new(name).map_err(|source| missing(DiskError::Name { path: bytes.into(), source }))?;
        match root.stat(&start).map_err(missing)? {
            Some(_) => Ok(Self { root, start, rename: None }),
            None => Err(MirrorError::NoSource { path: escape(bytes) }),
        }
    }

    /// Whether this source, too, has something for `path`.
    pub(crate) fn has(&self, path: &RelPath) -> bool {
        let within = *path == self.start || path.is_below(&self.start);
        within && self.rename.is_none() && !matches!(self.root.stat(path), Ok(None))
    }
}

/// Returns all sources, and where they go.
///
/// # Errors
/// A source is missing; the destination is a file, or its parent is missing.
pub(crate) fn resolve(sources: &[PathBuf], dest: &Path) -> Result<(Vec<Source>, Destination), MirrorError> {
    let mut found = sources.iter().map(|source| Source::new(source)).collect::<Result<Vec<_>, _>>()?;
    let bytes = dest.as_os_str().as_bytes();
    let single_file = match &found[..] {
        [one] => !one.start.is_root() && one.root.is_leaf(&one.start),
        _ => false,
    };
    let is_dir = match std::fs::metadata(dest) {
        Ok(meta) => Some(meta.is_dir()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Some(false),
        Err(source) => {
            return Err(MirrorError::Destination { path: escape(bytes), source });
        }
    };
    match (is_dir, single_file) {
        (Some(true), _) => Ok((found, Destination { path: dest.to_owned(), exists: true })),
        (Some(false), false) => Err(MirrorError::NotADirectory { path: escape(bytes) }),
        (None, true) if bytes.ends_with(b"/") => absent(found, dest),
        (None, false) => absent(found, dest),
        (Some(false) | None, true) => {
            let name = dest.file_name().unwrap_or_default().as_bytes();
            let above = dest.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !above.is_dir() {
                return Err(MirrorError::NoParent { path: escape(bytes) });
            }
            let name = RelPath::new(name).ok().filter(|name| !name.is_root());
            let name = name.ok_or_else(|| MirrorError::NotADirectory { path: escape(bytes) })?;
            for source in &mut found {
                source.rename = Some(name.clone()).filter(|name| *name != source.start);
            }
            Ok((found, Destination { path: above.to_owned(), exists: true }))
        }
    }
}

/// Returns a destination that is to be made: its parent must be there.
fn absent(found: Vec<Source>, dest: &Path) -> Result<(Vec<Source>, Destination), MirrorError> {
    let above = dest.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !above.is_dir() {
        return Err(MirrorError::NoParent { path: escape(dest.as_os_str().as_bytes()) });
    }
    Ok((found, Destination { path: dest.to_owned(), exists: false }))
}

/// What a `--files-from` list names.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) paths: BTreeSet<RelPath>,
    /// Those that end with a slash or a dot: what is in them is named too, no deeper.
    pub(crate) opened: BTreeSet<RelPath>,
}

impl Listed {
    /// Returns the paths, with those that stand in the opened directories of `sources`.
    pub(crate) fn spread(mut self, sources: &[Source], rules: &Arc<Scope>) -> BTreeSet<RelPath> {
        for (source, dir) in
            sources.iter().flat_map(|source| self.opened.iter().map(move |dir| (source, dir)))
        {
            let options = WalkOptions {
                threads: 0,
                cross_mounts: true,
                recurse: false,
                skip_private: true,
                start: dir.clone(),
                scope: Arc::clone(rules),
                hides: Hides::Sender,
                only: None,
                window: Window::default(),
            };
            // What fails here fails again in the run itself, and is told there.
            self.paths.extend(Walk::new(source.root.lister(), None, options).filter_map(|step| match step {
                Step::Entry(entry) => Some(entry.path),
                Step::Unreadable { path, .. } => Some(path),
                Step::Excluded { .. } | Step::Unnameable { .. } | Step::Mount { .. } => None,
            }));
        }
        self.paths
    }
}

/// Returns the paths that a `--files-from` list names. `..` goes up, never above the root.
pub(crate) fn listed(text: &[u8], from0: bool) -> Result<Listed, MirrorError> {
    let separator = if from0 { b'\0' } else { b'\n' };
    let mut listed = Listed::default();
    for line in text.split(|b| *b == separator) {
        let line = if from0 { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        if line.is_empty() || (!from0 && matches!(line[0], b'#' | b';')) {
            continue;
        }
        let mut path = RelPath::root();
        for name in line.split(|b| *b == b'/') {
            path = match name {
                b"" | b"." => path,
                b".." => path.parent().unwrap_or_default(),
                name => {
                    path.join(name).map_err(|source| MirrorError::Listed { path: escape(line), source })?
                }
            };
        }
        if matches!(line.rsplit(|b| *b == b'/').next(), Some(b"" | b"." | b"..")) && !path.is_root() {
            listed.opened.insert(path.clone());
        }
        listed.paths.insert(path);
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_clamped_to_the_root() {
        let list = b"/a/b\n# c\n; d\n\n../../e\nf/./g//h/\r\ni/../..\n";
        let paths: Vec<_> = listed(list, false).unwrap().paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, [".", "a/b", "e", "f/g/h"]);
        assert_eq!(listed(b"# c\0a\nb\0", true).unwrap().paths.len(), 2);
    }

    #[test]
    fn a_trailing_slash_names_the_contents() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("dir")).unwrap();
        for (case, operand, start) in
            [("itself", "dir", "dir"), ("contents", "dir/", "."), ("a dot", "dir/.", ".")]
        {
            let source = Source::new(&tree.path().join("").join(operand)).unwrap();
            let named = if operand.ends_with('/') || operand.ends_with('.') { "." } else { start };
            assert_eq!(source.start.to_string(), named, "{case}");
        }
        assert!(matches!(Source::new(&tree.path().join("no")), Err(MirrorError::NoSource { .. })));
        assert!(Source::new(&tree.path().join("no/")).is_err());
    }
}

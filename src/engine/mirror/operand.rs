//! What the operands of `push` and `pull` name: sources as trees to walk, and the destination.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::error::DiskError;
use crate::disk::listing::Hides;
use crate::disk::walk::{Step, Walk, WalkOptions, Window};
use crate::engine::far::error::FarError;
use crate::engine::far::folder::Far;
use crate::engine::far::placed::Placed;
use crate::engine::mirror::error::MirrorError;
use crate::engine::tree::Tree;
use crate::model::entry::Kind;
use crate::model::path::{RelPath, escape};
use crate::rules::scope::Scope;

/// One side of a run.
#[derive(Clone)]
pub enum Operand {
    /// A path of this machine. A trailing slash means what is in it.
    Path(PathBuf),
    /// The folder of a peer, or a path in it, as it was opened.
    Far {
        /// The folder below that path.
        far: Arc<Far>,
        /// What is in it is meant, and not itself.
        contents: bool,
        /// As the user wrote it.
        shown: String,
    },
}

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
    pub(crate) place: Place,
    pub(crate) exists: bool,
}

/// Where a destination is.
pub(crate) enum Place {
    Here(PathBuf),
    There(Arc<Placed>),
}

/// What a destination that was named turns out to be.
enum Form {
    /// A directory that is there.
    Dir,
    /// A directory that is not there yet.
    Absent,
    /// The new name of a single file.
    Name,
}

impl Operand {
    /// Returns the same, with what is in it meant.
    pub(crate) fn contents(&self) -> Self {
        match self.clone() {
            Self::Path(path) => Self::Path(path.join("")),
            Self::Far { far, shown, .. } => Self::Far { far, contents: true, shown },
        }
    }

    /// Whether it is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        match self {
            Self::Path(path) => path.is_dir(),
            Self::Far { far, .. } => {
                far.stat(&RelPath::root()).ok().flatten().is_some_and(|stat| stat.kind == Kind::Dir)
            }
        }
    }

    /// Returns the folder of a peer that this names.
    pub(crate) fn far(&self) -> Option<&Arc<Far>> {
        match self {
            Self::Path(_) => None,
            Self::Far { far, .. } => Some(far),
        }
    }

    /// Returns the operand for people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Path(path) => escape(path.as_os_str().as_bytes()),
            Self::Far { shown, .. } => shown.clone(),
        }
    }

    fn ends_with_slash(&self) -> bool {
        match self {
            Self::Path(path) => path.as_os_str().as_bytes().ends_with(b"/"),
            Self::Far { contents, .. } => *contents,
        }
    }
}

impl Source {
    /// Returns the source that `operand` names: with a trailing slash the contents, else the thing itself.
    fn new(operand: &Operand) -> Result<Self, MirrorError> {
        match operand {
            Operand::Path(path) => Self::here(path),
            Operand::Far { far, contents, shown } => Self::there(far, *contents, shown),
        }
    }

    fn here(operand: &Path) -> Result<Self, MirrorError> {
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

    fn there(far: &Arc<Far>, contents: bool, shown: &str) -> Result<Self, MirrorError> {
        let start = if contents { RelPath::root() } else { name_of(far) };
        let root = Tree::Far(Arc::new(Placed { far: Arc::clone(far), at: start.clone() }));
        let missing = |source| MirrorError::Source { path: shown.to_owned(), source };
        match root.stat(&start).map_err(missing)? {
            Some(stat) if stat.kind == Kind::Dir || !contents => Ok(Self { root, start, rename: None }),
            Some(_) | None => Err(MirrorError::NoSource { path: shown.to_owned() }),
        }
    }

    /// Whether this source, too, has something for `path`.
    pub(crate) fn has(&self, path: &RelPath) -> bool {
        let within = *path == self.start || path.is_below(&self.start);
        within && self.rename.is_none() && !matches!(self.root.stat(path), Ok(None))
    }
}

impl Destination {
    /// Returns the path that rules with the modifier `/` are relative to.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.place {
            Place::Here(path) => path.clone(),
            Place::There(placed) => placed.path(),
        }
    }
}

/// Returns the name of the path that was opened in a folder; the root for the whole folder.
fn name_of(far: &Far) -> RelPath {
    RelPath::new(far.prefix().name()).unwrap_or_default()
}

/// Returns all sources, and where they go.
///
/// # Errors
/// A source is missing; the destination is a file, or its parent is missing; more than one operand is at a peer.
pub(crate) fn resolve(
    sources: &[Operand],
    dest: &Operand,
) -> Result<(Vec<Source>, Destination), MirrorError> {
    if sources.iter().chain([dest]).filter(|operand| operand.far().is_some()).count() > 1 {
        let what = "only one operand can be at another node; make it two runs".to_owned();
        return Err(MirrorError::Unsupported { what });
    }
    let mut found = sources.iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
    let single_file = match &found[..] {
        [one] => !one.start.is_root() && one.root.is_leaf(&one.start),
        _ => false,
    };
    let form = match (dest_is_dir(dest)?, single_file) {
        (Some(true), _) => Form::Dir,
        (Some(false), false) => return Err(MirrorError::NotADirectory { path: dest.shown() }),
        (None, true) if dest.ends_with_slash() => Form::Absent,
        (None, false) => Form::Absent,
        (Some(false) | None, true) => Form::Name,
    };
    let (destination, name) = match dest {
        Operand::Path(path) => here(path, &form)?,
        Operand::Far { far, .. } => there(far, &form),
    };
    if matches!(form, Form::Name) {
        let name = name.filter(|name| !name.is_root());
        let name = name.ok_or_else(|| MirrorError::NotADirectory { path: dest.shown() })?;
        for source in &mut found {
            source.rename = Some(name.clone()).filter(|name| *name != source.start);
        }
    }
    Ok((found, destination))
}

/// Whether the destination is a directory; `None` where there is nothing.
fn dest_is_dir(dest: &Operand) -> Result<Option<bool>, MirrorError> {
    match dest {
        Operand::Path(path) => match std::fs::metadata(path) {
            Ok(meta) => Ok(Some(meta.is_dir())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(Some(false)),
            Err(source) => Err(MirrorError::Destination { path: dest.shown(), source }),
        },
        Operand::Far { far, .. } => {
            let stat = far.stat(&RelPath::root()).map_err(FarError::from)?;
            Ok(stat.map(|stat| stat.kind == Kind::Dir))
        }
    }
}

/// Returns the destination at a path of this machine, whose parent must be there, and its name.
fn here(dest: &Path, form: &Form) -> Result<(Destination, Option<RelPath>), MirrorError> {
    let above = dest.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !matches!(form, Form::Dir) && !above.is_dir() {
        return Err(MirrorError::NoParent { path: escape(dest.as_os_str().as_bytes()) });
    }
    let path = if matches!(form, Form::Name) { above } else { dest };
    let name = RelPath::new(dest.file_name().unwrap_or_default().as_bytes()).ok();
    let exists = !matches!(form, Form::Absent);
    Ok((Destination { place: Place::Here(path.to_owned()), exists }, name))
}

/// Returns the destination in the folder of a peer, and its name. Whether a parent is there only the peer knows.
fn there(far: &Arc<Far>, form: &Form) -> (Destination, Option<RelPath>) {
    let name = name_of(far);
    let at = if matches!(form, Form::Name) { name.clone() } else { RelPath::root() };
    let place = Place::There(Arc::new(Placed { far: Arc::clone(far), at }));
    (Destination { place, exists: !matches!(form, Form::Absent) }, Some(name))
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
            let source = Source::here(&tree.path().join("").join(operand)).unwrap();
            let named = if operand.ends_with('/') || operand.ends_with('.') { "." } else { start };
            assert_eq!(source.start.to_string(), named, "{case}");
        }
        assert!(matches!(Source::here(&tree.path().join("no")), Err(MirrorError::NoSource { .. })));
        assert!(Source::here(&tree.path().join("no/")).is_err());
    }
}

//! The filter rules of a run, as walks and deletions ask for them.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::disk::lister::Lister;
use crate::engine::options::{FilterArg, Select};
use crate::model::path::RelPath;
use crate::rules::filter::{F_RULES, FilterBuilder, MergeRequest};
use crate::rules::rule::Side;
use crate::rules::scope::Scope;
use crate::rules::source::FilterError;

/// Largest file of rules that is read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why the rules of a run cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// A rule is wrong.
    #[error(transparent)]
    Rule(#[from] FilterError),
    /// A file of rules or paths cannot be read.
    #[error("Cannot read {file}: {source}")]
    File {
        /// The file, for people.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// Returns the rules that `select` asks for, as they hold above the root. `last` are rules after all others.
///
/// # Errors
/// A rule or a file of rules cannot be used.
pub fn scope(select: &Select, delete_excluded: bool, last: &[&[u8]]) -> Result<Arc<Scope>, SelectionError> {
    gather(FilterBuilder::new(delete_excluded), select, last)
}

/// Returns the same for a run from the tree at `source` to that at `dest`: to these, rules with the modifier `/` are
/// relative.
///
/// # Errors
/// As for [`scope`]; or the working directory is gone, to which a path is relative.
pub fn scope_between(
    source: &Path,
    dest: &Path,
    select: &Select,
    delete_excluded: bool,
    last: &[&[u8]],
) -> Result<Arc<Scope>, SelectionError> {
    let mut builder = FilterBuilder::new(delete_excluded);
    for (side, path) in [(Side::Sender, source), (Side::Receiver, dest)] {
        let absolute = std::path::absolute(path).map_err(|source| SelectionError::File {
            file: crate::model::path::escape(path.as_os_str().as_bytes()),
            source,
        })?;
        builder = builder.with_root(side, absolute.as_os_str().as_bytes());
    }
    gather(builder, select, last)
}

fn gather(mut builder: FilterBuilder, select: &Select, last: &[&[u8]]) -> Result<Arc<Scope>, SelectionError> {
    if select.from0 {
        builder = builder.zero_terminated();
    }
    for arg in &select.filters {
        match arg {
            FilterArg::Rule(text) => rule(&mut builder, text.as_bytes())?,
            FilterArg::Exclude(text) => builder.exclude(text.as_bytes())?,
            FilterArg::Include(text) => builder.include(text.as_bytes())?,
            FilterArg::ExcludeFrom(file) => {
                builder.exclude_from(&read(file)?, file.as_os_str().as_bytes())?;
            }
            FilterArg::IncludeFrom(file) => {
                builder.include_from(&read(file)?, file.as_os_str().as_bytes())?;
            }
            FilterArg::PerDirectory => rule(&mut builder, F_RULES[0])?,
            FilterArg::HidePerDirectory => rule(&mut builder, F_RULES[1])?,
        }
    }
    for text in last {
        rule(&mut builder, text)?;
    }
    Ok(builder.build()?)
}

/// Adds a rule, and what the files that it merges say.
fn rule(builder: &mut FilterBuilder, text: &[u8]) -> Result<(), SelectionError> {
    let mut requests: Vec<MergeRequest> = builder.rule(text)?.into_iter().collect();
    while let Some(request) = requests.pop() {
        let contents = read(Path::new(std::ffi::OsStr::from_bytes(request.file())))?;
        requests.extend(builder.merge(request, &contents)?);
    }
    Ok(())
}

/// Returns the bytes of a file that the user named; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is larger than 16 MiB.
pub fn read(file: &Path) -> Result<Vec<u8>, SelectionError> {
    let shown = || crate::model::path::escape(file.as_os_str().as_bytes());
    let failed = |source| SelectionError::File { file: shown(), source };
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let open = std::fs::File::open(file).map_err(failed)?;
        open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
        return Err(failed(std::io::Error::from(std::io::ErrorKind::FileTooLarge)));
    }
    Ok(bytes)
}

/// Returns the rules inside `dir`, a child of the directory of `rules`, with the rule files found there in `root`.
///
/// # Errors
/// A rule file cannot be read or used; one line.
pub fn enter(rules: &Arc<Scope>, root: Option<&dyn Lister>, dir: &RelPath) -> Result<Arc<Scope>, String> {
    let mut files: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut scope = Arc::clone(rules);
    loop {
        let is_read = |name: &[u8]| files.iter().any(|(read, _)| read == name);
        let unread: Vec<Vec<u8>> =
            scope.merge_names().filter(|name| !is_read(name)).map(<[u8]>::to_vec).collect();
        let known = files.len();
        for name in unread {
            if let Some(bytes) = rules_in(root, dir, &name)? {
                files.push((name, bytes));
            }
        }
        // A file of rules may name further ones.
        if files.len() == known && known > 0 {
            return Ok(scope);
        }
        scope = rules.enter(dir, &files).map_err(|error| error.to_string())?;
        if files.is_empty() {
            return Ok(scope);
        }
    }
}

/// Returns the contents of the file of rules `name` in `dir`; `None` where there is none.
fn rules_in(root: Option<&dyn Lister>, dir: &RelPath, name: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let (Some(root), Ok(path)) = (root, dir.join(name)) else {
        return Ok(None);
    };
    match root.rules(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_vanished() || error.is_other_kind() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

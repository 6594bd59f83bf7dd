//! What only the whole config can tell: nested roots, doubled keys, unknown members; and what only the disk can.

use std::path::{Path, PathBuf};

use crate::config::parse::{Parsed, parse};
use crate::config::problem::{Problem, nearest};
use crate::config::settings::Config;
use crate::model::key::PublicKey;

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A directory.
    Dir,
    /// A symlink with this target.
    Symlink(PathBuf),
    /// Something else.
    Other,
    /// Nothing, or it cannot be looked at: why.
    Missing(String),
}

/// What is known of the node on which the config is checked.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// This node's key, if it has one.
    pub key: Option<PublicKey>,
    /// Where this node keeps its state.
    pub state_dir: &'a Path,
}

/// Returns what `text` says and everything that is wrong with it, in the order of the text.
///
/// `look` says what stands at a path of this machine; a pure caller answers [`Seen::Dir`].
pub fn check(text: &str, here: Here<'_>, look: impl Fn(&Path) -> Seen) -> (Config, Vec<Problem>) {
    let mut parsed = parse(text);
    let node = here.key.map_or_else(|| parsed.config.node.clone(), |key| parsed.config.own_name(key));
    keys(&mut parsed, here.key, node.as_deref());
    members(&mut parsed);
    let roots = roots(&parsed, node.as_deref());
    separate(&mut parsed, &roots, here.state_dir);
    for root in &roots {
        let what = match look(&root.path) {
            Seen::Dir => continue,
            Seen::Symlink(target) => format!("is a symlink; name its target {}", target.display()),
            Seen::Other => "is not a directory".to_owned(),
            Seen::Missing(why) => format!("is missing ({why}); create it, or check the mount"),
        };
        let span = root.span(&parsed);
        parsed
            .problems
            .error(&span, format!("the root {} of folder {} {what}", root.path.display(), root.folder));
    }
    (parsed.config, parsed.problems.finish())
}

fn keys(parsed: &mut Parsed<'_>, own: Option<PublicKey>, node: Option<&str>) {
    let peers: Vec<(&String, PublicKey)> =
        parsed.config.peers.iter().map(|(name, peer)| (name, peer.key)).collect();
    for (at, (name, key)) in peers.iter().enumerate() {
        let Some(span) = parsed.places.keys.get(*name) else {
            continue;
        };
        if let Some((other, _)) = peers[..at].iter().find(|(_, earlier)| earlier == key) {
            parsed.problems.error(
                span,
                format!("one key for two peers, {other} and {name}; `csync id` on each prints its own"),
            );
        }
        if Some(*key) == own && node.is_some_and(|node| node != name.as_str()) {
            parsed.problems.error(
                span,
                format!("peer {name} has this node's own key; `csync id` on {name} prints the right one"),
            );
        }
    }
}

/// Whatever names a node must name a peer, or this node.
fn members(parsed: &mut Parsed<'_>) {
    let config = &parsed.config;
    let peers: Vec<&str> = config.peers.keys().map(String::as_str).collect();
    let places = &parsed.places;
    let members = places
        .members
        .iter()
        .map(|((folder, member), span)| (format!("member {member} of folder {folder}"), member, span));
    let named = places
        .named
        .iter()
        .map(|((folder, key, node), span)| (format!("{node} in {key} of folder {folder}"), node, span));
    for (what, node, span) in members.chain(named) {
        if config.node.as_ref() == Some(node) || peers.contains(&node.as_str()) {
            continue;
        }
        let hint = match nearest(node, &peers) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("add [peer.{node}]"),
        };
        parsed.problems.error(span, format!("{what} is no peer; {hint}"));
    }
}

/// A root on this node.
struct Root {
    folder: String,
    member: String,
    path: PathBuf,
}

impl Root {
    fn span(&self, parsed: &Parsed<'_>) -> std::ops::Range<usize> {
        parsed.places.roots.get(&(self.folder.clone(), self.member.clone())).cloned().unwrap_or_default()
    }
}

/// The roots that this node, as far as its name is known, keeps.
fn roots(parsed: &Parsed<'_>, node: Option<&str>) -> Vec<Root> {
    let folders = parsed.config.folders.iter();
    folders
        .filter(|(_, folder)| {
            folder.members.is_empty()
                || node.is_none_or(|node| folder.members.iter().any(|member| member == node))
        })
        .filter_map(|(name, folder)| {
            let named = node.filter(|node| folder.path.named.contains_key(*node));
            let path = folder.path.of(named.unwrap_or("*"))?;
            Some(Root {
                folder: name.clone(),
                member: named.unwrap_or("*").to_owned(),
                path: PathBuf::from(path),
            })
        })
        .collect()
}

fn separate(parsed: &mut Parsed<'_>, roots: &[Root], state_dir: &Path) {
    for (at, root) in roots.iter().enumerate() {
        let span = root.span(parsed);
        if root.path.starts_with(state_dir) || state_dir.starts_with(&root.path) {
            let text = format!(
                "the root {} of folder {} and the state directory {} lie in one another; move one",
                root.path.display(),
                root.folder,
                state_dir.display()
            );
            parsed.problems.error(&span, text);
        }
        for other in &roots[..at] {
            let (one, two) = (
                format!("{} ({})", other.folder, other.path.display()),
                format!("{} ({})", root.folder, root.path.display()),
            );
            if root.path == other.path {
                parsed
                    .problems
                    .error(&span, format!("one root for two folders, {one} and {two}; give each its own"));
            } else if root.path.starts_with(&other.path) || other.path.starts_with(&root.path) {
                parsed.problems.error(&span, format!("nested roots, {one} and {two}; not allowed, move one"));
            }
        }
    }
}

//! What this node answers at its control socket.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::settings::Mode;
use crate::daemon::control::{Admission, Answers, Problem};
use crate::daemon::log::with_causes;
use crate::daemon::node::Node;
use crate::daemon::question::{Named, Question};
use crate::disk::socket::group_id;
use crate::engine::dispute;
use crate::engine::error::EngineError;
use crate::engine::host::Host;
use crate::engine::member::held;
use crate::engine::restore::RestoreError;
use crate::engine::settle::Choice;
use crate::model::entry::Content;
use crate::model::metadata::Timestamp;
use crate::model::path::escape;
use crate::store::conflicts::{Conflict, Side};
use crate::store::members::Members;
use crate::transport::message::{Code, Refuse};

/// The version of the shape of answers.
const SCHEMA: u64 = 1;
/// Conflicts that are told of one folder.
const CONFLICTS_MAX: usize = 5_000;
/// Bytes of a content that are told.
const CONTENT_BYTES_MAX: u64 = 4 << 20;

impl Answers for Node {
    fn answer(&self, question: &Question) -> Result<Value, Problem> {
        match question {
            Question::Status => Ok(self.status().to_json()),
            Question::Conflicts => Ok(self.conflicts()),
            Question::Held => Ok(self.held()),
            Question::Contents(of) => {
                let sides = dispute::contents(&*self.host(&of.folder)?, of.id, CONTENT_BYTES_MAX);
                let side = |(peer, bytes): (String, Vec<u8>)| json!({ "peer": peer, "bytes": hex(&bytes) });
                let sides = sides.map_err(|error| unsettled(&error))?.map(side);
                Ok(json!({ "schema": SCHEMA, "sides": sides }))
            }
            Question::Resolve(of, choice) => self.resolve(of, choice),
            Question::Approve(of) => {
                held::approve(&*self.host(&of.folder)?, of.id).map_err(|error| failed(&error))?;
                self.members.again(&of.folder);
                Ok(json!({ "schema": SCHEMA }))
            }
            Question::Reject(of) => {
                let count = held::reject(&*self.host(&of.folder)?, of.id).map_err(|error| failed(&error))?;
                self.members.again(&of.folder);
                Ok(json!({ "schema": SCHEMA, "restored": count }))
            }
            Question::Look { folder } => self.look(folder),
            Question::Behind { folder, seq } => self.behind(folder, *seq),
        }
    }

    fn admission(&self) -> Admission {
        Admission { uid: self.uid(), gid: self.grants().config().control_group.as_deref().and_then(group_id) }
    }
}

impl Node {
    /// The folder `name`, open.
    fn host(&self, name: &str) -> Result<Arc<Host>, Problem> {
        if self.grants().folder(name).is_none() {
            return Err(problem(404, format!("there is no folder {} on this node", escape(name.as_bytes()))));
        }
        let status = |code| if code == Code::Halted { 410 } else { 409 };
        self.folders.host(name).map_err(|Refuse { code, text }| problem(status(code), text))
    }

    /// Returns what `tell` says of each open folder, and of which others nothing can be said and why.
    fn of_each(&self, mut tell: impl FnMut(&str, &str, &Host) -> Result<Value, EngineError>) -> Value {
        let (mut folders, mut untold) = (Vec::new(), Vec::new());
        for (name, _, root) in self.grants().served() {
            let told =
                self.host(name).and_then(|host| tell(name, root, &host).map_err(|error| failed(&error)));
            match told {
                Ok(told) => folders.push(told),
                Err(problem) => untold.push(json!({ "name": name, "why": problem.text })),
            }
        }
        let (grants, node) = (self.grants(), self.grants().node());
        let peers: Vec<&String> = grants.config().peers.keys().collect();
        json!({ "schema": SCHEMA, "node": node, "peers": peers, "folders": folders, "untold": untold })
    }

    fn conflicts(&self) -> Value {
        self.of_each(|name, root, host| {
            let (open, more) = dispute::open(host, CONFLICTS_MAX)?;
            let open: Vec<Value> = open.iter().map(conflict_json).collect();
            let database = hex(host.replica().db.path().as_os_str().as_encoded_bytes());
            let root = hex(root.as_bytes());
            Ok(json!({ "name": name, "root": root, "database": database, "conflicts": open, "more": more }))
        })
    }

    fn held(&self) -> Value {
        self.of_each(|name, _, host| {
            let plan = |plan: &held::Plan| {
                json!({
                    "id": plan.id.to_string(),
                    "peer": plan.peer,
                    "deletes": plan.deletes,
                    "of": plan.of,
                    "since": time(plan.since),
                })
            };
            let plans: Vec<Value> = held::held(host)?.iter().map(plan).collect();
            Ok(json!({ "name": name, "held": plans }))
        })
    }

    fn resolve(&self, of: &Named, choice: &Choice) -> Result<Value, Problem> {
        let host = self.host(&of.folder)?;
        dispute::resolve(&host, of.id, choice).map_err(|error| unsettled(&error))?;
        Ok(json!({ "schema": SCHEMA }))
    }

    /// Records what stands in the folder `name` now, and returns up to which sequence that is all.
    fn look(&self, name: &str) -> Result<Value, Problem> {
        let host = self.host(name)?;
        host.observe().map_err(|error| failed(&error))?;
        let seq = host.replica().seq();
        Ok(json!({ "schema": SCHEMA, "seq": seq }))
    }

    /// Returns the members that take from here, each with whether it holds all that was recorded up to `seq`.
    fn behind(&self, name: &str, seq: u64) -> Result<Value, Problem> {
        let (host, grants) = (self.host(name)?, self.grants());
        let Some(folder) = grants.folder(name) else {
            return Err(problem(404, "the folder is gone".to_owned()));
        };
        let leads = !grants.is_led_elsewhere(folder);
        let gives = leads && !matches!(grants.mode(folder), Mode::Receive);
        let takes = |member: &&str| {
            let leads = grants.primary(folder) == Some(*member);
            gives && !leads && !matches!(grants.mode_of(folder, member), Mode::Send)
        };
        let held = host.replica();
        let mut members = Vec::new();
        for member in grants.others(folder).filter(takes) {
            let known = match grants.config().peers.get(member) {
                Some(peer) => Members::of(&held.db).get(&peer.key).map_err(|error| failed(&error.into()))?,
                None => None,
            };
            let has = known.is_some_and(|known| known.applied >= seq);
            members.push(json!({ "name": member, "has": has }));
        }
        Ok(json!({ "schema": SCHEMA, "members": members }))
    }
}

fn conflict_json(conflict: &Conflict) -> Value {
    json!({
        "id": conflict.id.to_string(),
        "path": hex(conflict.path.as_bytes()),
        "winner": side_json(&conflict.winner),
        "loser": side_json(&conflict.loser),
        "since": time(conflict.since),
    })
}

fn side_json(side: &Side) -> Value {
    let entry = &side.entry;
    let digest = matches!(entry.content, Content::File { .. }).then(|| entry.content.digest().to_string());
    json!({
        "peer": side.peer,
        "size": entry.content.size(),
        "mtime": time(entry.attributes.mtime),
        "digest": digest,
        "mode": entry.attributes.mode,
    })
}

/// A moment, as seconds and nanoseconds.
fn time(at: Timestamp) -> Value {
    json!([at.secs, at.nanos])
}

/// Bytes, which need not be UTF-8.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to memory cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn problem(status: u16, text: String) -> Problem {
    Problem { status, text }
}

fn failed(error: &EngineError) -> Problem {
    if let EngineError::Unknown { what, fix } = error {
        return problem(409, format!("{what}; {fix}"));
    }
    let is_root = matches!(
        error,
        EngineError::RootGone { .. }
            | EngineError::RootReplaced { .. }
            | EngineError::RootRestored { .. }
            | EngineError::MarkerLost { .. }
            | EngineError::BadMarker { .. }
    );
    problem(if is_root { 410 } else { 500 }, with_causes(error))
}

fn unsettled(error: &RestoreError) -> Problem {
    if let RestoreError::Engine(error) = error {
        return failed(error);
    }
    problem(500, with_causes(error))
}

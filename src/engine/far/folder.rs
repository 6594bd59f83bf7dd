//! The folder of a peer, open: its rows as remembered and brought up to date, its contents to be had, changes to be
//! asked for. All paths here are below the path that the user named in it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::stage::{Stage, Staged};
use crate::engine::far::cache::Cache;
use crate::engine::far::error::{FarError, unexpected};
use crate::engine::far::give::{Offer, give_soon};
use crate::engine::far::outcome::results;
use crate::engine::far::owners::Owners;
use crate::engine::far::read::read;
use crate::engine::far::stat::{stat, stat_of};
use crate::engine::far::take::{Landing, Need, TakeError, take};
use crate::engine::options::Wire;
use crate::fault::{self, Point};
use crate::model::entry::{Content, Digest};
use crate::model::key::PublicKey;
use crate::model::metadata::Stat;
use crate::model::path::RelPath;
use crate::model::row::Row;
use crate::model::version::ReplicaId;
use crate::store::error::StoreError;
use crate::transport::channel::Channel;
use crate::transport::link::{Link, Traffic};
use crate::transport::message::{
    Act, Change, Code, Fetch, ITEMS_MAX, Item, Message, Open, Opened, Right, Settled, Step, StepResult,
};
use crate::transport::weight::{MESSAGE_BYTES, of_item};

/// Places of a content that are worth a look.
const PLACES_MAX: usize = 8;

/// Which folder of a peer is meant, and how.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub folder: &'a str,
    /// The path in it that counts as the root.
    pub prefix: &'a RelPath,
    /// What is going to be done there.
    pub right: Right,
    /// Owners are numbers, whatever they are called.
    pub numeric: bool,
    /// How contents go.
    pub wire: Wire,
    /// The state directory, which remembers what is heard.
    pub state: &'a Path,
    /// Nothing is written anywhere.
    pub rehearsal: bool,
}

/// A row of the folder and its number there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The number.
    pub seq: u64,
    /// The row, its owners in our numbers.
    pub row: Row,
}

/// A name in a directory, and what stands there.
pub type Child = (Box<[u8]>, Stat);

/// The folder of a peer, open. Shared by all threads of a run.
pub struct Far {
    pub(crate) link: Arc<Link>,
    control: Mutex<Channel>,
    pub(crate) peer: String,
    pub(crate) prefix: RelPath,
    wire: Wire,
    pub(crate) opened: Opened,
    cache: Mutex<Cache>,
    owners: Mutex<Owners>,
    pub(crate) tickets: AtomicU64,
    is_fresh: bool,
}

impl Far {
    /// Opens a folder over `link`, whose `control` channel has seen nothing but the greeting, and brings what is
    /// remembered of it up to date. `peer` is its name for people.
    ///
    /// # Errors
    /// The peer refuses, the connection fails, or what is remembered cannot be stored.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
    pub fn open(
        link: Arc<Link>,
        mut control: Channel,
        peer: String,
        wanted: &Wanted<'_>,
    ) -> Result<Self, FarError> {
        control.send(&Message::Open(Open { folder: wanted.folder.to_owned(), right: wanted.right }))?;
        let opened = loop {
            match control.recv()? {
                Message::Working(_) => {}
                Message::Opened(opened) => break opened,
                Message::Refuse(refuse) => return Err(FarError::refused(&peer, &refuse)),
                other => return Err(unexpected(&peer, &other)),
            }
        };
        let cache = Cache::open(
            wanted.state,
            (link.peer(), wanted.folder, wanted.prefix),
            (opened.replica, opened.seq),
            wanted.rehearsal,
        )?;
        let owners = Owners::new(wanted.numeric, cache.names()?);
        let is_fresh = cache.cursor()? == 0;
        let far = Self {
            link,
            control: Mutex::new(control),
            peer,
            prefix: wanted.prefix.clone(),
            wire: wanted.wire,
            opened,
            cache: Mutex::new(cache),
            owners: Mutex::new(owners),
            tickets: AtomicU64::new(0),
            is_fresh,
        };
        if let Err(error) = far.refresh() {
            if matches!(error, FarError::Answer { .. }) {
                // What such a peer told is not kept: it may be the whole disk.
                far.cache.into_inner().unwrap_or_else(PoisonError::into_inner).forget_all()?;
            }
            return Err(error);
        }
        Ok(far)
    }

    /// Returns the peer's name for people.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Returns the peer's key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.link.peer()
    }

    /// Returns the path in the folder that counts as the root here.
    #[must_use]
    pub fn prefix(&self) -> &RelPath {
        &self.prefix
    }

    /// Returns what the peer said of the folder when it was opened.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Returns whose numbers all `seq` here are.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.opened.replica
    }

    /// Whether nothing was remembered of the folder when it was opened.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Returns how many live entries the folder has, as far as is known.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cache().count()
    }

    /// Returns the bytes that went over the carrier so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.link.traffic()
    }

    /// Ends the connection, so that no other thread waits for a conversation that the run does not go on with.
    pub fn give_up(&self) {
        self.link.close(Code::Internal, "the run ended early");
    }

    /// Returns the row at `path`, live or deleted; `None` where none is known.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn known(&self, path: &RelPath) -> Result<Option<Known>, StoreError> {
        let record = self.cache().get(path)?;
        Ok(record.map(|record| Known { seq: record.seq, row: self.owners().ours_in(record.row) }))
    }

    /// Returns at most `limit` rows numbered above `seq`, those after `after`, in path order.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn changed_since(
        &self,
        seq: u64,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<(RelPath, Known)>, StoreError> {
        let records = self.cache().changed_since(seq, after, limit)?;
        let owners = self.owners();
        let known = |(path, record): (RelPath, crate::model::row::Record)| {
            (path, Known { seq: record.seq, row: owners.ours_in(record.row) })
        };
        Ok(records.into_iter().map(known).collect())
    }

    /// Returns the sequence up to which everything is known.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn cursor(&self) -> Result<u64, StoreError> {
        self.cache().cursor()
    }

    /// Returns what stands at `path`, as far as a listing tells; `None` where nothing does.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn stat(&self, path: &RelPath) -> Result<Option<Stat>, StoreError> {
        if path.is_root() && self.prefix.is_root() {
            let mut attributes = self.opened.root;
            attributes.owner = self.owners().ours(attributes.owner);
            return Ok(Some(stat_of(&Content::Dir, attributes)));
        }
        let known = self.known(path)?;
        Ok(known.as_ref().and_then(|known| known.row.live()).map(stat))
    }

    /// Returns what stands in the directory `dir`, by name, sorted.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn children(&self, dir: &RelPath) -> Result<Vec<Child>, StoreError> {
        let children = self.cache().children(dir)?;
        let owners = self.owners();
        let child = |(path, record): (RelPath, crate::model::row::Record)| {
            let row = owners.ours_in(record.row);
            row.live().map(|live| (path.name().into(), stat(live)))
        };
        Ok(children.into_iter().filter_map(child).collect())
    }

    /// Returns the content at `path`; `None` where nothing stands.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn content(&self, path: &RelPath) -> Result<Option<Content>, StoreError> {
        let record = self.cache().get(path)?;
        Ok(record.and_then(|record| record.row.live().map(|live| live.content.value.clone())))
    }

    /// Returns some paths where `digest` stands now.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn places(&self, digest: Digest) -> Result<Vec<RelPath>, StoreError> {
        let cache = self.cache();
        let is_live = |path: &RelPath| Ok(cache.get(path)?.is_some_and(|record| record.row.live().is_some()));
        let places = cache.places(digest, PLACES_MAX)?.into_iter();
        places.filter_map(|path| is_live(&path).map(|live| live.then_some(path)).transpose()).collect()
    }

    /// Returns some paths where `digest` stands, or stood when the peer deleted it: the same path here may hold it yet.
    ///
    /// # Errors
    /// What is remembered cannot be read.
    pub fn old_places(&self, digest: Digest) -> Result<Vec<RelPath>, StoreError> {
        self.cache().places(digest, PLACES_MAX)
    }

    /// Fetches contents into `stage`. Each need is for the file at the path beside it, as it is remembered; ids are
    /// given here.
    ///
    /// # Errors
    /// The connection fails. What is wrong with one content is its own result.
    pub fn fetch(
        &self,
        stage: &Stage,
        wants: Vec<(RelPath, Need)>,
    ) -> Result<Vec<Result<Staged, TakeError>>, FarError> {
        let mut results = Vec::with_capacity(wants.len());
        let mut wants = wants.into_iter();
        while wants.len() > 0 {
            let (mut items, mut needs, mut weight) = (Vec::new(), Vec::new(), 0);
            for (id, (path, need)) in (0..).zip(wants.by_ref().take(ITEMS_MAX)) {
                let item = self.item(&path)?;
                weight += of_item(&item);
                items.push(item);
                needs.push(Need { id, ..need });
                if weight >= MESSAGE_BYTES {
                    break;
                }
            }
            let mut channel = self.link.channel()?;
            channel.send(&Message::Fetch(Fetch { items, plain: !self.wire.compress }))?;
            let landing = Landing { stage, giver: self.key(), whole: self.wire.whole };
            let taken = take(&mut channel, landing, &needs);
            if let Some(broken) = taken.iter().find_map(|result| match result {
                Err(TakeError::Broken(broken)) => Some(Arc::clone(broken)),
                Ok(_) | Err(TakeError::Void { .. } | TakeError::Stage(_)) => None,
            }) {
                return Err(FarError::Broken(broken));
            }
            results.extend(taken);
            channel.send(&Message::End)?;
            channel.finish()?;
        }
        Ok(results)
    }

    /// Returns the bytes of the file at `path`, which has at most `max` of them.
    ///
    /// # Errors
    /// The connection fails, the file is larger, or it changed meanwhile.
    pub fn read(&self, path: &RelPath, max: u64) -> Result<Vec<u8>, FarError> {
        let Some(Content::File { digest, size }) = self.content(path)? else {
            return Err(FarError::answer(&self.peer, format!("{path}, which is no file")));
        };
        if size > max {
            return Err(FarError::answer(&self.peer, format!("{path}, which has more than {max} bytes")));
        }
        let mut channel = self.link.channel()?;
        let (items, plain) = (vec![self.item(path)?], !self.wire.compress);
        channel.send(&Message::Fetch(Fetch { items, plain }))?;
        let bytes = read(&mut channel, 0, (digest, size))?;
        channel.send(&Message::End)?;
        channel.finish()?;
        bytes.ok_or_else(|| FarError::answer(&self.peer, format!("{path}, which changed meanwhile")))
    }

    fn item(&self, path: &RelPath) -> Result<Item, FarError> {
        let seq = self.cache().get(path)?.map_or(0, |record| record.seq);
        Ok(Item { path: self.whole(path)?, seq })
    }

    /// Returns the number of the next batch of changes. Each must be sent, in whatever order: the peer waits for it.
    pub fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks for changes, gives the contents that the peer takes for them, and remembers what became of each. The paths
    /// of `steps` are those below the prefix. `deletes` is how many entries the whole run is going to delete.
    ///
    /// # Errors
    /// The connection fails, or the peer refuses the batch as a whole.
    pub fn change(
        &self,
        ticket: u64,
        mut steps: Vec<Step>,
        offer: &dyn Offer,
        (deletes, approved): (u64, bool),
    ) -> Result<Vec<StepResult>, FarError> {
        let paths: Vec<RelPath> = steps.iter().map(|step| step.path.clone()).collect();
        for step in &mut steps {
            step.path = self.whole(&step.path)?;
            if let Act::Make { from: Some(other), .. } | Act::Remove { moved_to: Some(other) } = &mut step.act
            {
                *other = self.whole(other)?;
            }
        }
        let names = self.owners().names_in(&steps);
        let mut channel = self.link.channel()?;
        let whole = self.wire.whole;
        let change = Change { number: ticket, steps, names, deletes, approved, whole };
        channel.send(&Message::Change(change))?;
        let first = give_soon(&mut channel, offer, !self.wire.compress)?.end;
        let results = results(&self.peer, &mut channel, first, paths.len())?;
        fault::pass(Point::WireHeard);
        self.remember(&paths, &results)?;
        let owners = self.owners();
        Ok(results.into_iter().map(|result| owners.ours_in_result(result)).collect())
    }

    fn remember(&self, paths: &[RelPath], results: &[StepResult]) -> Result<(), StoreError> {
        let cache = self.cache();
        cache.batch(|| {
            for (path, result) in paths.iter().zip(results) {
                match result {
                    // The root has no row.
                    StepResult::Done { seq: 0, .. } | StepResult::Refused(_) => {}
                    StepResult::Done { seq, row } | StepResult::Changed { now: Some((seq, row)) } => {
                        cache.put(path, *seq, row.clone())?;
                    }
                    StepResult::Changed { now: None } => cache.forget(path)?,
                }
            }
            Ok(())
        })
    }

    /// Has the peer finish what waits, and makes sure that all of it is durable. To be called after the last change.
    ///
    /// # Errors
    /// The connection fails, or the peer could not finish.
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
    pub fn settle(&self) -> Result<Settled, FarError> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.send(&Message::Settle)?;
        let settled = loop {
            match control.recv()? {
                Message::Working(_) => {}
                Message::Settled(settled) => break settled,
                Message::Refuse(refuse) => return Err(FarError::refused(&self.peer, &refuse)),
                other => return Err(unexpected(&self.peer, &other)),
            }
        };
        fault::pass(Point::WireSettled);
        if settled.alone {
            self.cache().complete(settled.seq)?;
        }
        Ok(settled)
    }

    pub(crate) fn whole(&self, path: &RelPath) -> Result<RelPath, FarError> {
        if path.is_root() {
            return Ok(self.prefix.clone());
        }
        self.prefix.append(path).map_err(|error| FarError::answer(&self.peer, format!("{path}: {error}")))
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! One pass over the rows of a member that wait here: asked of the guard, contents fetched batch by batch without
//! holding the replica, names changed while it is held.

use std::sync::Arc;

use crate::disk::clock;
use crate::disk::leftover::clear;
use crate::disk::stage::{Stage, Staged};
use crate::engine::far::error::FarError;
use crate::engine::far::take::{Landing, TakeError, take};
use crate::engine::host::{Holding, Host};
use crate::engine::member::leader::Leader;
use crate::engine::member::stock::{Errand, Shelf, Stock};
use crate::engine::prepare::{Failure, wants};
use crate::engine::pull::{Draft, Guard, Part, Taking, draft, pull, toll};
use crate::engine::report::{Held, Report, Silent, Skipped};
use crate::engine::tools::Tools;
use crate::model::path::RelPath;
use crate::plan::decide::Decider;
use crate::plan::guard::{Limit, Toll, allows, bound, empties_root};
use crate::rules::scope::Scope;
use crate::store::members::Member;
use crate::store::versions::Versions;
use crate::transport::link::Link;
use crate::transport::member::Recover;
use crate::transport::message::{Fetch, ITEMS_MAX, Item, Message};

/// One pass.
pub(crate) struct Pass<'a> {
    pub(crate) host: &'a Host,
    pub(crate) link: &'a Link,
    pub(crate) leader: &'a Leader,
    pub(crate) member: &'a Member,
    pub(crate) shelf: &'a Shelf,
}

/// A content that was asked for, and what came.
type Asked = (Errand, Result<Staged, TakeError>);

/// What became of it.
#[derive(Default)]
pub(crate) struct Passed {
    pub(crate) report: Report,
    /// Whether rows are left that may be settled by trying again. Others that wait are held, filtered out, or for a
    /// person to decide about.
    pub(crate) again: bool,
}

impl Pass<'_> {
    /// Settles what waits. `approved` says that a person let through what the guard holds.
    ///
    /// # Errors
    /// The connection fails, our root is not what it was, or the database refuses. What fails on one path is in the
    /// report.
    pub(crate) fn run(&self, approved: bool) -> Result<Passed, FarError> {
        let mut report = Report::default();
        let limit = if approved { Limit::Approved } else { self.host.settings.hold_above };
        let is_held = self.judge(limit, &mut report)?;
        let guard =
            || if is_held { Guard::Held } else { Guard::Ask(limit, self.host.recent(self.leader.key)) };
        let stock = Stock::default();
        let mut after: Option<RelPath> = None;
        loop {
            let draft = {
                let held = self.hold()?;
                draft(&held, self.decider(&held), &self.scope(), after.as_ref())?
            };
            let Some(upto) = draft.upto.clone() else { break };
            self.fetch(&draft, &stock, &mut report)?;
            self.take(Part::Changes(after.as_ref(), &upto), guard(), &stock, &mut report)?;
            after = Some(upto);
        }
        if !is_held {
            // What came since it was judged first is judged now.
            self.take(Part::Removals, guard(), &stock, &mut report)?;
        }
        let again = !report.skipped.is_empty();
        if !again && report.held.is_none() {
            self.shelf.clear();
            if let Some(private) = &self.host.replica().private {
                clear(private, &self.leader.key);
            }
        }
        Ok(Passed { report, again })
    }

    /// The replica, facing this member, and sure of its root.
    fn hold(&self) -> Result<Holding<'_>, FarError> {
        let held = self.host.replica();
        self.host.check(&held)?;
        held.peer.set(self.member.number);
        Ok(held)
    }

    fn decider(&self, held: &Holding<'_>) -> Decider {
        let Leader { policy, side, .. } = *self.leader;
        Decider { me: held.me, side, policy, now: clock::now() }
    }

    fn scope(&self) -> Arc<Scope> {
        Arc::clone(&self.host.settings.scope)
    }

    /// Asks the guard (S14) about all that waits, and about what the member deleted before. Returns whether it holds
    /// back what is deleted.
    fn judge(&self, limit: Limit, report: &mut Report) -> Result<bool, FarError> {
        let held = self.hold()?;
        let now = toll(&held, self.decider(&held), &self.scope())?;
        let past = if now.deletes > 0 { self.host.recent(self.leader.key) } else { 0 };
        let toll = Toll { deletes: now.deletes + past, of: now.of + past, ..now };
        if allows(toll, limit) {
            return Ok(false);
        }
        let (deletes, of, limit, empties) = (toll.deletes, toll.of, bound(toll, limit), empties_root(toll));
        report.held = Some(Held { deletes, of, limit, empties });
        Ok(true)
    }

    /// Brings here what the steps of `draft` need.
    fn fetch(&self, draft: &Draft, stock: &Stock, report: &mut Report) -> Result<(), FarError> {
        let Some(stage) = Tools::of(&self.host.replica()).map(|tools| tools.stage) else { return Ok(()) };
        let steps = draft.steps.iter().enumerate();
        let wanted = steps.flat_map(|(at, step)| wants(at, step)).filter_map(|want| Errand::of(&want));
        let (mut staged, mut errands) = (Vec::new(), Vec::new());
        for errand in wanted.filter(|errand| !stock.has(errand)) {
            match errand.off_shelf(self.shelf, &stage) {
                Some(content) => staged.push((errand, content)),
                None => errands.push(errand),
            }
        }
        let mut failed: Vec<(RelPath, Failure)> = Vec::new();
        for (errand, taken) in self.ask_lost(draft, &stage)? {
            // One that the member has not kept either may be had from another.
            if let Ok(content) = taken {
                stock.fill_lost(errand, content);
            }
        }
        for (errand, taken) in self.ask(errands, &stage)? {
            match taken {
                Ok(content) => staged.push((errand, content)),
                Err(error) => failed.push((errand.path.clone(), error.failure(&errand.path))),
            }
        }
        failed.extend(stock.fill(staged));
        let skipped = failed.into_iter().map(|(path, why)| Skipped { path, why: why.to_string() });
        report.skipped.extend(skipped);
        Ok(())
    }

    /// Asks the member for what lost conflicts that are new here, so that every member can go back to it.
    fn ask_lost(&self, draft: &Draft, stage: &Stage) -> Result<Vec<Asked>, FarError> {
        let mut errands = Vec::new();
        {
            let held = self.hold()?;
            for step in &draft.steps {
                let Some(settled) = &step.settled else { continue };
                let ours = step.record.as_ref().and_then(|record| record.row.live());
                for loser in &settled.row.losers {
                    // What stands here is kept when it goes, and what the step itself brings is asked for already.
                    let is_ours = ours.is_some_and(|live| live.content.value == loser.content);
                    let is_brought = settled.lost.as_ref().is_some_and(|lost| lost.dot == loser.dot);
                    let errand = Errand::of_loser(&settled.path, loser).filter(|_| !is_ours && !is_brought);
                    if let Some(errand) = errand
                        && Versions::of(&held.db).with_digest(errand.digest())?.is_empty()
                    {
                        errands.push(errand);
                    }
                }
            }
        }
        errands.truncate(ITEMS_MAX);
        let losers = errands.iter().map(|errand| (errand.path.clone(), errand.digest())).collect();
        self.converse(errands, stage, &Message::Recover(Recover { losers }))
    }

    /// Asks the member for contents as they stand there.
    fn ask(&self, errands: Vec<Errand>, stage: &Stage) -> Result<Vec<Asked>, FarError> {
        let items = {
            let held = self.hold()?;
            let item = |errand: &Errand| {
                let path = errand.from.clone();
                held.remote().number(&path).map(|seq| Item { path, seq })
            };
            errands.iter().map(item).collect::<Result<Vec<_>, _>>()?
        };
        self.converse(errands, stage, &Message::Fetch(Fetch { items, plain: false }))
    }

    /// Takes what `errands` are about, asked for by `request`, in the same order.
    fn converse(
        &self,
        errands: Vec<Errand>,
        stage: &Stage,
        request: &Message,
    ) -> Result<Vec<Asked>, FarError> {
        if errands.is_empty() {
            return Ok(Vec::new());
        }
        let root = &self.host.root;
        let needs: Vec<_> = (0u32..).zip(&errands).map(|(id, errand)| errand.need(id, root)).collect();
        let mut channel = self.link.channel()?;
        channel.send(request)?;
        let landing = Landing { stage, giver: self.leader.key, whole: false };
        let taken = take(&mut channel, landing, &needs);
        if let Some(Err(TakeError::Broken(broken))) =
            taken.iter().find(|taken| matches!(taken, Err(TakeError::Broken(_))))
        {
            return Err(FarError::Broken(Arc::clone(broken)));
        }
        channel.send(&Message::End)?;
        channel.finish()?;
        Ok(errands.into_iter().zip(taken).collect())
    }

    /// Lets the replica take `part` of what waits.
    fn take(&self, part: Part<'_>, guard: Guard, stock: &Stock, report: &mut Report) -> Result<(), FarError> {
        let held = self.hold()?;
        let (decider, scope, mut silent) = (self.decider(&held), Some(self.scope()), Silent);
        let before = report.losses;
        let taking = Taking { decider, guard, scope, part, observer: &mut silent, report: &mut *report };
        let taken = pull(&held, &self.leader.name, stock, taking);
        let losses = report.losses - before;
        if losses > 0 {
            self.host.deleted(self.leader.key, losses);
        }
        Ok(taken?)
    }
}

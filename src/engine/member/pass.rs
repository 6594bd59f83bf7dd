//! One pass over the rows of a member that wait here: asked of the guard, contents fetched batch by batch without
//! holding the replica, names changed while it is held.

use std::sync::Arc;

use crate::disk::clock;
use crate::disk::leftover::clear;
use crate::disk::stage::{Stage, Staged};
use crate::engine::act::Crew;
use crate::engine::far::error::FarError;
use crate::engine::far::take::{Landing, TakeError, take};
use crate::engine::host::{Holding, Host};
use crate::engine::member::held::{Judged, Plan, judge};
use crate::engine::member::leader::Leader;
use crate::engine::member::stock::{Errand, Shelf, Stock};
use crate::engine::note;
use crate::engine::planned::Planned;
use crate::engine::prepare::{Failure, Supply as _, wants};
use crate::engine::pull::{Draft, Guard, Part, Taking, draft, pull};
use crate::engine::replica::Replica;
use crate::engine::report::{Report, Silent, Skipped};
use crate::engine::tools::Tools;
use crate::model::path::RelPath;
use crate::model::row::Loser;
use crate::plan::decide::Decider;
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
    /// What the guard holds for a person.
    pub(crate) plans: Vec<Plan>,
}

impl Pass<'_> {
    /// Settles what waits, as far as the guard (S14) lets it pass.
    ///
    /// # Errors
    /// The connection fails, our root is not what it was, or the database refuses. What fails on one path is in the
    /// report.
    pub(crate) fn run(&self) -> Result<Passed, FarError> {
        let mut report = Report::default();
        let mut judged = self.judge(&*self.hold()?)?;
        let stock = Stock::default();
        let mut after: Option<RelPath> = None;
        loop {
            let draft = {
                let held = self.hold()?;
                draft(&held, self.decider(&held), &self.scope(), after.as_ref())?
            };
            let Some(upto) = draft.upto.clone() else { break };
            self.fetch(&draft, &stock, &mut report)?;
            if judged.guard == Guard::Passed && draft.steps.iter().any(Planned::empties) {
                // They may have come since it was judged.
                judged = self.judge(&*self.hold()?)?;
            }
            let held = self.hold()?;
            self.take(&held, Part::Changes(after.as_ref(), &upto), &mut judged, &stock, &mut report)?;
            drop(held);
            after = Some(upto);
            self.catch_up(&stock, &mut report)?;
        }
        if judged.guard == Guard::Passed {
            // What came since it was judged is judged now, and no more comes before it is done.
            let held = self.hold()?;
            judged = self.judge(&held)?;
            if judged.guard == Guard::Passed {
                self.take(&held, Part::Removals, &mut judged, &stock, &mut report)?;
            }
        }
        let again = !report.skipped.is_empty();
        if !again && judged.plans.is_empty() {
            self.shelf.clear();
            if let Some(private) = &self.host.replica().private {
                clear(private, &self.leader.key);
            }
        }
        Ok(Passed { report, again, plans: judged.plans })
    }

    /// The replica, facing this member, and sure of its root.
    fn hold(&self) -> Result<Holding<'_>, FarError> {
        let held = self.host.replica();
        self.host.check(&held)?;
        held.peer.set(self.member.number);
        Ok(held)
    }

    /// Asks the guard about all that waits.
    fn judge(&self, held: &Replica) -> Result<Judged, FarError> {
        Ok(judge(self.host, held, self.member, self.decider(held))?)
    }

    fn decider(&self, held: &Replica) -> Decider {
        let Leader { policy, side, .. } = *self.leader;
        Decider { me: held.me, side, policy, now: clock::now() }
    }

    fn scope(&self) -> Arc<Scope> {
        Arc::clone(&self.host.settings.scope)
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

    /// Brings here what lost conflicts that the draft did not know of: a row may be told anew before it is taken.
    fn catch_up(&self, stock: &Stock, report: &mut Report) -> Result<(), FarError> {
        let Some(stage) = Tools::of(&self.host.replica()).map(|tools| tools.stage) else { return Ok(()) };
        let (mut errands, mut missed) = (Vec::new(), Vec::new());
        {
            let held = self.hold()?;
            for (path, loser) in stock.missed() {
                if let Some(errand) = Errand::of_loser(&path, &loser)
                    && Versions::of(&held.db).with_digest(errand.digest())?.is_empty()
                {
                    errands.push(errand);
                    missed.push((path, loser));
                }
            }
        }
        errands.truncate(ITEMS_MAX);
        let losers = errands.iter().map(|errand| (errand.path.clone(), errand.digest())).collect();
        let asked = self.converse(errands, &stage, &Message::Recover(Recover { losers }))?;
        let held = self.hold()?;
        for ((path, loser), (errand, taken)) in missed.iter().zip(asked) {
            let Ok(content) = taken else { continue };
            stock.fill_lost(errand, content);
            keep_lost(&held, &self.leader.name, stock, (path, loser), report)?;
        }
        Ok(())
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
    fn take(
        &self,
        held: &Replica,
        part: Part<'_>,
        judged: &mut Judged,
        stock: &Stock,
        report: &mut Report,
    ) -> Result<(), FarError> {
        let (decider, scope, mut silent) = (self.decider(held), Some(self.scope()), Silent);
        let (before, guard) = (report.losses, judged.guard);
        let taking = Taking { decider, guard, scope, part, observer: &mut silent, report: &mut *report };
        let taken = pull(held, &self.leader.name, stock, taking);
        let losses = report.losses - before;
        // What a person let through does not count against what comes next.
        let counted = losses.saturating_sub(judged.through);
        judged.through = judged.through.saturating_sub(losses);
        if counted > 0 {
            self.host.deleted(self.leader.key, counted);
        }
        Ok(taken?)
    }
}

/// Moves a content that lost at a path into the version store.
fn keep_lost(
    held: &Replica,
    by: &str,
    stock: &Stock,
    (path, loser): (&RelPath, &Loser),
    report: &mut Report,
) -> Result<(), FarError> {
    let (Some(tools), Some(record)) = (Tools::of(held), held.record(path)?) else { return Ok(()) };
    let found = stock.lost(&tools.stage, path, loser);
    let kept = Crew::new(held, by, stock, &mut Silent, report).kept(path, found);
    if let Some(kept) = kept {
        note::version(held, by, path, &kept, &loser.content, &record.row)?;
    }
    Ok(())
}

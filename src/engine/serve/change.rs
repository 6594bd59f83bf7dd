//! Carries out a batch of changes that a guest asks for: contents are taken while the batch before is still at work,
//! names change when it is this one's turn.

use crate::config::settings::OwnerRule;
use crate::disk::stage::Stage;
use crate::engine::access::open_up;
use crate::engine::far::owners::Owners;
use crate::engine::planned::Planned;
use crate::engine::prepare::prepare;
use crate::engine::serve::batch::{Batch, draft};
use crate::engine::serve::error::{ServeError, told};
use crate::engine::serve::intake::Intake;
use crate::engine::serve::taking::Guest;
use crate::engine::serve::visit::Visit;
use crate::engine::tools::Tools;
use crate::fault::{self, Point};
use crate::model::path::RelPath;
use crate::plan::decide::{Source, Step as Way};
use crate::store::error::StoreError;
use crate::transport::channel::Channel;
use crate::transport::message::{Act, Change, Message, Outcome, Refuse, Step, StepResult};
use crate::transport::weight::{MESSAGE_BYTES, of_result};

/// Does what `change` asks for, and says what became of each step once all of it is durable.
pub(crate) fn answer(visit: &Visit, channel: &mut Channel, change: &Change) -> Result<(), ServeError> {
    if let Some(refuse) = visit.no_changes() {
        return Ok(channel.send(&Message::Refuse(refuse))?);
    }
    let ticket = visit.enter(change.number)?;
    let working = channel.herald()?;
    let host = &visit.host;
    let owners = Owners::new(host.settings.owner != OwnerRule::ByName, change.names.clone());
    let fixed = host.fixed.as_ref();
    let intake = Intake { settings: &host.settings, fixed, owners, process: &host.process };
    let mut plan = Draft::of(visit, &intake, change)?;
    if plan.as_ref().is_ok_and(|plan| plan.is_early) {
        // Contents that it reuses may be those of a batch that is still at work.
        ticket.wait()?;
        plan = Draft::of(visit, &intake, change)?;
    }
    let Draft { stage, drafted, bases, .. } = match plan {
        Ok(plan) => plan,
        Err(refuse) => return Ok(channel.send(&Message::Refuse(refuse))?),
    };
    let guest = Guest::new(channel, visit.guest, bases, change.whole);
    let ready = prepare(&stage, &host.root, &guest, &drafted);
    drop(drafted);
    ticket.wait()?;
    let results = Batch::new(visit, &host.replica(), &intake, change, &guest).run(ready)?;
    guest.end()?;
    ticket.pass();
    fault::pass(Point::WireOutcome);
    drop(working);
    tell(channel, results)
}

/// Says what became of each step, in as many messages as that takes.
fn tell(channel: &mut Channel, results: Vec<StepResult>) -> Result<(), ServeError> {
    let mut rest = results.into_iter().peekable();
    loop {
        let (mut results, mut weight) = (Vec::new(), 0);
        while weight < MESSAGE_BYTES
            && let Some(result) = rest.next()
        {
            weight += of_result(&result);
            results.push(result);
        }
        let more = rest.peek().is_some();
        channel.send(&Message::Outcome(Outcome { results, more }))?;
        if !more {
            return Ok(());
        }
    }
}

/// A batch as it looks before its turn.
struct Draft {
    stage: Stage,
    drafted: Vec<Planned>,
    /// For each step, a file of ours that its content may resemble.
    bases: Vec<Option<RelPath>>,
    /// A content is said to stand where it does not stand yet.
    is_early: bool,
}

impl Draft {
    /// Returns what each step of `change` will need, or why none is taken.
    fn of(visit: &Visit, intake: &Intake<'_>, change: &Change) -> Result<Result<Self, Refuse>, ServeError> {
        let host = &visit.host;
        let replica = host.replica();
        if let Err(error) = host.check(&replica) {
            return Ok(Err(told(&host.name, &error)));
        }
        let drafted = draft(intake, &replica, &change.steps, visit.opened)?;
        let Some(tools) = Tools::of(&replica) else {
            return Err(ServeError::Protocol("a change of a rehearsal"));
        };
        let changes = drafted.iter().filter_map(|one| one.settled.as_ref());
        for dir in changes.filter(|one| one.step != Way::Nothing).filter_map(|one| one.path.parent()) {
            // What cannot be opened is told when its step is taken.
            open_up(&tools, &replica, &dir).ok();
        }
        let is_early = change.steps.iter().zip(&drafted).any(|(step, one)| {
            let reuses = matches!(&step.act, Act::Make { from: Some(_), .. });
            let way = one.settled.as_ref().map(|one| &one.step);
            reuses && matches!(way, Some(Way::Create(Source::Peer(_)) | Way::Replace(Source::Peer(_))))
        });
        // Nothing is told of a file that is not recorded: it may be none of the guest's business.
        let is_ours =
            |path: &RelPath| Ok(replica.record(path)?.is_some_and(|record| record.row.live().is_some()));
        let basis = |step: &Step| -> Result<Option<RelPath>, StoreError> {
            let Act::Make { from, .. } = &step.act else { return Ok(None) };
            if is_ours(&step.path)? {
                return Ok(Some(step.path.clone()));
            }
            Ok(match from {
                Some(from) if is_ours(from)? => Some(from.clone()),
                Some(_) | None => None,
            })
        };
        let bases = change.steps.iter().map(basis).collect::<Result<_, _>>()?;
        Ok(Ok(Self { stage: tools.stage, drafted, bases, is_early }))
    }
}

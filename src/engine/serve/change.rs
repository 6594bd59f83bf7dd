//! Carries out a batch of changes that a guest asks for: contents are taken while the batch before is still at work,
//! names change when it is this one's turn.

use crate::engine::access::open_up;
use crate::engine::prepare::prepare;
use crate::engine::serve::batch::{Batch, draft};
use crate::engine::serve::error::{ServeError, told};
use crate::engine::serve::intake::Intake;
use crate::engine::serve::names::Foreign;
use crate::engine::serve::taking::Guest;
use crate::engine::serve::visit::Visit;
use crate::engine::tools::Tools;
use crate::fault::{self, Point};
use crate::plan::decide::Step as Way;
use crate::transport::channel::Channel;
use crate::transport::message::{Change, Message, Outcome};

/// Does what `change` asks for, and says what became of each step once all of it is durable.
pub(crate) fn answer(visit: &Visit, channel: &mut Channel, change: &Change) -> Result<(), ServeError> {
    if let Some(refuse) = visit.no_changes() {
        return Ok(channel.send(&Message::Refuse(refuse))?);
    }
    let ticket = visit.enter(change.number)?;
    let host = &visit.host;
    let foreign = Foreign::new(&host.settings.owner, &change.names);
    let fixed = host.fixed.as_ref();
    let intake = Intake { settings: &host.settings, fixed, foreign, process: &host.process };
    let (stage, drafted) = {
        let replica = host.replica();
        if let Err(error) = host.check(&replica) {
            return Ok(channel.send(&Message::Refuse(told(&host.name, &error)))?);
        }
        let drafted = draft(&intake, &replica, &change.steps)?;
        let Some(tools) = Tools::of(&replica) else {
            return Err(ServeError::Protocol("a change of a rehearsal"));
        };
        let changes =
            drafted.iter().filter_map(|one| one.settled.as_ref()).filter(|one| one.step != Way::Nothing);
        for dir in changes.filter_map(|one| one.path.parent()) {
            // What cannot be opened is told when its step is taken.
            open_up(&tools, &replica, &dir).ok();
        }
        (tools.stage, drafted)
    };
    let guest = Guest::new(channel, &change.steps);
    let ready = prepare(&stage, &host.root, &guest, &drafted);
    drop(drafted);
    ticket.wait()?;
    let results = Batch::new(visit, &host.replica(), &intake, change, &guest).run(ready)?;
    guest.end()?;
    ticket.pass();
    fault::pass(Point::WireOutcome);
    Ok(channel.send(&Message::Outcome(Outcome { results }))?)
}

//! What became of a batch of changes, as the peer tells it: in one message or in several.

use crate::engine::far::error::{FarError, unexpected};
use crate::transport::channel::Channel;
use crate::transport::message::{Message, StepResult};
use crate::transport::weight::of_result;

/// Most bytes of the results of one batch.
const BYTES_MAX: usize = 32 << 20;

/// Returns what became of `count` steps; `first` is the first message that says so.
///
/// # Errors
/// The peer refuses the batch as a whole, says too little or too much, or is gone.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else comes is out of turn")]
pub(crate) fn results(
    peer: &str,
    channel: &mut Channel,
    first: Message,
    count: usize,
) -> Result<Vec<StepResult>, FarError> {
    let (mut results, mut bytes, mut message) = (Vec::new(), 0, first);
    loop {
        match message {
            Message::Working(_) => {}
            Message::Outcome(outcome) => {
                let leads_nowhere = outcome.more && outcome.results.is_empty();
                bytes += outcome.results.iter().map(of_result).sum::<usize>();
                results.extend(outcome.results);
                if leads_nowhere || results.len() > count || bytes > BYTES_MAX {
                    return Err(FarError::answer(peer, "more about a change than was asked for"));
                }
                if !outcome.more {
                    break;
                }
            }
            Message::Refuse(refuse) => return Err(FarError::refused(peer, &refuse)),
            other => return Err(unexpected(peer, &other)),
        }
        message = channel.recv()?;
    }
    if results.len() == count {
        Ok(results)
    } else {
        Err(FarError::answer(peer, "less about a change than was asked for"))
    }
}

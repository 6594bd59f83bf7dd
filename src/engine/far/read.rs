//! One small file of a peer, read into memory: a file of filter rules.

use crate::delta::compress::Decompressor;
use crate::engine::far::breach::{Breach, Broken};
use crate::engine::far::inflow::{Inflow, Stop};
use crate::model::entry::Digest;
use crate::transport::channel::Channel;
use crate::transport::message::Message;

/// Returns the bytes of the content `id`, of which there are `size`; `None` where it is not to be had as it was listed.
/// The caller bounds `size`.
pub(crate) fn read(
    channel: &mut Channel,
    id: u32,
    (digest, size): (Digest, u64),
) -> Result<Option<Vec<u8>>, Broken> {
    let mut decompressor = Decompressor::new()?;
    channel.send(&Message::Whole(vec![id]))?;
    let read = segments(Inflow::new(channel, &mut decompressor), size);
    match read {
        Ok(bytes) => Ok(bytes.filter(|bytes| Digest::of(bytes) == digest)),
        Err(Stop::Void) => Ok(None),
        Err(Stop::Broken(broken)) => Err(broken),
    }
}

fn segments(mut inflow: Inflow<'_>, size: u64) -> Result<Option<Vec<u8>>, Stop> {
    let mut bytes = Vec::new();
    loop {
        let length = u64::from(u32::from_le_bytes(inflow.exactly()?));
        if length == 0 {
            break;
        }
        let held = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if held.saturating_add(length) > size {
            return Err(inflow.breach(Breach::Oversize { size }));
        }
        inflow.pass(length, |part| {
            bytes.extend_from_slice(part);
            Ok::<(), Breach>(())
        })?;
    }
    let [status] = inflow.exactly()?;
    inflow.finish()?;
    Ok((status == 0).then_some(bytes))
}

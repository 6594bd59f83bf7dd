//! Whole messages: the body of a frame of each type.

use crate::transport::codec::control;
use crate::transport::codec::error::CodecError;
use crate::transport::codec::reader::Reader;
use crate::transport::codec::writer::Writer;
use crate::transport::frame::Type;
use crate::transport::message::Message;

/// Returns the type and the body of the frame that carries `message`.
#[must_use]
pub fn encode(message: &Message) -> (Type, Vec<u8>) {
    let mut writer = Writer::new();
    let kind = match message {
        Message::Hello(hello) => {
            control::write_hello(&mut writer, hello);
            Type::Hello
        }
        Message::Welcome(welcome) => {
            control::write_welcome(&mut writer, welcome);
            Type::Welcome
        }
        Message::Refuse(refuse) => {
            control::write_refuse(&mut writer, refuse);
            Type::Refuse
        }
        _ => Type::End,
    };
    (kind, writer.finish())
}

/// Returns the message that `body` is, as a frame of type `kind`.
///
/// # Errors
/// It is not one, or breaks a limit.
pub fn decode(kind: Type, body: &[u8]) -> Result<Message, CodecError> {
    let mut reader = Reader::new(body);
    let message = match kind {
        Type::Hello => Message::Hello(control::read_hello(&mut reader)?),
        Type::Welcome => Message::Welcome(control::read_welcome(&mut reader)?),
        Type::Refuse => Message::Refuse(control::read_refuse(&mut reader)?),
        _ => Message::End,
    };
    reader.finish()?;
    Ok(message)
}

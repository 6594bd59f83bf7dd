//! Why the folder of a peer cannot be worked with.

use std::sync::Arc;

use crate::engine::error::EngineError;
use crate::engine::far::breach::Broken;
use crate::model::heard::heard;
use crate::store::error::StoreError;
use crate::transport::error::WireError;
use crate::transport::message::{Code, Message, Refuse};

/// Why the folder of a peer cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum FarError {
    /// The connection failed.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The conversation about contents failed.
    #[error(transparent)]
    Broken(#[from] Arc<Broken>),
    /// The peer says no.
    #[error("{peer} refuses: {text}")]
    Refused {
        /// Who.
        peer: String,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        text: String,
    },
    /// The peer answered what cannot be an answer.
    #[error("{peer} answered {what}")]
    Answer {
        /// Who.
        peer: String,
        /// What is wrong with it.
        what: String,
    },
    /// What is remembered of the folder cannot be read or written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<Broken> for FarError {
    fn from(error: Broken) -> Self {
        match error {
            Broken::Wire(error) => Self::Wire(error),
            error @ (Broken::Compression(_) | Broken::Breach { .. }) => Self::Broken(Arc::new(error)),
        }
    }
}

impl From<StoreError> for FarError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl FarError {
    /// Returns the error of a refusal by `peer`.
    #[must_use]
    pub fn refused(peer: &str, refuse: &Refuse) -> Self {
        Self::Refused { peer: peer.to_owned(), code: refuse.code, text: heard(&refuse.text) }
    }

    /// Returns the error of an answer that cannot be one.
    #[must_use]
    pub fn answer(peer: &str, what: impl Into<String>) -> Self {
        Self::Answer { peer: peer.to_owned(), what: what.into() }
    }

    /// Returns the exit code of a run that ends with this; `None` where it is a matter of this machine.
    #[must_use]
    pub fn exit(&self) -> Option<u8> {
        match self {
            Self::Wire(error) => Some(error.exit()),
            Self::Broken(error) => match &**error {
                Broken::Wire(error) => Some(error.exit()),
                Broken::Compression(_) | Broken::Breach { .. } => Some(error.code().exit()),
            },
            Self::Refused { code, .. } => Some(code.exit()),
            Self::Answer { .. } => Some(Code::Protocol.exit()),
            Self::Engine(_) => None,
        }
    }
}

/// Returns the error of a message that is not one of those that may come now.
pub(crate) fn unexpected(peer: &str, message: &Message) -> FarError {
    let text = format!("{message:?}");
    let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    FarError::answer(peer, format!("{name} out of turn"))
}

//! Why a request or a whole connection is not served any further.

use std::sync::Arc;

use crate::engine::error::EngineError;
use crate::engine::far::breach::Broken;
use crate::store::error::StoreError;
use crate::transport::error::WireError;
use crate::transport::message::{Code, Refuse};

/// Why a request or a whole connection is not served any further.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The peer, or the way to it, is gone.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A conversation about contents ended early.
    #[error(transparent)]
    Broken(#[from] Arc<Broken>),
    /// The peer broke the protocol.
    #[error("the peer sent {0}")]
    Protocol(&'static str),
    /// A batch before this one came to no end.
    #[error("a batch before this one came to no end")]
    Forerunner,
    /// The folder cannot be worked on.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ServeError {
    /// Returns the code that the peer is told.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Protocol(_) => Code::Protocol,
            Self::Wire(error) => error.code(),
            Self::Broken(error) => error.code(),
            Self::Forerunner | Self::Engine(_) => Code::Internal,
        }
    }

    /// Returns what the peer is told: which rule it broke, and nothing of this machine.
    #[must_use]
    pub fn text(&self) -> String {
        if self.code() == Code::Protocol {
            self.to_string()
        } else {
            "the folder cannot be served any further".to_owned()
        }
    }
}

impl From<Broken> for ServeError {
    fn from(error: Broken) -> Self {
        Self::Broken(Arc::new(error))
    }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

/// Returns what a guest is told of an error of the folder: nothing of paths or names of this machine.
pub(crate) fn told(name: &str, error: &EngineError) -> Refuse {
    let (code, why) = match error {
        EngineError::NoRoot { .. } | EngineError::NotADirectory { .. } | EngineError::RootGone { .. } => {
            (Code::Halted, "its root is missing")
        }
        EngineError::MarkerLost { empty: true, .. } => (Code::Halted, "its root is empty"),
        EngineError::MarkerLost { .. }
        | EngineError::RootReplaced { .. }
        | EngineError::RootRestored { .. }
        | EngineError::BadMarker { .. } => (Code::Halted, "its root is not the one that was served"),
        EngineError::Locked { .. } => (Code::Busy, "another run works on it"),
        EngineError::Root { .. } | EngineError::Private { .. } => (Code::Disk, "its disk fails"),
        EngineError::Nested { .. }
        | EngineError::Store(_)
        | EngineError::State { .. }
        | EngineError::Random(_)
        | EngineError::Unknown { .. } => (Code::Internal, "its state cannot be used"),
    };
    Refuse { code, text: format!("the folder {name} is not served: {why}") }
}

//! What can go wrong with a peer, and the exit code that stands for it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::model::heard::heard;
use crate::model::key::PublicKey;
use crate::transport::message::{Code, Refuse};

/// Why a conversation with a peer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// None of the addresses can be reached.
    #[error(
        "cannot connect to {address}: {why}; is csyncd running there, and does a firewall let UDP through?"
    )]
    Unreachable {
        /// The last address that was tried.
        address: String,
        /// Why not.
        why: String,
    },
    /// No address answered in time.
    #[error("no answer from {address} within {} s; is csyncd running there, and does a firewall let UDP through?", timeout.as_secs_f32())]
    ConnectTimeout {
        /// The addresses that were tried.
        address: String,
        /// How long.
        timeout: Duration,
    },
    /// Whoever answers is not the one that was meant.
    #[error(
        "{address} has the key {found}, not {wanted}: it is another machine, or its key was made anew; ask its owner which"
    )]
    WrongKey {
        /// Where.
        address: SocketAddr,
        /// The pinned key.
        wanted: PublicKey,
        /// Its key.
        found: PublicKey,
    },
    /// The peer speaks none of our versions.
    #[error(
        "{peer} speaks no version of the protocol that this csync speaks ({why}); bring both to the same release"
    )]
    Version {
        /// Who.
        peer: String,
        /// What it said.
        why: String,
    },
    /// The peer does not let us in, or not here.
    #[error("{peer} refuses: {text}")]
    Denied {
        /// Who.
        peer: String,
        /// What it said.
        text: String,
    },
    /// The peer said no to a request.
    #[error("{peer} refuses: {}", heard(&.refuse.text))]
    Refused {
        /// Who.
        peer: String,
        /// Why.
        refuse: Refuse,
    },
    /// The peer closed the connection or the stream.
    #[error("{peer} closed the connection: {text} ({})", .code.word())]
    Closed {
        /// Who.
        peer: String,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        text: String,
    },
    /// Nothing moved for too long.
    #[error("{peer} made no progress for {} s while {doing}; --timeout sets how long to wait", after.as_secs_f32())]
    Timeout {
        /// Who.
        peer: String,
        /// What was waited for.
        doing: &'static str,
        /// How long.
        after: Duration,
    },
    /// The peer, or the way to it, is gone.
    #[error("lost the connection to {peer}: {why}; run again, what was done stays done")]
    Lost {
        /// Who.
        peer: String,
        /// How it was noticed.
        why: String,
    },
    /// The peer broke the protocol.
    #[error("{peer} sent what makes no sense: {what}")]
    Protocol {
        /// Who.
        peer: String,
        /// Which rule it broke.
        what: String,
    },
    /// We were about to say what the protocol has no room for.
    #[error("cannot send to {peer}: {what}")]
    Unsayable {
        /// To whom.
        peer: String,
        /// What it was.
        what: String,
    },
    /// We closed it ourselves.
    #[error("the connection to {peer} was closed here")]
    ClosedHere {
        /// Who was at the other end.
        peer: String,
    },
    /// Something on this machine failed.
    #[error("cannot {action}")]
    Local {
        /// Such as `open a UDP socket`.
        action: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl WireError {
    /// Returns the code that says the same to the other side.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Version { .. } => Code::Version,
            Self::Denied { .. } | Self::WrongKey { .. } => Code::Denied,
            Self::Refused { refuse, .. } => refuse.code,
            Self::Closed { code, .. } => *code,
            Self::Timeout { .. } | Self::ConnectTimeout { .. } => Code::Timeout,
            Self::Protocol { .. } => Code::Protocol,
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Unsayable { .. }
            | Self::ClosedHere { .. }
            | Self::Local { .. } => Code::Internal,
        }
    }

    /// Returns the exit code of a run that ends with this.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::ConnectTimeout { .. } => 35,
            Self::Unreachable { .. } | Self::Lost { .. } | Self::ClosedHere { .. } => 10,
            Self::Unsayable { .. } | Self::Local { .. } => 11,
            Self::Version { .. }
            | Self::Denied { .. }
            | Self::WrongKey { .. }
            | Self::Refused { .. }
            | Self::Closed { .. }
            | Self::Timeout { .. }
            | Self::Protocol { .. } => self.code().exit(),
        }
    }
}

impl Code {
    /// Returns the number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        Self::ALL.iter().position(|code| *code == self).map_or(5, |at| u16::try_from(at).unwrap_or(5))
    }

    /// Returns the code with this number; [`Code::Internal`] for numbers of later versions.
    #[must_use]
    pub fn of(number: u64) -> Self {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Internal)
    }

    /// Returns the word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Version => "no common version",
            Self::Denied => "not allowed",
            Self::Missing => "missing",
            Self::Protocol => "broken protocol",
            Self::Internal => "internal failure",
            Self::Busy => "busy",
            Self::Shutdown => "shutting down",
            Self::Halted => "folder halted",
            Self::Held => "held by the delete guard",
            Self::Quota => "over quota",
            Self::NotPrimary => "not the primary",
            Self::Timeout => "timed out",
            Self::Disk => "disk refused",
            Self::Unacceptable => "not acceptable",
            Self::Mismatch => "content mismatch",
        }
    }

    /// Returns the exit code of a run that ends with this.
    #[must_use]
    pub fn exit(self) -> u8 {
        match self {
            Self::Version => 2,
            Self::Missing => 3,
            Self::Denied => 5,
            Self::Done | Self::Internal | Self::Busy | Self::Shutdown => 10,
            Self::Disk => 11,
            Self::Protocol | Self::Mismatch => 12,
            Self::Unacceptable => 23,
            Self::Held => 25,
            Self::Timeout => 30,
            Self::Halted => 42,
            Self::Quota => 43,
            Self::NotPrimary => 44,
        }
    }

    /// All codes in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Done,
        Self::Version,
        Self::Denied,
        Self::Missing,
        Self::Protocol,
        Self::Internal,
        Self::Busy,
        Self::Shutdown,
        Self::Halted,
        Self::Held,
        Self::Quota,
        Self::NotPrimary,
        Self::Timeout,
        Self::Disk,
        Self::Unacceptable,
        Self::Mismatch,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_one_number_and_keeps_it() {
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), at);
            assert_eq!(code as u16, code.number());
            assert_eq!(Code::of(u64::from(code.number())), code);
        }
        assert_eq!(Code::of(4711), Code::Internal);
        assert_eq!(Code::of(u64::MAX), Code::Internal);
    }
}

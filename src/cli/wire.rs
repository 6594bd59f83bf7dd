//! What goes wrong with a peer, as a user is told it: exit code, number, cause and fix.

use crate::cli::cause::{self, chain};
use crate::cli::failure::{Exit, Failure, Number};
use crate::engine::far::breach::Broken;
use crate::engine::far::error::FarError;
use crate::model::key::PublicKey;
use crate::transport::error::WireError;
use crate::transport::message::Code;

/// Who calls whom, for what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The peer's name in the config.
    pub peer: String,
    /// This node's key.
    pub own: PublicKey,
}

/// Returns what an error of a connection is to a user.
#[must_use]
pub fn failure(error: &WireError, call: &Call) -> Failure {
    let Call { peer, .. } = call;
    let (exit, number, fix) = match error {
        WireError::Unreachable { .. } => (
            Exit::Network,
            Number::Network,
            format!("start csyncd on {peer}, let its UDP port through, and check addr of [peer.{peer}]"),
        ),
        WireError::ConnectTimeout { .. } => (
            Exit::ConnectTimeout,
            Number::Timeout,
            format!("start csyncd on {peer}, let its UDP port through, and check addr of [peer.{peer}]"),
        ),
        WireError::WrongKey { .. } => (
            Exit::Refused,
            Number::Refused,
            format!("if it was made anew, put what csync id prints there into key of [peer.{peer}]"),
        ),
        WireError::Version { .. } => told(Code::Version, call),
        WireError::Denied { .. } => told(Code::Denied, call),
        WireError::Refused { refuse, .. } => told(refuse.code, call),
        WireError::Closed { code, .. } => told(*code, call),
        WireError::Timeout { .. } => told(Code::Timeout, call),
        WireError::Protocol { .. } => told(Code::Protocol, call),
        WireError::Lost { .. } | WireError::ClosedHere { .. } => {
            (Exit::Network, Number::Network, "run again; what was done stays done".to_owned())
        }
        WireError::Unsayable { .. } | WireError::Local { .. } => (
            Exit::LocalIo,
            Number::Disk,
            "see to this machine and run again; what was done stays done".to_owned(),
        ),
    };
    Failure::new(exit, number, chain(error)).fix(fix)
}

/// Returns what an error of the folder of a peer is to a user.
#[must_use]
pub fn far_failure(error: &FarError, call: &Call) -> Failure {
    match error {
        FarError::Wire(error) => failure(error, call),
        FarError::Engine(error) => cause::failure(error),
        FarError::Broken(broken) => match &**broken {
            Broken::Wire(error) => failure(error, call),
            Broken::Compression(_) | Broken::Breach { .. } => no(error, broken.code(), call),
        },
        FarError::Refused { code, .. } => no(error, *code, call),
        FarError::Answer { .. } => no(error, Code::Protocol, call),
    }
}

fn no(error: &FarError, code: Code, call: &Call) -> Failure {
    let (exit, number, fix) = told(code, call);
    Failure::new(exit, number, chain(error)).fix(fix)
}

/// What a peer's no comes to.
fn told(code: Code, Call { peer, own }: &Call) -> (Exit, Number, String) {
    match code {
        Code::Version => (Exit::Protocol, Number::Version, "bring both to the same release".to_owned()),
        Code::Denied => (
            Exit::Refused,
            Number::Refused,
            format!(
                "on {peer}, add the [peer.…] lines that csync id --toml prints here (key {own}), \
                 and name this node in members or allow of the folder; csync {peer}:: lists what it may see"
            ),
        ),
        Code::Missing => (
            Exit::Missing,
            Number::Missing,
            format!("csync {peer}:: lists the folders that this node may see"),
        ),
        Code::Protocol | Code::Mismatch => (
            Exit::BadData,
            Number::BadData,
            "nothing of it was used; bring both to the same release and run again".to_owned(),
        ),
        Code::Done | Code::Internal => (
            Exit::Network,
            Number::PeerFailed,
            format!("see what csyncd says on {peer}, and run again; what was done stays done"),
        ),
        Code::Busy | Code::Shutdown => {
            (Exit::Network, Number::Network, "run again later; what was done stays done".to_owned())
        }
        Code::Halted => (Exit::RootMissing, Number::RootLost, format!("see to the folder's root on {peer}")),
        Code::Held => {
            (Exit::Held, Number::Held, "look with -n -i --yes; then --yes lets it through".to_owned())
        }
        Code::Quota => (Exit::Quota, Number::Full, format!("free space on {peer}, or raise the limit there")),
        Code::NotPrimary => {
            (Exit::NotPrimary, Number::NotPrimary, format!("name the folder's primary instead of {peer}"))
        }
        Code::Timeout => (
            Exit::Timeout,
            Number::Timeout,
            "run again, perhaps with a longer --timeout; what was done stays done".to_owned(),
        ),
        Code::Disk => (
            Exit::LocalIo,
            Number::Disk,
            format!("see to the disk of {peer} and run again; what was done stays done"),
        ),
        Code::Unacceptable => (
            Exit::Partial,
            Number::PeerFailed,
            format!("leave it out by a filter, or see the folder on {peer}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_of_a_peer_has_the_exit_code_of_the_protocol_and_a_fix() {
        let call = Call { peer: "web1".to_owned(), own: PublicKey([7; 32]) };
        for code in Code::ALL {
            let error = FarError::Refused { peer: "web1".to_owned(), code, text: "a\nb".to_owned() };
            let failure = far_failure(&error, &call);
            assert_eq!(failure.exit.code(), code.exit(), "{code:?}");
            assert!(failure.message.contains("a\\#012b") && failure.fix.is_some(), "{failure}");
        }
        let denied = told(Code::Denied, &call).2;
        assert!(denied.contains("csync id --toml") && denied.contains(&call.own.to_string()), "{denied}");
    }
}

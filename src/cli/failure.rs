//! What ends a run without success: exit code, number, cause, fix.

use std::fmt;

use crate::engine::report::Report;

/// The exit codes of `csync`; rsync's where rsync has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done.
    Done,
    /// Usage or config.
    Usage,
    /// Protocol version.
    Protocol,
    /// Source or destination missing.
    Missing,
    /// Not paired, or refused.
    Refused,
    /// Network.
    Network,
    /// Local I/O, disk full.
    LocalIo,
    /// Bad data from a peer.
    BadData,
    /// Ended by a signal.
    Signal,
    /// Some paths could not be treated.
    Partial,
    /// Source entries vanished.
    Vanished,
    /// Held by the delete limit.
    Held,
    /// Timeout.
    Timeout,
    /// Timeout while connecting.
    ConnectTimeout,
    /// This run made conflicts, or trees differ.
    Conflicts,
    /// Locked by another run.
    Locked,
    /// The root is missing, replaced or unmounted.
    RootMissing,
    /// Quota.
    Quota,
    /// Not primary.
    NotPrimary,
    /// A monitoring plugin's word: somebody should look.
    PluginWarning,
    /// A monitoring plugin's word: something does not work.
    PluginCritical,
    /// A monitoring plugin's word: nobody answers.
    PluginUnknown,
}

impl Exit {
    /// The order in which one of several codes is chosen: the first six end a run at once, the others are met at
    /// its end.
    const PRECEDENCE: [Self; 18] = [
        Self::Usage,
        Self::Protocol,
        Self::Missing,
        Self::Locked,
        Self::RootMissing,
        Self::NotPrimary,
        Self::Signal,
        Self::BadData,
        Self::LocalIo,
        Self::Quota,
        Self::Refused,
        Self::ConnectTimeout,
        Self::Timeout,
        Self::Network,
        Self::Partial,
        Self::Held,
        Self::Conflicts,
        Self::Vanished,
    ];

    /// Returns the number the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage | Self::PluginWarning => 1,
            Self::Protocol | Self::PluginCritical => 2,
            Self::Missing | Self::PluginUnknown => 3,
            Self::Refused => 5,
            Self::Network => 10,
            Self::LocalIo => 11,
            Self::BadData => 12,
            Self::Signal => 20,
            Self::Partial => 23,
            Self::Vanished => 24,
            Self::Held => 25,
            Self::Timeout => 30,
            Self::ConnectTimeout => 35,
            Self::Conflicts => 40,
            Self::Locked => 41,
            Self::RootMissing => 42,
            Self::Quota => 43,
            Self::NotPrimary => 44,
        }
    }

    /// Returns the code that a run with all of `met` ends with; [`Exit::Done`] for none.
    #[must_use]
    pub fn worst(met: &[Self]) -> Self {
        Self::PRECEDENCE.into_iter().find(|exit| met.contains(exit)).unwrap_or(Self::Done)
    }

    /// Returns the code that a run with this report ends with.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let troubles = report.troubles;
        let met: Vec<Self> = [
            (troubles.interrupted, Self::Signal),
            (troubles.disk, Self::LocalIo),
            (troubles.quota, Self::Quota),
            (troubles.partial, Self::Partial),
            (report.held.is_some(), Self::Held),
            (!report.conflicts.is_empty() || troubles.differs, Self::Conflicts),
            (troubles.vanished, Self::Vanished),
        ]
        .into_iter()
        .filter_map(|(true_now, exit)| true_now.then_some(exit))
        .collect();
        Self::worst(&met)
    }
}

/// Declares [`Number`] with its texts.
macro_rules! numbers {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal,)*) => {
        /// The catalogue of error numbers. A number keeps its meaning for ever.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Number { $($(#[doc = $doc])* $variant,)* }

        impl Number {
            /// Every number with its text, ascending.
            pub const ALL: &'static [(Self, u16)] = &[$((Self::$variant, $number),)*];
        }

        impl fmt::Display for Number {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let number: u16 = match self { $(Self::$variant => $number,)* };
                write!(f, "E{number:03}")
            }
        }
    };
}

numbers! {
    /// The command line is wrong.
    Usage = 1,
    /// A verb, flag or form of address that a later version has.
    Later = 2,
    /// An rsync flag that csync never has.
    Unsupported = 3,
    /// Two flags exclude each other.
    Conflicting = 4,
    /// The value of a flag is wrong.
    Value = 5,
    /// There is no config where one is needed.
    ConfigMissing = 11,
    /// The config is wrong.
    Config = 12,
    /// The config or state directory cannot be read or written.
    Settings = 13,
    /// The node's key is missing, unreadable or unsafe.
    Key = 14,
    /// No peer of the config is meant, or more than one.
    Peer = 41,
    /// A peer refused us.
    Refused = 42,
    /// A peer cannot be reached, or the connection broke.
    Network = 43,
    /// A peer did not answer in time.
    Timeout = 44,
    /// A peer speaks no version of the protocol that we speak.
    Version = 45,
    /// A peer broke the protocol, or sent what it did not announce.
    BadData = 46,
    /// Something failed at the peer's.
    PeerFailed = 47,
    /// Another node is the primary.
    NotPrimary = 48,
    /// A source or destination is missing or of the wrong kind.
    Missing = 51,
    /// Two roots are the same or one lies in the other.
    Nested = 52,
    /// A filter rule is wrong.
    Filter = 53,
    /// No such conflict, version or path in a root's state.
    Unknown = 54,
    /// An address cannot be listened on.
    Listen = 61,
    /// The daemon, or its control socket, does not answer or cannot be set up.
    Control = 62,
    /// A root is empty but had content.
    RootEmpty = 71,
    /// A root is missing, replaced, or lost its marker.
    RootLost = 72,
    /// The delete guard stopped the run.
    Held = 73,
    /// Another run holds the root.
    Locked = 74,
    /// The state database is of a newer version.
    Newer = 75,
    /// The state database is damaged or cannot be used.
    State = 76,
    /// The local disk failed.
    Disk = 81,
    /// The disk or quota is full.
    Full = 82,
}

/// Why a command ends without success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the process ends with.
    pub exit: Exit,
    /// Which kind of failure.
    pub number: Number,
    /// The cause; names already escaped, no full stop.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

impl Failure {
    /// Returns a failure without a fix.
    #[must_use]
    pub fn new(exit: Exit, number: Number, message: impl Into<String>) -> Self {
        Self { exit, number, message: message.into(), fix: None }
    }

    /// Returns a failure of usage, exit code 1.
    #[must_use]
    pub fn usage(number: Number, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, number, message)
    }

    /// Returns this failure with what to do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.number, self.message)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Returns the failure of a standard output that cannot be written.
#[must_use]
pub fn output_failure(error: &std::io::Error) -> Failure {
    Failure::new(Exit::LocalIo, Number::Disk, format!("cannot write to standard output: {error}"))
        .fix("what was done is done; check where the output goes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_run_at_once_wins_then_the_contracts_order() {
        for (case, met, expected) in [
            ("nothing", &[][..], 0),
            ("usage before all", &[Exit::Vanished, Exit::Signal, Exit::Usage], 1),
            ("missing root before a signal", &[Exit::Signal, Exit::RootMissing], 42),
            ("lock before a root", &[Exit::RootMissing, Exit::Locked], 41),
            ("signal before data", &[Exit::BadData, Exit::Signal], 20),
            ("data before disk", &[Exit::LocalIo, Exit::BadData], 12),
            ("disk before quota", &[Exit::Quota, Exit::LocalIo], 11),
            ("quota before refusal", &[Exit::Refused, Exit::Quota], 43),
            ("refusal before timeouts", &[Exit::Timeout, Exit::ConnectTimeout, Exit::Refused], 5),
            ("connecting before waiting", &[Exit::Timeout, Exit::ConnectTimeout], 35),
            ("waiting before network", &[Exit::Network, Exit::Timeout], 30),
            ("network before partial", &[Exit::Partial, Exit::Network], 10),
            ("partial before held", &[Exit::Held, Exit::Partial], 23),
            ("held before conflicts", &[Exit::Conflicts, Exit::Held], 25),
            ("conflicts before vanished", &[Exit::Vanished, Exit::Conflicts], 40),
            ("vanished alone", &[Exit::Vanished], 24),
        ] {
            assert_eq!(Exit::worst(met).code(), expected, "{case}");
        }
    }

    #[test]
    fn every_code_but_success_has_a_rank() {
        for code in 1..=44 {
            let ranked = Exit::PRECEDENCE.iter().filter(|exit| exit.code() == code).count();
            let exists = [1, 2, 3, 5, 10, 11, 12, 20, 23, 24, 25, 30, 35, 40, 41, 42, 43, 44].contains(&code);
            assert_eq!(ranked, usize::from(exists), "{code}");
        }
    }

    #[test]
    fn numbers_ascend_and_show_three_digits() {
        assert!(Number::ALL.windows(2).all(|pair| pair[0].1 < pair[1].1));
        assert_eq!(Failure::usage(Number::Usage, "no").fix("do").to_string(), "error[E001]: no\n  fix: do");
    }

    #[test]
    fn a_report_with_conflicts_and_skipped_paths_is_partial() {
        let mut report = Report::default();
        assert_eq!(Exit::of(&report), Exit::Done);
        report.troubles.differs = true;
        assert_eq!(Exit::of(&report), Exit::Conflicts);
        report.troubles.partial = true;
        assert_eq!(Exit::of(&report), Exit::Partial);
    }
}

//! csync keeps directories the same. One page, the table of contents: every floor and file in reading order.
//!
//! Start at `engine::cycle`. The floors and what each may import are in `docs/ARCHITECTURE.md`, enforced by
//! `tests/architecture.rs`.

pub mod fault;

/// Nouns. No I/O, no clock.
pub mod model {
    pub mod entry;
    pub mod heard;
    pub mod key;
    pub mod metadata;
    pub mod path;
    pub mod row;
    pub mod version;
}

/// What the user may choose: pure functions.
pub mod rules {
    pub mod chmod;
    pub mod conflict;
    pub mod filter;
    pub mod owner;
    pub mod pattern;
    pub mod rule;
    pub mod scope;
    pub mod source;
    pub mod syntax;
}

/// Decisions: values in, values out.
pub mod plan {
    pub mod compare;
    pub mod decide;
    pub mod detect;
    pub mod edit;
    pub mod follow;
    pub mod guard;
    pub mod itemize;
    pub mod merge;
    pub mod moves;
    pub mod settle;
}

/// What of a content is new, and how little says so: chunks, signatures, operations, compression. Bytes in, bytes out.
pub mod delta {
    pub mod chunk;
    pub mod compress;
    pub mod diff;
    pub mod group;
    pub mod inventory;
    pub mod outline;
    pub mod patch;
    pub mod piece;
    pub mod region;
    pub mod rolling;
    pub mod signature;
    pub mod varint;
}

/// The settings file as typed values.
pub mod config {
    pub mod check;
    pub mod file;
    pub mod folder;
    pub mod job;
    pub mod parse;
    pub mod problem;
    pub mod quantity;
    pub mod reader;
    pub mod settings;
    pub mod values;
}

/// The local tree: the only floor that touches a synchronised root.
pub mod disk {
    pub mod apply;
    pub mod attributes;
    pub mod basis;
    pub mod clock;
    pub mod copy;
    pub mod direct;
    pub mod draft;
    pub mod error;
    pub mod exchange;
    pub mod hash;
    pub mod kept;
    pub mod leftover;
    pub mod lister;
    pub mod listing;
    pub mod mark;
    pub mod names;
    pub mod private;
    pub mod process;
    pub mod recover;
    pub mod root;
    pub mod socket;
    pub mod stage;
    pub mod user;
    pub mod walk;
    pub mod watch;
}

/// The database of a replica.
pub mod store {
    pub mod conflicts;
    pub mod contents;
    pub mod db;
    pub mod error;
    pub mod hints;
    pub mod index;
    pub mod looks;
    pub mod members;
    pub mod meta;
    pub mod pack;
    pub mod peer;
    pub mod query;
    pub mod remote;
    #[cfg(test)]
    mod sample;
    pub mod slots;
    pub mod span;
    pub mod unpack;
    pub mod versions;
}

/// Peers: who they are, what they say, and the wire.
pub mod transport {
    pub mod channel;
    pub mod error;
    pub mod frame;
    pub mod identity;
    pub mod link;
    pub mod member;
    pub mod message;
    pub mod quic;
    mod runtime;
    pub mod seats;
    mod throttle;
    mod tls;
    mod tuning;
    pub mod weight;
    /// Messages as bytes and back. Decoding is the border: what passes it has been checked.
    pub mod codec {
        mod contents;
        mod control;
        pub mod error;
        mod listing;
        pub mod message;
        mod pack;
        mod reader;
        mod requests;
        mod rows;
        mod shape;
        mod values;
        mod writer;
    }
}

/// Where deciding meets acting.
pub mod engine {
    pub mod access;
    pub mod act;
    mod aside;
    pub mod bond;
    pub mod cycle;
    pub mod dispute;
    pub mod error;
    pub mod frozen;
    pub mod glance;
    pub mod home;
    pub mod host;
    pub mod item;
    pub mod keeper;
    pub mod marker;
    pub mod note;
    pub mod observe;
    pub mod options;
    pub mod pair;
    pub mod planned;
    pub mod prepare;
    pub mod pull;
    pub mod receive;
    mod recorder;
    pub mod recover;
    pub mod replica;
    pub mod report;
    pub mod resolve;
    pub mod restore;
    pub mod selection;
    pub mod settle;
    pub mod site;
    pub mod standing;
    pub mod start;
    pub mod state;
    pub mod supply;
    pub mod tended;
    pub mod tools;
    pub mod tree;
    pub mod verify;
    /// The folder of a peer, from this side of the wire.
    pub mod far {
        pub mod breach;
        mod cache;
        pub mod error;
        pub mod folder;
        pub mod give;
        pub mod guest;
        mod inflow;
        mod ladder;
        mod listing;
        pub mod offer;
        mod outcome;
        pub mod outflow;
        mod outlines;
        pub mod owners;
        pub mod placed;
        mod ration;
        mod read;
        mod send;
        mod stat;
        mod supply;
        pub mod take;
        pub mod told;
        pub mod unsent;
    }
    /// The other members of a folder, from this side of the wire.
    pub mod member {
        pub mod approved;
        pub mod follow;
        pub mod held;
        pub mod leader;
        mod news;
        mod pass;
        mod stock;
    }
    /// The folders of this node, for others.
    pub mod serve {
        mod batch;
        mod change;
        pub mod error;
        mod fetch;
        mod follow;
        mod intake;
        mod list;
        mod names;
        pub mod session;
        mod taking;
        mod visit;
    }
    /// One way, as rsync does it.
    pub mod mirror {
        mod account;
        mod backup;
        mod courier;
        mod directory;
        pub mod error;
        mod fetch;
        mod hand;
        mod job;
        mod making;
        mod opening;
        pub mod operand;
        mod pass;
        mod rehearsal;
        mod removal;
        pub mod run;
        mod sending;
        mod setting;
        mod site;
        mod worker;
    }
}

/// The program that stays up: who may do what in which folder, sessions, the control socket.
pub mod daemon {
    mod answers;
    pub mod control;
    pub mod folders;
    pub mod grants;
    pub mod keepers;
    pub mod log;
    pub mod members;
    pub mod node;
    pub mod notify;
    pub mod question;
    pub mod run;
    pub mod sessions;
    pub mod status;
    pub mod workers;
}

/// The command line.
pub mod cli {
    pub mod args;
    pub mod cause;
    pub mod conflict;
    pub mod daemon;
    pub mod dispatch;
    pub mod draft;
    pub mod failure;
    pub mod flags;
    pub mod given;
    pub mod grammar;
    pub mod held;
    pub mod journal;
    pub mod listing;
    pub mod node;
    pub mod operand;
    pub mod pair;
    pub mod peer;
    pub mod question;
    pub mod refused;
    pub mod remote;
    pub mod render;
    pub mod served;
    pub mod settings;
    pub mod signal;
    pub mod status;
    pub mod summary;
    pub mod sync;
    pub mod transfer;
    pub mod version;
    pub mod wait;
    pub mod wire;
}

//! What peers say to each other, in the types of the model: whatever was decoded has been checked.

use crate::model::entry::Content;
use crate::model::metadata::Attributes;
use crate::model::path::RelPath;
use crate::model::row::Row;
use crate::model::version::{Dot, ReplicaId};
use crate::transport::member::{Ack, Follow, Inline, Join, Recover};

/// One message: the body of one frame.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// First on the first stream, from the one who connected.
    Hello(Hello),
    /// The answer: from here on folders may be asked for.
    Welcome(Welcome),
    /// A no to whatever was asked; nothing more comes on this stream.
    Refuse(Refuse),
    /// Which folders may this key see?
    Folders,
    /// Those.
    FolderList(Vec<FolderInfo>),
    /// Opens the one folder that this connection is about.
    Open(Open),
    /// The answer is being worked on.
    Working(Working),
    /// The folder is open; other streams may begin.
    Opened(Opened),
    /// Opens the one folder that this connection is about, as another member of it. Answered as [`Message::Open`] is.
    Join(Join),
    /// A member holds what it was told.
    Ack(Ack),
    /// All changes were sent: finish what waits.
    Settle,
    /// Everything before it is durable.
    Settled(Settled),
    /// Asks for rows; the first message of a stream. Answered by pages.
    List(List),
    /// Rows in path order.
    Page(Page),
    /// Asks for rows, and for those to come; the first message of a stream. Answered by news for as long as the
    /// stream lives.
    Follow(Follow),
    /// Rows as they come.
    News(News),
    /// Asks for contents; the first message of a stream. The sender of it takes, the other gives.
    Fetch(Fetch),
    /// Asks for contents that lost a conflict; the first message of a stream. Goes on as [`Message::Fetch`] does.
    Recover(Recover),
    /// Asks for changes; the first message of a stream. The sender of it gives contents, the other takes them, and
    /// ends with an outcome.
    Change(Change),
    /// What became of each step.
    Outcome(Outcome),
    /// Taker: give the whole of these, in this order.
    Whole(Vec<u32>),
    /// Taker: what is this file made of?
    Outline(u32),
    /// Giver: the groups of chunks of a file, encoded by `delta::outline`. While it reads the file for them, it may say
    /// that it is [`Message::Working`].
    Groups(Vec<u8>),
    /// Taker: which chunks are in these groups?
    Expand(Expand),
    /// Giver: their chunks, group after group, encoded by `delta::chunk`.
    Chunks(Vec<u8>),
    /// Taker: these ranges, as operations on what it has.
    Parts(Parts),
    /// Giver: bytes of the answer to [`Message::Whole`] or [`Message::Parts`].
    Block(Block),
    /// Giver: the answer is complete.
    BlocksEnd,
    /// Giver: this content is not to be had as it was offered. Also at the end of blocks, which are void then.
    Absent(Absent),
    /// Taker: nothing more is wanted on this stream.
    End,
}

/// The first message of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Protocol versions that the sender speaks.
    pub versions: Vec<u16>,
    /// Program and version, for logs.
    pub agent: String,
}

/// The answer to [`Hello`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The version that both will speak.
    pub version: u16,
    /// Program and version, for logs.
    pub agent: String,
    /// The name of the node.
    pub node: String,
}

/// A no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refuse {
    /// Why, for programs.
    pub code: Code,
    /// Why, for people; one line.
    pub text: String,
}

/// Why something is refused or a connection closed. The number is the close code on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Code {
    /// All is done.
    Done = 0,
    /// No common version of the protocol.
    Version = 1,
    /// The key is not known here, or has no grant for this.
    Denied = 2,
    /// No such folder or no such path.
    Missing = 3,
    /// Broke the protocol.
    Protocol = 4,
    /// Something here failed.
    Internal = 5,
    /// Too much at once; later again.
    Busy = 6,
    /// This node is ending.
    Shutdown = 7,
    /// The root of the folder is missing or contradicts what is known of it.
    Halted = 8,
    /// Held by the delete guard.
    Held = 9,
    /// A limit of space.
    Quota = 10,
    /// Somebody else is the primary.
    NotPrimary = 11,
    /// Took too long.
    Timeout = 12,
    /// The disk refused: full, read-only, failing.
    Disk = 13,
    /// A path or attribute that is not accepted here.
    Unacceptable = 14,
    /// The content came out other than announced.
    Mismatch = 15,
}

/// A folder as it is offered to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderInfo {
    /// Its name.
    pub name: String,
    /// Its mode here: `two-way`, `send`, `receive`, `primary`.
    pub mode: String,
    /// What its owner says of it.
    pub comment: String,
    /// What the key may do there.
    pub right: Right,
}

/// What a key may do in a folder; each includes the ones before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Right {
    /// List and read.
    Read,
    /// Also create, overwrite and delete, always with a version kept.
    Append,
    /// Everything.
    Write,
}

/// Asks for a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// Its name.
    pub folder: String,
    /// What the asker is going to do there.
    pub right: Right,
}

/// Part of the answer to [`Follow`].
#[derive(Clone, PartialEq, Debug)]
pub struct News {
    /// Rows; `complete` ends one pass, and the next begins with what was recorded since.
    pub page: Page,
    /// Contents of some of the rows, small ones.
    pub contents: Vec<Inline>,
    /// With the end of a pass: the nonce of the sender's present start.
    pub nonce: Option<[u8; 16]>,
    /// Of each replica the last of the deletions that a person let through; at most [`APPROVED_MAX`](crate::transport::member::APPROVED_MAX).
    pub approved: Vec<Dot>,
}

/// How far something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Working {
    /// Entries or steps done.
    pub done: u64,
}

/// The answer to [`Open`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Whose sequence numbers all `seq` of this connection are.
    pub replica: ReplicaId,
    /// The sequence now.
    pub seq: u64,
    /// Live entries.
    pub entries: u64,
    /// Bytes of its live files.
    pub bytes: u64,
    /// The attributes of its root, which has no row of its own; a step may dress it.
    pub root: Attributes,
    /// Whether set-id bits of files, devices and foreign owners are taken (`trust = "root"`).
    pub trusted: bool,
    /// Whether entries get the owners that they are given; else the folder has a rule of its own.
    pub owners: bool,
    /// How the delete guard of the folder judges the asker, if it says so.
    pub guard: Option<Guard>,
    /// What of the folder its owner cannot read, so that the rows say nothing of it.
    pub unread: Option<Unread>,
}

/// How the delete guard of a folder judges a guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// How many deletions pass without a person's word.
    pub bound: Bound,
    /// How many the guest has had lately, which count too.
    pub recent: u64,
}

/// How many deletions a guard lets pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Its formula says.
    Formula,
    /// This many.
    Count(u64),
    /// This share of the entries, in percent.
    Percent(u8),
}

/// What cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// How many paths.
    pub count: u64,
    /// The first of them; of a directory also all that is in it.
    pub first: RelPath,
}

/// The answer to [`Message::Settle`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// The sequence now.
    pub seq: u64,
    /// Whether nobody but this connection changed anything since [`Opened`].
    pub alone: bool,
}

/// Asks for rows recorded above `since`, in path order (S7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// The sequence up to which the asker knows everything; 0 for all live rows, without tombstones.
    pub since: u64,
    /// Only rows strictly below this path, and the row of itself.
    pub below: RelPath,
    /// The last path of an earlier answer that broke off.
    pub after: Option<RelPath>,
}

/// Part of the answer to [`List`].
#[derive(Clone, PartialEq, Debug)]
pub struct Page {
    /// At most [`PAGE_ROWS_MAX`].
    pub rows: Vec<Listed>,
    /// Names of the numbers among the owners in `rows` that were not named before on this stream.
    pub names: Names,
    /// With the last page: the sequence that the answer is complete up to.
    pub complete: Option<u64>,
}

/// Rows in one page.
pub const PAGE_ROWS_MAX: usize = 1000;

/// One row of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Where.
    pub path: RelPath,
    /// Under which number it was last recorded there; what a [`Step`] expects.
    pub seq: u64,
    /// What is known of it there.
    pub row: Row,
}

/// Names of users and groups by number, as the sender knows them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Users.
    pub users: Vec<(u32, Box<[u8]>)>,
    /// Groups.
    pub groups: Vec<(u32, Box<[u8]>)>,
}

/// Asks for contents. Their ids on this stream are their places in `items`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// At most [`ITEMS_MAX`].
    pub items: Vec<Item>,
    /// The blocks of the answers shall not be compressed.
    pub plain: bool,
}

/// Contents or steps in one request.
pub const ITEMS_MAX: usize = 1024;

/// Requests of one connection that are answered at once; further ones wait. Each costs memory on both sides.
pub const REQUESTS_MAX: usize = 4;

/// A content as it was listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Where it stands.
    pub path: RelPath,
    /// Under which number it was listed.
    pub seq: u64,
}

/// Asks for changes. Contents have the ids of their steps, which are places in `steps`.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// Batches of one connection take effect in this order: 0, 1, 2, ...
    pub number: u64,
    /// At most [`ITEMS_MAX`].
    pub steps: Vec<Step>,
    /// Names of the numbers among the owners in `steps`.
    pub names: Names,
    /// Entries that this connection is going to delete in all, so that the guard sees the whole; 0 while it is not
    /// known, and then nothing is deleted.
    pub deletes: u64,
    /// A person let the deletions through on the asker's side.
    pub approved: bool,
    /// Contents shall be taken whole, whatever resembles them there.
    pub whole: bool,
}

/// One change of one path.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// Where.
    pub path: RelPath,
    /// The number under which the asker knows what stands there; 0 if it knows of nothing. Anything else there now:
    /// nothing is done, and the outcome says so (S4).
    pub expect: u64,
    /// What shall be.
    pub act: Act,
}

/// What a step does.
#[derive(Clone, PartialEq, Debug)]
pub enum Act {
    /// This content shall stand there.
    Make {
        /// The content. The bytes of a file are taken from `from`, from elsewhere, or from the asker.
        content: Content,
        /// Its attributes.
        attributes: Attributes,
        /// Which of them are meant; the others are as the receiver makes them.
        which: Carried,
        /// Where the asker believes the same bytes to stand already.
        from: Option<RelPath>,
    },
    /// What stands there shall have these attributes.
    Dress {
        /// The attributes.
        attributes: Attributes,
        /// Which of them are meant.
        which: Carried,
    },
    /// Nothing shall stand there.
    Remove {
        /// Where the same content stands now, if it was only given another name: then it does not count for the guard,
        /// if that is so.
        moved_to: Option<RelPath>,
    },
}

/// Which attributes of an entry are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Carried {
    /// The permission bits.
    pub mode: bool,
    /// The user.
    pub user: bool,
    /// The group.
    pub group: bool,
    /// The modification time.
    pub mtime: bool,
}

/// What became of the steps of a [`Change`], in their order.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// One for each step, or for the next ones, until all have one.
    pub results: Vec<StepResult>,
    /// Those of further steps follow in another message.
    pub more: bool,
}

/// What became of one step.
#[derive(Clone, PartialEq, Debug)]
pub enum StepResult {
    /// It was done, and this row is durable.
    Done {
        /// Under which number it is recorded.
        seq: u64,
        /// The row.
        row: Row,
    },
    /// Something else stands there than was expected: this, or nothing that was ever recorded.
    Changed {
        /// The row that stands there.
        now: Option<(u64, Row)>,
    },
    /// It was not done.
    Refused(Refuse),
}

/// Asks for the chunks of groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expand {
    /// Of which content.
    pub id: u32,
    /// Places in the answer to [`Message::Outline`], ascending.
    pub groups: Vec<u32>,
}

/// Asks for ranges of a content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    /// Of which content.
    pub id: u32,
    /// Ascending, disjoint.
    pub parts: Vec<Part>,
}

/// A range of a content, and what the taker has that may resemble it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The signature of the taker's region, encoded by `delta::signature`; empty if there is none.
    pub signature: Vec<u8>,
}

/// Bytes of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// How many they are uncompressed; at most [`BLOCK_BYTES_MAX`].
    pub length: u32,
    /// Whether `bytes` is a zstd frame.
    pub packed: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Bytes in one block, uncompressed.
pub const BLOCK_BYTES_MAX: u32 = 1 << 20;

/// A content that is not to be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Absent {
    /// Which.
    pub id: u32,
    /// Why.
    pub why: String,
}

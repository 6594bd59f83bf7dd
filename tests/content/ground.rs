//! Two trees, and a channel between them that somebody listens to.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use csync::disk::apply::Apply;
use csync::disk::kept::Kept;
use csync::disk::private::Private;
use csync::disk::root::Root;
use csync::disk::stage::{Stage, Staged, Target};
use csync::engine::far::breach::Broken;
use csync::engine::far::give::{Given, give};
use csync::engine::far::offer::{Files, Seen};
use csync::engine::far::take::{Landing, Need, TakeError, take};
use csync::model::entry::Digest;
use csync::model::key::PublicKey;
use csync::model::path::RelPath;
use csync::transport::channel::Channel;
use csync::transport::codec::message::encode;
use csync::transport::identity::Identity;
use csync::transport::link::Link;
use csync::transport::message::Message;
use csync::transport::quic::{Caller, Listener};
use csync::transport::seats::{Doorman, Limits, Welcomed};

pub(crate) type Taken = Vec<Result<Staged, TakeError>>;

pub(crate) struct Ground {
    source: tempfile::TempDir,
    tree: tempfile::TempDir,
    root: Arc<Root>,
    private: Arc<Private>,
    stage: Stage,
    pub(crate) files: Files,
    pub(crate) needs: Vec<Need>,
    asked: u64,
    answered: u64,
    quic: bool,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let (source, tree) = (tempfile::tempdir().expect("a place"), tempfile::tempdir().expect("a place"));
        let root = Arc::new(Root::open(tree.path()).expect("a root"));
        let private = Arc::new(Private::open_or_create(&root).expect("a private directory"));
        let stage = Stage::new(Arc::clone(&root), Arc::clone(&private));
        let (files, needs) = (Files::default(), Vec::new());
        Self { source, tree, root, private, stage, files, needs, asked: 0, answered: 0, quic: false }
    }

    pub(crate) fn over_quic() -> Self {
        Self { quic: true, ..Self::new() }
    }

    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.source.path().join(name)
    }

    /// Takes a file from the source.
    #[expect(clippy::disallowed_methods, reason = "what a user does to a tree")]
    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.source(name)).expect("removed");
    }

    /// Adds a file to what is offered and needed.
    pub(crate) fn offer(&mut self, name: &str, bytes: &[u8]) {
        std::fs::write(self.source(name), bytes).expect("written");
        let path = RelPath::new(name.as_bytes()).expect("a path");
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let id = u32::try_from(self.needs.len()).expect("few files");
        let root = Arc::new(Root::open(self.source.path()).expect("a root"));
        self.files.0.push(Some(Seen { root, path: path.clone(), digest, size }));
        self.needs.push(Need { id, path, target: Target::Free, digest, size, basis: None });
    }

    /// Gives the last file that was offered something to lean on.
    pub(crate) fn stand_by(&mut self, name: &str, old: &[u8]) {
        let path = self.source(&format!("{name}.old"));
        std::fs::write(&path, old).expect("written");
        let need = self.needs.last_mut().expect("a file");
        (need.basis, need.target) = (Some(File::open(path).expect("opened")), Target::Taken);
    }

    /// Takes all that is needed.
    pub(crate) fn exchange(&mut self) -> (Taken, Given) {
        let (taken, given) = self.exchange_with(|message| vec![message]);
        (taken, given.expect("given"))
    }

    /// Takes all that is needed, through somebody who puts other answers in the place of those of the giver.
    pub(crate) fn exchange_with(
        &mut self,
        mut tamper: impl FnMut(Message) -> Vec<Message> + Send,
    ) -> (Taken, Result<Given, Broken>) {
        let (mut near, mut ear) = Channel::pair();
        let (_links, mut mouth, mut far) = if self.quic {
            let (links, mouth, far) = quic_pair();
            (Some(links), mouth, far)
        } else {
            let (mouth, far) = Channel::pair();
            (None, mouth, far)
        };
        let (files, stage, needs) = (&self.files, &self.stage, &self.needs);
        let (asked, answered) = (&mut self.asked, &mut self.answered);
        thread::scope(|scope| {
            let giver = scope.spawn(move || give(&mut far, files, false));
            scope.spawn(move || {
                while let Ok(Some(request)) = ear.wait() {
                    *asked += length(&request);
                    if mouth.send(&request).is_err() {
                        return;
                    }
                    if request == Message::End {
                        // A stream that is dropped before the other side was heard out is cut off.
                        mouth.finish().ok();
                        mouth.wait().ok();
                        return;
                    }
                    loop {
                        let Ok(answer) = mouth.recv() else { return };
                        *answered += length(&answer);
                        let goes_on = matches!(answer, Message::Block(_) | Message::Working(_));
                        if tamper(answer).iter().any(|answer| ear.send(answer).is_err()) {
                            return;
                        }
                        if !goes_on {
                            break;
                        }
                    }
                }
            });
            let taken = take(&mut near, landing(stage), needs);
            // A giver that was cut off by a tamperer has nobody to hear it.
            near.send(&Message::End).ok();
            drop(near);
            (taken, giver.join().expect("the giver ends"))
        })
    }

    /// Returns the bytes of frames so far: of requests, of answers.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.asked, self.answered)
    }

    /// Gives what is staged its name and returns what stands there.
    pub(crate) fn published(&self, staged: Staged, name: &str) -> Vec<u8> {
        let kept = Arc::new(Kept::new(Arc::clone(&self.private)));
        let apply = Apply::new(Arc::clone(&self.root), Arc::clone(&self.private), kept, b"batch");
        apply.publish_new(staged).expect("published");
        std::fs::read(self.tree.path().join(name)).expect("read")
    }

    /// Whether nothing is left in the stage.
    pub(crate) fn is_clear(&self) -> bool {
        std::fs::read_dir(self.tree.path().join(".csync/stage")).expect("listed").next().is_none()
    }

    /// Talks to a taker as `giver` does.
    pub(crate) fn take_from(&self, giver: impl FnOnce(&mut Channel) + Send) -> Taken {
        let (mut near, mut far) = Channel::pair();
        thread::scope(|scope| {
            scope.spawn(move || giver(&mut far));
            let taken = take(&mut near, landing(&self.stage), &self.needs);
            // Nobody listens any more.
            drop(near);
            taken
        })
    }

    /// Talks to a giver as `taker` does.
    pub(crate) fn give_to<T>(&self, taker: impl FnOnce(&mut Channel) -> T) -> (T, Result<Given, Broken>) {
        let (mut near, mut far) = Channel::pair();
        thread::scope(|scope| {
            let giver = scope.spawn(move || give(&mut far, &self.files, false));
            let said = taker(&mut near);
            drop(near);
            (said, giver.join().expect("the giver ends"))
        })
    }
}

struct Anybody;

impl Doorman for Anybody {
    fn admits(&self, _key: &PublicKey, _address: SocketAddr) -> Option<Welcomed> {
        Some(Welcomed::Anybody)
    }
}

/// Returns the two ends of a stream over the loopback, with what keeps it.
fn quic_pair() -> ((Listener, Link, Link), Channel, Channel) {
    let (server, client) = (Identity::ephemeral().expect("a key"), Identity::ephemeral().expect("a key"));
    let place = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let listener =
        Listener::bind(place, &server, "node", Arc::new(Anybody), Limits::default()).expect("bound");
    let address = listener.address().expect("an address");
    let key = server.public().expect("a key");
    let (link, _control) =
        Caller::new(&client).connect(&[address], &key, Duration::from_secs(10)).expect("let in");
    let (their_link, _their_control) = listener.accept().expect("accepted").expect("a link");
    let mut near = link.channel().expect("a stream");
    // A stream is there once something was said on it.
    near.send(&Message::Folders).expect("sent");
    let mut far = their_link.accept().expect("accepted").expect("a stream");
    assert_eq!(far.recv().expect("heard"), Message::Folders);
    ((listener, link, their_link), near, far)
}

fn length(message: &Message) -> u64 {
    encode(message).1.len() as u64 + 5
}

/// Returns bytes that do not compress and are the same for ever.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// Returns bytes that compress.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let words = ["keeps ", "directories ", "the same ", "and loses ", "nothing\n", "in both ", "ways "];
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        bytes.extend_from_slice(words[random.usize(..words.len())].as_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn landing(stage: &Stage) -> Landing<'_> {
    Landing { stage, giver: PublicKey([7; 32]), whole: false }
}

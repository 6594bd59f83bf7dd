//! A relay of datagrams that falls silent after so many bytes, as a cable that is pulled.

#![allow(dead_code, reason = "each suite takes what it needs")]
#![allow(clippy::expect_used, reason = "a helper of a test may stop the test")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between one caller and one daemon.
pub(crate) struct Relay {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
    budget: u64,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Passes datagrams to and from `target` until `budget` bytes have gone through.
    pub(crate) fn new(target: &str, budget: u64) -> Self {
        let target: SocketAddr = target.parse().expect("the address of a daemon");
        let (front, back) = (socket(), socket());
        back.connect(target).expect("find the daemon");
        let address = front.local_addr().expect("an address");
        let (passed, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (front, back) = (Arc::new(front), Arc::new(back));
        let caller = Arc::new(std::sync::Mutex::new(None));
        let forth = {
            let (front, back, caller) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&caller));
            let (passed, over) = (Arc::clone(&passed), Arc::clone(&over));
            move || {
                let mut buffer = vec![0; 65_536];
                while !over.load(Ordering::Relaxed) {
                    let Ok((count, from)) = front.recv_from(&mut buffer) else { continue };
                    *caller.lock().expect("no thread has failed") = Some(from);
                    if count_in(&passed, count, budget) {
                        // What the daemon does not take is lost, as on any wire.
                        back.send(&buffer[..count]).ok();
                    }
                }
            }
        };
        let fro = {
            let (passed, over) = (Arc::clone(&passed), Arc::clone(&over));
            move || {
                let mut buffer = vec![0; 65_536];
                while !over.load(Ordering::Relaxed) {
                    let Ok(count) = back.recv(&mut buffer) else { continue };
                    let to = *caller.lock().expect("no thread has failed");
                    if let Some(to) = to
                        && count_in(&passed, count, budget)
                    {
                        front.send_to(&buffer[..count], to).ok();
                    }
                }
            }
        };
        let threads = vec![std::thread::spawn(forth), std::thread::spawn(fro)];
        Self { address, passed, budget, over, threads }
    }

    /// Where the caller finds it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Whether it has fallen silent.
    pub(crate) fn was_cut(&self) -> bool {
        self.passed.load(Ordering::Relaxed) > self.budget
    }

    /// The bytes that went through.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed).min(self.budget)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread of the relay");
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("open a socket");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("bound the wait");
    socket
}

/// Counts `count` bytes in; whether they may still pass.
fn count_in(passed: &AtomicU64, count: usize, budget: u64) -> bool {
    passed.fetch_add(count as u64, Ordering::Relaxed) + count as u64 <= budget
}

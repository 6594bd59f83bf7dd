//! Where the system lets only a few directories be watched, the others are asked from time to time.

#![cfg(feature = "system")]
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "the test runs itself again in another namespace")]

#[path = "support/kept.rs"]
mod kept;
#[path = "support/tree.rs"]
mod tree;
#[path = "support/watched.rs"]
mod watched;

use std::process::Command;
use std::time::Duration;

use csync::engine::keeper::Rhythm;

use crate::kept::Kept;
use crate::tree::build;

/// Set in the namespace in which few directories can be watched.
const FEW_WATCHES: &str = "CSYNC_TEST_FEW_WATCHES";

#[test]
fn what_cannot_be_watched_is_asked_for_and_the_sysctl_is_named() {
    if std::env::var_os(FEW_WATCHES).is_none() {
        let test = "what_cannot_be_watched_is_asked_for_and_the_sysctl_is_named";
        let script = "echo 5 > /proc/sys/user/max_inotify_watches; exec \"$0\" --exact \"$1\"";
        let run = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-ec", script])
            .arg(std::env::current_exe().unwrap())
            .arg(test)
            .env(FEW_WATCHES, "1")
            .output()
            .unwrap();
        let said =
            [run.stdout, run.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let kept = Kept::new();
    for at in 0..8 {
        build(kept.root(), &format!("d{at}/f={at}"));
    }
    let _keeper = kept.keep(Rhythm { poll: Duration::from_millis(20), ..Rhythm::default() });
    kept.until("a warning", |log| !log.warned.is_empty());
    build(kept.root(), "d0/late=1 d7/late=2 d7/deep/er/late=3");
    kept.until("what is watched and what is not", |_| {
        ["d0/late", "d7/late", "d7/deep/er/late"].iter().all(|at| kept.has(at))
    });
    build(kept.root(), "d7/deep/er/late=44444");
    kept.until("a later change", |_| kept.host.replica().index().live_bytes_total() == 8 + 2 + 5);
    let log = kept.log.lock().unwrap();
    assert_eq!(log.warned.len(), 1, "{:?}", log.warned);
    assert!(log.warned[0].contains("fs.inotify.max_user_watches"), "{:?}", log.warned);
    assert_eq!(log.observed, 1);
}

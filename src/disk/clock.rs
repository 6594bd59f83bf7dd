//! The one door to the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::metadata::Timestamp;

/// Returns the present moment by the system's clock.
#[expect(clippy::disallowed_methods, reason = "this is the one door to the clock")]
#[must_use]
pub fn now() -> Timestamp {
    let now = SystemTime::now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp::new(i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => Timestamp::new(-i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX), 0),
    }
}

/// Returns the present moment of the clock that only ever goes forward, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the one door to the clock")]
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

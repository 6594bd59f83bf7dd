//! A limit of bytes per second, shared by the streams of a connection.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How much may pass at once before the limit holds: a quarter of a second of it.
const BURST: Duration = Duration::from_millis(250);

/// Lets bytes pass at a rate, or freely.
///
/// # Source
/// The generic cell rate algorithm (ITU-T I.371): one stored moment instead of a bucket that is filled.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Pace>);

#[derive(Debug, Default)]
struct Pace {
    rate: Option<u64>,
    /// When everything that was let pass so far would have passed at exactly the rate.
    paid: Option<Instant>,
}

impl Throttle {
    /// Sets the limit, in bytes per second; `None` or 0 for none.
    pub(crate) fn set(&self, rate: Option<u64>) {
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *pace = Pace { rate: rate.filter(|rate| *rate > 0), paid: None };
    }

    /// Returns how many bytes to hand over at a time, so that limited traffic flows instead of stuttering.
    pub(crate) fn portion(&self) -> usize {
        let rate = self.0.lock().unwrap_or_else(PoisonError::into_inner).rate;
        rate.map_or(usize::MAX, |rate| {
            usize::try_from(rate / 8).unwrap_or(usize::MAX).clamp(1 << 10, 64 << 10)
        })
    }

    /// Waits until `bytes` more may pass.
    pub(crate) async fn pass(&self, bytes: usize) {
        if let Some(at) = self.due(bytes) {
            sleep_until(at).await;
        }
    }

    fn due(&self, bytes: usize) -> Option<Instant> {
        let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = pace.rate?;
        let now = Instant::now();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let from = pace.paid.map_or(now, |paid| paid.max(now.checked_sub(BURST).unwrap_or(now)));
        let paid = from + cost;
        pace.paid = Some(paid);
        (paid > now).then_some(paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_paid_for_with_time() {
        let throttle = Throttle::default();
        assert_eq!((throttle.due(1 << 40), throttle.portion()), (None, usize::MAX));
        throttle.set(Some(1000));
        let first = throttle.due(500).unwrap();
        let second = throttle.due(2000).unwrap();
        assert_eq!(second - first, Duration::from_secs(2));
        assert_eq!(throttle.portion(), 1 << 10);
        throttle.set(Some(0));
        assert_eq!(throttle.due(1 << 40), None);
    }
}

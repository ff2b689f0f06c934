//! Waiting: the only module that sleeps.

use std::time::Duration;

/// Delay before try number `retry` (from 1): `first`, doubled each time, at most `longest`.
pub(crate) fn exponential(retry: u32, first: Duration, longest: Duration) -> Duration {
    let factor = 2_u32.saturating_pow(retry.saturating_sub(1).min(16));
    first.saturating_mul(factor).min(longest)
}

/// Takes up to half of a delay away, so that pods that failed together do not come back together.
/// `dice` is a random byte.
pub(crate) fn jittered(delay: Duration, dice: u8) -> Duration {
    delay.mul_f64(1.0 - f64::from(dice) / 512.0)
}

/// A random byte.
pub(crate) fn dice() -> u8 {
    let mut byte = [0];
    // Without randomness only the jitter is lost.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

/// Waits.
pub(crate) async fn pause(delay: Duration) {
    tokio::time::sleep(delay).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_mins(1));
        let delays: Vec<u64> = (1..=8)
            .map(|retry| exponential(retry, first, longest).as_secs())
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(exponential(u32::MAX, first, longest), longest);
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let delay = Duration::from_secs(8);
        assert_eq!(jittered(delay, 0), delay);
        assert!(jittered(delay, 255) > Duration::from_secs(4));
        assert!(jittered(delay, 255) < Duration::from_millis(4100));
    }
}

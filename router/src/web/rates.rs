//! How much one account, and one address, may ask of the API of one replica.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::client_address::network;
use crate::error::Error;
use crate::sign_in::Attempts;

const MINUTE: Duration = Duration::from_mins(1);

/// How many accounts' worth an address may ask: people share addresses.
const ACCOUNTS_OF_ADDRESS: u32 = 5;

/// Accounts, and addresses, that are remembered.
const REMEMBERED: usize = 10_000;

/// What was asked lately.
#[derive(Debug)]
pub(crate) struct Rates(Option<Limits>);

#[derive(Debug)]
struct Limits {
    by_account: Mutex<Attempts<Arc<str>>>,
    by_address: Mutex<Attempts<IpAddr>>,
}

impl Rates {
    /// So many requests a minute for each account, all of them at once or one after another; any number when it is none.
    #[must_use]
    pub(crate) fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self(per_minute.map(|per_minute| {
            let of_account = per_minute.get();
            let of_address = of_account.saturating_mul(ACCOUNTS_OF_ADDRESS);
            Limits {
                by_account: Mutex::new(bucket(of_account)),
                by_address: Mutex::new(bucket(of_address)),
            }
        }))
    }

    /// One more request from an address, before anybody knows whose it is.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`].
    pub(super) fn arrives(&self, peer: IpAddr, now: Instant) -> Result<(), Error> {
        let taken = self.0.as_ref().map_or(Ok(()), |limits| {
            let mut by_address = limits.by_address.lock();
            by_address.take(&network(peer), now)
        });
        taken.map_err(|retry_after| Error::TooManyRequests { retry_after })
    }

    /// One more request of an account.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`].
    pub(super) fn asks(&self, account: &Arc<str>, now: Instant) -> Result<(), Error> {
        let taken = self.0.as_ref().map_or(Ok(()), |limits| {
            let mut by_account = limits.by_account.lock();
            by_account.take(account, now)
        });
        taken.map_err(|retry_after| Error::TooManyRequests { retry_after })
    }
}

fn bucket<K: Eq + std::hash::Hash + Clone>(per_minute: u32) -> Attempts<K> {
    Attempts::new(per_minute, MINUTE / per_minute, REMEMBERED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(refused: Result<(), Error>) -> Duration {
        let refused = refused.expect_err("refused");
        assert_eq!(refused.status(), 429);
        refused.retry_after().expect("a time")
    }

    #[tokio::test]
    async fn accounts_and_addresses_have_limits_of_their_own() {
        let rates = Rates::new(NonZeroU32::new(6));
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let now = Instant::now();
        for _ in 0..6 {
            rates.asks(&alice, now).expect("allowed");
        }
        assert_eq!(wait(rates.asks(&alice, now)), Duration::from_secs(10));
        rates.asks(&bob, now).expect("another account");
        let later = now + Duration::from_secs(10);
        rates.asks(&alice, later).expect("one more");
        wait(rates.asks(&alice, later));

        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().expect("an address"));
        for _ in 0..30 {
            rates.arrives(here, now).expect("allowed");
        }
        assert_eq!(wait(rates.arrives(here, now)), Duration::from_secs(2));
        rates.arrives(there, now).expect("another address");
    }

    #[tokio::test]
    async fn nothing_is_limited_where_nobody_wants_it() {
        let rates = Rates::new(None);
        let now = Instant::now();
        for _ in 0..10_000 {
            rates.asks(&"alice".into(), now).expect("allowed");
        }
    }
}

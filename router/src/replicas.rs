//! What one replica learns of the others' people: when the database goes away, whoever is signed in or shows a token is known to every
//! replica, whichever the next connection leads to.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::time::{MissedTickBehavior, interval};

use crate::bearer::Bearers;
use crate::session::Sessions;

/// How often a replica learns of what others have made or seen.
const LEARN_EVERY: Duration = Duration::from_secs(5);

/// What is in use is seen once a minute: by this a replica that starts knows it all.
const SEEN_LATELY: TimeDelta = TimeDelta::minutes(2);

/// By how much the clocks of replicas may differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(30);

/// Learns of the sessions and tokens that other replicas serve, again and again.
pub(crate) async fn follow(sessions: &Sessions, bearers: &Bearers) {
    let mut tick = interval(LEARN_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = Utc::now() - SEEN_LATELY;
    loop {
        tick.tick().await;
        let now = Utc::now();
        let learned = tokio::join!(sessions.learn(since), bearers.learn(since));
        // Requests tell of a database that is away.
        if matches!(learned, (Ok(()), Ok(()))) {
            since = now - CLOCKS;
        }
    }
}

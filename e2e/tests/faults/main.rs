//! Faults of the operator, of its Helm, and of everything between it and the API server: `make test-faults`.
//!
//! After each fault all must come to rest: specs = releases = objects, nothing pending, nothing left over, volumes untouched.
//! `FAULT_RUNS` (kills), `FAULT_SECONDS` (writers) and `FAULT_SEED` say how much and what; without them it is a short selection.

mod api_faults;
mod clock;
mod control_plane;
mod disk;
mod drift;
mod foreign;
mod held_helm;
mod imports;
mod kills;
mod leadership;
mod lost_update;
mod release;
mod transparent;
mod writers;

use std::time::Duration;

use anyhow::{Context, Result};

/// A number from the environment.
fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a number")),
        Err(_) => Ok(default),
    }
}

/// The seed of one test's dice, which a failed test prints.
fn dice(what: &str) -> Result<fastrand::Rng> {
    let seed = setting("FAULT_SEED", fastrand::u64(..))?;
    eprintln!("{what}: FAULT_SEED={seed}");
    Ok(fastrand::Rng::with_seed(seed))
}

/// Lets a fault last. Tests wait for conditions, never for time; this is no waiting, it is the fault.
async fn last(time: Duration) {
    tokio::time::sleep(time).await;
}

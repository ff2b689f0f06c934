//! Waiting for conditions.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// How long anything that the tests wait for may take: installing an app's packages on a busy machine is the longest.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// Asks again and again until `probe` answers, or says what it last heard after [`PATIENCE`].
///
/// # Errors
/// The last error of `probe`, with `what` was waited for.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let mut last = anyhow!("nothing was heard at all");
    loop {
        pace.tick().await;
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => return Err(last).context(format!("waited in vain for {what}")),
        }
    }
}

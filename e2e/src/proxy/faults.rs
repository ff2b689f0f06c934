//! What goes wrong.

use std::time::Duration;

/// What goes wrong. Parts are of all requests that they can befall, from 0 to 1.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Writes that never reach the API server and are answered with 500.
    pub refused_writes: f64,
    /// Writes that succeed and are answered with 409.
    pub conflicts_after_writes: f64,
    /// Writes that succeed and whose connection ends without an answer.
    pub resets_after_writes: f64,
    /// Requests that never reach the API server and are answered with 429.
    pub throttled: f64,
    /// What `Retry-After` says then, in whole seconds.
    pub retry_after: Duration,
    /// Watches end after this time.
    pub watches_cut_after: Option<Duration>,
    /// Lists that fill a cache and are answered as they were before the fault began.
    pub stale_lists: f64,
    /// Nothing is answered and no watch tells anything; afterwards all goes on as if nothing had been.
    pub silent: bool,
    /// The same, but what was asked meanwhile is lost, and connections end afterwards: a partition.
    pub black_hole: bool,
}

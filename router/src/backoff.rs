//! Waiting on purpose; the only place that sleeps.

use std::io;
use std::time::Duration;

/// Waits a little after a failed `accept`, so that a lack of file descriptors does not spin.
pub(crate) async fn accept(error: io::Error) {
    let ours = !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if ours {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "Could not accept a connection"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits while the cluster learns that this replica leaves, and still sends it new requests.
pub(crate) async fn leave(delay: Duration) {
    tokio::time::sleep(delay).await;
}

/// Waits before an OIDC provider is asked again for its metadata.
pub(crate) async fn provider(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Waits before the next attempt at something that start-up needs.
pub(crate) async fn start_up() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

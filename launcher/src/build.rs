//! The environment of an app is built and stored, once for all its instances.

use std::sync::Arc;

use serde::Serialize;
use tracing::info;

use crate::environment::{self, EnvironmentKey};
use crate::error::Error;
use crate::fetch::Upload;
use crate::phase::Board;
use crate::process::Host;
use crate::settings::Site;
use crate::sourcing;

/// What the operator is to know of an environment: pods hold against it what the store gives them.
#[derive(Debug, Serialize)]
struct Report {
    digest: String,
    size_bytes: u64,
}

/// Builds the environment of the bundle, and stores it under `key`; returns the report as JSON.
pub(crate) async fn build(site: &Site, key: &EnvironmentKey, host: &Host) -> Result<String, Error> {
    info!(bundle.digest = %site.digest, "Building environment {key}");
    // Nobody reads it: the log tells the same.
    let board = Arc::new(Board::new());
    sourcing::bring(site, &board).await?;
    let built = environment::build(site, key, host, &board).await?;
    let upload = Upload {
        store: site.store(),
        key,
        file: &site.folders.packed,
        digest: &built.digest,
    };
    upload.run().await?;
    let report = Report {
        digest: built.digest.to_string(),
        size_bytes: built.size,
    };
    info!(
        environment.digest = report.digest,
        environment.size_bytes = report.size_bytes,
        "Environment {key} is in the store"
    );
    Ok(serde_json::to_string(&report).expect("a report is JSON"))
}

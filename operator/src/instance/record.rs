//! A release's latest record as the API server has it now; the watch may lag.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};

use super::context::Context;
use crate::error::Error;
use crate::helm::releases::{self, Status};

/// What the record's own metadata say.
pub(super) struct Latest {
    /// Helm's revision.
    pub(super) revision: u32,
    /// How far it is.
    pub(super) status: Status,
    /// Version of the Secret.
    pub(super) resource_version: Option<String>,
}

/// Asks for the record with the highest revision; none when there is no release.
pub(super) async fn latest(ctx: &Context, name: &str) -> Result<Option<Latest>, Error> {
    let secrets: Api<Secret> = ctx.api();
    let listed = secrets
        .list_metadata(&ListParams::default().labels(&releases::selector(name)))
        .await
        .map_err(|source| Error::Kube {
            task: format!("list the Secrets of release `{name}`"),
            source,
        })?;
    let records = listed.items.into_iter().filter_map(|secret| {
        let (revision, status) = releases::labelled(&secret.metadata)?;
        Some(Latest {
            revision,
            status,
            resource_version: secret.metadata.resource_version,
        })
    });
    Ok(records.max_by_key(|record| record.revision))
}

//! What tests ask about a release.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Sandbox, eventually};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{ResourceExt, api::ListParams};
use serde_json::Value;

/// Revisions and statuses of a release, by its Secrets' labels.
pub(crate) async fn history(sandbox: &Sandbox, name: &str) -> Result<Vec<(u32, String)>> {
    let params = ListParams::default().labels(&format!("owner=helm,name={name}"));
    let mut found = Vec::new();
    for secret in sandbox.api::<Secret>().list(&params).await? {
        let label = |key: &str| secret.labels().get(key).cloned().unwrap_or_default();
        found.push((label("version").parse()?, label("status")));
    }
    found.sort_unstable();
    Ok(found)
}

/// Waits until a release has this history, such as `1 superseded, 2 deployed`.
pub(crate) async fn has_history(sandbox: &Sandbox, name: &str, wanted: &str) -> Result<()> {
    eventually(&format!("the history {wanted} of {name}"), async || {
        let history = history(sandbox, name).await?;
        let shown: Vec<String> = history
            .iter()
            .map(|(revision, status)| format!("{revision} {status}"))
            .collect();
        ensure!(shown.join(", ") == wanted, "it is {shown:?}");
        Ok(())
    })
    .await
}

/// The visibility that spec and release agree on.
pub(crate) async fn visibility(sandbox: &Sandbox, name: &str) -> Result<Visibility> {
    let spec = sandbox.api::<WaveInstance>().get(name).await?.spec;
    let values = sandbox
        .helm(&["get", "values", name, "--output", "json"])
        .await?;
    let values: Value = serde_json::from_str(&values)?;
    ensure!(
        values["visibility"] == spec.visibility.to_string(),
        "the spec is {spec:?}, the release has {values}"
    );
    Ok(spec.visibility)
}

/// Sets the visibility as a kubectl user does.
pub(crate) async fn share(sandbox: &Sandbox, name: &str, visibility: Visibility) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"visibility":"{visibility}"}}}}"#);
    let args = ["patch", "waveinstance", name, "--type=merge", "-p", &patch];
    sandbox.kubectl(&args, None).await?;
    Ok(())
}

/// Waits for an Event on an instance.
pub(crate) async fn event(sandbox: &Sandbox, name: &str, reason: &str) -> Result<Event> {
    eventually(&format!("an Event {reason} on {name}"), async || {
        let events = sandbox
            .api::<Event>()
            .list(&ListParams::default())
            .await?
            .items;
        let told: Vec<String> = events
            .iter()
            .filter_map(|event| event.reason.clone())
            .collect();
        events
            .into_iter()
            .find(|event| {
                let about = event
                    .regarding
                    .as_ref()
                    .and_then(|about| about.name.clone());
                about.as_deref() == Some(name) && event.reason.as_deref() == Some(reason)
            })
            .with_context(|| format!("there are only {told:?}"))
    })
    .await
}

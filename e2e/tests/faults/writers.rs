//! Many instances, changed by everybody at once.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use crds::{Visibility, WaveInstance};
use e2e::{Namespace, Sandbox};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use crate::{dice, disk, setting};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/wave-instance");

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Writer {
    KubectlApply,
    ServerSideApply,
    Helm,
    Web,
}

#[tokio::test(flavor = "multi_thread")]
async fn four_kinds_of_writers_at_once_leave_one_truth() -> Result<()> {
    let instances = setting("FAULT_INSTANCES", 20)?;
    let time = Duration::from_secs(setting("FAULT_SECONDS", 20)?);
    let mut dice = dice("writers")?;
    let sandbox = Sandbox::create("writers").await?;
    let mut operator = sandbox.operator().start().await?;
    let names = disk::running(&sandbox, "sales", instances).await?;
    let volumes = sandbox.filled_volumes_of(&names).await?;
    let end = Instant::now() + time;
    let writers = [
        Writer::KubectlApply,
        Writer::ServerSideApply,
        Writer::Helm,
        Writer::Web,
    ]
    .map(|writer| {
        let (mut dice, names, sandbox) = (dice.fork(), &names, &sandbox);
        async move {
            let mut counts: BTreeMap<(Writer, bool), u32> = BTreeMap::new();
            while Instant::now() < end {
                let name = &names[dice.usize(..names.len())];
                let visibility = [
                    Visibility::Private,
                    Visibility::AllUsers,
                    Visibility::Public,
                ][dice.usize(..3)];
                // Two at once may collide, and one is told so: that is no update lost.
                let written = write(writer, sandbox, name, visibility).await;
                *counts.entry((writer, written.is_ok())).or_default() += 1;
            }
            counts
        }
    });
    let counts = futures::future::join_all(writers).await;
    eprintln!("writes by writer and success: {counts:?}");
    let begun = Instant::now();
    sandbox.comes_to_rest(&names).await?;
    eprintln!("at rest after {:.1} s", begun.elapsed().as_secs_f64());
    sandbox.kept_volumes(&volumes).await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

async fn write(
    writer: Writer,
    namespace: &Namespace,
    name: &str,
    visibility: Visibility,
) -> Result<()> {
    let mut spec = disk::instance();
    spec.visibility = visibility;
    let object = WaveInstance::new(name, spec);
    let api = namespace.api::<WaveInstance>();
    match writer {
        Writer::KubectlApply => {
            let manifest = serde_json::to_string(&object)?;
            namespace
                .kubectl(&["apply", "-f", "-"], Some(&manifest))
                .await?;
        }
        Writer::ServerSideApply => {
            let params = PatchParams::apply("gitops").force();
            api.patch(name, &params, &Patch::Apply(&object)).await?;
        }
        Writer::Helm => {
            let value = format!(
                "visibility={}",
                json!(visibility).as_str().unwrap_or_default()
            );
            namespace
                .helm(&["upgrade", name, CHART, "--reuse-values", "--set", &value])
                .await?;
        }
        Writer::Web => {
            let patch = serde_json::from_value(json!([
                { "op": "replace", "path": "/spec/visibility", "value": visibility }
            ]))?;
            let patch = Patch::Json::<()>(patch);
            api.patch(name, &PatchParams::default(), &patch).await?;
        }
    }
    Ok(())
}

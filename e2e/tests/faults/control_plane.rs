//! API server and etcd end and come back, and etcd is full. On a control plane of the test's own.

use std::time::Duration;

use anyhow::{Result, ensure};
use crds::WaveInstance;
use e2e::{ControlPlane, Daemon, Sandbox, eventually};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams};

use crate::{dice, disk, last};

/// How much the small etcd holds. Its CRDs and objects take a fifth of it.
const ETCD_BYTES: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn api_server_and_etcd_end_and_come_back() -> Result<()> {
    let mut dice = dice("restarts")?;
    let plane = ControlPlane::start(None).await?;
    let sandbox = Sandbox::create_in(&plane.kubeconfig(), "restarts").await?;
    let mut operator = sandbox.operator().start().await?;
    let mut names = disk::running(&sandbox, "sales", 4).await?;
    let volumes = sandbox.filled_volumes_of(&names[..3]).await?;
    for (number, daemon) in [Daemon::ApiServer, Daemon::Etcd].into_iter().enumerate() {
        // In the middle of the work on all of them.
        for name in names.iter().take(3) {
            disk::change(&sandbox, name, &mut dice).await?;
        }
        let api = sandbox.api::<WaveInstance>();
        let gone = names.pop().expect("there is one");
        api.delete(&gone, &DeleteParams::default()).await?;
        let new = format!("new-{number}");
        sandbox.apply(&new, disk::instance()).await?;
        names.push(new);
        plane.kill(daemon).await?;
        let recovered = async {
            last(Duration::from_secs(5)).await;
            plane.resume(daemon).await?;
            sandbox.comes_to_rest(&names).await
        };
        operator.supervised(recovered).await?;
        sandbox.kept_volumes(&volumes).await?;
    }
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_is_survived() -> Result<()> {
    let mut dice = dice("full etcd")?;
    let plane = ControlPlane::start(Some(ETCD_BYTES)).await?;
    let sandbox = Sandbox::create_in(&plane.kubeconfig(), "full").await?;
    let mut operator = sandbox.operator().start().await?;
    let names = disk::running(&sandbox, "sales", 4).await?;
    let volumes = sandbox.filled_volumes_of(&names).await?;
    // Work is under way while the last bytes go.
    for name in &names {
        disk::change(&sandbox, name, &mut dice).await?;
    }
    fill(&sandbox).await?;
    let recovered = async {
        last(Duration::from_secs(10)).await;
        // Nothing may be deleted yet: a deletion takes room, too.
        plane.defragment().await?;
        let maps = sandbox.api::<ConfigMap>();
        let fillers = ListParams::default().labels("fills=etcd");
        eventually("etcd to take writes again", async || {
            maps.delete_collection(&DeleteParams::default(), &fillers)
                .await?;
            plane.defragment().await
        })
        .await?;
        sandbox.comes_to_rest(&names).await
    };
    operator.supervised(recovered).await?;
    sandbox.kept_volumes(&volumes).await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

/// Writes until etcd refuses.
async fn fill(sandbox: &Sandbox) -> Result<()> {
    for number in 0..200 {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
            .take(500 << 10)
            .collect();
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("fills-{number}")),
                labels: Some([("fills".to_owned(), "etcd".to_owned())].into()),
                ..ObjectMeta::default()
            },
            binary_data: Some([("noise".to_owned(), ByteString(noise))].into()),
            ..ConfigMap::default()
        };
        let maps = sandbox.api::<ConfigMap>();
        if let Err(refused) = maps.create(&PostParams::default(), &map).await {
            let refused = refused.to_string();
            ensure!(
                refused.contains("database space exceeded"),
                "refused for another reason: {refused}"
            );
            return Ok(());
        }
    }
    anyhow::bail!("etcd took everything")
}

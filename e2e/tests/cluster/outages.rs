//! The router keeps routing while other parts are away.

use std::time::Duration;

use anyhow::{Result, ensure};
use crds::Visibility;
use e2e::{Store, eventually, instance, kubectl, run};
use tokio::time::{Instant, interval};

const APISERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/apiserver.sh");

/// Asks the instance all the time that something is away; every single answer must be good.
async fn routes_for(store: &Store, name: &str, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let mut pace = interval(Duration::from_millis(200));
    while Instant::now() < end {
        pace.tick().await;
        let answer = store.get(&store.host(name), "/").await?;
        ensure!(
            answer.status() == 200,
            "the router answers {}",
            answer.status()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_routes_without_operator_and_api_server() -> Result<()> {
    let _store = crate::alone().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-outage";
    store.delete(name).await?;
    store
        .apply(name, instance("hello", &store.admin, Visibility::Public))
        .await?;
    store.ready(name).await?;

    kubectl(
        &["scale", "deployment/wavestore-operator", "--replicas=0"],
        None,
    )
    .await?;
    kubectl(
        &[
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "app.kubernetes.io/component=operator",
            "--timeout=120s",
        ],
        None,
    )
    .await?;
    routes_for(&store, name, Duration::from_secs(5)).await?;
    kubectl(
        &["scale", "deployment/wavestore-operator", "--replicas=2"],
        None,
    )
    .await?;
    kubectl(
        &[
            "rollout",
            "status",
            "deployment/wavestore-operator",
            "--timeout=120s",
        ],
        None,
    )
    .await?;

    let stopped = run(APISERVER, &["stop"], None).await?;
    ensure!(
        stopped.success,
        "could not stop the API server: {}",
        stopped.stderr
    );
    let routed = routes_for(&store, name, Duration::from_secs(30)).await;
    let started = run(APISERVER, &["start"], None).await?;
    ensure!(
        started.success,
        "could not start the API server: {}",
        started.stderr
    );
    routed?;

    // And all of it goes on afterwards.
    eventually("the operator to work again", async || {
        store.ready(name).await
    })
    .await?;
    store.delete(name).await
}

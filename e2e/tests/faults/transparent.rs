//! The proxy itself changes nothing.

use anyhow::{Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Agent, Sandbox, Verb, eventually, instance};
use kube::api::DeleteParams;

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_comes_and_goes_through_the_proxy() -> Result<()> {
    let sandbox = Sandbox::create("transparent").await?;
    let proxy = sandbox.proxy().await?;
    let mut operator = sandbox.operator().through(&proxy).start().await?;
    sandbox.publish("hello", "alice").await?;
    sandbox
        .apply("sales", instance("hello", "alice", Visibility::Private))
        .await?;
    eventually("a release", async || {
        let remains = sandbox.remains("sales").await?;
        ensure!(remains.len() == 4, "there are {remains:?}");
        Ok(())
    })
    .await?;
    let api = sandbox.api::<WaveInstance>();
    api.delete("sales", &DeleteParams::default()).await?;
    eventually("nothing to be left", async || {
        let remains = sandbox.remains("sales").await?;
        ensure!(remains.is_empty(), "there are {remains:?}");
        Ok(())
    })
    .await?;
    let counts = proxy.counts();
    for asked in [
        (Agent::Operator, Verb::Watch),
        (Agent::Operator, Verb::List),
        (Agent::Helm, Verb::Create),
    ] {
        ensure!(counts.contains_key(&asked), "no {asked:?} in {counts:?}");
    }
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

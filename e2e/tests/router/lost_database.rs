//! A database that is lost: apps come back from their `WaveApp`s and the blob store, and what runs is left alone.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp};
use e2e::{Operator, Router, Sandbox, condition, eventually, instance, migrate, pack};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::DeleteParams;
use test_postgres::Postgres;

const APPS: [&str; 2] = ["hello", "sales"];
const INSTANCE: &str = "runs";

/// Publishes the apps, runs one of them, and takes away where the bundles came from: only the blob store has them then.
async fn set_up(sandbox: &Sandbox) -> Result<()> {
    for name in APPS {
        let manifest = format!(
            "[App]\nName = \"{name}\"\nVersion = \"1.0.0\"\nTitle = \"App {name}\"\n[Runtime]\nModule = \"app\"\n"
        );
        let bundle = pack(&[("app.toml", manifest.as_bytes()), ("app.py", b"# nothing")])?;
        sandbox
            .submit(name, bundle, "alice", Visibility::AllUsers)
            .await?;
        let apps = sandbox.api::<WaveApp>();
        condition(&apps, name, "Ready", |ready| ready.status == "True").await?;
        sandbox
            .api::<ConfigMap>()
            .delete(&format!("bundle-{name}"), &DeleteParams::default())
            .await?;
    }
    let spec = instance(APPS[0], "alice", Visibility::Private);
    sandbox.apply(INSTANCE, spec).await?;
    sandbox.comes_to_rest(&[INSTANCE.to_owned()]).await
}

/// What would change if somebody touched the instance: its releases, and its Deployment's spec.
async fn running(sandbox: &Sandbox) -> Result<String> {
    let deployment = sandbox.api::<Deployment>().get(INSTANCE).await?;
    let (uid, generation) = (deployment.uid(), deployment.metadata.generation);
    Ok(format!(
        "{:?} {uid:?} {generation:?}",
        sandbox.records().await?
    ))
}

/// Waits until the first page lists all apps.
async fn lists_the_apps(router: &Router) -> Result<()> {
    let mut admin = router.admin().await?;
    eventually("the first page to list the apps", async || {
        let page = admin.visit(&router.store("/")).await?.text().await?;
        for name in APPS {
            ensure!(
                page.contains(&format!("/apps/{name}/1.0.0")),
                "no {name} in {page}"
            );
        }
        Ok(())
    })
    .await
}

async fn start(sandbox: &Sandbox, database_url: &str) -> Result<(Operator, Router)> {
    migrate(database_url).await?;
    let flag = format!("--database-url={database_url}");
    let operator = sandbox.operator().flag(&flag).start().await?;
    let router = sandbox.router().flag(&flag).start().await?;
    set_up(sandbox).await?;
    lists_the_apps(&router).await?;
    Ok((operator, router))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_replaced_under_running_servers_is_filled_again() -> Result<()> {
    let sandbox = Sandbox::create("lost").await?;
    let postgres = Postgres::start(&[]).map_err(anyhow::Error::msg)?;
    let create = || {
        postgres
            .create_database("store")
            .map_err(anyhow::Error::msg)
    };
    let (mut operator, mut router) = start(&sandbox, &create()?).await?;
    let before = running(&sandbox).await?;
    let pid = operator.pid()?;

    postgres
        .drop_database("store")
        .map_err(anyhow::Error::msg)?;
    migrate(&create()?).await?;
    // The first account was lost as well; a router makes it at its start.
    router.terminate().await?;
    router.restart().await?;
    lists_the_apps(&router).await?;

    ensure!(operator.pid()? == pid, "the operator has ended");
    let log = operator.log()?;
    log.find("The database has lost 2 apps")
        .context("it does not say so")?;
    let after = running(&sandbox).await?;
    ensure!(before == after, "the instance was {before} and is {after}");
    sandbox.comes_to_rest(&[INSTANCE.to_owned()]).await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_that_is_gone_is_filled_again_after_a_restart() -> Result<()> {
    let sandbox = Sandbox::create("lost").await?;
    let (mut operator, mut router) = start(&sandbox, &sandbox.database_url()).await?;
    let before = running(&sandbox).await?;

    router.terminate().await?;
    operator.terminate().await?;
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        match std::fs::remove_file(sandbox.folder().join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    migrate(&sandbox.database_url()).await?;
    operator.restart().await?;
    router.restart().await?;
    lists_the_apps(&router).await?;

    let after = running(&sandbox).await?;
    ensure!(before == after, "the instance was {before} and is {after}");
    sandbox.comes_to_rest(&[INSTANCE.to_owned()]).await?;
    sandbox.passed();
    Ok(())
}

//! Tables that are behind are waited for, and brought up to date by the Job's command alone.

use anyhow::{Context, Result, ensure};
use e2e::{Sandbox, eventually, migrate, run};
use serde_json::Value;
use test_postgres::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn servers_wait_for_the_tables_of_an_sqlite_file() -> Result<()> {
    let sandbox = Sandbox::create("migrate").await?;
    let file = sandbox.folder().join("fresh.db");
    servers_wait_for_the_tables_of(&sandbox, &format!("sqlite://{}", file.display())).await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_wait_for_the_tables_of_a_postgres() -> Result<()> {
    let sandbox = Sandbox::create("migrate").await?;
    let postgres = Postgres::start(&[]).map_err(anyhow::Error::msg)?;
    let url = postgres.create_database("store");
    servers_wait_for_the_tables_of(&sandbox, &url.map_err(anyhow::Error::msg)?).await?;
    sandbox.passed();
    Ok(())
}

async fn servers_wait_for_the_tables_of(sandbox: &Sandbox, database_url: &str) -> Result<()> {
    let flag = format!("--database-url={database_url}");
    let mut router = sandbox.router().flag(&flag).spawn().await?;
    let mut operator = sandbox.operator().flag(&flag).spawn().await?;
    eventually("both to say what they wait for", async || {
        for (program, (ready, words), log) in [
            ("router", router.readiness().await?, router.log()?),
            ("operator", operator.readiness().await?, operator.log()?),
        ] {
            ensure!(!ready, "the {program} is ready without tables: {words}");
            ensure!(words.contains("the log says"), "{program}: {words}");
            for word in [
                "Waiting until m0001_apps_accounts_sessions, ",
                "app.kubernetes.io/component=migrate",
                "`wavestore-router migrate`",
            ] {
                ensure!(log.contains(word), "{program}: no `{word}` in {log}");
            }
        }
        Ok(())
    })
    .await?;

    migrate(database_url).await?;
    router.ready().await?;
    operator.ready().await?;
    // The first account is made in the new tables.
    router.admin().await?;
    for (program, log) in [("router", router.log()?), ("operator", operator.log()?)] {
        ensure!(log.contains("are up to date"), "{program}: {log}");
    }
    router.terminate().await?;
    operator.terminate().await?;

    // Who waits is stopped at once.
    let nothing = format!(
        "--database-url=sqlite://{}",
        sandbox.folder().join("none.db").display()
    );
    let mut waiting = sandbox.operator().flag(nothing).spawn().await?;
    eventually("the operator to wait", async || {
        ensure!(waiting.log()?.contains("Waiting until "), "not yet");
        Ok(())
    })
    .await?;
    waiting.terminate().await
}

/// The Job that the store's chart makes with these values, on this release.
async fn job(values: &[&str]) -> Result<Value> {
    let chart = [
        "template",
        "wavestore",
        "../config/wavestore",
        "--show-only",
        "templates/migrate.yaml",
    ];
    let settings = values.iter().flat_map(|value| ["--set", *value]);
    let args: Vec<&str> = chart.into_iter().chain(settings).collect();
    let rendered = run("helm", &args, None).await?;
    ensure!(rendered.success, "{}", rendered.stderr);
    Ok(serde_saphyr::from_str(&rendered.stdout)?)
}

#[tokio::test]
async fn the_job_is_named_after_all_that_its_pod_is() -> Result<()> {
    let name = |job: &Value| -> Result<String> {
        let name = job["metadata"]["name"].as_str().context("no name")?;
        Ok(name.to_owned())
    };
    let usual = job(&[]).await?;
    ensure!(
        name(&usual)? == name(&job(&[]).await?)?,
        "not the same twice"
    );
    ensure!(
        name(&usual)? == name(&job(&["router.replicas=3"]).await?)?,
        "it depends on what its pod has not"
    );
    let others = [
        "images.store=registry/store:2",
        "database.url=postgres://store@db/store",
        "database.urlSecretRef.name=database",
    ];
    for other in others {
        ensure!(
            name(&usual)? != name(&job(&[other]).await?)?,
            "{other} changes nothing"
        );
    }

    let pod = |job: &Value| job["spec"]["template"]["spec"].clone();
    let on_sqlite = pod(&usual);
    let claim = &on_sqlite["volumes"][0]["persistentVolumeClaim"]["claimName"];
    ensure!(claim == "wavestore-data", "{on_sqlite}");
    ensure!(
        on_sqlite["automountServiceAccountToken"] == false,
        "{on_sqlite}"
    );
    // Bundles on the volume are none of its business.
    let on_postgres = pod(&job(&["database.urlSecretRef.name=database"]).await?);
    for absent in ["volumes", "affinity"] {
        ensure!(on_postgres.get(absent).is_none(), "{absent}: {on_postgres}");
    }
    let container = &on_postgres["containers"][0];
    ensure!(container.get("volumeMounts").is_none(), "{container}");
    ensure!(
        container["securityContext"]["readOnlyRootFilesystem"] == true,
        "{container}"
    );
    Ok(())
}

//! Deletions that can be undone: in a browser, and as the operator carries them out. Beside the router runs an operator with a real
//! Helm; pods there are none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::{DELETE_AFTER_ANNOTATION, Visibility, WaveInstance};
use e2e::{ADMIN, Browser, Sandbox, condition, eventually, instance};
use futures::future::try_join_all;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::instances::sign_in;

/// By then it is seen what has become of instances that were due.
const LATEST: Duration = Duration::from_secs(15);

/// Says when an instance is to be deleted, or, with null, that it is kept; answers the object as it is then.
async fn mark(sandbox: &Sandbox, name: &str, at: Value) -> Result<WaveInstance> {
    let patch = json!({ "metadata": { "annotations": { DELETE_AFTER_ANNOTATION: at } } });
    let instances = sandbox.api::<WaveInstance>();
    let patch = Patch::Merge(patch);
    Ok(instances
        .patch(name, &PatchParams::default(), &patch)
        .await?)
}

fn after(time: Duration) -> Value {
    json!((Timestamp::now() + time).to_string())
}

/// Until when it can be undone, as the API server has it.
async fn deadline(sandbox: &Sandbox, name: &str) -> Result<Option<Timestamp>> {
    let object = sandbox.api::<WaveInstance>().get(name).await?;
    ensure!(
        object.metadata.deletion_timestamp.is_none(),
        "it is deleted"
    );
    object
        .delete_after()
        .map_err(|said| anyhow::anyhow!("{said}"))
}

/// The Events of an instance with this reason.
async fn events(sandbox: &Sandbox, name: &str, reason: &str) -> Result<usize> {
    let selector = format!("--field-selector=involvedObject.name={name},reason={reason}");
    let found = ["get", "events", "--output=name", &selector];
    Ok(sandbox.kubectl(&found, None).await?.lines().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_undone_in_a_browser() -> Result<()> {
    let sandbox = Sandbox::create("undo").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", ADMIN).await?;
    sandbox
        .apply("sales", instance("hello", ADMIN, Visibility::Private))
        .await?;
    let router = sandbox.router().flag("--instance-undo=1h").start().await?;
    let browser = Browser::start().await?;
    sign_in(&browser, &router).await?;

    browser.clicks("summary[aria-label='Delete sales']").await?;
    browser.sees("For 1h that can be undone.").await?;
    browser
        .clicks("form[action='/instances/sales/delete'] button")
        .await?;
    browser.sees("The instance will be deleted.").await?;
    browser.sees("Will be deleted at").await?;
    let at = deadline(&sandbox, "sales").await?.context("no time")?;
    let minutes = at.duration_since(Timestamp::now()).as_secs() / 60;
    ensure!((58..=60).contains(&minutes), "{at}");
    browser.looks("home-will-be-deleted").await?;
    browser
        .clicks("button[aria-label='Undo the deletion of sales']")
        .await?;
    browser.sees("The instance is kept.").await?;
    browser.reads("summary[aria-label='Delete sales']").await?;
    ensure!(deadline(&sandbox, "sales").await?.is_none());
    let body = browser.reads("body").await?;
    ensure!(!body.contains("Will be deleted at"), "{body}");

    // The page follows whoever else says so.
    mark(&sandbox, "sales", after(Duration::from_hours(1))).await?;
    browser.sees("Will be deleted at").await?;
    mark(&sandbox, "sales", Value::Null).await?;
    eventually("no notice any more", async || {
        let body = browser.reads("body").await?;
        ensure!(!body.contains("Will be deleted at"), "{body}");
        Ok(())
    })
    .await?;

    // On its own page, to its end.
    browser.page.goto(&router.store("/instances/sales")).await?;
    browser.clicks("details.confirm summary").await?;
    browser
        .clicks("form[action='/instances/sales/delete'] button")
        .await?;
    browser.sees("Will be deleted at").await?;
    browser.looks("instance-will-be-deleted").await?;
    browser
        .clicks("button[aria-label='Undo the deletion of sales']")
        .await?;
    browser.sees("The instance is kept.").await?;
    ensure!(deadline(&sandbox, "sales").await?.is_none());
    browser.clicks("details.confirm summary").await?;
    browser
        .clicks("form[action='/instances/sales/delete'] button")
        .await?;
    browser.sees("Will be deleted at").await?;
    browser
        .clicks("button[aria-label='Delete now: sales']")
        .await?;
    browser.sees("The instance is being deleted.").await?;
    sandbox.nothing_left("sales").await?;
    browser.page.goto(&router.store("/audit")).await?;
    browser.sees("\"deleteAfter\":null").await?;
    browser.sees("deleted the instance sales").await?;
    browser.close().await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_undo_time_a_page_deletes_at_once() -> Result<()> {
    let sandbox = Sandbox::create("no-undo").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox
        .apply("sales", instance("none", ADMIN, Visibility::Private))
        .await?;
    let router = sandbox.router().flag("--instance-undo=0s").start().await?;
    let browser = Browser::start().await?;
    sign_in(&browser, &router).await?;
    browser.clicks("summary[aria-label='Delete sales']").await?;
    let css = "form[action='/instances/sales/delete'] button";
    let button = browser.reads(css).await?;
    ensure!(button == "Delete sales for good", "{button}");
    browser.clicks(css).await?;
    browser.sees("The instance is being deleted.").await?;
    sandbox.nothing_left("sales").await?;
    browser.close().await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_marks_is_deleted_in_time_by_whichever_operator_is_there() -> Result<()> {
    let sandbox = Sandbox::create("due").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", ADMIN).await?;
    for name in ["soon", "later", "unclear"] {
        sandbox
            .apply(name, instance("hello", ADMIN, Visibility::Private))
            .await?;
        let instances = sandbox.api::<WaveInstance>();
        condition(&instances, name, "Reconciling", |held| {
            held.reason == "Scheduling"
        })
        .await?;
    }
    mark(&sandbox, "unclear", json!("tomorrow")).await?;
    let at = Timestamp::now() + Duration::from_secs(5);
    mark(&sandbox, "soon", json!(at.to_string())).await?;
    // One of which the operator learns as it starts, when it is due, and one when it is not yet.
    operator.terminate().await?;
    mark(&sandbox, "later", after(Duration::from_secs(40))).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    deadline(&sandbox, "soon")
        .await?
        .context("nobody was there")?;
    operator.restart().await?;
    sandbox.nothing_left("soon").await?;
    let at = deadline(&sandbox, "later").await;
    let is_early = matches!(at, Ok(Some(at)) if at > Timestamp::now());
    sandbox.nothing_left("later").await?;
    ensure!(is_early, "the second one went with the first: {at:?}");
    for name in ["soon", "later"] {
        ensure!(events(&sandbox, name, "DeletionDue").await? == 1, "{name}");
    }
    eventually("an Event", async || {
        let told = events(&sandbox, "unclear", "DeletionUnclear").await?;
        ensure!(told > 0, "nothing is told of `tomorrow`");
        Ok(())
    })
    .await?;
    let unclear = sandbox.api::<WaveInstance>().get("unclear").await?;
    ensure!(unclear.metadata.deletion_timestamp.is_none());
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

/// Whoever is told that an instance is kept finds it later.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_in_the_last_moment_is_never_lost() -> Result<()> {
    const INSTANCES: u64 = 40;
    let sandbox = Sandbox::create("last-moment").await?;
    let mut operator = sandbox.operator().start().await?;
    // Of an app that there is not: nothing is installed, and nothing keeps the operator from being there in time.
    let names = (0..INSTANCES).map(|number| format!("race-{number}"));
    let names: Vec<String> = names.collect();
    for name in &names {
        sandbox
            .apply(name, instance("none", ADMIN, Visibility::Private))
            .await?;
    }
    let undone = names.iter().zip(0..).map(|(name, number)| {
        let sandbox = &sandbox;
        async move {
            let at = Timestamp::now() + Duration::from_secs(3);
            mark(sandbox, name, json!(at.to_string())).await?;
            // From before the moment until after it.
            let moment = Duration::from_millis(2850 + number * 10);
            tokio::time::sleep(moment).await;
            let kept = match mark(sandbox, name, Value::Null).await {
                Ok(object) => object.metadata.deletion_timestamp.is_none(),
                Err(error) if error.to_string().contains("not found") => false,
                Err(error) => return Err(error),
            };
            Ok::<_, anyhow::Error>((name, kept))
        }
    });
    let undone = try_join_all(undone).await?;
    tokio::time::sleep(LATEST).await;
    let left = sandbox
        .api::<WaveInstance>()
        .list(&ListParams::default())
        .await?;
    let left: Vec<String> = left.iter().map(ResourceExt::name_any).collect();
    let kept = undone.iter().filter(|(_, kept)| *kept).count();
    ensure!(kept > 0, "no undo was in time");
    for (name, kept) in &undone {
        ensure!(left.contains(name) == *kept, "{name}: told {kept}");
    }
    eprintln!("{kept} of {INSTANCES} were undone in time");
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

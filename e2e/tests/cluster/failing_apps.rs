//! Apps that do not work say why, where people look first.

use anyhow::{Result, ensure};
use crds::{Visibility, WaveInstance};
use e2e::{Browser, Store, condition, eventually, instance, kubectl};

/// Waits until the instance says that it is not ready because of `cause`, in its condition, in the table and in `describe`.
async fn fails_with(store: &Store, name: &str, cause: &str) -> Result<()> {
    let instances = store.api::<WaveInstance>();
    condition(&instances, name, "Ready", |ready| {
        ready.status == "False" && ready.message.contains(cause)
    })
    .await?;
    let row = kubectl(&["get", "waveinstance", name], None).await?;
    ensure!(row.contains("False"), "the table says: {row}");
    let words = kubectl(&["describe", "waveinstance", name], None).await?;
    ensure!(words.contains(cause), "describe says: {words}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requirements_that_cannot_be_installed() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let app = store.publish("broken-requirements").await?;
    let name = "e2e-broken-requirements";
    store.delete(name).await?;
    store
        .apply(
            name,
            instance("broken-requirements", &store.admin, Visibility::Private),
        )
        .await?;
    fails_with(&store, name, "wavestore-no-such-package").await?;
    store.delete(name).await?;
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_crashes_at_start() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let app = store.publish("crash-start").await?;
    let name = "e2e-crash-start";
    store.delete(name).await?;
    store
        .apply(
            name,
            instance("crash-start", &store.admin, Visibility::Private),
        )
        .await?;
    fails_with(
        &store,
        name,
        "RuntimeError: the database password is missing",
    )
    .await?;
    store.delete(name).await?;
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_crashes_on_a_click_comes_back() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let app = store.publish("crash-click").await?;
    let name = "e2e-crash-click";
    store.delete(name).await?;
    store
        .apply(
            name,
            instance("crash-click", &store.admin, Visibility::Private),
        )
        .await?;
    store.ready(name).await?;
    let browser = Browser::start().await?;
    let url = format!("http://{}/", store.host(name));
    browser.page.goto(&url).await?;
    browser.sign_in(&store).await?;
    let process = "[data-test=process]";
    let before = browser.reads(process).await?;
    browser.clicks("[data-test=crash]").await?;
    eventually("another process to answer", async || {
        browser.page.goto(&url).await?;
        let after = browser.reads(process).await?;
        ensure!(after != before, "the page still says: {after}");
        Ok(())
    })
    .await?;
    browser.close().await?;
    store.delete(name).await?;
    store.retract(&app).await
}

//! Parts of the store are away or replaced, and apps go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use crds::Visibility;
use e2e::{Browser, Store, eventually, instance, kubectl, run};
use tokio::time::{Instant, interval};

const APISERVER: &str = "cluster/apiserver.sh";

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

/// Seconds that the app has counted since this page was opened.
async fn seconds(browser: &Browser) -> Result<u64> {
    let page = browser.reads("body").await?;
    let (_, clock) = page
        .split_once("Seconds since you came")
        .with_context(|| format!("there is no clock: {page}"))?;
    let number = clock.split_whitespace().next().context("no number")?;
    Ok(number.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_on_where_it_was_when_all_routers_are_replaced() -> Result<()> {
    let _store = crate::alone().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-rolling";
    store.delete(name).await?;
    store
        .apply(name, instance("hello", &store.admin, Visibility::Private))
        .await?;
    store.ready(name).await?;
    let browser = Browser::start().await?;
    let url = format!("http://{}/", store.host(name));
    browser.page.goto(&url).await?;
    browser.sign_in(&store).await?;
    browser.sees("Seconds since you came").await?;
    browser.types("name", "Ada").await?;
    browser.clicks("[data-test=greet]").await?;
    browser.sees("Hello, Ada!").await?;
    // A page that began anew would show it by its clock.
    eventually("the clock to go", async || {
        let seconds = seconds(&browser).await?;
        ensure!(seconds >= 10, "{seconds} s");
        Ok(())
    })
    .await?;

    let router = "app.kubernetes.io/component=router";
    let pods = kubectl(&["get", "pods", "-l", router, "--output=name"], None).await?;
    let (before, since) = (seconds(&browser).await?, Instant::now());
    kubectl(&["rollout", "restart", "deployment/wavestore-router"], None).await?;
    for pod in pods.split_whitespace() {
        kubectl(&["wait", "--for=delete", pod, "--timeout=180s"], None).await?;
    }
    eventually("the clock to have gone on", async || {
        let (seconds, elapsed) = (seconds(&browser).await?, since.elapsed().as_secs());
        ensure!(
            seconds + 5 >= before + elapsed,
            "{before} s, and {elapsed} s later {seconds} s"
        );
        Ok(())
    })
    .await?;
    browser.types("name", " Lovelace").await?;
    browser.clicks("[data-test=greet]").await?;
    browser.sees("Hello, Ada Lovelace!").await?;
    browser.close().await?;
    store.delete(name).await
}

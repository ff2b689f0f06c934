//! An instance that nobody uses is put to sleep, and wakes at a visit: real pods, a real browser, and an operator and a router of
//! the test's own.

use anyhow::{Context, Result, ensure};
use crds::{SUSPENDED_PHASE, Visibility, WaveAlias, WaveInstance};
use e2e::{
    ADMIN, ADMIN_PASSWORD, Browser, Operator, Router, Sandbox, eventually, instance,
    machine_address,
};
use fantoccini::Locator;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use reqwest::Method;
use serde_json::{Value, json};

const NAME: &str = "nap";

/// A store of the test's own whose instances have pods.
async fn start(prefix: &str) -> Result<(Sandbox, Operator, Router)> {
    let sandbox = Sandbox::create(prefix).await?;
    let quotas = sandbox.api::<ResourceQuota>();
    quotas.delete("no-pods", &DeleteParams::default()).await?;
    let router = sandbox.router().start().await?;
    let port = router.internal_address().port();
    let image = sandbox
        .kubectl(
            &[
                "get",
                "deployment/wavestore-operator",
                "--namespace=wavestore",
                "--output=jsonpath={.spec.template.spec.containers[0].env[?(@.name=='WAVESTORE_INSTANCE_IMAGE')].value}",
            ],
            None,
        )
        .await?;
    let operator = sandbox
        .operator()
        .flag(format!("--instance-image={image}"))
        .flag(format!(
            "--instance-store-url=http://{}:{port}",
            machine_address()?
        ))
        .start()
        .await?;
    sandbox.publish("drowsy", ADMIN).await?;
    sandbox
        .apply(NAME, instance("drowsy", ADMIN, Visibility::AllUsers))
        .await?;
    Ok((sandbox, operator, router))
}

/// Waits until the instance has this phase.
async fn phase(sandbox: &Sandbox, wanted: &str) -> Result<()> {
    eventually(&format!("the phase {wanted}"), async || {
        let status = sandbox.api::<WaveInstance>().get(NAME).await?.status;
        let status = status.context("no status")?;
        ensure!(status.phase.as_deref() == Some(wanted), "{status:?}");
        Ok(())
    })
    .await
}

async fn pods(sandbox: &Sandbox) -> Result<usize> {
    let labelled = ListParams::default().labels(&format!("{}={NAME}", crds::INSTANCE_LABEL));
    Ok(sandbox.api::<Pod>().list(&labelled).await?.items.len())
}

/// Waits until it sleeps: as wanted, by its status, and without a pod.
async fn sleeps(sandbox: &Sandbox) -> Result<()> {
    phase(sandbox, SUSPENDED_PHASE).await?;
    let status = sandbox.api::<WaveInstance>().get(NAME).await?.status;
    let conditions = status.context("no status")?.conditions;
    let ready = conditions.iter().find(|held| held.type_ == "Ready");
    let ready = ready.context("no condition")?;
    ensure!(
        (ready.status.as_str(), ready.reason.as_str()) == ("True", "Asleep"),
        "{ready:?}"
    );
    eventually("its pod to be gone", async || {
        ensure!(pods(sandbox).await? == 0, "it is there");
        Ok(())
    })
    .await
}

/// Signs in on the page that the browser was sent to.
async fn sign_in(browser: &Browser) -> Result<()> {
    let field = |name: &str| format!("input[name={name}]");
    let name = field("name");
    let name = browser.page.wait().for_element(Locator::Css(&name)).await?;
    name.send_keys(ADMIN).await?;
    let password = field("password");
    let password = browser.page.find(Locator::Css(&password)).await?;
    password.send_keys(ADMIN_PASSWORD).await?;
    browser.clicks("main form button[type=submit]").await
}

async fn generation(sandbox: &Sandbox) -> Result<i64> {
    let deployment = sandbox.api::<Deployment>().get(NAME).await?;
    deployment.metadata.generation.context("no generation")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_lets_it_sleep_and_a_visit_wakes_it() -> Result<()> {
    let (sandbox, mut operator, router) = start("waking").await?;
    phase(&sandbox, "Running").await?;
    let browser = Browser::start().await?;
    browser.page.goto(&router.instance(NAME, "/first")).await?;
    sign_in(&browser).await?;
    browser.sees("Awake at /first").await?;
    browser.page.goto("about:blank").await?;
    sleeps(&sandbox).await?;
    // A restart changes nothing of that.
    operator.terminate().await?;
    operator.restart().await?;
    ensure!(pods(&sandbox).await? == 0);

    // A hundred visitors at two replicas, one wake.
    let before = generation(&sandbox).await?;
    let replica = sandbox.router().start().await?;
    let mut visitors = Vec::new();
    for router in [&router, &replica] {
        let mut admin = router.admin().await?;
        admin.visit(&router.instance(NAME, "/")).await?;
        visitors.push((router, admin));
    }
    let visits = (0..100).map(|number: usize| {
        let (router, admin) = &visitors[number % visitors.len()];
        let visit = admin.request(Method::GET, &router.instance(NAME, "/"));
        async { Ok::<_, anyhow::Error>(visit?.send().await?.status()) }
    });
    for status in try_join_all(visits).await? {
        ensure!([200, 503].contains(&status.as_u16()), "{status}");
    }
    browser
        .page
        .goto(&router.instance(NAME, "/second?a=b"))
        .await?;
    browser.sees("instance nap").await?;
    browser.screenshot("waking").await?;
    browser.sees("Awake at /second?a=b").await?;
    ensure!(
        generation(&sandbox).await? == before + 1,
        "woken more than once"
    );

    // Asleep again, it stays down for as long as its spec says so.
    browser.page.goto("about:blank").await?;
    sleeps(&sandbox).await?;
    let suspend = |suspended| json!({ "spec": { "suspended": suspended } });
    let instances = sandbox.api::<WaveInstance>();
    let params = PatchParams::default();
    instances
        .patch(NAME, &params, &Patch::Merge(suspend(true)))
        .await?;
    eventually("it to be suspended", async || {
        let status = instances.get(NAME).await?.status.context("no status")?;
        let ready = status.conditions.iter().find(|held| held.type_ == "Ready");
        let reason = ready.map(|ready| ready.reason.as_str());
        ensure!(reason == Some("Suspended"), "{ready:?}");
        Ok(())
    })
    .await?;
    browser.page.goto(&router.instance(NAME, "/third")).await?;
    browser.sees("Drowsy is suspended").await?;
    browser.screenshot("suspended").await?;
    ensure!(pods(&sandbox).await? == 0, "a visit has woken it");
    instances
        .patch(NAME, &params, &Patch::Merge(suspend(false)))
        .await?;
    // The visitor, who still waits, gets in.
    browser.sees("Awake at /third").await?;

    // Another name, and what does not wake.
    let alias = json!({
        "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveAlias", "metadata": { "name": "siesta" },
        "spec": { "instance": NAME, "primary": true },
    });
    let aliases = sandbox.api::<WaveAlias>();
    let apply = PatchParams::apply("e2e").force();
    aliases
        .patch("siesta", &apply, &Patch::Apply(&alias))
        .await?;
    e2e::condition(&aliases, "siesta", "Ready", |ready| ready.status == "True").await?;
    browser.page.goto(&router.instance(NAME, "/break")).await?;
    browser.sees("Awake at /break").await?;
    let at = browser.page.current_url().await?;
    ensure!(at.host_str() == Some("siesta.localhost"), "{at}");
    browser.page.goto("about:blank").await?;
    sleeps(&sandbox).await?;
    browser
        .page
        .goto(&router.instance("siesta", "/fourth"))
        .await?;
    browser
        .sees("RuntimeError: the alarm clock is <broken>")
        .await?;
    browser.sees("looking for the alarm clock").await?;
    browser.screenshot("crashed").await?;
    browser.close().await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

/// The policy, by the routers' own rights. For the other one see `instances` among the router's tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_tells_of_use_and_of_nothing_else_in_a_status() -> Result<()> {
    let sandbox = Sandbox::create("router-rights").await?;
    sandbox
        .apply(NAME, instance("drowsy", ADMIN, Visibility::AllUsers))
        .await?;
    let kubeconfig = Kubeconfig::read_from(sandbox.kubeconfig("router", None).await?)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let api: Api<WaveInstance> = Api::namespaced(Client::try_from(config)?, &sandbox.name);
    let params = PatchParams::default();
    let tell = async |status: Value| {
        let patch = Patch::Merge(json!({ "status": status }));
        let told = api.patch_status(NAME, &params, &patch).await;
        told.map(drop).map_err(|error| error.to_string())
    };
    let at = |second: u8| json!({ "lastActivity": format!("2026-01-01T00:00:{second:02}Z") });
    // Policies come into force with a delay.
    let mut tries = 0;
    eventually("the policy to be in force", async || {
        // What changes nothing is nobody's business.
        tries += 1;
        let told = tell(json!({ "phase": format!("Try {tries}") })).await;
        let refused = told.is_err_and(|error| error.contains("may only write"));
        ensure!(refused, "it writes a phase");
        Ok(())
    })
    .await?;
    tell(at(30)).await.map_err(anyhow::Error::msg)?;
    for (status, why) in [
        (at(20), "a later use"),
        (json!({ "lastActivity": null }), "may only write"),
        (json!({ "url": "http://evil.test/" }), "may only write"),
        (json!({ "conditions": [] }), "may only write"),
    ] {
        let told = tell(status.clone()).await;
        ensure!(
            told.as_ref().is_err_and(|error| error.contains(why)),
            "{status}: {told:?}"
        );
    }
    tell(at(40)).await.map_err(anyhow::Error::msg)?;
    sandbox.passed();
    Ok(())
}

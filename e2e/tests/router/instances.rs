//! Instances that people run, share, suspend and delete in a browser, and what a router may do to an instance at all. Beside the
//! router runs an operator with a real Helm; pods there are none.

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveApp, WaveInstance, WaveInstanceSpec};
use e2e::{ADMIN, ADMIN_PASSWORD, Browser, Router, Sandbox, condition, eventually, instance, pack};
use fantoccini::Locator;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

const NEXT: &str = "[App]\nName = \"hello\"\nVersion = \"1.1.0\"\nTitle = \"Hello Wave\"\n\n[Runtime]\nModule = \"app\"\n";

pub(crate) async fn sign_in(browser: &Browser, router: &Router) -> Result<()> {
    browser.page.goto(&router.store("/sign-in")).await?;
    for (name, value) in [("name", ADMIN), ("password", ADMIN_PASSWORD)] {
        let css = format!("input[name='{name}']:not([type=hidden])");
        let field = browser.page.wait().for_element(Locator::Css(&css)).await?;
        field.send_keys(value).await?;
    }
    browser.clicks("form[action='/sign-in'] button").await?;
    browser.sees("Signed in as").await
}

async fn choose(browser: &Browser, css: &str, value: &str) -> Result<()> {
    let list = browser.page.wait().for_element(Locator::Css(css)).await?;
    list.select_by_value(value).await?;
    Ok(())
}

/// Waits until the spec of the instance is as wanted.
async fn spec(
    sandbox: &Sandbox,
    name: &str,
    wanted: impl Fn(&WaveInstanceSpec) -> bool,
) -> Result<()> {
    eventually(&format!("the spec of {name}"), async || {
        let spec = sandbox.api::<WaveInstance>().get(name).await?.spec;
        ensure!(wanted(&spec), "{spec:?}");
        Ok(())
    })
    .await
}

/// Deletes the instance `sales` where it is listed, once that is confirmed, and without waiting.
async fn delete(browser: &Browser) -> Result<()> {
    let delete = browser.page.find(Locator::Css(
        "form[action='/instances/sales/delete'] button",
    ));
    ensure!(!delete.await?.is_displayed().await?, "one click deletes");
    browser.clicks("summary[aria-label='Delete sales']").await?;
    browser
        .clicks("form[action='/instances/sales/delete'] button")
        .await?;
    browser.sees("The instance will be deleted.").await?;
    browser
        .clicks("button[aria-label='Delete now: sales']")
        .await?;
    browser.sees("The instance is being deleted.").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_found_run_changed_and_deleted_in_a_browser() -> Result<()> {
    let sandbox = Sandbox::create("instances").await?;
    let mut operator = sandbox.operator().start().await?;
    sandbox.publish("hello", ADMIN).await?;
    let next = pack(&[("app.toml", NEXT.as_bytes()), ("app.py", b"")])?;
    sandbox
        .submit("hello-next", next, ADMIN, Visibility::AllUsers)
        .await?;
    let apps = sandbox.api::<WaveApp>();
    condition(&apps, "hello-next", "Ready", |ready| ready.status == "True").await?;
    let router = sandbox.router().start().await?;
    let browser = Browser::start().await?;
    sign_in(&browser, &router).await?;
    browser.sees("You run nothing at the moment.").await?;

    // Found by a tag, run with options.
    browser.page.goto(&router.store("/?q=DEMO")).await?;
    browser.clicks("a[href='/apps/hello/1.0.0']").await?;
    browser
        .sees("A greeting, a clock that ticks in Python, and a plot.")
        .await?;
    browser.screenshot("app").await?;
    choose(&browser, "#version", "1.0.0").await?;
    let name = browser.page.find(Locator::Css("#name")).await?;
    name.send_keys("sales").await?;
    browser.clicks("form[action='/instances'] button").await?;
    browser
        .sees("Your instance is made, and starts now.")
        .await?;
    spec(&sandbox, "sales", |spec| {
        (
            spec.owner.as_str(),
            spec.app.version.as_str(),
            spec.visibility,
        ) == (ADMIN, "1.0.0", Visibility::Private)
    })
    .await?;
    let instances = sandbox.api::<WaveInstance>();
    condition(&instances, "sales", "Reconciling", |held| {
        held.status == "True"
    })
    .await?;
    // The page follows it without being asked.
    browser.page.goto(&router.store("/instances/sales")).await?;
    browser.sees("The store is at work on it.").await?;
    browser.screenshot("instance").await?;

    // Changed in its settings.
    choose(&browser, "#visibility", "AllUsers").await?;
    browser.clicks("#visibility ~ button").await?;
    browser
        .sees("Who may enter the instance is changed.")
        .await?;
    spec(&sandbox, "sales", |spec| {
        spec.visibility == Visibility::AllUsers
    })
    .await?;
    choose(&browser, "#version", "1.1.0").await?;
    browser.clicks("#version ~ button").await?;
    browser.sees("The version is changed").await?;
    spec(&sandbox, "sales", |spec| spec.app.version == "1.1.0").await?;

    // Suspended on the first page, where its state is followed, whoever changes it.
    browser.page.goto(&router.store("/")).await?;
    browser.clicks("button[aria-label='Suspend sales']").await?;
    browser.sees("The instance is suspended").await?;
    spec(&sandbox, "sales", |spec| spec.suspended).await?;
    let pill = async |wanted: &str| {
        eventually(&format!("the state {wanted}"), async || {
            let state = browser.reads("[data-instance=sales] .pill").await?;
            ensure!(state == wanted, "{state}");
            Ok(())
        })
        .await
    };
    pill("Suspended").await?;
    browser.reads("button[aria-label='Resume sales']").await?;
    browser.screenshot("instances").await?;
    let resume = Patch::Merge(json!({ "spec": { "suspended": false } }));
    instances
        .patch("sales", &PatchParams::default(), &resume)
        .await?;
    eventually("another state", async || {
        let state = browser.reads("[data-instance=sales] .pill").await?;
        ensure!(state != "Suspended", "{state}");
        Ok(())
    })
    .await?;

    delete(&browser).await?;
    eventually("nothing left of it", async || {
        let remains = sandbox.remains("sales").await?;
        ensure!(remains.is_empty(), "still there: {}", remains.join(", "));
        Ok(())
    })
    .await?;
    browser.close().await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

/// The policy, by the routers' own rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_chooses_only_what_is_for_people_to_choose() -> Result<()> {
    let sandbox = Sandbox::create("router-writes").await?;
    let client = sandbox.client_of("router").await?;
    let api: Api<WaveInstance> = Api::namespaced(client, &sandbox.name);
    let create = async |name: &str, marks: Value| {
        let mut object = serde_json::to_value(WaveInstance::new(
            name,
            instance("hello", "alice", Visibility::Private),
        ))?;
        let metadata = object["metadata"].as_object_mut().context("no metadata")?;
        metadata.extend(marks.as_object().cloned().unwrap_or_default());
        let object = serde_json::from_value(object)?;
        let made = api.create(&PostParams::default(), &object).await;
        Ok::<_, anyhow::Error>(made.map(drop).map_err(|error| error.to_string()))
    };
    // Policies come into force with a delay.
    let mut tries = 0;
    eventually("the policy to be in force", async || {
        tries += 1;
        let labels = json!({ "labels": { "a": "b" } });
        let made = create(&format!("try-{tries}"), labels).await?;
        ensure!(made.is_err_and(|error| error.contains("may not write labels")));
        Ok(())
    })
    .await?;
    let owner = json!([{ "apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x" }]);
    for marks in [
        json!({ "annotations": { "wavestore.io/redeploy": "now" } }),
        json!({ "annotations": { "wavestore.io/delete-after": "2999-01-01T12:00:00Z" } }),
        json!({ "finalizers": ["example.com/mine"] }),
        json!({ "ownerReferences": owner }),
    ] {
        let made = create("marked", marks.clone()).await?;
        ensure!(
            made.is_err_and(|error| error.contains("may not write labels")),
            "{marks}"
        );
    }
    create("sales", json!({}))
        .await?
        .map_err(anyhow::Error::msg)?;
    let change = async |patch| change_sales(&api, patch).await;
    for patch in [
        json!({ "spec": { "suspended": true, "visibility": "Public" } }),
        json!({ "spec": { "app": { "version": "2.0.0" } } }),
        json!({ "metadata": { "annotations": { "wavestore.io/delete-after": "2999-01-01T12:00:00Z" } } }),
        json!({ "metadata": { "annotations": { "wavestore.io/delete-after": "2999-01-01T13:00:00Z" } } }),
        json!({ "metadata": { "annotations": { "wavestore.io/delete-after": null } } }),
    ] {
        change(patch).await.map_err(anyhow::Error::msg)?;
    }
    for (patch, why) in [
        (json!({ "spec": { "owner": "mallory" } }), "may only choose"),
        (
            json!({ "spec": { "app": { "name": "other" } } }),
            "nothing of a WaveInstance's app",
        ),
        (
            json!({ "metadata": { "labels": { "a": "b" } } }),
            "may not write labels",
        ),
        (
            json!({ "metadata": { "annotations": { "wavestore.io/redeploy": "now" } } }),
            "may not write labels",
        ),
        (
            json!({ "metadata": { "annotations": {
                "wavestore.io/delete-after": "2999-01-01T12:00:00Z", "a": "b",
            } } }),
            "may not write labels",
        ),
        (
            json!({ "metadata": { "finalizers": ["example.com/mine"] } }),
            "may not write labels",
        ),
    ] {
        let changed = change(patch.clone()).await;
        ensure!(
            changed.as_ref().is_err_and(|error| error.contains(why)),
            "{patch}: {changed:?}"
        );
    }
    what_others_put_there_stays(&sandbox, &api).await?;
    api.delete("sales", &DeleteParams::default()).await?;
    sandbox.passed();
    Ok(())
}

async fn change_sales(api: &Api<WaveInstance>, patch: Value) -> Result<(), String> {
    let changed = api
        .patch("sales", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    changed.map(drop).map_err(|error| error.to_string())
}

/// What the operator has put on it stays, and does not keep a router from changing the rest.
async fn what_others_put_there_stays(sandbox: &Sandbox, api: &Api<WaveInstance>) -> Result<()> {
    let change = async |patch| change_sales(api, patch).await;
    let marked = json!({ "metadata": {
        "labels": { "a": "b" }, "annotations": { "a": "b" }, "finalizers": ["example.com/mine"],
    } });
    let admin = sandbox.api::<WaveInstance>();
    admin
        .patch("sales", &PatchParams::default(), &Patch::Merge(marked))
        .await?;
    change(json!({ "spec": { "suspended": false } }))
        .await
        .map_err(anyhow::Error::msg)?;
    let at = json!({ "wavestore.io/delete-after": "2999-01-01T12:00:00Z" });
    change(json!({ "metadata": { "annotations": at } }))
        .await
        .map_err(anyhow::Error::msg)?;
    for taken in [
        json!({ "finalizers": null }),
        json!({ "annotations": null }),
        json!({ "annotations": { "a": "c" } }),
    ] {
        let changed = change(json!({ "metadata": taken })).await;
        ensure!(
            changed
                .as_ref()
                .is_err_and(|error| error.contains("may not write labels")),
            "{taken}: {changed:?}"
        );
    }
    let unmarked = json!({ "metadata": { "finalizers": null } });
    admin
        .patch("sales", &PatchParams::default(), &Patch::Merge(unmarked))
        .await?;
    Ok(())
}

//! Real apps, reached through the router with a real browser.

use anyhow::{Result, ensure};
use crds::Visibility;
use e2e::{Browser, Store, eventually, instance, kubectl};

/// Opens an instance, signs in on the way, types into the form and sees what Python computed.
async fn use_hello(store: &Store, browser: &Browser, url: &str) -> Result<()> {
    browser.page.goto(url).await?;
    browser.sign_in(store).await?;
    browser.sees("Seconds since you came").await?;
    browser.types("name", "Ada").await?;
    browser.clicks("[data-test=greet]").await?;
    browser
        .sees("Hello, Ada! Backwards you are adA, and 6 times 7 is 42.")
        .await?;
    // What signed us in is the store's own business: the app must not see it.
    browser.clicks("[data-test=facts] button").await?;
    browser.sees("Cookies: none").await?;
    let at = browser.page.current_url().await?;
    ensure!(at.as_str().starts_with(url), "the browser ended up at {at}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_runs_an_app_that_a_browser_uses_in_domain_mode() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-domain";
    store.delete(name).await?;
    store
        .apply(name, instance("hello", &store.admin, Visibility::Private))
        .await?;
    kubectl(
        &[
            "wait",
            "--for=condition=Ready",
            &format!("waveinstance/{name}"),
            "--timeout=300s",
        ],
        None,
    )
    .await?;

    let browser = Browser::start().await?;
    use_hello(&store, &browser, &format!("http://{}/", store.host(name))).await?;
    browser.screenshot("hello-domain").await?;
    browser
        .page
        .goto(&format!("http://{}/", store.host("")))
        .await?;
    browser.sees("Hello Wave").await?;
    browser.sees(name).await?;
    browser.screenshot("store").await?;
    browser.close().await?;
    store.delete(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_runs_an_app_that_a_browser_uses_in_base_url_mode() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    let app = store.publish("hello-base").await?;
    let name = "e2e-base";
    store.delete(name).await?;
    store
        .apply(
            name,
            instance("hello-base", &store.admin, Visibility::Private),
        )
        .await?;
    store.ready(name).await?;

    let browser = Browser::start().await?;
    let right = format!("http://{}/instance/{name}/", store.host("apps"));
    use_hello(&store, &browser, &right).await?;
    browser.screenshot("hello-base").await?;

    // The other mode's address leads to the right one.
    let wrong = format!("http://{}/", store.host(name));
    browser.page.goto(&wrong).await?;
    browser.sees("Seconds since you came").await?;
    let at = browser.page.current_url().await?;
    ensure!(at.as_str() == right, "{wrong} leads to {at}");
    browser.close().await?;
    store.delete(name).await?;
    store.retract(&app).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_app_is_a_card_that_leads_out() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("docs-link").await?;
    let browser = Browser::start().await?;
    browser
        .page
        .goto(&format!("http://{}/", store.host("")))
        .await?;
    browser.sign_in(&store).await?;
    eventually("the link on the first page", async || {
        let links = browser
            .page
            .find_all(fantoccini::Locator::Css("main a[href^='https://']"))
            .await?;
        ensure!(!links.is_empty(), "no link leads out");
        Ok(())
    })
    .await?;
    browser.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_other_users_stay_outside() -> Result<()> {
    let _store = crate::shared().await;
    let store = Store::connect().await?;
    store.publish("hello").await?;
    let name = "e2e-alices";
    store.delete(name).await?;
    store
        .apply(name, instance("hello", "alice", Visibility::Private))
        .await?;
    store.ready(name).await?;

    let private = store.get(&store.host(name), "/").await?;
    let unknown = store.get(&store.host("e2e-no-such-instance"), "/").await?;
    ensure!(
        private.status().is_redirection(),
        "a stranger gets {}",
        private.status()
    );
    ensure!(
        private.status() == unknown.status(),
        "a stranger can tell which instances exist"
    );
    for path in ["/", "/sign-out", "/instances", "/assets/x/y", "/metrics"] {
        let answer = store.get(&store.host(""), path).await?;
        ensure!(
            !answer.status().is_success(),
            "a stranger gets {} at {path}",
            answer.status()
        );
    }

    // The admin manages, but does not enter.
    let browser = Browser::start().await?;
    browser
        .page
        .goto(&format!("http://{}/", store.host(name)))
        .await?;
    browser.sign_in(&store).await?;
    browser.sees("404").await?;
    browser.screenshot("not-found").await?;
    browser.close().await?;
    store.delete(name).await
}

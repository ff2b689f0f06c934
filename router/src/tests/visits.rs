//! From the store's host to an instance's host, by a ticket.

use reqwest::Url;

use super::browser::{Browser, location};
use super::test_store::TestStore;

/// Opens an instance up to the redirect that carries the ticket.
async fn ticket(store: &TestStore, browser: &mut Browser, url: &str) -> String {
    let to_store = browser.open(url).await;
    assert_eq!(to_store.status(), 302);
    let to_store = location(&to_store).expect("a redirect");
    assert!(to_store.starts_with(&store.store("/visit?")), "{to_store}");
    let to_instance = browser.open(&to_store).await;
    assert_eq!(to_instance.status(), 302);
    location(&to_instance).expect("a redirect")
}

fn query_of(url: &str, name: &str) -> String {
    let url: Url = url.parse().expect("a url");
    let pair = url.query_pairs().find(|(key, _)| key == name);
    pair.expect("a field").1.into_owned()
}

#[tokio::test]
async fn a_visit_signs_in_and_continues_where_it_wanted_to_go() {
    let store = TestStore::start().await;
    let mut browser = store.browser();
    let url = store.instance("private", "/page/1?a=b&c=%20d");
    let page = browser.visit(&url).await;
    assert_eq!(
        (page.status(), page.url().path()),
        (200.try_into().unwrap(), "/sign-in")
    );
    let next = query_of(page.url().as_str(), "next");
    let fields = [
        ("name", "alice"),
        ("password", super::test_store::PASSWORD),
        ("next", &next),
    ];
    let answer = browser.submit("/sign-in", &fields).await;
    let page = browser.visit(&location(&answer).expect("a redirect")).await;
    assert_eq!(
        (page.status(), page.url().as_str()),
        (200.try_into().unwrap(), url.as_str())
    );
    assert_eq!(
        page.text().await.expect("a page"),
        "the app at /page/1?a=b&c=%20d"
    );
    // Each host has a cookie of its own, and the nonce is gone.
    let store_cookie = browser.cookies("store.test")["wavestore"].clone();
    let own = browser.cookies("private.apps.test").clone();
    assert_eq!(own.keys().collect::<Vec<_>>(), ["wavestore"]);
    assert_ne!(own["wavestore"], store_cookie);
    // Neither opens the other's door.
    let mut swapped = store.browser();
    swapped
        .cookies("private.apps.test")
        .insert("wavestore".into(), store_cookie);
    swapped
        .cookies("store.test")
        .insert("wavestore".into(), own["wavestore"].clone());
    swapped
        .cookies("shared.apps.test")
        .insert("wavestore".into(), own["wavestore"].clone());
    for url in [url.clone(), store.store("/"), store.instance("shared", "/")] {
        assert_eq!(swapped.open(&url).await.status(), 302, "{url}");
    }
}

#[tokio::test]
async fn a_ticket_works_once() {
    let store = TestStore::start().await;
    let mut browser = store.signed_in("alice").await;
    let link = ticket(&store, &mut browser, &store.instance("private", "/")).await;
    let nonce = browser.cookies("private.apps.test").clone();
    assert_eq!(browser.open(&link).await.status(), 302);
    *browser.cookies("private.apps.test") = nonce;
    assert_eq!(browser.open(&link).await.status(), 400);
}

/// A link with somebody's ticket signs nobody else in: neither a thief nor a victim of a login CSRF.
#[tokio::test]
async fn a_ticket_works_only_in_the_browser_that_asked() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let link = ticket(&store, &mut alice, &store.instance("private", "/")).await;
    let mut thief = store.browser();
    assert_eq!(thief.open(&link).await.status(), 400);
    assert_eq!(
        thief.open(&store.instance("private", "/")).await.status(),
        302
    );
    assert!(
        thief
            .cookies("private.apps.test")
            .contains_key("wavestore-visit")
    );
    let answer = thief.open(&link).await;
    assert_eq!(answer.status(), 400);
    assert!(!thief.cookies("private.apps.test").contains_key("wavestore"));
    assert_eq!(
        alice.open(&link).await.status(),
        302,
        "it is still good for its owner"
    );
}

#[tokio::test]
async fn a_ticket_works_only_on_its_host() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let link = ticket(&store, &mut alice, &store.instance("private", "/")).await;
    let nonce = alice.cookies("private.apps.test").clone();
    *alice.cookies("shared.apps.test") = nonce;
    let elsewhere = link.replace("//private.", "//shared.");
    assert_eq!(alice.open(&elsewhere).await.status(), 400);
    assert_eq!(
        alice.open(&link).await.status(),
        400,
        "it has leaked, so it is used up"
    );
}

#[tokio::test]
async fn visits_lead_to_apps_of_this_store_only() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let nonce = "A".repeat(43);
    for host in [
        "evil.test",
        "store.test",
        "a.b.apps.test",
        "apps.test",
        "apps.test.evil.test",
        "",
    ] {
        let url = store.store(&format!("/visit?host={host}&path=/&nonce={nonce}"));
        assert_eq!(alice.open(&url).await.status(), 400, "{host}");
    }
    let no_nonce = store.store("/visit?host=private.apps.test&path=/");
    assert_eq!(alice.open(&no_nonce).await.status(), 400);
}

#[tokio::test]
async fn a_visits_path_stays_on_its_host() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    for path in [
        "//evil.test",
        "/%5Cevil.test",
        "https://evil.test",
        "/%252f%252fevil.test",
        "%2F%2Fevil.test",
    ] {
        let link = ticket(&store, &mut alice, &store.instance("private", "/")).await;
        let evil = link.replace("path=%2F", &format!("path={path}"));
        assert_ne!(evil, link);
        let answer = alice.open(&evil).await;
        assert_eq!(
            location(&answer),
            Some(store.instance("private", "/")),
            "{path}"
        );
        alice.cookies("private.apps.test").clear();
    }
}

#[tokio::test]
async fn apps_in_base_url_mode_share_one_host_and_its_session() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let url = store.instance("apps", "/instance/based/page?x=1");
    let page = alice.visit(&url).await;
    assert_eq!(
        (page.status(), page.url().as_str()),
        (200.try_into().unwrap(), url.as_str())
    );
    assert_eq!(
        page.text().await.expect("a page"),
        "the app at /instance/based/page?x=1"
    );
}

//! What those see who may not enter: nothing, and the same nothing for every instance.

use std::collections::{BTreeMap, HashMap};

use catalog::AccountChange;
use crds::Visibility;
use reqwest::{Method, Response};

use super::browser::Browser;
use super::test_store::TestStore;

/// Everything in an answer that could tell instances apart, with the instance's own name taken out.
async fn fingerprint(answer: Response, id: &str) -> (u16, BTreeMap<String, String>, String) {
    let status = answer.status().as_u16();
    let request_id = answer.headers()["x-request-id"]
        .to_str()
        .expect("text")
        .to_owned();
    let headers = answer
        .headers()
        .iter()
        .filter(|(name, _)| !["x-request-id", "date", "set-cookie"].contains(&name.as_str()))
        .map(|(name, value)| {
            let value = value.to_str().expect("text");
            // The nonce differs each time; its length does not.
            let value = value
                .split("&nonce=")
                .next()
                .unwrap_or_default()
                .replace(id, "ID");
            (name.to_string(), value)
        })
        .filter(|(name, _)| name != "content-length")
        .collect();
    let body = answer
        .text()
        .await
        .expect("a body")
        .replace(&request_id, "REQUEST")
        .replace(id, "ID");
    (status, headers, body)
}

async fn ask(browser: &mut Browser, method: &Method, url: &str, accept: &str) -> Response {
    let request = browser
        .request(method.clone(), url)
        .header("accept", accept);
    browser.send(request).await
}

/// A browser whose session is good on the host of `id`, whatever is there.
async fn mallory_on(store: &TestStore, id: &str) -> Browser {
    let mut browser = store.signed_in("mallory").await;
    browser.visit(&store.instance(id, "/")).await;
    assert!(
        browser
            .cookies(&format!("{id}.apps.test"))
            .contains_key("wavestore")
    );
    browser
}

#[tokio::test]
async fn an_unknown_instance_and_a_forbidden_one_look_the_same() {
    let store = TestStore::start().await;
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ];
    let mut mallory = HashMap::new();
    for id in ["private", "missing"] {
        mallory.insert(id, mallory_on(&store, id).await);
    }
    for signed_in in [false, true] {
        for accept in ["text/html", "application/json", "*/*"] {
            for method in &methods {
                let mut prints = Vec::new();
                for id in ["private", "missing"] {
                    let mut stranger = store.browser();
                    let browser = match mallory.get_mut(id) {
                        Some(mallory) if signed_in => mallory,
                        _ => &mut stranger,
                    };
                    let url = store.instance(id, "/x?y=1");
                    let answer = ask(browser, method, &url, accept).await;
                    let print = fingerprint(answer, id).await;
                    let expected: &[u16] = if signed_in { &[404] } else { &[302, 401] };
                    assert!(expected.contains(&print.0), "{method} {accept} {print:?}");
                    prints.push(print);
                }
                assert_eq!(
                    prints[0], prints[1],
                    "{method} {accept}, signed in: {signed_in}"
                );
            }
        }
    }
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn the_same_holds_on_the_shared_host() {
    let store = TestStore::start().await;
    let mut mallory = store.signed_in("mallory").await;
    mallory
        .visit(&store.instance("apps", "/instance/based/"))
        .await;
    let mut prints = Vec::new();
    for id in ["based", "missing", "private"] {
        for tail in ["", "/", "/x"] {
            let url = store.instance("apps", &format!("/instance/{id}{tail}"));
            for (browser, status) in [(&mut mallory, 404), (&mut store.browser(), 302)] {
                let answer = browser.open(&url).await;
                assert_eq!(answer.status(), status, "{url}");
                if status == 404 {
                    prints.push(fingerprint(answer, id).await);
                }
            }
        }
    }
    prints.dedup();
    assert_eq!(prints.len(), 1, "{prints:?}");
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn no_socket_opens_for_a_stranger() {
    let store = TestStore::start().await;
    let mallory = mallory_on(&store, "private").await;
    let url = store.instance("private", "/socket");
    assert_eq!(store.browser().socket(&url, &[]).await.err(), Some(401));
    assert_eq!(mallory.socket(&url, &[]).await.err(), Some(404));
    let unknown = mallory_on(&store, "missing").await;
    let url = store.instance("missing", "/socket");
    assert_eq!(store.browser().socket(&url, &[]).await.err(), Some(401));
    assert_eq!(unknown.socket(&url, &[]).await.err(), Some(404));
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn an_admin_does_not_enter_a_private_instance() {
    let store = TestStore::start().await;
    let mut admin = store.signed_in("admin").await;
    assert_eq!(
        admin.visit(&store.instance("private", "/")).await.status(),
        404
    );
    assert_eq!(
        admin.visit(&store.instance("shared", "/")).await.status(),
        200
    );
}

#[tokio::test]
async fn headers_that_name_somebody_open_nothing() {
    let store = TestStore::start().await;
    let mut browser = store.browser();
    let claims = [
        ("x-forwarded-user", "alice"),
        ("x-wavestore-user", "alice"),
        ("remote-user", "alice"),
        ("authorization", "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ=="),
        ("x-forwarded-host", "public.apps.test"),
        ("x-original-url", "/public"),
        ("x-http-method-override", "OPTIONS"),
        ("forwarded", "host=public.apps.test"),
    ];
    for (name, value) in claims {
        let request = browser
            .request(Method::GET, &store.instance("private", "/"))
            .header(name, value);
        assert_eq!(browser.send(request).await.status(), 401, "{name}");
    }
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn a_change_of_visibility_or_owner_counts_at_once() {
    let store = TestStore::start().await;
    let mut mallory = mallory_on(&store, "private").await;
    let url = store.instance("private", "/");
    assert_eq!(mallory.open(&url).await.status(), 404);
    store.change("private", |route| route.visibility = Visibility::AllUsers);
    assert_eq!(mallory.open(&url).await.status(), 200);
    store.change("private", |route| route.owner = "mallory".to_owned());
    assert_eq!(mallory.open(&url).await.status(), 200);
    store.change("private", |_| {});
    assert_eq!(mallory.open(&url).await.status(), 404);
}

#[tokio::test]
async fn a_disabled_account_is_out() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let url = store.instance("private", "/");
    assert_eq!(alice.visit(&url).await.status(), 200);
    store
        .catalog
        .change_account("alice", AccountChange::disabled(true), None)
        .await
        .expect("a change");
    super::test_store::eventually("the session ends", async || {
        alice.open(&url).await.status() == 302
    })
    .await;
    assert_eq!(
        alice
            .sign_in("alice", super::test_store::PASSWORD)
            .await
            .status(),
        401
    );
}

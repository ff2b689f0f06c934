//! Signing in and out.

use chrono::Utc;
use crds::Visibility;
use reqwest::{Method, header};

use super::browser::location;
use super::test_store::{PASSWORD, TestStore, eventually};
use crate::error::Error;
use crate::session::Sessions;

/// Headers of a request.
type Lines<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn nobody_sees_anything_but_the_sign_in_page() {
    let store = TestStore::start().await;
    store.publish_app("hello", Visibility::Public).await;
    let mut browser = store.browser();
    let answer = browser.open(&store.store("/")).await;
    assert_eq!(answer.status(), 302);
    assert_eq!(location(&answer), Some(store.store("/sign-in")));
    let page = browser.open(&store.store("/sign-in")).await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(page.headers()["referrer-policy"], "same-origin");
    assert!(page.headers().contains_key("x-request-id"));
    assert!(!page.text().await.expect("a page").contains("hello"));
    for path in ["/nothing", "/metrics", "/debug", "/livez", "/v1/bundles/x"] {
        assert_eq!(
            browser.open(&store.store(path)).await.status(),
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_right_password_opens_the_store() {
    let store = TestStore::start().await;
    store.publish_app("hello", Visibility::AllUsers).await;
    let mut browser = store.browser();
    for (name, password) in [
        ("alice", "wrong"),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("ALICE", PASSWORD),
    ] {
        let answer = browser.sign_in(name, password).await;
        assert_eq!(answer.status(), 401, "{name}");
        let page = answer.text().await.expect("a page");
        assert!(page.contains("Name or password is wrong"), "{page}");
    }
    let answer = browser.sign_in("alice", PASSWORD).await;
    assert_eq!(
        (answer.status(), location(&answer)),
        (303.try_into().unwrap(), Some(store.store("/")))
    );
    let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let page = browser.open(&store.store("/")).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.expect("a page");
    for words in [
        "The hello app",
        "Signed in as",
        "http://private.apps.test",
        "/apps/hello/1.0.0#run",
        "Installing Application Dependencies",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let again = browser.open(&store.store("/sign-in?next=%2Fx")).await;
    assert_eq!(location(&again), Some(store.store("/x")));
}

#[tokio::test]
async fn another_sites_page_cannot_sign_anybody_in_or_out() {
    let store = TestStore::start().await;
    let mut browser = store.browser();
    let for_sign_in = browser.form_token("/sign-in").await.expect("a token");
    browser.sign_in("alice", PASSWORD).await;
    let origin = store.store("");
    let other_app = store.instance("shared", "");
    let cases: [(&str, Lines, u16); 6] = [
        ("no browser", &[], 403),
        ("another site", &[("origin", "http://evil.test")], 403),
        ("an app of ours", &[("origin", &other_app)], 403),
        ("no origin", &[("origin", "null")], 403),
        (
            "same site only",
            &[("origin", &origin), ("sec-fetch-site", "same-site")],
            403,
        ),
        ("the store", &[("origin", &origin)], 303),
    ];
    for path in ["/sign-in", "/sign-out"] {
        let token = match path {
            "/sign-in" => for_sign_in.clone(),
            _ => browser.form_token("/").await.expect("a token"),
        };
        for (name, lines, status) in cases {
            let mut request = browser
                .request(Method::POST, &store.store(path))
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(format!(
                    "name=mallory&password={}&form_token={token}",
                    PASSWORD.replace(' ', "+")
                ));
            for (name, value) in lines {
                request = request.header(*name, *value);
            }
            let answer = browser.send(request).await;
            assert_eq!(answer.status(), status, "{path} from {name}");
        }
    }
}

#[tokio::test]
async fn a_form_without_its_pages_token_does_nothing() {
    let store = TestStore::start().await;
    let mut mallory = store.signed_in("mallory").await;
    let others = mallory.form_token("/").await.expect("a token");
    let mut alice = store.browser();
    let fields = [("name", "alice"), ("password", PASSWORD)];
    for token in [None, Some(""), Some(others.as_str())] {
        let token = token.map(|token| ("form_token", token));
        let fields: Vec<_> = fields.into_iter().chain(token).collect();
        let answer = alice.post("/sign-in", &fields).await;
        assert_eq!(answer.status(), 403);
        // A page that is out of date comes again, with what was typed but for the password.
        let page = answer.text().await.expect("a page");
        assert!(page.contains("This form is out of date"), "{page}");
        assert!(page.contains("value=\"alice\""), "{page}");
        assert!(!page.contains(PASSWORD), "{page}");
    }
    assert_eq!(alice.sign_in("alice", PASSWORD).await.status(), 303);
    for token in ["", &others] {
        let answer = alice.post("/sign-out", &[("form_token", token)]).await;
        assert_eq!(answer.status(), 403);
        let code = &answer.headers()["x-wavestore-error"];
        assert_eq!(code, "StaleForm");
    }
    assert_eq!(alice.open(&store.store("/")).await.status(), 200);
}

#[tokio::test]
async fn attempts_are_limited() {
    let store = TestStore::start().await;
    let mut browser = store.browser();
    let mut refused = None;
    for attempt in 0..20 {
        let answer = browser.sign_in("alice", "wrong").await;
        if answer.status() == 429 {
            let wait = answer.headers()[header::RETRY_AFTER]
                .to_str()
                .expect("text");
            assert!(wait.parse::<u64>().expect("seconds") > 0);
            refused = Some(attempt);
            break;
        }
    }
    assert_eq!(refused, Some(10));
    let answer = browser.sign_in("alice", PASSWORD).await;
    assert_eq!(answer.status(), 429, "the right password does not help");
    assert_eq!(browser.sign_in("mallory", PASSWORD).await.status(), 303);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_its_children() {
    let store = TestStore::start().await;
    let mut browser = store.signed_in("alice").await;
    assert_eq!(
        browser
            .visit(&store.instance("private", "/"))
            .await
            .status(),
        200
    );
    let stolen = browser.cookies("store.test").clone();
    let answer = browser.submit("/sign-out", &[]).await;
    assert_eq!(answer.status(), 303);
    assert!(!browser.cookies("store.test").contains_key("wavestore"));
    *browser.cookies("store.test") = stolen;
    let answer = browser.open(&store.store("/")).await;
    assert_eq!(location(&answer), Some(store.store("/sign-in")));
    let url = store.instance("private", "/");
    eventually("the child session ends", async || {
        browser.open(&url).await.status() == 302
    })
    .await;
}

#[tokio::test]
async fn a_sign_in_leads_back_to_where_it_came_from_and_nowhere_else() {
    let store = TestStore::start().await;
    let cases = [
        ("/visit?x=1", "/visit?x=1"),
        ("//evil.test", "/"),
        ("/\\evil.test", "/"),
        ("/%2f%2fevil.test", "/"),
        ("https://evil.test/", "/"),
        ("javascript:alert(1)", "/"),
    ];
    for (next, expected) in cases {
        let mut browser = store.browser();
        let fields = [("name", "alice"), ("password", PASSWORD), ("next", next)];
        let answer = browser.submit("/sign-in", &fields).await;
        assert_eq!(location(&answer), Some(store.store(expected)), "{next}");
    }
}

#[tokio::test]
async fn a_known_session_outlives_the_database_for_a_while() {
    let store = TestStore::start().await;
    let mut browser = store.signed_in("alice").await;
    assert_eq!(
        browser
            .visit(&store.instance("private", "/"))
            .await
            .status(),
        200
    );
    assert_eq!(browser.open(&store.store("/")).await.status(), 200);
    store.catalog.close().await;
    let page = browser.open(&store.store("/")).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.expect("a page");
    assert!(page.contains("The catalog is not available"), "{page}");
    assert!(page.contains("http://private.apps.test"), "{page}");
    assert_eq!(
        browser.open(&store.instance("private", "/")).await.status(),
        200
    );
    let answer = store.browser().sign_in("alice", PASSWORD).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(
        store
            .browser()
            .open(&store.instance("public", "/"))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn pictures_are_for_those_who_see_the_app() {
    let store = TestStore::start().await;
    let digest = store.publish_app("secret", Visibility::Private).await;
    let url = store.store(&format!("/assets/{digest}/icon.png"));
    for (name, status) in [("alice", 200), ("admin", 200), ("mallory", 404)] {
        let mut browser = store.signed_in(name).await;
        let answer = browser.open(&url).await;
        assert_eq!(answer.status(), status, "{name}");
        if status == 200 {
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "image/png");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
            let policy = &answer.headers()[header::CONTENT_SECURITY_POLICY];
            assert_eq!(policy, "default-src 'none'; sandbox");
            let caching = &answer.headers()[header::CACHE_CONTROL];
            assert_eq!(caching, "private, max-age=31536000, immutable");
            assert_eq!(answer.bytes().await.expect("bytes").len(), 21);
        }
    }
    assert_eq!(store.browser().open(&url).await.status(), 302);
    let mut alice = store.signed_in("alice").await;
    for name in ["other.png", "..%2Ficon.png", "%2e%2e", ".wavestore-probe"] {
        let url = store.store(&format!("/assets/{digest}/{name}"));
        assert_eq!(alice.open(&url).await.status(), 404, "{name}");
    }
}

#[tokio::test]
async fn a_picture_that_the_browser_has_is_not_sent_again_to_those_who_see_the_app() {
    let store = TestStore::start().await;
    let digest = store.publish_app("secret", Visibility::Private).await;
    let url = store.store(&format!("/assets/{digest}/icon.png"));
    let mut alice = store.signed_in("alice").await;
    let tag = alice.open(&url).await.headers()[header::ETAG].clone();
    let tag = tag.to_str().expect("text");
    let cases = [
        ("alice", tag.to_owned(), 304),
        ("alice", format!("\"other\", W/{tag}"), 304),
        ("alice", "\"other\"".to_owned(), 200),
        // It tells nothing to those who do not see the app.
        ("mallory", tag.to_owned(), 404),
    ];
    for (name, known, status) in cases {
        let mut browser = store.signed_in(name).await;
        let asked = browser.request(Method::GET, &url);
        let answer = browser
            .send(asked.header(header::IF_NONE_MATCH, &known))
            .await;
        assert_eq!(answer.status(), status, "{name}, {known}");
        if status == 304 {
            assert_eq!(answer.headers()[header::ETAG], tag);
            assert!(answer.bytes().await.expect("nothing").is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_no_picture_is_never_shown() {
    let store = TestStore::start().await;
    let digest = store.publish_app("drawn", Visibility::AllUsers).await;
    let drawing =
        bytes::Bytes::from_static(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>");
    let put = store.blobs.put_asset(&digest, "icon.svg", drawing).await;
    put.expect("stored");
    let mut alice = store.signed_in("alice").await;
    let answer = alice
        .open(&store.store(&format!("/assets/{digest}/icon.svg")))
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()[header::CONTENT_TYPE],
        "application/octet-stream"
    );
    assert_eq!(answer.headers()[header::CONTENT_DISPOSITION], "attachment");
}

#[tokio::test]
async fn a_session_that_another_replica_serves_is_known_when_the_database_goes_away() {
    let store = TestStore::start().await;
    let replicas = [(); 2].map(|()| Sessions::new(store.catalog.clone()));
    let since = Utc::now();
    store.signed_in("alice").await;
    let made = store.catalog.sessions_of("alice", Utc::now()).await;
    let key = made.expect("sessions").pop().expect("a session").key;
    let [learned, other] = &replicas;
    learned.learn(since).await.expect("learn");
    store.catalog.close().await;
    let known = learned.session(key).await.expect("it is known");
    assert_eq!(known.expect("it is in force").account, "alice");
    assert!(matches!(
        other.session(key).await,
        Err(Error::CatalogAway(_))
    ));
    assert!(learned.learn(since).await.is_err());
}

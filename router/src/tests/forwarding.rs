//! What reaches an app, and what comes back.

use std::sync::Arc;
use std::time::Duration;

use crds::AppMode;
use futures::future::join_all;
use futures::{StreamExt, stream};
use reqwest::{Body, Method, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::browser::location;
use super::test_store::{DEADLINE, TestStore, eventually};
use crate::proxy::upstream::Connector;

#[tokio::test]
async fn an_app_gets_the_request_without_the_platforms_secrets_or_claims() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    assert_eq!(
        alice.visit(&store.instance("private", "/")).await.status(),
        200
    );
    store.app.take_seen();
    alice
        .cookies("private.apps.test")
        .insert("own".into(), "1".into());
    let url = store.instance("private", "/a%20b/../c?d=%2F");
    let request = alice
        .request(Method::GET, &url)
        // A bearer token would count in place of the cookie; see `bearer`.
        .header("authorization", "Basic secret")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-proto", "gopher")
        .header("x_forwarded_user", "admin")
        .header("x-auth-request-email", "admin@example.com")
        .header("x-wavestore-user", "admin")
        .header("wave-subject-id", "admin")
        .header("forwarded", "for=6.6.6.6")
        .header("connection", "x-hop, x-forwarded-host")
        .header("x-hop", "1")
        .header("x-own", "1")
        .header("accept-language", "de");
    assert_eq!(alice.send(request).await.status(), 200);
    let seen = store.app.take_seen();
    let seen = seen.first().expect("it reached the app");
    let host = format!("private.apps.test:{}", store.address.port());
    let expected = [
        ("host", host.as_str()),
        ("cookie", "own=1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", host.as_str()),
        ("x-forwarded-proto", "http"),
        ("x-real-ip", "127.0.0.1"),
        ("x-own", "1"),
        ("accept-language", "de"),
    ];
    for (name, value) in expected {
        let values: Vec<_> = seen.headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    let gone = [
        "authorization",
        "x_forwarded_user",
        "x-auth-request-email",
        "x-wavestore-user",
        "wave-subject-id",
        "x-hop",
        "connection",
    ];
    for name in gone {
        assert!(
            !seen.headers.contains_key(name),
            "{name}: {:?}",
            seen.headers
        );
    }
    assert!(
        seen.headers["forwarded"]
            .to_str()
            .expect("text")
            .starts_with("for=127.0.0.1;")
    );
    // reqwest resolves the dots itself, as browsers do; what is left stays as it was.
    assert_eq!(seen.path, "/c?d=%2F");
}

#[tokio::test]
async fn an_app_cannot_set_the_platforms_cookies_or_anything_beyond_its_host() {
    let store = TestStore::start().await;
    let answer = store
        .browser()
        .open(&store.instance("public", "/cookies"))
        .await;
    let cookies: Vec<_> = answer
        .headers()
        .get_all(header::SET_COOKIE)
        .iter()
        .map(|line| line.to_str().expect("text"))
        .collect();
    assert_eq!(cookies, ["own=1; Path=/", "wide=1; Path=/"]);
    assert_eq!(answer.headers()["x-own"], "1");
    for name in ["clear-site-data", "connection", "x-hop"] {
        assert!(!answer.headers().contains_key(name), "{name}");
    }
}

/// With them, one visit to an app would let it answer for all others on the host, or hear of their addresses.
#[tokio::test]
async fn an_app_on_the_shared_host_cannot_act_beyond_its_path() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let own = store.instance("private", "/cookies");
    let shared = store.instance("apps", "/instance/based/cookies");
    for (url, passes, cookie) in [
        (own, true, "own=1; Path=/"),
        (shared, false, "own=1; Path=/instance/based/"),
    ] {
        let answer = alice.visit(&url).await;
        assert_eq!(answer.headers()[header::SET_COOKIE], cookie, "{url}");
        assert_eq!(answer.headers()["x-own"], "1", "{url}");
        for name in ["service-worker-allowed", "nel", "report-to"] {
            let passed = answer.headers().contains_key(name);
            assert_eq!(passed, passes, "{name} from {url}");
        }
    }
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let store = TestStore::start().await;
    let answer = store
        .browser()
        .open(&store.instance("public", "/events"))
        .await;
    let mut events = answer.bytes_stream();
    for count in 0..3 {
        let event = timeout(DEADLINE, events.next())
            .await
            .expect("an event in time");
        let event = event.expect("an event").expect("bytes");
        assert_eq!(event, format!("data: {count}\n\n"));
        store.app.go_on();
    }
}

#[tokio::test]
async fn uploads_stream() {
    let store = TestStore::start().await;
    let browser = store.browser();
    // The app answers after the first piece, while the client still holds back the rest.
    let pieces = stream::once(async { Ok::<_, std::io::Error>("first") }).chain(stream::pending());
    let request = browser
        .request(Method::POST, &store.instance("python", "/first-byte"))
        .body(Body::wrap_stream(pieces));
    let answer = timeout(DEADLINE, request.send())
        .await
        .expect("in time")
        .expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "got one");

    let size = 3 * 1024 * 1024;
    let request = browser
        .request(Method::PUT, &store.instance("python", "/upload"))
        .body(vec![7; size]);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), size.to_string());
}

#[tokio::test]
async fn the_wrong_form_of_an_address_leads_to_the_right_one() {
    let store = TestStore::start().await;
    store.change("based", |route| route.visibility = crds::Visibility::Public);
    let mut browser = store.browser();
    let cases = [
        (
            store.instance("based", "/a/b?c=d"),
            store.instance("apps", "/instance/based/a/b?c=d"),
        ),
        (
            store.instance("based", "//evil.test"),
            store.instance("apps", "/instance/based//evil.test"),
        ),
        (
            store.instance("apps", "/instance/public/a?b"),
            store.instance("public", "/a?b"),
        ),
        (
            store.instance("apps", "/instance/public//evil.test"),
            store.instance("public", "//evil.test"),
        ),
        (
            store.instance("apps", "/instance/based"),
            store.instance("apps", "/instance/based/"),
        ),
        (
            store.instance("apps", "/instance/based?x=1"),
            store.instance("apps", "/instance/based/?x=1"),
        ),
    ];
    for (url, expected) in cases {
        let answer = browser.open(&url).await;
        assert_eq!(answer.status(), 307, "{url}");
        assert_eq!(location(&answer), Some(expected), "{url}");
    }
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn an_app_in_base_url_mode_gets_its_whole_path() {
    let store = TestStore::start().await;
    store.change("based", |route| route.visibility = crds::Visibility::Public);
    let url = store.instance("apps", "/instance/based/_s/?x=1");
    assert_eq!(store.browser().open(&url).await.status(), 200);
    assert_eq!(store.app.take_seen()[0].path, "/instance/based/_s/?x=1");
}

#[tokio::test]
async fn a_wave_server_is_closed_to_what_only_its_app_may_do() {
    let store = TestStore::start().await;
    let mut browser = store.browser();
    let json = Some("application/json");
    let cases = [
        (Method::PATCH, "/", None, 405, 200),
        (Method::PUT, "/x", None, 405, 200),
        (Method::POST, "/", json, 405, 200),
        (Method::GET, "/_c/key", None, 403, 200),
        (Method::GET, "/%5fc/key", None, 403, 200),
        (
            Method::POST,
            "/_f/",
            Some("multipart/form-data; boundary=x"),
            200,
            200,
        ),
        (Method::GET, "/_s/", None, 200, 200),
    ];
    for (method, path, content_type, wave, python) in cases {
        for (id, status) in [("public", wave), ("python", python)] {
            let mut request = browser.request(method.clone(), &store.instance(id, path));
            if let Some(kind) = content_type {
                request = request.header(header::CONTENT_TYPE, kind);
            }
            let answer = browser.send(request).await;
            assert_eq!(answer.status(), status, "{method} {path} of {id}");
            assert_eq!(
                store.app.take_seen().len(),
                usize::from(status == 200),
                "{method} {path}"
            );
        }
    }
    // What runs there is unknown: the strict rules hold.
    store.change("python", |route| route.mode = None);
    let request = browser.request(Method::PATCH, &store.instance("python", "/"));
    assert_eq!(browser.send(request).await.status(), 405);
    store.change("python", |route| route.mode = Some(AppMode::Python));
}

#[tokio::test]
async fn an_app_that_is_not_ready_shows_its_phase_until_it_is() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    let url = store.instance("asleep", "/deep/link?x=1");
    let page = alice.visit(&url).await;
    assert_eq!(
        (page.status(), page.url().as_str()),
        (503.try_into().unwrap(), url.as_str())
    );
    assert_eq!(page.headers()[header::RETRY_AFTER], "2");
    let words = page.text().await.expect("a page");
    assert!(
        words.contains("Installing Application Dependencies"),
        "{words}"
    );
    let request = alice
        .request(Method::GET, &url)
        .header(header::ACCEPT, "application/json");
    let state: serde_json::Value = alice.send(request).await.json().await.expect("json");
    assert_eq!(state["code"], "NotReady");
    assert_eq!(state["phase"], "Installing Application Dependencies");
    store.change("asleep", |route| {
        route.upstreams = vec![store.upstream(store.app.address)];
    });
    assert_eq!(
        alice.open(&url).await.text().await.expect("a page"),
        "the app at /deep/link?x=1"
    );
}

#[tokio::test]
async fn each_failure_of_an_app_has_its_own_status() {
    let limit = Duration::from_millis(300);
    let store = TestStore::start_with(Connector::new(DEADLINE, limit)).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let refused = closed.local_addr().expect("an address");
    drop(closed);
    let broken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let cut_off = broken.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = broken.accept().await {
            let mut head = [0; 64];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"this is no http\r\n\r\n").await;
        }
    });
    let mut browser = store.browser();
    let cases = [
        (refused, "/", 502, "Unreachable"),
        (cut_off, "/", 502, "Upstream"),
        (store.app.address, "/wait", 504, "ResponseTimeout"),
    ];
    for (address, path, status, code) in cases {
        store.change("public", |route| {
            route.upstreams = vec![store.upstream(address)];
        });
        let answer = browser.open(&store.instance("public", path)).await;
        assert_eq!(answer.status(), status, "{code}");
        assert_eq!(answer.headers()["x-wavestore-error"], code);
        let page = answer.text().await.expect("a page");
        assert!(
            page.contains(code) && !page.contains(&address.to_string()),
            "{page}"
        );
    }
}

/// The server closes all its idle connections just when the next request comes.
#[tokio::test]
async fn a_reading_request_survives_connections_that_were_just_closed() {
    const IDLE: usize = 3;
    let store = TestStore::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // The first ones are open at the same time. Each answers one request, takes another and closes.
        let first = Arc::new(Barrier::new(IDLE));
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let others = (connections.len() < IDLE).then(|| first.clone());
            connections.spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                if let Some(others) = others {
                    others.wait().await;
                }
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
                let _ = stream.read(&mut head).await;
            });
        }
    });
    store.change("python", |route| {
        route.upstreams = vec![store.upstream(address)];
    });
    let url = store.instance("python", "/");
    let mut browsers = [(); IDLE].map(|()| store.browser());
    join_all(browsers.iter_mut().map(async |browser| {
        assert_eq!(browser.open(&url).await.text().await.expect("a body"), "ok");
    }))
    .await;
    let mut browser = store.browser();
    assert_eq!(browser.open(&url).await.text().await.expect("a body"), "ok");
    let request = browser.request(Method::POST, &url).body("twice?");
    assert_eq!(
        browser.send(request).await.status(),
        502,
        "it may have acted"
    );
}

#[tokio::test]
async fn a_slow_upload_is_no_silent_app() {
    let limit = Duration::from_millis(400);
    let store = TestStore::start_with(Connector::new(DEADLINE, limit)).await;
    let ticks = stream::unfold(
        (0, tokio::time::interval(limit / 4)),
        |(count, mut tick)| async move {
            tick.tick().await;
            (count < 10).then(|| (Ok::<_, std::io::Error>("piece"), (count + 1, tick)))
        },
    );
    let request = store
        .browser()
        .request(Method::POST, &store.instance("python", "/upload"))
        .body(Body::wrap_stream(ticks));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "50");
}

#[tokio::test]
async fn an_instance_that_is_full_says_so_at_once() {
    let store = TestStore::start().await;
    let route = store.table.route("public").expect("a route");
    let upstream = &route.upstreams[0];
    let mut taken: Vec<_> = std::iter::from_fn(|| upstream.request_slot().ok()).collect();
    let mut browser = store.browser();
    let answer = browser.open(&store.instance("public", "/")).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    taken.pop();
    // The slot belongs to a request until its body has ended.
    let events = browser.open(&store.instance("public", "/events")).await;
    assert_eq!(events.status(), 200);
    assert_eq!(
        browser.open(&store.instance("public", "/")).await.status(),
        503
    );
    drop(events);
    store.app.go_on();
    let url = store.instance("public", "/");
    eventually("the slot is free", async || {
        browser.open(&url).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn another_apps_page_cannot_act_with_a_visitors_session() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    assert_eq!(
        alice.visit(&store.instance("private", "/")).await.status(),
        200
    );
    let own = store.instance("private", "");
    let other = store.instance("shared", "");
    for (origin, status) in [(own.as_str(), 200), (other.as_str(), 403), ("null", 403)] {
        let request = alice
            .request(Method::POST, &store.instance("private", "/"))
            .header(header::ORIGIN, origin);
        assert_eq!(alice.send(request).await.status(), status, "{origin}");
    }
    // A script of its own sends no Origin; browsers always do.
    let request = alice.request(Method::POST, &store.instance("private", "/"));
    assert_eq!(alice.send(request).await.status(), 200);
}

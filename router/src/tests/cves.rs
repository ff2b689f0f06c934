//! One test for each class of hole that others had in this place, named after the one it is known by.
//!
//! Elsewhere: CVE-2024-28233 and GitLab 552058, cookies beyond an app's own host and path (`proxy::cookies`,
//! `forwarding`); CVE-2024-45410, a `Connection` header that removes what we set (`proxy::headers`, and below through the whole
//! way); CVE-2020-15110, names that differ in case only (`permit`); CVE-2024-41942, sharing (`permit`, `strangers`);
//! CVE-2023-44487, CVE-2024-27316, CVE-2019-9512 and CVE-2019-9515, floods over HTTP/2 (`http2`); CVE-2025-62518 and its kin,
//! archives (crate `bundle`).

use reqwest::{Method, header};

use super::browser::location;
use super::raw::exchange;
use super::test_store::{PASSWORD, TestStore};

/// oauth2-proxy: `X_Forwarded_User` passed, and servers read it as `X-Forwarded-User`.
#[tokio::test]
async fn cve_2025_64484_no_spelling_of_an_identity_header_passes() {
    let store = TestStore::start().await;
    let lines = [
        "X-Forwarded-User",
        "X_Forwarded_User",
        "x-FORWARDED_user",
        "X-Auth-Request_Email",
        "REMOTE_USER",
        "Wave_Subject_Id",
        "X_WaveStore-User",
    ]
    .map(|name| format!("{name}: admin\r\n{name}: admin\r\n"))
    .concat();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: public.apps.test:PORT\r\nConnection: close\r\n{lines}\r\n"
    );
    assert!(
        exchange(&store, &request)
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let seen = store.app.take_seen();
    let claims = seen[0].headers.values().filter(|value| *value == "admin");
    assert_eq!(claims.count(), 0, "{seen:?}");
}

/// Traefik: `Connection: X-Forwarded-For` removed what the proxy had set.
#[tokio::test]
async fn cve_2024_45410_a_connection_header_removes_nothing_of_ours() {
    let store = TestStore::start().await;
    let request = "GET / HTTP/1.1\r\nHost: public.apps.test:PORT\r\nConnection: close, X-Forwarded-For, X-Real-Ip, \
                   Forwarded, Host, X-Request-Id, Traceparent\r\n\r\n";
    assert!(exchange(&store, request).await.starts_with("HTTP/1.1 200 "));
    let seen = store.app.take_seen();
    for name in [
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "host",
        "x-request-id",
    ] {
        assert!(seen[0].headers.contains_key(name), "{name}: {seen:?}");
    }
}

/// oauth2-proxy: the path that was authorized came from a header that anybody can send.
#[tokio::test]
async fn cve_2026_40575_no_header_names_what_is_authorized() {
    let store = TestStore::start().await;
    let mut browser = store.browser();
    for name in [
        "x-forwarded-uri",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "x-forwarded-method",
    ] {
        let request = browser
            .request(Method::GET, &store.instance("private", "/"))
            .header(name, "public.apps.test/");
        assert_eq!(browser.send(request).await.status(), 401, "{name}");
    }
    assert!(store.app.take_seen().is_empty());
}

/// Traefik: what was authorized and what was asked of the app were two paths, one with its dots resolved.
#[tokio::test]
async fn cve_2026_48020_a_path_means_the_same_to_everybody() {
    let store = TestStore::start().await;
    store.change("based", |route| route.visibility = crds::Visibility::Public);
    for (path, status) in [
        ("/instance/based/../private/", "200"),
        ("/instance/based/%2e%2e/private/", "200"),
        ("/instance/based/..%2fprivate/", "200"),
        ("/instance/./based/", "404"),
        ("/instance//based/", "404"),
        ("/instance/%62ased/", "404"),
        ("/x/../instance/based/", "404"),
        ("/instance/private/../based/", "401"),
        ("//instance/based/", "404"),
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: apps.apps.test:PORT\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(&store, &request).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{path}");
        // It is the app's to read, which gets it as it came.
        let seen = store.app.take_seen();
        let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
        let expected: &[&str] = if status == "200" { &[path] } else { &[] };
        assert_eq!(paths, expected);
    }
}

/// A connection to the app that had been given to one client went back to the pool, and so to the next.
#[tokio::test]
async fn cve_2026_71324_no_client_gets_hold_of_a_pooled_connection() {
    let store = TestStore::start().await;
    let inner = "GET /inner HTTP/1.1\r\nHost: private.apps.test\r\n\r\n";
    for head in [
        "CONNECT public.apps.test:PORT HTTP/1.1\r\nHost: public.apps.test:PORT\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: public.apps.test:PORT\r\nConnection: upgrade, close\r\nUpgrade: anything\r\n\r\n",
    ] {
        let answer = exchange(&store, &format!("{head}{inner}")).await;
        assert!(!answer.starts_with("HTTP/1.1 101 "), "{answer}");
        let seen = store.app.take_seen();
        assert!(seen.iter().all(|seen| seen.path != "/inner"), "{seen:?}");
    }
    let mut browser = store.browser();
    let answer = browser.open(&store.instance("public", "/after")).await;
    let words = answer.text().await.expect("a body");
    assert_eq!(words, "the app at /after");
}

/// jupyter-server-proxy: pages asked who it was, WebSockets did not.
#[tokio::test]
async fn cve_2024_28179_a_socket_asks_who_it_is_too() {
    let store = TestStore::start().await;
    let url = store.instance("private", "/socket");
    let admin = store.signed_in("admin").await;
    assert_eq!(store.browser().socket(&url, &[]).await.err(), Some(401));
    assert_eq!(admin.socket(&url, &[]).await.err(), Some(401));
    assert!(store.app.take_seen().is_empty());
}

/// code-server: the cookie that signs people in was passed on to what runs behind.
#[tokio::test]
async fn code_server_4_124_2_no_app_sees_the_platforms_cookies() {
    let store = TestStore::start().await;
    let mut alice = store.signed_in("alice").await;
    alice.visit(&store.instance("private", "/")).await;
    store.app.take_seen();
    let secret = alice.cookies("private.apps.test")["wavestore"].clone();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: private.apps.test:PORT\r\nConnection: close\r\nCookie: a=1\r\nCookie: \
         wavestore={secret}\r\nCookie: b=2; WAVESTORE={secret};__Host-wavestore={secret}\r\nAuthorization: Basic \
         {secret}\r\n\r\n"
    );
    assert!(
        exchange(&store, &request)
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    let seen = store.app.take_seen();
    assert_eq!(seen[0].headers["cookie"], "a=1; b=2");
    let told = seen[0]
        .headers
        .values()
        .any(|value| value.to_str().is_ok_and(|text| text.contains(&secret)));
    assert!(!told, "{seen:?}");
}

/// After signing in, a link could lead anywhere.
#[tokio::test]
async fn cve_2026_33709_a_sign_in_leads_nowhere_else() {
    let store = TestStore::start().await;
    for next in [
        "https://evil.test/",
        "//evil.test/",
        "/\\evil.test/",
        "\\\\evil.test/",
        "/\t/evil.test/",
        "javascript:alert(1)",
        "/%0d%0aLocation:%20https://evil.test/",
    ] {
        let mut browser = store.browser();
        let fields = [("name", "alice"), ("password", PASSWORD), ("next", next)];
        let answer = browser.submit("/sign-in", &fields).await;
        assert_eq!(answer.status(), 303, "{next}");
        let location = location(&answer).expect("a redirect");
        assert!(
            location.starts_with(&store.store("/")),
            "{next}: {location}"
        );
    }
}

/// The answer to an error told what the answer to a success would not.
#[tokio::test]
async fn cve_2026_41181_errors_tell_nothing_of_the_inside() {
    let store = TestStore::start().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    store.change("public", |route| {
        route.upstreams = vec![store.upstream(address)];
    });
    for accept in ["text/html", "application/json", "*/*"] {
        let request = store
            .browser()
            .request(Method::GET, &store.instance("public", "/"))
            .header(header::ACCEPT, accept);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 502);
        assert!(!answer.headers().contains_key(header::SET_COOKIE));
        let words = answer.text().await.expect("words");
        for inside in [
            address.to_string().as_str(),
            "refused",
            "wavestore/",
            "src/",
        ] {
            assert!(!words.contains(inside), "{inside} in {words}");
        }
    }
}

/// Pomerium: pages for those who look after it were on the address for everybody.
#[tokio::test]
async fn cve_2022_24797_what_is_for_the_cluster_is_not_for_everybody() {
    let store = TestStore::start().await;
    let mut admin = store.signed_in("admin").await;
    for path in [
        "/metrics",
        "/livez",
        "/readyz",
        "/debug/pprof/",
        "/v1/bundles/sha256:00",
        "/.wavestore/",
        "/.env",
    ] {
        let answer = admin.open(&store.store(path)).await;
        assert_eq!(answer.status(), 404, "{path}");
        let words = answer.text().await.expect("words");
        assert!(!words.contains("wavestore_router"), "{path}");
    }
    for path in ["/metrics", "/readyz"] {
        let answer = admin.open(&store.instance("private", path)).await;
        assert_eq!(answer.status(), 302, "{path}");
    }
}

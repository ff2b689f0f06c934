//! Where the outside begins: proxies in front, limits, trailers, and the end of a replica.

use reqwest::{Body, Method, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::test_store::{DEADLINE, MAX_BODY, TestStore};
use crate::client_address::TrustedProxies;
use crate::proxy::upstream::Connector;

async fn connect(store: &TestStore) -> TcpStream {
    TcpStream::connect(store.address)
        .await
        .expect("a connection")
}

/// Everything that comes until the other side ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
    read.expect("an end in time").expect("no reset");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_app_sees_the_client_that_a_trusted_proxy_names() {
    let here = TrustedProxies::new(vec!["127.0.0.0/8".parse().expect("a network")]);
    for (proxies, client, scheme) in [
        (here, "198.51.100.1", "https"),
        (TrustedProxies::default(), "127.0.0.1", "http"),
    ] {
        let store = TestStore::start_behind(proxies, Connector::default()).await;
        let browser = store.browser();
        let request = browser
            .request(Method::GET, &store.instance("public", "/"))
            .header("x-forwarded-for", "192.0.2.1, 198.51.100.1")
            .header("x-forwarded-proto", "https");
        assert_eq!(request.send().await.expect("an answer").status(), 200);
        let seen = &store.app.take_seen()[0].headers;
        assert_eq!(seen["x-forwarded-for"], client);
        assert_eq!(seen["x-real-ip"], client);
        assert_eq!(seen["x-forwarded-proto"], scheme);
    }
}

/// Whoever has used up an address's attempts is told so; another client behind the same proxy is not.
#[tokio::test]
async fn attempts_are_counted_by_the_client_and_not_by_its_proxy() {
    let here = TrustedProxies::new(vec!["127.0.0.0/8".parse().expect("a network")]);
    let store = TestStore::start_behind(here, Connector::default()).await;
    let mut browser = store.browser();
    let token = browser.form_token("/sign-in").await.expect("a token");
    let attempt = async |client: &str, name: &str| {
        let request = browser
            .request(Method::POST, &store.store("/sign-in"))
            .header(header::ORIGIN, store.store(""))
            .header("x-forwarded-for", client)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("form_token={token}&name={name}&password=x"));
        request.send().await.expect("an answer").status().as_u16()
    };
    // An empty account name costs no attempt and no hashing; an unknown one costs one of its own, too.
    let mut statuses = Vec::new();
    for count in 0..70 {
        statuses.push(attempt("198.51.100.1", &format!("nobody-{count}")).await);
    }
    assert_eq!(statuses.first(), Some(&401));
    assert_eq!(statuses.last(), Some(&429));
    assert_eq!(attempt("198.51.100.2", "nobody").await, 401);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit_and_its_setting() {
    let store = TestStore::start().await;
    let url = store.instance("python", "/upload");
    let browser = store.browser();
    let size = usize::try_from(MAX_BODY).expect("a small limit");
    for (body, status) in [
        (Body::from(vec![7; size]), 200),
        (Body::from(vec![7; size + 1]), 413),
    ] {
        let answer = browser.request(Method::POST, &url).body(body);
        let answer = answer.send().await.expect("an answer");
        assert_eq!(answer.status(), status);
    }

    // One that does not say how long it is; the client reads the answer only when it has sent everything.
    let mut stream = connect(&store).await;
    let port = store.address.port();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: python.apps.test:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("a write");
    let piece = [b"100000\r\n".as_slice(), &vec![7; 0x10_0000], b"\r\n"].concat();
    for _ in 0..8 {
        stream.write_all(&piece).await.expect("a write");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("a write");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let (_, problem) = answer.split_once("\r\n\r\n").expect("a body");
    let problem: serde_json::Value = serde_json::from_str(problem).expect("json");
    assert_eq!(problem["limitBytes"], MAX_BODY);
    assert_eq!(problem["setting"], "--max-body-size");
    let page = browser
        .request(Method::POST, &url)
        .header(header::ACCEPT, "text/html")
        .body(vec![7; size + 1]);
    let page = page.send().await.expect("an answer");
    let page = page.text().await.expect("a page");
    assert!(
        page.contains("4194304 bytes") && page.contains("--max-body-size"),
        "{page}"
    );
}

/// Whoever asks first does not send a body for nothing, and is told to go on when there is somebody to take it.
#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_answered() {
    let store = TestStore::start().await;
    let port = store.address.port();
    for (length, expected) in [
        ("3", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("99999999", "HTTP/1.1 413 "),
    ] {
        let mut stream = connect(&store).await;
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: python.apps.test:{port}\r\nContent-Length: {length}\r\nExpect: \
             100-continue\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("a write");
        let mut first = vec![0; expected.len()];
        let read = timeout(DEADLINE, stream.read_exact(&mut first)).await;
        read.expect("in time").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&first), expected);
        if length == "3" {
            stream.write_all(b"abc").await.expect("a write");
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(!store.app.take_seen()[0].headers.contains_key("expect"));
        }
    }
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn trailers_pass_both_ways_but_for_claims() {
    let store = TestStore::start().await;
    let port = store.address.port();
    for (te, trailers) in [("TE: trailers\r\n", true), ("", false)] {
        let mut stream = connect(&store).await;
        let request = format!(
            "POST /trailers HTTP/1.1\r\nHost: python.apps.test:{port}\r\nConnection: close, te\r\n{te}Transfer-Encoding: \
             chunked\r\nTrailer: x-md5, x-forwarded-user, cookie, x_auth_request_email\r\n\r\n3\r\nabc\r\n0\r\nx-md5: \
             1\r\nx-forwarded-user: admin\r\ncookie: a=1\r\nx_auth_request_email: admin\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("a write");
        let answer = rest(&mut stream).await;
        assert!(
            answer.contains("\r\nx-md5\r\n"),
            "what reached the app: {answer}"
        );
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert_eq!(body.contains("x-sum: 1\r\n"), trailers, "{answer}");
        for name in ["set-cookie:", "x-wavestore-error:"] {
            assert!(!body.contains(name), "{name} in {answer}");
        }
    }
}

#[tokio::test]
async fn a_replica_that_leaves_says_so_with_every_answer() {
    let store = TestStore::start().await;
    let browser = store.browser();
    let url = store.instance("public", "/");
    let connection = async || {
        let answer = browser.request(Method::GET, &url).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.headers().get(header::CONNECTION).cloned()
    };
    assert_eq!(connection().await, None);
    store.leaving.cancel();
    assert_eq!(connection().await.expect("a header"), "close");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let store = TestStore::start().await;
    let mut browser = store.browser();
    browser.open(&store.instance("public", "/")).await;
    browser.open(&store.instance("private", "/")).await;
    browser.open(&store.store("/sign-in")).await;
    let request = browser
        .request(Method::POST, &store.instance("python", "/upload"))
        .body("12345");
    browser.send(request).await.text().await.expect("a body");
    let text = store.metrics.expose();
    for line in [
        "wavestore_router_requests_total{target=\"instance\",status=\"2xx\"} 2",
        "wavestore_router_requests_total{target=\"instance\",status=\"3xx\"} 1",
        "wavestore_router_requests_total{target=\"store\",status=\"2xx\"} 1",
        "wavestore_router_request_duration_seconds_count{phase=\"first_byte\"} 2",
        "wavestore_router_received_bytes_total 5",
        "wavestore_router_connections ",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(
        !text.contains("python") && !text.contains("private"),
        "{text}"
    );
}

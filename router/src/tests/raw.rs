//! Bytes on the wire that no client library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::test_store::{DEADLINE, TestStore};

/// Sends `request` as it is, closes, and reads everything that comes back.
pub(super) async fn exchange(store: &TestStore, request: &str) -> String {
    let request = request.replace("PORT", &store.address.port().to_string());
    let mut stream = TcpStream::connect(store.address)
        .await
        .expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("a write");
    let mut answer = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap_or_else(|_| panic!("no end in time: {request}"));
    drop(read); // a reset after the answer is fine
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_refused() {
    let store = TestStore::start().await;
    let close = "Connection: close\r\n";
    let host = "Host: python.apps.test:PORT\r\n";
    let cases = [
        (
            "two lengths",
            format!(
                "POST /upload HTTP/1.1\r\n{host}{close}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"
            ),
            "400",
        ),
        (
            "a length with a sign",
            format!("POST /upload HTTP/1.1\r\n{host}{close}Content-Length: +3\r\n\r\nabc"),
            "400",
        ),
        (
            "an unknown transfer coding",
            format!(
                "POST /upload HTTP/1.1\r\n{host}{close}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
            ),
            "400",
        ),
        (
            "a space before the colon",
            format!("GET / HTTP/1.1\r\n{host}{close}X-Own : 1\r\n\r\n"),
            "400",
        ),
        (
            "two hosts",
            format!("GET / HTTP/1.1\r\n{host}{host}{close}\r\n"),
            "400",
        ),
        ("no host", format!("GET / HTTP/1.1\r\n{close}\r\n"), "400"),
        (
            "another host in the target",
            format!("GET http://store.test:PORT/ HTTP/1.1\r\n{host}{close}\r\n"),
            "400",
        ),
        (
            "the same host in the target",
            format!("GET http://python.apps.test:PORT/x HTTP/1.1\r\n{host}{close}\r\n"),
            "200",
        ),
        (
            "a user in the host",
            format!("GET / HTTP/1.1\r\nHost: store.test@python.apps.test\r\n{close}\r\n"),
            "400",
        ),
        (
            "CONNECT",
            format!("CONNECT python.apps.test:PORT HTTP/1.1\r\n{host}{close}\r\n"),
            "405",
        ),
        (
            "an asterisk",
            format!("OPTIONS * HTTP/1.1\r\n{host}{close}\r\n"),
            "404",
        ),
        (
            "an upgrade with a body",
            format!(
                "GET /socket HTTP/1.1\r\n{host}Connection: upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc"
            ),
            "400",
        ),
        (
            "an unknown host",
            format!("GET / HTTP/1.1\r\nHost: evil.test\r\n{close}\r\n"),
            "404",
        ),
    ];
    for (name, request, expected) in cases {
        store.app.take_seen();
        let answer = exchange(&store, &request).await;
        assert_eq!(status(&answer), expected, "{name}: {answer}");
        let reached = store.app.take_seen().len();
        assert_eq!(reached, usize::from(expected == "200"), "{name}");
    }
}

/// With both a length and chunks, the chunks count and the length is not passed on: one end, on both sides.
#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let store = TestStore::start().await;
    let request = "POST /upload HTTP/1.1\r\nHost: python.apps.test:PORT\r\nContent-Length: 4\r\nTransfer-Encoding: \
                   chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: \
                   python.apps.test\r\n\r\n";
    let answer = exchange(&store, request).await;
    let seen = store.app.take_seen();
    assert!(seen.iter().all(|seen| seen.path != "/smuggled"), "{seen:?}");
    match status(&answer) {
        "400" => assert!(seen.is_empty()),
        "200" => {
            assert_eq!(seen.len(), 1);
            assert!(!seen[0].headers.contains_key("content-length"), "{seen:?}");
        }
        other => panic!("{other}: {answer}"),
    }
}

/// Shapes that hyper forgives and hides (docs/decisions/0008): the app gets one request, framed anew.
#[tokio::test]
async fn what_is_forgiven_is_framed_anew() {
    let store = TestStore::start().await;
    let host = "Host: python.apps.test:PORT";
    let chunked = format!(
        "POST /upload HTTP/1.1\r\n{host}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: python.apps.test\r\n\r\n";
    let cases = [
        (
            "lines that end with a bare LF",
            format!("POST /upload HTTP/1.1\n{host}\nContent-Length: 3\nConnection: close\n\nabc"),
        ),
        (
            "the same length twice",
            format!(
                "POST /upload HTTP/1.1\r\n{host}\r\nContent-Length: 3\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc{smuggled}"
            ),
        ),
        (
            "chunk extensions",
            format!("{chunked}3;a=\"b\";c\r\nabc\r\n0;d\r\n\r\n{smuggled}"),
        ),
        (
            "a chunk extension that ends with a bare LF",
            format!("{chunked}3;a\nabc\r\n0\r\n\r\n{smuggled}"),
        ),
        (
            "a chunk that is longer than it says",
            format!("{chunked}3\r\nabcd\r\n0\r\n\r\n{smuggled}"),
        ),
        (
            "a folded line",
            format!(
                "POST /upload HTTP/1.1\r\n{host}\r\nX-Own: a\r\n Content-Length: 40\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc{smuggled}"
            ),
        ),
        (
            "a bare CR in a line",
            format!(
                "POST /upload HTTP/1.1\r\n{host}\r\nX-Own: a\rContent-Length: 40\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc{smuggled}"
            ),
        ),
    ];
    for (name, request) in cases {
        store.app.take_seen();
        let answer = exchange(&store, &request).await;
        let seen = store.app.take_seen();
        assert!(seen.len() <= 1, "{name}: {seen:?}");
        for seen in seen {
            assert_eq!(seen.path, "/upload", "{name}");
            let headers = &seen.headers;
            let lengths = headers.get_all("content-length").iter().count();
            let codings = headers.get_all("transfer-encoding").iter().count();
            assert_eq!(lengths + codings, 1, "{name}: {headers:?}");
            assert!(!headers.contains_key("x-own"), "{name}: {headers:?}");
        }
        assert!(
            ["200", "400"].contains(&status(&answer)),
            "{name}: {answer}"
        );
    }
}

#[tokio::test]
async fn an_upgrade_to_h2c_is_not_passed_on() {
    let store = TestStore::start().await;
    let request = "GET /x HTTP/1.1\r\nHost: public.apps.test:PORT\r\nConnection: Upgrade, HTTP2-Settings, \
                   close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = exchange(&store, request).await;
    assert_eq!(status(&answer), "200", "{answer}");
    let seen = store.app.take_seen();
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(!seen[0].headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge_works_and_keeps_one_cookie_line() {
    let store = TestStore::start().await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .resolve("public.apps.test", store.address)
        .build()
        .expect("a client");
    let answer = client
        .get(store.instance("public", "/x"))
        .header("cookie", "a=1; wavestore=secret")
        .header("cookie", "b=2")
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, reqwest::Version::HTTP_2)
    );
    let seen = store.app.take_seen();
    assert_eq!(seen[0].headers["cookie"], "a=1; b=2");
    let host = format!("public.apps.test:{}", store.address.port());
    assert_eq!(seen[0].headers["host"], host);
}

#[tokio::test]
async fn whoever_is_no_browser_gets_a_problem() {
    let store = TestStore::start().await;
    let request = "GET / HTTP/1.1\r\nHost: private.apps.test:PORT\r\nConnection: close\r\n\r\n";
    let answer = exchange(&store, request).await;
    assert_eq!(status(&answer), "401", "{answer}");
    assert!(answer.contains("www-authenticate: "), "{answer}");
    assert!(
        answer.contains("content-type: application/problem+json\r\n"),
        "{answer}"
    );
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let problem: serde_json::Value = serde_json::from_str(body).expect("json");
    assert_eq!(problem["status"], 401);
    assert_eq!(problem["title"], "Unauthorized");
    assert_eq!(problem["detail"], "sign in first");
    assert_eq!(problem["type"], "urn:wavestore:problem:NotSignedIn");
}

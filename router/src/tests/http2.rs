//! HTTP/2, frame by frame, and what a slow stream does to the others.

use futures::stream;
use reqwest::{Body, Client, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::test_store::{DEADLINE, TestStore, eventually};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(content);
    bytes
}

/// `GET / HTTP/2` for `authority`, with lines that are not compressed.
fn head(authority: &str, lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x41];
    let text = |block: &mut Vec<u8>, text: &str| {
        block.push(u8::try_from(text.len()).expect("short"));
        block.extend(text.as_bytes());
    };
    text(&mut block, authority);
    for (name, value) in lines {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

async fn connect(store: &TestStore) -> TcpStream {
    let mut stream = TcpStream::connect(store.address)
        .await
        .expect("a connection");
    stream.write_all(PREFACE).await.expect("a write");
    stream
}

/// The kinds of the frames that come until the other side ends, or until one of `last`.
async fn kinds(stream: &mut TcpStream, last: u8) -> Vec<u8> {
    let read = async {
        let mut kinds = Vec::new();
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut content = vec![0; usize::try_from(length).expect("short")];
            if stream.read_exact(&mut content).await.is_err() {
                break;
            }
            kinds.push(head[3]);
            if head[3] == last {
                break;
            }
        }
        kinds
    };
    timeout(DEADLINE, read).await.expect("an end in time")
}

async fn still_answers(store: &TestStore) {
    let mut browser = store.browser();
    let answer = browser.open(&store.instance("public", "/")).await;
    assert_eq!(answer.status(), 200);
    let upstream = store.table.route("public").expect("a route").upstreams[0].clone();
    eventually("nothing is left open", async || upstream.is_idle()).await;
}

/// What HTTP/1.1 would read otherwise than HTTP/2 does, never reaches an app.
#[tokio::test]
async fn heads_that_cannot_be_translated_are_refused() {
    let store = TestStore::start().await;
    let authority = format!("public.apps.test:{}", store.address.port());
    let cases: [&[(&str, &str)]; 12] = [
        &[("connection", "close")],
        &[("transfer-encoding", "chunked")],
        &[("keep-alive", "timeout=5")],
        &[("proxy-connection", "close")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("X-Capital", "1")],
        &[("x-line", "a\r\nx-forwarded-user: admin")],
        &[("x-nul", "a\0b")],
        &[("x line", "1")],
        &[(":path", "/other")],
        &[("host", "private.apps.test")],
    ];
    for lines in cases {
        let mut stream = connect(&store).await;
        let request = frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &head(&authority, lines),
        );
        stream.write_all(&request).await.expect("a write");
        // Either this stream or the whole connection ends, or there is an answer that says no.
        let found = kinds(
            &mut stream,
            if lines[0].0 == "host" { HEADERS } else { RESET },
        )
        .await;
        let refused = [RESET, GOAWAY, HEADERS]
            .iter()
            .any(|kind| found.contains(kind));
        assert!(refused || found.is_empty(), "{lines:?}: {found:?}");
        assert!(store.app.take_seen().is_empty(), "{lines:?}");
    }
    still_answers(&store).await;
}

/// CVE-2023-44487, rapid reset: requests that are taken back at once leave nothing behind.
#[tokio::test]
async fn cve_2023_44487_requests_that_are_taken_back_leave_nothing() {
    let store = TestStore::start().await;
    let authority = format!("public.apps.test:{}", store.address.port());
    let mut stream = connect(&store).await;
    let head = head(&authority, &[]);
    let mut flood = Vec::new();
    for number in 0..2000 {
        let id = 2 * number + 1;
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, &head));
        flood.extend(frame(RESET, 0, id, &8_u32.to_be_bytes()));
    }
    // The server may end the connection in the middle of it.
    let _ = timeout(DEADLINE, stream.write_all(&flood))
        .await
        .expect("in time");
    let found = kinds(&mut stream, GOAWAY).await;
    assert!(found.is_empty() || found.contains(&GOAWAY), "{found:?}");
    still_answers(&store).await;
}

/// CVE-2024-27316, CONTINUATION flood: a head that never ends, ends the connection.
#[tokio::test]
async fn cve_2024_27316_a_head_without_an_end_ends_the_connection() {
    let store = TestStore::start().await;
    let authority = format!("public.apps.test:{}", store.address.port());
    let mut stream = connect(&store).await;
    let begin = frame(HEADERS, END_STREAM, 1, &head(&authority, &[]));
    stream.write_all(&begin).await.expect("a write");
    let line = [b"\0\x06x-more\x64".as_slice(), &[b'1'; 100]].concat();
    let more = frame(CONTINUATION, 0, 1, &line);
    // What comes after the answer is read for a while and thrown away.
    let flood = async { while stream.write_all(&more).await.is_ok() {} };
    timeout(DEADLINE, flood).await.expect("an end in time");
    assert!(store.app.take_seen().is_empty());
    still_answers(&store).await;
}

/// CVE-2019-9512 and CVE-2019-9515: whoever floods with pings and settings and reads no answer, waits.
#[tokio::test]
async fn cve_2019_9512_floods_of_pings_and_settings_hold_nobody_up() {
    for (kind, content) in [(PING, vec![0; 8]), (SETTINGS, Vec::new())] {
        let store = TestStore::start().await;
        let mut stream = connect(&store).await;
        let flood = frame(kind, 0, 0, &content).repeat(1000);
        for _ in 0..1000 {
            let written = timeout(
                std::time::Duration::from_millis(200),
                stream.write_all(&flood),
            );
            if !matches!(written.await, Ok(Ok(()))) {
                break;
            }
        }
        still_answers(&store).await;
    }
}

fn client(store: &TestStore) -> Client {
    Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .resolve("public.apps.test", store.address)
        .resolve("python.apps.test", store.address)
        .build()
        .expect("a client")
}

#[tokio::test]
async fn a_slow_stream_holds_up_no_other() {
    let store = TestStore::start().await;
    let client = client(&store);
    // Answers that nobody reads.
    let mut unread = Vec::new();
    for _ in 0..4 {
        let answer = client.get(store.instance("python", "/large")).send().await;
        unread.push(answer.expect("an answer"));
    }
    // Bodies that nobody takes: the app waits before it reads.
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![7; 10_000]));
        let upload = client
            .request(Method::POST, store.instance("python", "/wait"))
            .body(Body::wrap_stream(pieces));
        uploads.spawn(upload.send());
    }
    let mut begun = 0;
    eventually("all of them reach the app", async || {
        let seen = store.app.take_seen();
        begun += seen.iter().filter(|seen| seen.path == "/wait").count();
        begun == 16
    })
    .await;
    for _ in 0..20 {
        let answer = client.get(store.instance("public", "/")).send();
        let answer = timeout(DEADLINE, answer).await.expect("in time");
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    drop(uploads);
    drop(unread);
}

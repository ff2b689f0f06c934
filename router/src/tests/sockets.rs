//! WebSockets, and what ends them.

use catalog::AccountChange;
use crds::Visibility;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::browser::Browser;
use super::test_store::{DEADLINE, TestStore, eventually};

async fn echo(socket: &mut WebSocketStream<TcpStream>, words: &str) {
    socket.send(Message::text(words)).await.expect("a send");
    let answer = timeout(DEADLINE, socket.next()).await.expect("in time");
    let answer = answer.expect("a message").expect("a message");
    assert_eq!(answer, Message::text(words));
}

/// Waits until the other side has ended the socket.
async fn ended(socket: &mut WebSocketStream<TcpStream>) {
    let end = async { while let Some(Ok(_)) = socket.next().await {} };
    timeout(DEADLINE, end)
        .await
        .expect("the socket ends in time");
}

async fn open(store: &TestStore, id: &str, name: &str) -> (Browser, WebSocketStream<TcpStream>) {
    let mut browser = store.signed_in(name).await;
    browser.visit(&store.instance(id, "/")).await;
    store.app.take_seen();
    let socket = browser.socket(&store.instance(id, "/socket"), &[]).await;
    let mut socket = socket.expect("a socket");
    echo(&mut socket, "hello").await;
    (browser, socket)
}

#[tokio::test]
async fn a_socket_carries_words_both_ways() {
    let store = TestStore::start().await;
    let (_, mut socket) = open(&store, "private", "alice").await;
    let long = "x".repeat(300_000);
    for words in ["a", "b", &long, "c"] {
        echo(&mut socket, words).await;
    }
    let seen = store.app.take_seen();
    assert!(
        !seen[0].headers.contains_key("cookie"),
        "{:?}",
        seen[0].headers
    );
    assert_eq!(seen[0].headers["upgrade"], "websocket");
    socket.close(None).await.expect("a close");
    ended(&mut socket).await;
    drop(socket);
    eventually("the tunnel is forgotten", async || {
        store.tunnels.count() == 0
    })
    .await;
}

#[tokio::test]
async fn a_socket_ends_with_its_session() {
    let store = TestStore::start().await;
    let (mut alice, mut socket) = open(&store, "private", "alice").await;
    let (_, mut other) = open(&store, "shared", "mallory").await;
    let start = tokio::time::Instant::now();
    assert_eq!(alice.submit("/sign-out", &[]).await.status(), 303);
    ended(&mut socket).await;
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    echo(&mut other, "still here").await;
}

#[tokio::test]
async fn a_socket_ends_when_its_account_is_disabled() {
    let store = TestStore::start().await;
    let (_, mut socket) = open(&store, "shared", "mallory").await;
    store
        .catalog
        .change_account("mallory", AccountChange::disabled(true), None)
        .await
        .expect("a change");
    ended(&mut socket).await;
}

#[tokio::test]
async fn a_socket_ends_when_its_instance_is_not_shared_any_more() {
    let store = TestStore::start().await;
    let (_, mut mallorys) = open(&store, "shared", "mallory").await;
    let (_, mut alices) = open(&store, "shared", "alice").await;
    store.change("shared", |route| route.visibility = Visibility::Private);
    ended(&mut mallorys).await;
    echo(&mut alices, "still here").await;
    store.change("shared", |route| {
        route.visibility = Visibility::Private;
        route.owner = "mallory".to_owned();
    });
    ended(&mut alices).await;
}

#[tokio::test]
async fn a_socket_does_not_go_over_to_a_new_instance_of_the_same_name() {
    let store = TestStore::start().await;
    let (_, mut socket) = open(&store, "private", "alice").await;
    store.change("private", |route| "another-uid".clone_into(&mut route.uid));
    ended(&mut socket).await;
}

#[tokio::test]
async fn a_public_socket_needs_nobody_and_ends_when_it_is_public_no_more() {
    let store = TestStore::start().await;
    let socket = store
        .browser()
        .socket(&store.instance("public", "/socket"), &[])
        .await;
    let mut socket = socket.expect("a socket");
    echo(&mut socket, "hello").await;
    store.change("public", |route| route.visibility = Visibility::AllUsers);
    ended(&mut socket).await;
}

#[tokio::test]
async fn another_apps_page_opens_no_socket_with_a_visitors_session() {
    let store = TestStore::start().await;
    let (alice, _socket) = open(&store, "private", "alice").await;
    let url = store.instance("private", "/socket");
    let (own, other) = (store.instance("private", ""), store.instance("shared", ""));
    assert!(alice.socket(&url, &[("origin", &own)]).await.is_ok());
    assert_eq!(
        alice.socket(&url, &[("origin", &other)]).await.err(),
        Some(403)
    );
    assert_eq!(
        alice.socket(&url, &[("origin", "null")]).await.err(),
        Some(403)
    );
}

#[tokio::test]
async fn sockets_that_break_off_leave_nothing_behind() {
    let store = TestStore::start().await;
    let browser = store.browser();
    let url = store.instance("public", "/socket");
    for _ in 0..5 {
        let mut sockets = Vec::new();
        for _ in 0..20 {
            let mut socket = browser.socket(&url, &[]).await.expect("a socket");
            echo(&mut socket, "hello").await;
            sockets.push(socket);
        }
        assert!(store.tunnels.count() >= 20);
        drop(sockets); // no goodbye
        eventually("all are forgotten", async || store.tunnels.count() == 0).await;
    }
    let upstream = store.table.route("public").expect("a route").upstreams[0].clone();
    eventually("all slots are free", async || upstream.is_idle()).await;
}

#[tokio::test]
async fn more_sockets_than_allowed_are_refused() {
    let store = TestStore::start().await;
    let url = store.instance("public", "/socket");
    let _taken: Vec<_> =
        std::iter::from_fn(|| store.tunnels.slot([192, 0, 2, 1].into()).ok()).collect();
    assert_eq!(store.browser().socket(&url, &[]).await.err(), Some(503));
    assert!(store.app.take_seen().is_empty());
}

#[tokio::test]
async fn a_drain_ends_sockets_and_lets_requests_finish() {
    let mut store = TestStore::start().await;
    let (_, mut socket) = open(&store, "private", "alice").await;
    let mut browser = store.browser();
    let url = store.instance("public", "/wait");
    let request = tokio::task::JoinSet::from_iter([async move {
        let answer = browser.open(&url).await;
        (answer.status(), answer.text().await.expect("a body"))
    }]);
    eventually("the request reaches the app", async || {
        store
            .app
            .take_seen()
            .iter()
            .any(|seen| seen.path == "/wait")
    })
    .await;
    store.stop.cancel();
    timeout(DEADLINE, store.tunnels.drain())
        .await
        .expect("tunnels end in time");
    ended(&mut socket).await;
    eventually("new connections are refused", async || {
        TcpStream::connect(store.address).await.is_err()
    })
    .await;
    store.app.go_on();
    let answers = request.join_all().await;
    assert_eq!(answers, [(200.try_into().unwrap(), "waited".to_owned())]);
    let server = timeout(DEADLINE, store.server.join_next())
        .await
        .expect("it ends in time");
    server.expect("it ran").expect("it did not panic");
}

#[tokio::test]
async fn a_drain_tells_browsers_to_come_again() {
    let store = TestStore::start().await;
    let (_, mut socket) = open(&store, "private", "alice").await;
    timeout(DEADLINE, store.tunnels.drain())
        .await
        .expect("tunnels end in time");
    let last = timeout(DEADLINE, socket.next()).await.expect("in time");
    match last.expect("a message").expect("a message") {
        Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1012),
        other => panic!("not a close frame: {other}"),
    }
}

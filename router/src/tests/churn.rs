//! Clients that come and break off, in every state that a connection has: nothing of them stays.
//!
//! `WAVESTORE_CHURN=100000` makes it a long one, which also counts open files (docs/testing.md).

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::test_store::{TestStore, eventually};

/// Clients without further notice.
const USUAL: usize = 1200;

/// Clients at once.
const AT_ONCE: usize = 20;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// One client: sends the beginning of something, and is gone.
async fn come_and_go(address: std::net::SocketAddr, number: usize) {
    let host = format!("Host: python.apps.test:{}\r\n", address.port());
    let beginning = match number % 8 {
        0 => String::new(),
        1 => "G".to_owned(),
        2 => format!("GET / HTTP/1.1\r\n{host}X-Half"),
        3 => format!("GET /wait HTTP/1.1\r\n{host}\r\n"),
        4 => format!("POST /upload HTTP/1.1\r\n{host}Content-Length: 1000\r\n\r\nhalf"),
        5 => format!("GET /large HTTP/1.1\r\n{host}\r\n"),
        6 => format!(
            "GET /socket HTTP/1.1\r\n{host}Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
             13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        _ => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_owned(),
    };
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream
        .write_all(beginning.as_bytes())
        .await
        .expect("a write");
    // Some leave at once, some when there is an answer to leave behind.
    if number.is_multiple_of(3) {
        let readable = tokio::time::timeout(Duration::from_millis(20), stream.readable());
        drop(readable.await);
    }
}

#[tokio::test]
async fn clients_that_break_off_leave_nothing_behind() {
    let store = TestStore::start().await;
    let long = std::env::var("WAVESTORE_CHURN").ok();
    let count = long
        .as_ref()
        .map_or(USUAL, |text| text.parse().expect("a number"));
    let gone = async || {
        let metrics = store.metrics.expose();
        let upstream = store.table.route("python").expect("a route").upstreams[0].clone();
        store.tunnels.count() == 0
            && upstream.is_idle()
            && metrics.contains("wavestore_router_connections 0\n")
    };
    let (files, alive) = (open_files(), tasks());
    let mut clients = JoinSet::new();
    for number in 0..count {
        if clients.len() == AT_ONCE {
            clients
                .join_next()
                .await
                .expect("a client")
                .expect("no panic");
        }
        clients.spawn(come_and_go(store.address, number));
    }
    clients.join_all().await;
    eventually("all are gone", gone).await;
    // The fake app and the pool let go of theirs a little later.
    eventually("no task is left", async || tasks() <= alive + 8).await;
    if long.is_some() {
        eventually("no file is left open", async || open_files() <= files + 16).await;
    }
    assert_eq!(
        store
            .browser()
            .open(&store.instance("public", "/"))
            .await
            .status(),
        200
    );
}

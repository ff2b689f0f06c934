//! WebSockets by the thousand, for `make bench-router`: an echo server, and clients that use it through a proxy.
//!
//! Both are made to cost little beside the proxy that is measured: one thread, one task a socket, frames of one size that are
//! masked once. They speak just enough of RFC 6455 for that.
#![expect(clippy::print_stdout, reason = "its figures are for a program to read")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const USAGE: &str = "usage: sockets serve ADDRESS
       sockets drive ADDRESS SOCKETS SECONDS [HEADER]...

drive opens that many sockets at ADDRESS, prints `open`, waits for a line on standard input, lets every socket echo one message
after the other for that long, prints the figures as JSON, and closes the sockets.";

/// Bytes of a message.
const MESSAGE: usize = 64;

/// A frame from a server: two bytes of head, no mask.
const FROM_SERVER: usize = 2 + MESSAGE;

/// A frame from a client: its mask is four bytes more.
const FROM_CLIENT: usize = 6 + MESSAGE;

/// First byte of a whole binary message.
const BINARY: u8 = 0x82;

const MASK: [u8; 4] = [1, 2, 3, 4];

/// The key of the RFC's example, which every client sends, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sockets that are being opened at once.
const OPENING: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["serve", address] => serve(address.parse()?).await,
        ["drive", address, sockets, seconds, ref headers @ ..] => {
            let headers = [headers, &[""]].concat().join("\r\n");
            let seconds = Duration::from_secs(seconds.parse()?);
            drive(address.parse()?, sockets.parse()?, seconds, &headers).await
        }
        _ => bail!(USAGE),
    }
}

async fn serve(address: SocketAddr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(4096)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

/// Ends when the client does; its errors are the client's to tell.
async fn echo(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let head = read_head(&mut stream).await?;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim())
        .context("no key")?;
    ensure!(key == KEY, "another key");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let mut given = [0; FROM_CLIENT];
    let mut sent = [0; FROM_SERVER];
    loop {
        stream.read_exact(&mut given).await?;
        ensure!(given[0] == BINARY, "no binary message: closed");
        sent[0] = BINARY;
        sent[1] = u8::try_from(MESSAGE)?;
        for (at, byte) in sent[2..].iter_mut().enumerate() {
            *byte = given[6 + at] ^ given[2 + at % 4];
        }
        stream.write_all(&sent).await?;
    }
}

async fn drive(address: SocketAddr, sockets: usize, length: Duration, headers: &str) -> Result<()> {
    let request = format!(
        "GET /echo HTTP/1.1\r\n{headers}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
    );
    let started = Instant::now();
    let open: Vec<TcpStream> = stream::iter(0..sockets)
        .map(|_| dial(address, &request))
        .buffer_unordered(OPENING)
        .try_collect()
        .await?;
    let open_seconds = started.elapsed().as_secs_f64();
    println!("open");
    let read = || std::io::stdin().read_line(&mut String::new());
    tokio::task::spawn_blocking(read).await??;

    let started = Instant::now();
    let exchanges: JoinSet<_> = open
        .into_iter()
        .map(|stream| exchange(stream, started + length))
        .collect();
    let times = timeout(length + PATIENCE, exchanges.join_all()).await?;
    let times: Vec<Vec<Duration>> = times.into_iter().collect::<Result<_>>()?;
    let mut times = times.concat();
    times.sort_unstable();
    ensure!(!times.is_empty(), "no message came back in time");
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let rate = u32::try_from(times.len()).map(f64::from)? / length.as_secs_f64();
    let figures = json!({
        "open_seconds": open_seconds,
        "rps": rate,
        "p50_ms": milliseconds(at(50)),
        "p99_ms": milliseconds(at(99)),
    });
    println!("{figures}");
    Ok(())
}

/// Opens one socket.
async fn dial(address: SocketAddr, request: &str) -> Result<TcpStream> {
    let opened = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "refused: {head}");
        Ok(stream)
    };
    let opened = timeout(PATIENCE, opened).await;
    opened.context("a socket was not open in time")?
}

/// Echoes one message after the other until then; answers how long each took.
async fn exchange(mut stream: TcpStream, until: Instant) -> Result<Vec<Duration>> {
    let mut sent = [b'x'; FROM_CLIENT];
    sent[0] = BINARY;
    sent[1] = 0x80 | u8::try_from(MESSAGE)?;
    sent[2..6].copy_from_slice(&MASK);
    let mut expected = [0; FROM_SERVER];
    expected[0] = BINARY;
    expected[1] = u8::try_from(MESSAGE)?;
    for (at, byte) in expected[2..].iter_mut().enumerate() {
        *byte = sent[6 + at] ^ MASK[at % 4];
    }
    let mut times = Vec::new();
    let mut echoed = [0; FROM_SERVER];
    loop {
        let start = Instant::now();
        if start >= until {
            return Ok(times);
        }
        stream.write_all(&sent).await?;
        let read = timeout(PATIENCE, stream.read_exact(&mut echoed)).await;
        read.context("no echo in time")??;
        ensure!(echoed == expected, "another message came back");
        let end = Instant::now();
        if end <= until {
            times.push(end - start);
        }
    }
}

/// Reads a head of HTTP, and not a byte more: what follows belongs to the socket.
async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 16 * 1024, "a head without an end");
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

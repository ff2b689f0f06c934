//! A proxy before the S3 server that does to its clients what networks and servers do on bad days.
//!
//! It reads HTTP/1.1 no further than it must, one request a connection, and passes on what was signed byte by byte.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The connection is lost when so many bytes of the body have come through.
    CutRequest(usize),
    /// The connection is lost when so many bytes of the answer have come through; the server has done what it was asked.
    CutAnswer(usize),
    /// The server answers this instead.
    Answer(&'static str),
    /// Nothing is heard any more.
    Silence,
    /// So many bytes of the body come through in a second.
    Slow(usize),
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
}

/// Which requests are meant.
pub(crate) type Which = fn(&Asked) -> bool;

/// A fault that lasts until this is dropped.
pub(crate) struct Broken(Arc<Rule>);

struct Rule {
    folder: String,
    which: Which,
    fault: Fault,
    /// How many requests it may still meet.
    left: AtomicUsize,
    met: AtomicUsize,
}

static RULES: LazyLock<Mutex<Vec<Arc<Rule>>>> = LazyLock::new(|| {
    let server = address("WAVESTORE_S3");
    let listener = std::net::TcpListener::bind(address("WAVESTORE_PROXY")).expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    // Its own runtime, for it outlives each test's.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .expect("a runtime")
            .block_on(accept(listener, server));
    });
    Mutex::default()
});

/// Starts the proxy, if it does not run.
pub(crate) fn start() {
    LazyLock::force(&RULES);
}

/// An address that `run.sh` tells.
fn address(variable: &str) -> SocketAddr {
    let address = std::env::var(variable).expect("run.sh sets it");
    address.parse().expect("an address")
}

impl Broken {
    /// Lets `fault` happen to as many of the requests below `folder` of the bucket.
    pub(crate) fn new(folder: &str, which: Which, fault: Fault, times: usize) -> Self {
        let rule = Arc::new(Rule {
            folder: format!("/wavestore/{folder}/"),
            which,
            fault,
            left: AtomicUsize::new(times),
            met: AtomicUsize::new(0),
        });
        RULES.lock().push(Arc::clone(&rule));
        Self(rule)
    }

    /// How many requests it has met.
    pub(crate) fn met(&self) -> usize {
        self.0.met.load(Ordering::SeqCst)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        RULES.lock().retain(|rule| !Arc::ptr_eq(rule, &self.0));
    }
}

fn fault(asked: &Asked) -> Option<Fault> {
    let rules = RULES.lock();
    let rule = rules.iter().find(|rule| {
        let takes = |left: usize| left.checked_sub(1);
        asked.path.starts_with(&rule.folder)
            && (rule.which)(asked)
            && rule
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, takes)
                .is_ok()
    })?;
    rule.met.fetch_add(1, Ordering::SeqCst);
    Some(rule.fault)
}

async fn accept(listener: std::net::TcpListener, server: SocketAddr) {
    let listener = TcpListener::from_std(listener).expect("a socket");
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        // A connection that ends early is what it is for.
        tokio::spawn(async move { drop(serve(client, server).await) });
    }
}

async fn serve(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let (head, mut begun) = head(&mut client).await?;
    let (asked, length) = parse(&head);
    let fault = fault(&asked);
    if let Some(Fault::Silence) = fault {
        // Longer than anybody waits.
        tokio::time::sleep(Duration::from_mins(10)).await;
        return Ok(());
    }
    if let Some(Fault::Answer(answer)) = fault {
        // Whoever is still writing would see a lost connection instead.
        let mut rest = (&mut client).take((length - begun.len()) as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        client.write_all(answer.as_bytes()).await?;
        return client.shutdown().await;
    }
    if matches!(fault, Some(Fault::CutRequest(bytes)) if bytes >= length) {
        // The server would have all of it.
        return Ok(());
    }

    let mut server = TcpStream::connect(server).await?;
    let (line, rest) = head.split_once("\r\n").expect("a first line");
    let head = format!("{line}\r\nconnection: close\r\n{rest}");
    server.write_all(head.as_bytes()).await?;
    let mut left = match fault {
        Some(Fault::CutRequest(bytes)) => bytes.min(length),
        _ => length,
    };
    loop {
        begun.truncate(left);
        server.write_all(&begun).await?;
        left -= begun.len();
        if left == 0 {
            break;
        }
        if let Some(Fault::Slow(rate)) = fault {
            let micros = begun.len() * 1_000_000 / rate;
            tokio::time::sleep(Duration::from_micros(micros as u64)).await;
        }
        begun.clear();
        begun.reserve(16 * 1024);
        if client.read_buf(&mut begun).await? == 0 {
            return Ok(());
        }
    }
    match fault {
        Some(Fault::CutRequest(_)) => Ok(()),
        Some(Fault::CutAnswer(bytes)) => {
            // Its first byte comes when all is done.
            let mut answer = vec![0];
            server.read_exact(&mut answer).await?;
            (&mut server)
                .take(bytes as u64)
                .read_to_end(&mut answer)
                .await?;
            if bytes > 0 {
                client.write_all(&answer).await?;
            }
            Ok(())
        }
        _ => {
            tokio::io::copy(&mut server, &mut client).await?;
            client.shutdown().await
        }
    }
}

/// The request's head with its empty line, and what came behind it.
async fn head(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes).expect("a head"), rest));
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// What is asked, and the length of the body.
fn parse(head: &str) -> (Asked, usize) {
    let mut lines = head.lines();
    let mut line = lines.next().expect("a line").split(' ');
    let method = line.next().expect("a method").to_owned();
    let target = line.next().expect("a target");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let asked = Asked {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
    };
    let mut headers = lines.filter_map(|line| line.split_once(": "));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    (
        asked,
        length.map_or(0, |(_, length)| length.parse().expect("a length")),
    )
}

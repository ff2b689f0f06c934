//! A store that answers as told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest as _, Sha256};

/// What the store was asked: path and token.
pub(crate) type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// Serves one bundle, and takes and gives environments, on a thread that ends with the test's process.
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Asked,
    /// By their paths.
    pub(crate) environments: Environments,
    /// By the paths of their environments.
    pub(crate) locks: Environments,
    /// How many bytes of the next answers' bodies come before the connection breaks, the last one first.
    pub(crate) cuts: Cuts,
}

pub(crate) type Cuts = Arc<Mutex<Vec<usize>>>;

pub(crate) type Environments = Arc<Mutex<HashMap<String, Vec<u8>>>>;

impl Store {
    /// Answers with `refusals` first, one a request, then always with `body`.
    pub(crate) fn start(body: Vec<u8>, refusals: &[u16]) -> Self {
        Self::serve(body, refusals, None)
    }

    /// Goes away after so many answers, and comes back when it is told to.
    pub(crate) fn leaving(body: Vec<u8>, after: usize) -> (Self, Sender<()>) {
        let (come_back, told) = mpsc::channel();
        (Self::serve(body, &[], Some((after, told))), come_back)
    }

    fn serve(body: Vec<u8>, refusals: &[u16], mut leave: Option<(usize, Receiver<()>)>) -> Self {
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let store = Self {
            address: listener.local_addr().unwrap(),
            asked: Asked::default(),
            environments: Environments::default(),
            locks: Environments::default(),
            cuts: Cuts::default(),
        };
        let answers = Answers {
            body,
            refusals: refusals.iter().rev().copied().collect(),
            asked: Arc::clone(&store.asked),
            environments: Arc::clone(&store.environments),
            locks: Arc::clone(&store.locks),
            cuts: Arc::clone(&store.cuts),
        };
        let address = store.address;
        thread::spawn(move || {
            let mut answers = answers;
            let mut count = 0;
            loop {
                if let Some((_, told)) = leave.take_if(|(after, _)| *after == count) {
                    drop(listener);
                    if told.recv().is_err() {
                        return;
                    }
                    listener = TcpListener::bind(address).unwrap();
                }
                let (stream, _) = listener.accept().unwrap();
                if answers.answer(stream).is_some() {
                    count += 1;
                }
            }
        });
        store
    }
}

/// What there is to answer.
struct Answers {
    body: Vec<u8>,
    refusals: Vec<u16>,
    asked: Asked,
    environments: Environments,
    locks: Environments,
    cuts: Cuts,
}

impl Answers {
    /// Answers one request; nothing when there was none.
    fn answer(&mut self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) < 3 {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let path = lines.first()?.split(' ').nth(1)?;
        let header = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
        let token = header("authorization: ").unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push((path.to_owned(), token));
        let length = header("content-length: ").map_or(0, |length| length.parse().unwrap());
        let mut sent = vec![0; length];
        stream.read_exact(&mut sent).unwrap();
        let (of, missing, path) = match path.strip_suffix("/lock") {
            Some(path) => (&self.locks, 204, path),
            None => (&self.environments, 404, path),
        };
        let mut environments = of.lock().unwrap();
        let is_put = lines[0].starts_with("PUT ");
        let (code, body) = match (self.refusals.pop(), environments.get(path)) {
            (Some(code), _) => (code, Vec::new()),
            (None, _) if is_put => (201, digest(&sent).into_bytes()),
            (None, Some(environment)) => (200, environment.clone()),
            (None, None) if path.starts_with("/v1/environments/") => (missing, Vec::new()),
            (None, None) => (200, self.body.clone()),
        };
        if is_put && code == 201 {
            environments.insert(path.to_owned(), sent);
        }
        let out = stream.get_mut();
        let head = format!(
            "HTTP/1.1 {code} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // The launcher may be gone already.
        let _ = out.write_all(head.as_bytes());
        let cut = (code == 200)
            .then(|| self.cuts.lock().unwrap().pop())
            .flatten();
        let length = cut.map_or(body.len(), |cut| cut.min(body.len()));
        let _ = out.write_all(&body[..length]);
        Some(())
    }
}

/// The digest as the launcher takes it.
pub(crate) fn digest(body: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(body)))
}

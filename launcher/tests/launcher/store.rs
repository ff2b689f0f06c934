//! A store that answers as told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest as _, Sha256};

/// What the store was asked: path and token.
pub(crate) type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// Serves one bundle on a thread that ends with the test's process.
pub(crate) struct Store {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Asked,
}

impl Store {
    /// Answers with `refusals` first, one a request, then always with `body`.
    pub(crate) fn start(body: Vec<u8>, refusals: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Asked::default();
        let mut refusals = refusals.to_vec();
        refusals.reverse();
        thread::spawn({
            let asked = Arc::clone(&asked);
            move || {
                for stream in listener.incoming() {
                    let mut stream = BufReader::new(stream.unwrap());
                    let mut lines = Vec::new();
                    loop {
                        let mut line = String::new();
                        if stream.read_line(&mut line).unwrap_or(0) < 3 {
                            break;
                        }
                        lines.push(line.trim().to_owned());
                    }
                    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else {
                        continue;
                    };
                    let token = lines
                        .iter()
                        .find_map(|line| line.strip_prefix("authorization: "));
                    let token = token.unwrap_or_default().to_owned();
                    asked.lock().unwrap().push((path.to_owned(), token));
                    let out = stream.get_mut();
                    let (code, body) = match refusals.pop() {
                        Some(code) => (code, &[][..]),
                        None => (200, &body[..]),
                    };
                    let head = format!(
                        "HTTP/1.1 {code} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    // The launcher may be gone already.
                    let _ = out.write_all(head.as_bytes());
                    let _ = out.write_all(body);
                }
            }
        });
        Self { address, asked }
    }
}

/// The digest as the launcher takes it.
pub(crate) fn digest(body: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(body)))
}

//! The access log: one JSON object a line on stdout, for each request, apart from what the router says of itself.
//!
//! Lines are gathered and written together by a thread of its own: a slow reader of stdout costs lines, not answers.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::Version;
use parking_lot::Mutex;

use crate::client_address;
use crate::exchange::Ended;

/// How long a line waits to be written at most.
const WRITE_EVERY: Duration = Duration::from_millis(200);

/// Lines that wait, in bytes; more are dropped and counted.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Enough for what usually waits.
const USUALLY_WAITING: usize = 64 * 1024;

/// Longest path that is written, in bytes.
const MAX_PATH: usize = 2048;

/// Takes lines until it is dropped, and then writes the last of them.
pub(crate) struct AccessLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    dropped: AtomicU64,
    closed: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    clock: Clock,
}

/// The time as text, up to the second that it was last asked for.
#[derive(Default)]
struct Clock {
    second: i64,
    text: String,
}

impl Clock {
    fn at(&mut self, now: DateTime<Utc>) -> &str {
        let second = now.timestamp();
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = now.format("%Y-%m-%dT%H:%M:%S").to_string();
        }
        &self.text
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Begins to write to `output`.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = thread::Builder::new().name("access-log".to_owned());
        let lines = shared.clone();
        let writer = writer.spawn(move || lines.write_to(output))?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }

    /// Lines that were dropped, because nobody took those before.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes one line.
    pub(crate) fn write(&self, ended: &Ended<'_>) {
        let now = Utc::now();
        let mut waiting = self.shared.waiting.lock();
        if waiting.lines.len() >= MAX_WAITING {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            line(&mut waiting, ended, now);
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // It has nothing to say about its end.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn write_to(&self, mut output: impl Write) {
        let mut taken = Vec::with_capacity(USUALLY_WAITING);
        let mut closed = false;
        while !closed {
            thread::park_timeout(WRITE_EVERY);
            closed = self.closed.load(Ordering::Acquire);
            std::mem::swap(&mut self.waiting.lock().lines, &mut taken);
            // Without a reader there is nobody to tell.
            let _ = output.write_all(&taken).and_then(|()| output.flush());
            taken.clear();
            taken.shrink_to(USUALLY_WAITING);
        }
    }
}

/// Put together without formats: they would cost more than the rest of it.
fn line(waiting: &mut Waiting, ended: &Ended<'_>, now: DateTime<Utc>) {
    let Ended {
        line,
        kind,
        status,
        complete,
        received,
        sent,
        authorized,
        answered,
        whole,
    } = *ended;
    let Waiting { lines: out, clock } = waiting;
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(clock.at(now).as_bytes());
    thousandths(out, now.timestamp_subsec_millis().into());
    out.extend_from_slice(b"Z\"");
    let protocol = match line.protocol {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    let client = client_address::text(line.client);
    // Names and values that need no escapes.
    for (name, value) in [
        ("request_id", line.request_id.to_str().unwrap_or_default()),
        ("trace_id", line.trace.as_str()),
        ("client", &client),
        ("protocol", protocol),
        ("target", kind.into()),
    ] {
        member(out, name);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
    if let Some(instance) = &line.instance {
        member(out, "instance");
        string(out, instance.as_ref());
    }
    if let Some(user) = &line.user {
        member(out, "user");
        string(out, user);
    }
    member(out, "method");
    string(out, line.method.as_str());
    member(out, "path");
    let path = line.path.as_ref().map_or("", |path| path.path());
    string(out, path.get(..MAX_PATH).unwrap_or(path));
    member(out, "status");
    match status {
        Some(status) => out.extend_from_slice(status.as_str().as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    member(out, "complete");
    out.extend_from_slice(if complete { b"true" } else { b"false" });
    for (name, bytes) in [("bytes_in", received), ("bytes_out", sent)] {
        member(out, name);
        number(out, bytes);
    }
    for (name, took) in [
        ("authorize_ms", authorized),
        ("first_byte_ms", answered),
        ("duration_ms", Some(whole)),
    ] {
        if let Some(took) = took {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            member(out, name);
            number(out, micros / 1000);
            thousandths(out, micros % 1000);
        }
    }
    out.extend_from_slice(b"}\n");
}

/// The beginning of another member of a JSON object.
fn member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A point and three digits.
fn thousandths(out: &mut Vec<u8>, thousandths: u64) {
    let zeros: &[u8] = match thousandths {
        0..10 => b".00",
        10..100 => b".0",
        _ => b".",
    };
    out.extend_from_slice(zeros);
    number(out, thousandths);
}

/// A text as a JSON string.
fn string(out: &mut Vec<u8>, text: &str) {
    // A vector takes everything, and a text is always JSON.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
pub(crate) mod tests {
    use http::{HeaderValue, Method, StatusCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::exchange::{Kind, Line};
    use crate::trace::TraceId;

    fn example() -> Line {
        Line {
            method: Method::GET,
            path: Some("/a\"b%0a?token=secret".parse().expect("a path")),
            protocol: Version::HTTP_2,
            client: [203, 0, 113, 9].into(),
            request_id: HeaderValue::from_static("0123456789abcdef"),
            trace: TraceId::NONE,
            instance: Some("sales".parse().expect("a name")),
            user: Some("al\"ice\n".into()),
        }
    }

    fn ended(line: &Line) -> Ended<'_> {
        Ended {
            line,
            kind: Kind::Instance,
            status: Some(StatusCode::OK),
            complete: true,
            received: 7,
            sent: 42,
            authorized: Some(Duration::from_micros(12)),
            answered: None,
            whole: Duration::from_micros(1_234_567),
        }
    }

    #[test]
    fn a_line_is_one_object_without_the_query() {
        let now = DateTime::from_timestamp_millis(1_700_000_000_123).expect("a time");
        let mut waiting = Waiting::default();
        line(&mut waiting, &ended(&example()), now);
        let text = String::from_utf8(waiting.lines).expect("text");
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let expected = json!({
            "time": "2023-11-14T22:13:20.123Z",
            "request_id": "0123456789abcdef",
            "trace_id": "0".repeat(32),
            "client": "203.0.113.9",
            "protocol": "HTTP/2",
            "target": "instance",
            "instance": "sales",
            "user": "al\"ice\n",
            "method": "GET",
            "path": "/a\"b%0a",
            "status": 200,
            "complete": true,
            "bytes_in": 7,
            "bytes_out": 42,
            "authorize_ms": 0.012,
            "duration_ms": 1234.567,
        });
        assert_eq!(
            serde_json::from_str::<Value>(&text).expect("an object"),
            expected
        );
    }

    #[test]
    fn the_time_goes_on() {
        let mut waiting = Waiting::default();
        for (millis, expected) in [
            (999, "1970-01-01T00:00:00.999Z"),
            (1_000, "1970-01-01T00:00:01.000Z"),
            (1_007, "1970-01-01T00:00:01.007Z"),
            (500, "1970-01-01T00:00:00.500Z"),
        ] {
            let now = DateTime::from_timestamp_millis(millis).expect("a time");
            waiting.lines.clear();
            line(&mut waiting, &ended(&example()), now);
            let found: Value = serde_json::from_slice(&waiting.lines).expect("an object");
            assert_eq!(found["time"], expected);
        }
    }

    /// Takes nothing until its lock is free.
    #[derive(Clone, Default)]
    pub(crate) struct Slow(pub(crate) Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_takes_nothing_costs_lines_and_not_memory() {
        let output = Slow::default();
        let log = AccessLog::start(output.clone()).expect("a thread");
        let example = example();
        let held = output.0.lock();
        let mut written = 0;
        while log.dropped() == 0 {
            log.write(&ended(&example));
            written += 1;
        }
        assert!(log.shared.waiting.lock().lines.len() < MAX_WAITING + 4096);
        drop(held);
        drop(log);
        let text = String::from_utf8(output.0.lock().clone()).expect("text");
        assert_eq!(text.lines().count(), written - 1);
    }
}

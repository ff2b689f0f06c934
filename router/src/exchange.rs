//! One request and its answer, from the head's arrival to the answer's last byte: measured, counted and logged.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::body::BoxError;
use crate::metrics::{Metrics, Phase};
use crate::permit::Permit;
use crate::target::Target;
use crate::trace::TraceId;
use crate::web::Asked;
use crate::{Body, InstanceId};

/// Where exchanges are written down.
#[derive(Debug)]
pub(crate) struct Journal {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// One line for each, if wanted.
    pub access_log: Option<AccessLog>,
}

impl Journal {
    /// A journal with an access log on stdout, if wanted.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn open(metrics: Arc<Metrics>, access_log: bool) -> io::Result<Self> {
        let access_log = access_log
            .then(|| AccessLog::start(io::stdout()))
            .transpose()?;
        Ok(Self {
            metrics,
            access_log,
        })
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Kind {
    /// The store's own pages.
    Store,
    /// An instance.
    Instance,
    /// The platform's own path on an app host.
    Platform,
    /// Nothing that can be.
    Nowhere,
}

impl From<&Target> for Kind {
    fn from(target: &Target) -> Self {
        match target {
            Target::Store => Self::Store,
            Target::Instance { .. } | Target::Slashless(_) => Self::Instance,
            Target::Platform(_) => Self::Platform,
            Target::Nowhere => Self::Nowhere,
        }
    }
}

/// One request and its answer. It is written down when it is dropped, whatever became of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    journal: Arc<Journal>,
    started: Instant,
    /// What it is for.
    pub kind: Kind,
    /// The answer's status; none when the client left before there was one.
    pub status: Option<StatusCode>,
    /// How long it took to find out who asks and whether they may.
    pub authorized: Option<Duration>,
    /// How long the app took to begin its answer, from the moment it was asked.
    pub answered: Option<Duration>,
    received: Option<Arc<AtomicU64>>,
    sent: u64,
    /// Whether the answer was sent to its end.
    complete: bool,
    /// Whether the metrics know of it already.
    is_counted: bool,
    line: Option<Box<Line>>,
}

/// What only the log wants to know.
#[derive(Debug)]
pub(crate) struct Line {
    pub method: Method,
    pub path: Option<PathAndQuery>,
    pub protocol: Version,
    pub client: IpAddr,
    pub request_id: HeaderValue,
    pub trace: TraceId,
    pub instance: Option<InstanceId>,
    pub user: Option<Arc<str>>,
}

/// An exchange that has ended.
pub(crate) struct Ended<'a> {
    pub line: &'a Line,
    pub kind: Kind,
    pub status: Option<StatusCode>,
    pub complete: bool,
    pub received: u64,
    pub sent: u64,
    pub authorized: Option<Duration>,
    pub answered: Option<Duration>,
    pub whole: Duration,
}

impl Exchange {
    /// Begins with a request's head.
    #[must_use]
    pub(crate) fn begin<B>(journal: &Arc<Journal>, request: &Request<B>, asked: &Asked) -> Self {
        let line = journal.access_log.as_ref().map(|_| {
            Box::new(Line {
                method: request.method().clone(),
                path: request.uri().path_and_query().cloned(),
                protocol: request.version(),
                client: asked.peer,
                request_id: asked.request_id.clone(),
                trace: asked.trace,
                instance: None,
                user: None,
            })
        });
        Self {
            journal: journal.clone(),
            started: Instant::now(),
            kind: Kind::Nowhere,
            status: None,
            authorized: None,
            answered: None,
            received: None,
            sent: 0,
            complete: false,
            is_counted: false,
            line,
        }
    }

    /// The rest of an exchange that has become a tunnel: its line is written when the tunnel has ended. It counts as a request
    /// now, or sockets of hours would be in the durations of requests.
    pub(crate) fn go_on(&mut self) -> Self {
        Self {
            journal: self.journal.clone(),
            started: self.started,
            kind: self.kind,
            status: Some(StatusCode::SWITCHING_PROTOCOLS),
            authorized: self.authorized,
            answered: self.answered,
            received: None,
            sent: 0,
            complete: false,
            is_counted: true,
            line: self.line.take(),
        }
    }

    /// Notes what a tunnel has carried, and whether it ended as one of its sides wanted.
    pub(crate) fn carried(&mut self, received: u64, sent: u64, complete: bool) {
        self.received = Some(Arc::new(received.into()));
        self.sent = sent;
        self.complete = complete;
    }

    /// Notes who asks for a page of the store.
    pub(crate) fn asked_by(&mut self, name: Arc<str>) {
        if let Some(line) = &mut self.line {
            line.user = Some(name);
        }
    }

    /// Notes which instance is entered, and by whom.
    pub(crate) fn permitted(&mut self, permit: &Permit) {
        if let Some(line) = &mut self.line {
            line.instance = Some(permit.route().id.clone());
            line.user = permit.viewer().map(|viewer| viewer.name.clone());
        }
    }

    /// A counter for the bytes of the request's body.
    pub(crate) fn received(&mut self) -> Arc<AtomicU64> {
        self.received.get_or_insert_default().clone()
    }
}

#[cfg(test)]
impl Exchange {
    /// One that is written nowhere.
    pub(crate) fn for_tests() -> Self {
        let journal = Arc::new(Journal {
            metrics: Arc::default(),
            access_log: None,
        });
        let request = Request::new(());
        let client = [127, 0, 0, 1].into();
        let asked = Asked::of(&request, client, TraceId::NONE);
        Self::begin(&journal, &request, &asked)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let whole = self.started.elapsed();
        let received = self
            .received
            .as_ref()
            .map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        if !self.is_counted {
            let metrics = &self.journal.metrics;
            metrics.exchanged(self.kind, self.status, received, self.sent);
            metrics.took(Phase::Whole, whole);
            for (phase, took) in [
                (Phase::Authorize, self.authorized),
                (Phase::FirstByte, self.answered),
            ] {
                if let Some(took) = took {
                    metrics.took(phase, took);
                }
            }
        }
        if let (Some(log), Some(line)) = (&self.journal.access_log, &self.line) {
            log.write(&Ended {
                line,
                kind: self.kind,
                status: self.status,
                complete: self.complete,
                received,
                sent: self.sent,
                authorized: self.authorized,
                answered: self.answered,
                whole,
            });
        }
    }
}

/// An answer's body, which ends its exchange.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    exchange: Exchange,
}

impl Answer {
    pub(crate) fn new(body: Body, exchange: Exchange) -> Self {
        Self { body, exchange }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Servers do not ask for the end of what has none.
        self.exchange.complete |= hyper::body::Body::is_end_stream(&self.body);
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, exchange } = self.get_mut();
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                exchange.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(Err(_)) => {}
            None => exchange.complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        hyper::body::Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::access_log::tests::Slow;

    #[test]
    fn a_tunnel_counts_when_it_opens_and_is_written_down_when_it_ends() {
        let output = Slow::default();
        let metrics = Arc::new(Metrics::default());
        let journal = Arc::new(Journal {
            metrics: metrics.clone(),
            access_log: Some(AccessLog::start(output.clone()).expect("a thread")),
        });
        let request = Request::new(());
        let asked = Asked::of(&request, [127, 0, 0, 1].into(), TraceId::NONE);
        let mut opened = Exchange::begin(&journal, &request, &asked);
        opened.kind = Kind::Instance;
        opened.asked_by("alice".into());
        let mut tunnel = opened.go_on();
        opened.status = Some(StatusCode::SWITCHING_PROTOCOLS);
        drop(opened);
        let counted = || {
            let text = metrics.expose();
            let line = "requests_total{target=\"instance\",status=\"1xx\"} 1\n";
            assert!(text.contains(line), "{text}");
        };
        counted();
        tunnel.carried(7, 42, true);
        drop(tunnel);
        counted();
        drop(journal);
        let text = String::from_utf8(output.0.lock().clone()).expect("text");
        let line: Value = serde_json::from_str(&text).expect("one line");
        let said = ["status", "bytes_in", "bytes_out", "complete", "user"];
        let said = said.map(|name| line[name].to_string());
        assert_eq!(said, ["101", "7", "42", "true", "\"alice\""]);
    }
}

//! What an answer needs to know of its request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, Request, header};

use crate::trace::{TraceId, write_hex};

/// The form in which a client wants words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// A page, for browsers.
    Page,
    /// A problem (RFC 9457), for everybody else.
    Problem,
}

impl Wants {
    fn of(headers: &HeaderMap) -> Self {
        let mut accepted = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|line| line.to_str().ok());
        if accepted.any(|line| line.contains("text/html")) {
            Self::Page
        } else {
            Self::Problem
        }
    }
}

/// What an answer needs to know of its request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Names the request in its answer and in the log.
    pub request_id: HeaderValue,
    /// The trace that it belongs to.
    pub trace: TraceId,
    /// The Host header, for the log.
    pub host: Option<HeaderValue>,
    /// Address of the client.
    pub peer: IpAddr,
    /// The form of the words.
    pub wants: Wants,
    /// Whether a browser opens a page: only then does a redirect to the sign-in page help.
    pub navigation: bool,
}

impl Asked {
    /// Reads what the answer to `request` needs.
    #[must_use]
    pub(crate) fn of<B>(request: &Request<B>, peer: IpAddr, trace: TraceId) -> Self {
        let headers = request.headers();
        let wants = Wants::of(headers);
        Self {
            request_id: request_id(),
            trace,
            host: headers.get(header::HOST).cloned().or_else(|| {
                let authority = request.uri().authority()?;
                HeaderValue::from_str(authority.as_str()).ok()
            }),
            peer: peer.to_canonical(),
            wants,
            navigation: wants == Wants::Page
                && [Method::GET, Method::HEAD, Method::POST].contains(request.method())
                && !headers.contains_key(header::UPGRADE)
                && headers
                    .get("sec-fetch-mode")
                    .is_none_or(|mode| mode == "navigate"),
        }
    }
}

fn request_id() -> HeaderValue {
    // It names a request in logs, and is no secret.
    let mut digits = [0; 16];
    write_hex(&mut digits, fastrand::u64(..).into());
    HeaderValue::from_bytes(&digits).expect("hexadecimal digits are a header value")
}

//! What an answer needs to know of its request.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, Method, Request, header};

/// The form in which a client wants words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// A page.
    Html,
    /// An object.
    Json,
    /// A line.
    Text,
}

impl Wants {
    fn of(headers: &HeaderMap) -> Self {
        let accepts = |kind: &str| {
            headers
                .get_all(header::ACCEPT)
                .iter()
                .filter_map(|line| line.to_str().ok())
                .any(|line| line.contains(kind))
        };
        if accepts("text/html") {
            Self::Html
        } else if accepts("json") {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// What an answer needs to know of its request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Names the request in its answer and in the log.
    pub request_id: HeaderValue,
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
    pub(crate) fn of<B>(request: &Request<B>, peer: IpAddr) -> Self {
        let headers = request.headers();
        let wants = Wants::of(headers);
        Self {
            request_id: request_id(),
            host: headers.get(header::HOST).cloned().or_else(|| {
                let authority = request.uri().authority()?;
                HeaderValue::from_str(authority.as_str()).ok()
            }),
            peer: peer.to_canonical(),
            wants,
            navigation: wants == Wants::Html
                && [Method::GET, Method::HEAD, Method::POST].contains(request.method())
                && !headers.contains_key(header::UPGRADE)
                && headers
                    .get("sec-fetch-mode")
                    .is_none_or(|mode| mode == "navigate"),
        }
    }

    /// For a request of which nothing is left.
    pub(super) fn unknown() -> Self {
        Self {
            request_id: request_id(),
            host: None,
            peer: Ipv4Addr::UNSPECIFIED.into(),
            wants: Wants::Text,
            navigation: false,
        }
    }
}

fn request_id() -> HeaderValue {
    let mut bytes = [0; 8];
    // Without random bytes ids repeat, which costs a look-up and nothing else.
    let _ = getrandom::fill(&mut bytes);
    HeaderValue::from_str(&hex::encode(bytes)).expect("hexadecimal digits are a header value")
}

//! Fetches the bundle from the store and verifies its digest on the way.
//!
//! The store knows a pod from its watches, which may lag behind the pod's start; so a refusal is no
//! final word until the deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::backoff;
use crate::digest::Digest;
use crate::error::{Error, chain};
use crate::store_url::StoreUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request to the response's headers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

const WRITE_BUFFER: usize = 256 << 10;
/// A projected token is about one kilobyte.
const TOKEN_BYTES: usize = 64 << 10;

/// Why one try failed. None of these holds the token.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The token could not be read.
    #[error("could not read the pod's token from `{}`", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store could not be reached.
    #[error("could not connect")]
    Connect(#[source] io::Error),
    /// Nothing came for too long.
    #[error("the store was silent for {0:?}")]
    Silent(Duration),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// The store said no.
    #[error("the store answered `{0}`")]
    Refused(StatusCode),
    /// More than a bundle may have.
    #[error("the bundle is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Not the bundle that was asked for.
    #[error("the store sent a file with the digest `{actual}` instead of `{expected}`")]
    WrongDigest {
        /// What was asked for.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The bundle could not be stored.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Failure {
    /// Whether the same request may succeed a little later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Token { .. } | Self::Connect(_) | Self::Silent(_) | Self::Broken(_) => true,
            Self::Refused(status) => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::UNAUTHORIZED
                            | StatusCode::FORBIDDEN
                            | StatusCode::NOT_FOUND
                            | StatusCode::REQUEST_TIMEOUT
                            | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::TooLarge { .. } | Self::WrongDigest { .. } | Self::Write { .. } => false,
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(StatusCode::UNAUTHORIZED) => Some(
                "the store does not accept the pod's token: is the store's own API access in order?",
            ),
            Self::Refused(StatusCode::FORBIDDEN) => Some(
                "the store says that this instance does not run this bundle: redeploy the instance",
            ),
            Self::Refused(StatusCode::NOT_FOUND) => {
                Some("the bundle is not in the store's blob store: import the app again")
            }
            Self::Connect(_) | Self::Silent(_) => {
                Some("is the store's router running, and may this pod reach its internal port?")
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the pod's scratch space is full")
            }
            Self::Token { .. }
            | Self::Broken(_)
            | Self::Refused(_)
            | Self::TooLarge { .. }
            | Self::WrongDigest { .. }
            | Self::Write { .. } => None,
        }
    }
}

/// Decides after try number `tries` when to try again, if at all.
fn retry(
    failure: &Failure,
    tries: u32,
    elapsed: Duration,
    deadline: Duration,
    dice: u8,
) -> Option<Duration> {
    let delay = backoff::exponential(tries, FIRST_DELAY, LONGEST_DELAY);
    let delay = backoff::jittered(delay, dice);
    (failure.is_passing() && elapsed + delay < deadline).then_some(delay)
}

/// The task that moves the bytes of one connection.
type Connection = AbortOnDropHandle<hyper::Result<()>>;

/// What to fetch, where from and where to.
pub(crate) struct Download<'a> {
    pub(crate) store: &'a StoreUrl,
    pub(crate) digest: &'a Digest,
    pub(crate) token_file: &'a Path,
    /// Most bytes.
    pub(crate) limit: u64,
    pub(crate) into: &'a Path,
    /// How long to try.
    pub(crate) deadline: Duration,
}

impl Download<'_> {
    /// Fetches the bundle, trying again until the deadline. `tell` hears why a try failed.
    pub(crate) async fn run(&self, tell: impl Fn(&str)) -> Result<(), Error> {
        let start = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let failure = match self.once().await {
                Ok(size) => {
                    info!(bundle.size_bytes = size, "Fetched bundle {}", self.digest);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            let elapsed = start.elapsed();
            let delay = retry(&failure, tries, elapsed, self.deadline, backoff::dice());
            let error = Error::Fetch {
                store: self.store.to_string(),
                tries,
                seconds: elapsed.as_secs(),
                source: Box::new(failure),
            };
            let Some(delay) = delay else {
                return Err(error);
            };
            let text = chain(&error);
            warn!("Trying again in {delay:.1?}: {text}");
            tell(&text);
            backoff::pause(delay).await;
        }
    }

    /// Fetches the bundle once. Returns its size.
    async fn once(&self) -> Result<u64, Failure> {
        let (response, _connection) = self.request().await?;
        let mut body = response.into_body();
        let write_error = |source| Failure::Write {
            path: self.into.to_owned(),
            source,
        };
        let file = File::create(self.into).await.map_err(write_error)?;
        let mut file = BufWriter::with_capacity(WRITE_BUFFER, file);
        let mut hasher = Sha256::new();
        let mut size = 0;
        loop {
            let frame = timeout(BODY_TIMEOUT, body.frame())
                .await
                .map_err(|_| Failure::Silent(BODY_TIMEOUT))?;
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(Failure::Broken)?.into_data() else {
                continue;
            };
            size += data.len() as u64;
            if size > self.limit {
                return Err(Failure::TooLarge { limit: self.limit });
            }
            hasher.update(&data);
            file.write_all(&data).await.map_err(write_error)?;
        }
        file.shutdown().await.map_err(write_error)?;
        let bytes: [u8; 32] = hasher.finalize().into();
        let actual = Digest::from(bytes);
        if actual != *self.digest {
            return Err(Failure::WrongDigest {
                expected: self.digest.to_string(),
                actual: actual.to_string(),
            });
        }
        Ok(size)
    }

    /// Asks for the bundle. The body comes as long as the connection is held.
    async fn request(&self) -> Result<(Response<Incoming>, Connection), Failure> {
        let token = self.token().await?;
        let connect = TcpStream::connect(self.store.address());
        let stream = timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| Failure::Silent(CONNECT_TIMEOUT))?
            .map_err(Failure::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::get(StoreUrl::bundle_path(self.digest))
            .header(header::HOST, self.store.authority())
            .header(header::USER_AGENT, "wavestore-launcher")
            .header(header::AUTHORIZATION, token)
            .body(Empty::<Bytes>::new())
            .expect("a digest makes a path, and a store URL a host");
        let response = timeout(ANSWER_TIMEOUT, sender.send_request(request))
            .await
            .map_err(|_| Failure::Silent(ANSWER_TIMEOUT))?
            .map_err(Failure::Broken)?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Refused(response.status()));
        }
        Ok((response, connection))
    }

    /// Reads the token. It is replaced in the pod long before it expires, so it is read for each try.
    async fn token(&self) -> Result<header::HeaderValue, Failure> {
        let error = |source| Failure::Token {
            path: self.token_file.to_owned(),
            source,
        };
        let text = tokio::fs::read_to_string(self.token_file)
            .await
            .map_err(error)?;
        let text = text.trim();
        let value = (text.len() <= TOKEN_BYTES)
            .then(|| header::HeaderValue::try_from(format!("Bearer {text}")).ok())
            .flatten();
        let mut value = value.ok_or_else(|| error(io::ErrorKind::InvalidData.into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_again_what_may_pass_until_the_deadline() {
        let deadline = Duration::from_mins(2);
        let early = Duration::from_secs(1);
        let late = Duration::from_secs(119);
        let refused = |code| Failure::Refused(StatusCode::from_u16(code).unwrap());
        let cases = [
            (
                "the pod is not known yet",
                refused(403),
                1,
                early,
                Some(250),
            ),
            (
                "the token is not known yet",
                refused(401),
                2,
                early,
                Some(500),
            ),
            ("no such blob yet", refused(404), 3, early, Some(1000)),
            ("the store is busy", refused(429), 4, early, Some(2000)),
            ("the store is broken", refused(503), 9, early, Some(10_000)),
            ("no time left", refused(503), 9, late, None),
            ("a request that will never do", refused(400), 1, early, None),
            ("too large", Failure::TooLarge { limit: 1 }, 1, early, None),
            (
                "nobody listens",
                Failure::Connect(io::ErrorKind::ConnectionRefused.into()),
                1,
                early,
                Some(250),
            ),
        ];
        for (name, failure, tries, elapsed, expected) in cases {
            let delay = retry(&failure, tries, elapsed, deadline, 0);
            assert_eq!(delay, expected.map(Duration::from_millis), "{name}");
        }
    }
}

//! The store's internal port: bundles and environments come from there, their digests verified on the way, and a job's
//! environment goes there.
//!
//! The store knows a pod from its watches, which may lag behind the pod's start; so a refusal is no
//! final word until the deadline.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full, Limited, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::backoff;
use crate::digest::Digest;
use crate::environment::{EnvironmentKey, Lock};
use crate::error::{Error, told};
use crate::reason;
use crate::store_url::StoreUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request to the response's headers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// From the beginning of an environment's way to the store until the answer.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(10);
/// Between two pieces of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

const WRITE_BUFFER: usize = 256 << 10;
/// A projected token is about one kilobyte.
const TOKEN_BYTES: usize = 64 << 10;
/// More than a digest has.
const DIGEST_BYTES: usize = 256;
/// What the store takes of a lock, too.
const LOCK_BYTES: u64 = 256 << 10;

const USER_AGENT: &str = "wavestore-launcher";

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
    /// More than there may be.
    #[error("the store sent more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Not what was asked for.
    #[error("the store sent a file with the digest `{actual}` instead of `{expected}`")]
    WrongDigest {
        /// What was asked for.
        expected: String,
        /// What came.
        actual: String,
    },
    /// An answer that makes no sense.
    #[error("the store answered something else than a digest")]
    Answer,
    /// The environment that is to be stored could not be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
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
            Self::TooLarge { .. }
            | Self::WrongDigest { .. }
            | Self::Answer
            | Self::Read { .. }
            | Self::Write { .. } => false,
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(StatusCode::UNAUTHORIZED) => Some(
                "the store does not accept the pod's token: is the store's own API access in order?",
            ),
            Self::Refused(StatusCode::FORBIDDEN) => {
                Some("the store says that this pod has no part in it: redeploy the instance")
            }
            Self::Refused(StatusCode::NOT_FOUND) => {
                Some("it is not in the store's blob store: import the app again")
            }
            Self::Connect(_) | Self::Silent(_) => {
                Some("is the store's router running, and may this pod reach its internal port?")
            }
            Self::WrongDigest { .. } => Some(
                "it was damaged on its way or in the blob store: if it comes again, publish the app again",
            ),
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some(reason::FULL)
            }
            Self::Token { .. }
            | Self::Broken(_)
            | Self::Refused(_)
            | Self::TooLarge { .. }
            | Self::Answer
            | Self::Read { .. }
            | Self::Write { .. } => None,
        }
    }
}

/// Decides after try number `tries` when to try again, if at all.
pub(crate) fn retry(
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

/// The way to the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Store<'a> {
    pub(crate) url: &'a StoreUrl,
    /// Holds the token by which the store knows this pod.
    pub(crate) token_file: &'a Path,
    /// How long to try what may pass.
    pub(crate) deadline: Duration,
}

/// How often something was tried: the store's address, tries, seconds, and why the last one failed.
pub(crate) type GivenUp = (String, u32, u64, Box<Failure>);

impl Store<'_> {
    /// Asks for what is at `path`, once. No more than `limit` bytes of it are taken.
    pub(crate) async fn get(&self, path: &str, limit: u64) -> Result<Answer, Failure> {
        let request = Request::get(path).body(Empty::<Bytes>::new());
        let request = request.expect("our own paths are valid");
        let (response, connection) = self.ask(request, ANSWER_TIMEOUT).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Refused(response.status()));
        }
        Ok(Answer {
            body: response.into_body(),
            limit,
            size: 0,
            hasher: Sha256::new(),
            _connection: connection,
        })
    }

    /// The exact versions that were in an environment the last time that it was built; nothing if it never was.
    pub(crate) async fn lock(&self, key: &EnvironmentKey) -> Result<Option<Lock>, Failure> {
        let answer = self.get(&StoreUrl::lock_path(key), LOCK_BYTES).await;
        let mut answer = match answer {
            Err(Failure::Refused(StatusCode::NO_CONTENT)) => return Ok(None),
            answer => answer?,
        };
        let mut bytes = Vec::new();
        while let Some(piece) = answer.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(Lock::of(&String::from_utf8_lossy(&bytes))))
    }

    /// Stores the exact versions that are in an environment.
    pub(crate) async fn put_lock(&self, key: &EnvironmentKey, lock: &Lock) -> Result<(), Failure> {
        let request = Request::put(StoreUrl::lock_path(key))
            .body(Full::new(Bytes::from(lock.as_str().to_owned())))
            .expect("our own paths are valid");
        let (response, _connection) = self.ask(request, ANSWER_TIMEOUT).await?;
        if response.status() == StatusCode::CREATED {
            Ok(())
        } else {
            Err(Failure::Refused(response.status()))
        }
    }

    /// Sends a request; what comes after the head of the answer comes as long as the connection is held.
    async fn ask<B>(
        &self,
        mut request: Request<B>,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Connection), Failure>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let token = self.token().await?;
        let connect = TcpStream::connect(self.url.address());
        let stream = timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| Failure::Silent(CONNECT_TIMEOUT))?
            .map_err(Failure::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let host = HeaderValue::try_from(self.url.authority());
        let headers = request.headers_mut();
        headers.insert(header::HOST, host.expect("a store URL has a host"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::AUTHORIZATION, token);
        let response = timeout(patience, sender.send_request(request))
            .await
            .map_err(|_| Failure::Silent(patience))?
            .map_err(Failure::Broken)?;
        Ok((response, connection))
    }

    /// Tries again until the deadline what may pass. `tell` hears why a try failed.
    pub(crate) async fn persist<T>(
        &self,
        tell: impl Fn(&str),
        attempt: impl AsyncFn() -> Result<T, Failure>,
        give_up: impl Fn(GivenUp) -> Error,
    ) -> Result<T, Error> {
        let start = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let failure = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let elapsed = start.elapsed();
            let delay = retry(&failure, tries, elapsed, self.deadline, backoff::dice());
            let seconds = elapsed.as_secs();
            let error = give_up((self.url.to_string(), tries, seconds, Box::new(failure)));
            let Some(delay) = delay else {
                return Err(error);
            };
            let text = told(&error);
            warn!("Trying again in {delay:.1?}: {text}");
            tell(&text);
            backoff::pause(delay).await;
        }
    }

    /// Reads the token. It is replaced in the pod long before it expires, so it is read for each try.
    async fn token(&self) -> Result<HeaderValue, Failure> {
        let error = |source| Failure::Token {
            path: self.token_file.to_owned(),
            source,
        };
        let text = tokio::fs::read_to_string(self.token_file)
            .await
            .map_err(error)?;
        let text = text.trim();
        let value = (text.len() <= TOKEN_BYTES)
            .then(|| HeaderValue::try_from(format!("Bearer {text}")).ok())
            .flatten();
        let mut value = value.ok_or_else(|| error(io::ErrorKind::InvalidData.into()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// What the store sends, piece by piece.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Incoming,
    limit: u64,
    size: u64,
    hasher: Sha256,
    _connection: Connection,
}

impl Answer {
    /// The next piece; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout(BODY_TIMEOUT, self.body.frame())
                .await
                .map_err(|_| Failure::Silent(BODY_TIMEOUT))?;
            let Some(frame) = frame else { return Ok(None) };
            let Ok(piece) = frame.map_err(Failure::Broken)?.into_data() else {
                continue;
            };
            self.size += piece.len() as u64;
            if self.size > self.limit {
                return Err(Failure::TooLarge { limit: self.limit });
            }
            self.hasher.update(&piece);
            return Ok(Some(piece));
        }
    }

    /// Whether all that came is what was expected; answers how much it was.
    pub(crate) fn verify(self, expected: &Digest) -> Result<u64, Failure> {
        let bytes: [u8; 32] = self.hasher.finalize().into();
        check(expected, Digest::from(bytes))?;
        Ok(self.size)
    }
}

fn check(expected: &Digest, actual: Digest) -> Result<(), Failure> {
    if actual == *expected {
        return Ok(());
    }
    Err(Failure::WrongDigest {
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

/// A bundle to fetch, and where to.
pub(crate) struct Download<'a> {
    pub(crate) store: Store<'a>,
    pub(crate) digest: &'a Digest,
    /// Most bytes.
    pub(crate) limit: u64,
    pub(crate) into: &'a Path,
}

impl Download<'_> {
    /// Fetches the bundle, trying again until the deadline. `tell` hears why a try failed.
    pub(crate) async fn run(&self, tell: impl Fn(&str)) -> Result<(), Error> {
        let fetched = self.store.persist(
            tell,
            async || self.once().await,
            |(store, tries, seconds, source)| Error::Fetch {
                store,
                tries,
                seconds,
                source,
            },
        );
        let size = fetched.await?;
        info!(bundle.size_bytes = size, "Fetched bundle {}", self.digest);
        Ok(())
    }

    /// Fetches the bundle once. Returns its size.
    async fn once(&self) -> Result<u64, Failure> {
        let path = StoreUrl::bundle_path(self.digest);
        let mut answer = self.store.get(&path, self.limit).await?;
        let write_error = |source| Failure::Write {
            path: self.into.to_owned(),
            source,
        };
        let file = File::create(self.into).await.map_err(write_error)?;
        let mut file = BufWriter::with_capacity(WRITE_BUFFER, file);
        while let Some(piece) = answer.next().await? {
            file.write_all(&piece).await.map_err(write_error)?;
        }
        file.shutdown().await.map_err(write_error)?;
        answer.verify(self.digest)
    }
}

/// An environment to store.
pub(crate) struct Upload<'a> {
    pub(crate) store: Store<'a>,
    pub(crate) key: &'a EnvironmentKey,
    pub(crate) file: &'a Path,
    /// The file's.
    pub(crate) digest: &'a Digest,
}

impl Upload<'_> {
    /// Stores the environment, trying again until the deadline.
    pub(crate) async fn run(&self) -> Result<(), Error> {
        let stored = self.store.persist(
            |_reason| {},
            async || self.once().await,
            |(store, tries, seconds, source)| Error::Store {
                store,
                tries,
                seconds,
                source,
            },
        );
        stored.await
    }

    async fn once(&self) -> Result<(), Failure> {
        let read_error = |source| Failure::Read {
            path: self.file.to_owned(),
            source,
        };
        let file = File::open(self.file).await.map_err(read_error)?;
        let size = file.metadata().await.map_err(read_error)?.len();
        let pieces = ReaderStream::with_capacity(file, WRITE_BUFFER).map_ok(Frame::data);
        let request = Request::put(StoreUrl::environment_path(self.key))
            .header(header::CONTENT_LENGTH, size)
            .body(StreamBody::new(pieces))
            .expect("our own paths are valid");
        let (response, _connection) = self.store.ask(request, UPLOAD_TIMEOUT).await?;
        if response.status() != StatusCode::CREATED {
            return Err(Failure::Refused(response.status()));
        }
        let answer = Limited::new(response.into_body(), DIGEST_BYTES);
        let answer = answer.collect().await.map_err(|_| Failure::Answer)?;
        let actual = std::str::from_utf8(&answer.to_bytes())
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or(Failure::Answer)?;
        check(self.digest, actual)
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

//! TLS in front: a certificate and its key from files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::metrics::Refusal;

/// How often the files are looked at. Kubernetes brings a changed Secret into a volume within about a minute.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a handshake may take, waiting for its turn included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes at once: each costs a signature, and more at once would only make all of them late.
const MAX_HANDSHAKES: usize = 256;

/// What is spoken inside, in the order that we prefer.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("could not read `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A certificate file that is no PEM, or has no certificate.
    #[error("`{}` holds no certificates in PEM", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A key file that is no PEM, or has no key.
    #[error("`{}` holds no private key in PEM", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A certificate that cannot be used, or a key of another certificate.
    #[error("certificate and key do not go together")]
    Pair(#[source] rustls::Error),
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// It took too long.
    #[error("the TLS handshake did not end in time")]
    Late,
    /// The client broke it off, or speaks no TLS.
    #[error("the TLS handshake failed")]
    Broken(#[source] std::io::Error),
}

impl From<&HandshakeError> for Refusal {
    fn from(error: &HandshakeError) -> Self {
        match error {
            HandshakeError::Late => Self::LateHandshake,
            HandshakeError::Broken(_) => Self::BrokenHandshake,
        }
    }
}

/// A certificate and its key, as text.
#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate in force.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// What was last read, good or not, so that it is looked at once.
    last: Mutex<Pair>,
    config: ArcSwap<ServerConfig>,
    handshakes: Semaphore,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub(crate) fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let pair = Pair::read(&certificate, &key)?;
        let config = pair.config(&certificate, &key)?;
        Ok(Self {
            certificate,
            key,
            last: Mutex::new(pair),
            config: ArcSwap::from_pointee(config),
            handshakes: Semaphore::new(MAX_HANDSHAKES),
        })
    }

    /// Does the handshake, with the certificate in force now.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let handshake = async {
            let turn = self.handshakes.acquire().await;
            let acceptor = TlsAcceptor::from(self.config.load_full());
            let stream = acceptor.accept(stream).await;
            drop(turn);
            stream
        };
        timeout(HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_| HandshakeError::Late)?
            .map_err(HandshakeError::Broken)
    }

    /// Looks at the files until the process ends. New connections get what is new; a pair that cannot be used changes
    /// nothing.
    pub(crate) async fn follow_files(&self) {
        let mut tick = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away = false;
        loop {
            tick.tick().await;
            match self.reload() {
                Ok(true) => info!(
                    "Took the new certificate in `{}` into use",
                    self.certificate.display()
                ),
                Ok(false) => {}
                // Said once as long as it lasts; a bad pair is looked at once by itself.
                Err(TlsError::Read { .. }) if away => continue,
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Could not take the new certificate into use; the one before stays"
                    );
                    away = matches!(error, TlsError::Read { .. });
                    continue;
                }
            }
            away = false;
        }
    }

    /// Takes the files' content into use, if it is new. A few kilobytes are read at once, as the page cache has them.
    fn reload(&self) -> Result<bool, TlsError> {
        let pair = Pair::read(&self.certificate, &self.key)?;
        if pair == *self.last.lock() {
            return Ok(false);
        }
        // A volume may be swapped between two reads; then the next look finds both new.
        if pair != Pair::read(&self.certificate, &self.key)? {
            return Ok(false);
        }
        let config = pair.config(&self.certificate, &self.key);
        *self.last.lock() = pair;
        self.config.store(Arc::new(config?));
        Ok(true)
    }
}

impl Pair {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |file: &Path| {
            std::fs::read(file).map_err(|source| TlsError::Read {
                file: file.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }

    fn config(&self, certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
        let bad_certificate = |source| TlsError::Certificate {
            file: certificate.to_owned(),
            source,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(bad_certificate)?;
        if chain.is_empty() {
            return Err(bad_certificate(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| TlsError::Key {
            file: key.to_owned(),
            source,
        })?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tempfile::TempDir;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;

    struct Made {
        certificate: String,
        key: String,
        der: CertificateDer<'static>,
    }

    fn make() -> Made {
        let names = vec!["store.test".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        Made {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    /// A volume as the kubelet keeps it: the files are links through `..data`, which is swapped.
    struct Volume(TempDir);

    impl Volume {
        fn holding(made: &Made) -> Self {
            let volume = Self(TempDir::new().expect("a folder"));
            volume.put("first", &made.certificate, &made.key);
            for file in ["tls.crt", "tls.key"] {
                let link = volume.0.path().join(file);
                symlink(format!("..data/{file}"), link).expect("a link");
            }
            volume
        }

        fn put(&self, name: &str, certificate: &str, key: &str) {
            let folder = self.0.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            std::fs::write(folder.join("tls.crt"), certificate).expect("a file");
            std::fs::write(folder.join("tls.key"), key).expect("a file");
            let next = self.0.path().join("..next");
            symlink(name, &next).expect("a link");
            std::fs::rename(&next, self.0.path().join("..data")).expect("a swap");
        }

        fn open(&self) -> Result<Tls, TlsError> {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            Tls::open(
                &self.0.path().join("tls.crt"),
                &self.0.path().join("tls.key"),
            )
        }
    }

    /// What is agreed on with a client that trusts `made` and speaks `protocols`; none when there is no handshake.
    async fn agreed(tls: &Tls, made: &Made, protocols: &[&[u8]]) -> Option<Vec<u8>> {
        let mut roots = RootCertStore::empty();
        roots.add(made.der.clone()).expect("a root");
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = async {
            let stream = TcpStream::connect(address).await.expect("a connection");
            let name = ServerName::try_from("store.test").expect("a name");
            let connector = TlsConnector::from(Arc::new(config));
            let stream = connector.connect(name, stream).await.ok()?;
            let (_, session) = stream.get_ref();
            Some(session.alpn_protocol().unwrap_or_default().to_vec())
        };
        let server = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            tls.accept(stream).await.is_ok()
        };
        let (client, _) = tokio::join!(client, server);
        client
    }

    #[tokio::test]
    async fn the_protocol_is_agreed_on_in_the_handshake() {
        let made = make();
        let tls = Volume::holding(&made).open().expect("a certificate");
        let cases: [(&[&[u8]], &[u8]); 3] = [
            (&[b"http/1.1", b"h2"], b"h2"),
            (&[b"http/1.1"], b"http/1.1"),
            (&[], b""),
        ];
        for (protocols, expected) in cases {
            let found = agreed(&tls, &made, protocols).await;
            assert_eq!(found.as_deref(), Some(expected), "{protocols:?}");
        }
        assert_eq!(agreed(&tls, &make(), &[]).await, None, "another's trust");
        assert_eq!(agreed(&tls, &made, &[b"spdy/3"]).await, None);
    }

    #[tokio::test]
    async fn a_swapped_volume_counts_and_a_bad_pair_changes_nothing() {
        let (first, second) = (make(), make());
        let volume = Volume::holding(&first);
        let tls = volume.open().expect("a certificate");
        assert!(!tls.reload().expect("nothing is wrong"), "nothing is new");

        volume.put("mixed", &second.certificate, &first.key);
        assert!(matches!(tls.reload(), Err(TlsError::Pair(_))));
        assert!(!tls.reload().expect("it is known already"));
        volume.put("no-pem", "nonsense", &second.key);
        assert!(matches!(tls.reload(), Err(TlsError::Certificate { .. })));
        volume.put("no-key", &second.certificate, "nonsense");
        assert!(matches!(tls.reload(), Err(TlsError::Key { .. })));
        assert!(agreed(&tls, &first, &[]).await.is_some());

        volume.put("second", &second.certificate, &second.key);
        assert!(tls.reload().expect("a good pair"));
        assert!(agreed(&tls, &second, &[]).await.is_some());
        assert!(agreed(&tls, &first, &[]).await.is_none());

        std::fs::remove_file(volume.0.path().join("..data")).expect("it was there");
        assert!(matches!(tls.reload(), Err(TlsError::Read { .. })));
        assert!(agreed(&tls, &second, &[]).await.is_some());
    }
}

//! The steps of start-up, and what to say when one fails.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, NewAccount, Role, Settings};
use tokio::net::TcpListener;
use tokio::time::{Instant, interval};
use tracing::{info, warn};

use crate::oidc::InvalidOidc;
use crate::site::{InvalidSite, Site};
use crate::table::Table;
use crate::table::health::Health;
use crate::tls::{Tls, TlsError};
use crate::{backoff, garbage, server, sign_in};

/// How long the database may take to come up.
const DATABASE_PATIENCE: Duration = Duration::from_mins(2);

/// How often start-up says what it waits for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Why the router could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be right.
    #[error("could not use the settings")]
    Site(#[source] InvalidSite),
    /// The certificate for browsers.
    #[error("could not use the certificate for `--listen`")]
    Tls(#[source] TlsError),
    /// TLS on a store whose address says http.
    #[error("`--tls-certificate` is given, but `--store-url` is `{0}`")]
    TlsWithoutHttps(String),
    /// A setting of the OIDC provider that cannot be right.
    #[error("could not use the settings of the OIDC provider")]
    Oidc(#[source] InvalidOidc),
    /// A listener that could not be opened.
    #[error("could not listen on `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// No Kubernetes API to ask.
    #[error("could not find out how to reach the Kubernetes API")]
    Kubernetes(#[source] kube::Error),
    /// The database or the blob store.
    #[error("could not open the store's data")]
    Data(#[source] catalog::Error),
    /// The file with the first account's password.
    #[error("could not read the password file `{}`", file.display())]
    PasswordFile {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A password file without a password.
    #[error("the password file `{}` is empty", .0.display())]
    EmptyPassword(PathBuf),
    /// A part that failed for a reason of its own.
    #[error("could not {task}")]
    Part {
        /// What was to be done.
        task: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A signal came before the work was done.
    #[error("told to stop before {0}")]
    Interrupted(&'static str),
    /// A collection of garbage that is not to begin, or was not finished.
    #[error(transparent)]
    Garbage(garbage::Error),
    /// A task that must not end has ended.
    #[error("{0} ended; the process stops so that it is started anew")]
    TaskEnded(&'static str),
}

impl StartError {
    /// One next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tls(_) => Some(
                "give a certificate chain and its private key in PEM, as a Secret of type kubernetes.io/tls has them"
                    .to_owned(),
            ),
            Self::TlsWithoutHttps(_) => {
                Some("let `--store-url` begin with https://, as browsers see it".to_owned())
            }
            Self::Site(_) | Self::Oidc(_) => Some("see `wavestore-router --help`".to_owned()),
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Some(
                "another process has this port; stop it, or give another with `--listen` or `--internal-listen`"
                    .to_owned(),
            ),
            Self::Kubernetes(_) => Some(
                "run in a pod with a service account, or set KUBECONFIG to a cluster's configuration".to_owned(),
            ),
            Self::Data(error) => error.hint(),
            Self::PasswordFile { file, .. } => Some(format!(
                "mount a Secret with the admin's password there, or leave `--admin-password-file` out once the account \
                 exists (`{}`)",
                file.display()
            )),
            Self::EmptyPassword(_) => Some("write the admin's password into it".to_owned()),
            Self::Garbage(error) => error.hint(),
            Self::Listen { .. }
            | Self::Part { .. }
            | Self::Interrupted(_)
            | Self::TaskEnded(_) => None,
        }
    }
}

/// Says what came of it, and chooses the exit code.
#[must_use]
#[expect(
    clippy::print_stderr,
    reason = "the last words of the process are for whoever started it"
)]
pub fn report(result: Result<(), StartError>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        eprintln!("  Caused by: {error}");
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        eprintln!("\nhint: {hint}");
    }
    let usage = matches!(
        error,
        StartError::Site(_) | StartError::Oidc(_) | StartError::TlsWithoutHttps(_)
    );
    ExitCode::from(if usage { 2 } else { 1 })
}

/// Opens the certificate, where there is one.
pub(crate) fn open_tls(
    certificate: Option<&Path>,
    key: Option<&Path>,
    site: &Site,
) -> Result<Option<Arc<Tls>>, StartError> {
    // The arguments ask for both or none.
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Ok(None);
    };
    if !site.is_secure() {
        return Err(StartError::TlsWithoutHttps(site.store_origin().to_owned()));
    }
    let tls = Tls::open(certificate, key).map_err(StartError::Tls)?;
    Ok(Some(Arc::new(tls)))
}

pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    server::bind(address).map_err(|source| StartError::Listen { address, source })
}

pub(crate) fn read_password(file: &Path) -> Result<String, StartError> {
    let text = std::fs::read_to_string(file).map_err(|source| StartError::PasswordFile {
        file: file.to_owned(),
        source,
    })?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(StartError::EmptyPassword(file.to_owned()));
    }
    Ok(password.to_owned())
}

/// Opens the database, and waits for its tables.
pub(crate) async fn open_catalog(database_url: &str) -> Result<Catalog, StartError> {
    let settings = Settings::new(database_url);
    patiently(async || Catalog::open(&settings).await).await
}

/// Brings the tables up to date, and says what was done.
pub(crate) async fn migrate(database_url: &str) -> Result<(), StartError> {
    let settings = Settings::new(database_url);
    let done = patiently(async || Catalog::migrate(&settings).await).await?;
    if done.is_empty() {
        info!("The tables were up to date");
    } else {
        info!("The tables are up to date: {} has run", done.join(", "));
    }
    Ok(())
}

/// Does something with the database; one that is not there yet may still come up.
async fn patiently<T>(
    mut attempt: impl AsyncFnMut() -> Result<T, catalog::Error>,
) -> Result<T, StartError> {
    let give_up = Instant::now() + DATABASE_PATIENCE;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error @ catalog::Error::Connect { .. }) if Instant::now() < give_up => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Waiting for the database"
                );
                backoff::start_up().await;
            }
            Err(error) => return Err(StartError::Data(error)),
        }
    }
}

pub(crate) async fn ensure_account(
    catalog: &Catalog,
    name: &str,
    password: Option<String>,
) -> Result<(), StartError> {
    let Some(password) = password else {
        return Ok(());
    };
    let hash = tokio::task::spawn_blocking(move || sign_in::hash_password(password.as_bytes()))
        .await
        .map_err(part("hash the admin's password"))?
        .map_err(part("hash the admin's password"))?;
    let account = NewAccount {
        name: name.to_owned(),
        password_hash: Some(hash),
        password_expires_at: None,
        role: Role::Admin,
    };
    let made = catalog
        .create_first_account(&account)
        .await
        .map_err(StartError::Data)?;
    if made {
        info!(account.name = name, "Made the first account, {name}");
    }
    Ok(())
}

/// Waits for the first lists, and says so. Serving earlier would deny instances that exist.
pub(crate) async fn until_synced(table: &Table, health: &Health) {
    let mut changes = table.changes();
    let mut say = interval(SAY_EVERY);
    let mut look = interval(Duration::from_millis(100));
    say.reset();
    while !health.is_synced() {
        tokio::select! {
            _ = changes.changed() => {}
            _ = look.tick() => {}
            _ = say.tick() => {
                let waiting = health.describe().replace('\n', "; ");
                warn!("Still waiting for the Kubernetes API: {waiting}");
            }
        }
    }
}

pub(crate) fn part<E>(task: &'static str) -> impl FnOnce(E) -> StartError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| StartError::Part {
        task,
        source: Box::new(source),
    }
}

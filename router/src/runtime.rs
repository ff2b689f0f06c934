//! Wires clients and tasks, starts them and ends them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalog::{Blobs, Catalog, NewAccount, Role, Settings};
use chrono::Utc;
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};
use crate::gateway::Gateway;
use crate::internal::{Internal, Pods, Readiness};
use crate::proxy::Proxy;
use crate::proxy::tunnels::Tunnels;
use crate::proxy::upstream::Connector;
use crate::session::Sessions;
use crate::sign_in::{self, SignIn};
use crate::site::{InvalidSite, Site};
use crate::table::Table;
use crate::table::watch::{self, Health};
use crate::web::Store;
use crate::{backoff, server};

/// Connections of the cluster that may be open at once.
const MAX_INTERNAL_CONNECTIONS: usize = 1000;

/// How long the database may take to come up.
const DATABASE_PATIENCE: Duration = Duration::from_mins(2);

/// How often start-up says what it waits for.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How often expired sessions are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(15);

/// Why the router could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be right.
    #[error("could not use the settings")]
    Site(#[source] InvalidSite),
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
    /// A task that must not end has ended.
    #[error("{0} ended; the process stops so that it is started anew")]
    TaskEnded(&'static str),
}

impl StartError {
    /// One next step, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Site(_) => Some("see `wavestore-router --help`".to_owned()),
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
            Self::Listen { .. } | Self::Part { .. } | Self::TaskEnded(_) => None,
        }
    }
}

/// Runs the router until it is told to stop.
///
/// # Errors
/// Why it could not start, or why it had to stop.
pub fn start(args: Args) -> Result<(), StartError> {
    // Only fails when one is installed already, and then it is the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    init_log(args.log_format);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(part("start the runtime"))?
        .block_on(run(args))
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
    let usage = matches!(error, StartError::Site(_));
    ExitCode::from(if usage { 2 } else { 1 })
}

fn init_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails when a log is there already, as in tests.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

async fn run(args: Args) -> Result<(), StartError> {
    let Args {
        namespace,
        database_url,
        blobs,
        store_url,
        apps_domain,
        listen,
        internal_listen,
        admin_name,
        admin_password_file,
        session_lifetime,
        max_connections,
        connect_timeout,
        response_timeout,
        tunnel_idle_timeout,
        drain_timeout,
        log_format: _, // used before anything else
    } = args;

    let site = Arc::new(Site::new(&store_url, &apps_domain).map_err(StartError::Site)?);
    let public_listener = bind(listen)?;
    let internal_listener = bind(internal_listen)?;
    let admin_password = admin_password_file
        .as_deref()
        .map(read_password)
        .transpose()?;
    let blobs = Blobs::open(&blobs).map_err(StartError::Data)?;
    let client = Client::try_default()
        .await
        .map_err(StartError::Kubernetes)?;

    let stop = CancellationToken::new();
    let stop_internal = CancellationToken::new();
    let table = Arc::new(Table::default());
    let health = Arc::new(Health::default());
    let started = Arc::new(AtomicBool::new(false));
    let readiness = Readiness {
        health: health.clone(),
        started: started.clone(),
        stop: stop.clone(),
    };
    let mut tasks: JoinSet<Result<(), StartError>> = JoinSet::new();

    let internal = Arc::new(Internal {
        readiness,
        table: table.clone(),
        blobs: blobs.clone(),
        pods: Pods::new(client.clone(), &namespace),
    });
    let internal_slots = Arc::new(Semaphore::new(MAX_INTERNAL_CONNECTIONS));
    let internal_stop = stop_internal.clone();
    tasks.spawn(async move {
        let handle = move |_, request| internal.clone().handle(request);
        server::serve(internal_listener, internal_slots, internal_stop, handle).await;
        Ok(())
    });
    let connector = Connector::new(connect_timeout, response_timeout);
    tasks.spawn({
        let (table, health, namespace) = (table.clone(), health.clone(), namespace.clone());
        async move {
            let ended = watch::keep(client, &namespace, &table, &health, connector).await;
            ended.map_err(part("watch the Kubernetes API"))
        }
    });

    let start_up = async {
        let catalog = open_catalog(&database_url).await?;
        ensure_account(&catalog, &admin_name, admin_password).await?;
        until_synced(&table, &health).await;
        Ok(catalog)
    };
    let catalog = tokio::select! {
        catalog = start_up => catalog?,
        () = stop_signal() => return Ok(()),
        Some(ended) = tasks.join_next() => return Err(ended_early(ended)),
    };

    let sessions = Sessions::new(catalog.clone());
    let tunnels = Arc::new(Tunnels::new(tunnel_idle_timeout));
    let sign_in =
        SignIn::new(catalog.clone(), session_lifetime).map_err(part("prepare the sign-in"))?;
    let store = Store {
        site: site.clone(),
        table: table.clone(),
        catalog: catalog.clone(),
        blobs,
        sessions: sessions.clone(),
        sign_in,
        namespace,
    };
    let proxy = Proxy::new(table.clone(), tunnels.clone());
    let gateway = Arc::new(Gateway::new(
        site.clone(),
        table.clone(),
        sessions.clone(),
        proxy,
        store.into_pages(),
    ));

    tasks.spawn({
        let tunnels = tunnels.clone();
        async move {
            tunnels.watch_over(&table, &sessions).await;
            Err(StartError::TaskEnded("the watch over open sockets"))
        }
    });
    tasks.spawn(sweep(catalog.clone()));
    let slots = Arc::new(Semaphore::new(
        usize::try_from(max_connections).unwrap_or(usize::MAX),
    ));
    let public_stop = stop.clone();
    let mut public = JoinSet::new();
    public.spawn(async move {
        let handle = move |peer, request| gateway.clone().handle(peer, request);
        server::serve(public_listener, slots, public_stop, handle).await;
    });
    started.store(true, Ordering::Relaxed);
    info!("Serving the store at {} on {listen}", site.store_origin());

    let failed = tokio::select! {
        () = stop_signal() => None,
        Some(ended) = tasks.join_next() => Some(ended_early(ended)),
    };
    info!(
        "Stopping: no new connections; open requests have {} s to end",
        drain_timeout.as_secs()
    );
    stop.cancel();
    let drain = async {
        tokio::join!(tunnels.drain(), async {
            while public.join_next().await.is_some() {}
        });
    };
    if timeout(drain_timeout, drain).await.is_err() {
        warn!("Some requests did not end in time and are cut off");
    }
    stop_internal.cancel();
    tasks.shutdown().await;
    catalog.close().await;
    failed.map_or(Ok(()), Err)
}

fn ended_early(ended: Result<Result<(), StartError>, tokio::task::JoinError>) -> StartError {
    match ended {
        Ok(Ok(())) => StartError::TaskEnded("the internal listener"),
        Ok(Err(error)) => error,
        Err(error) => part("go on after a task broke")(error),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    server::bind(address).map_err(|source| StartError::Listen { address, source })
}

fn read_password(file: &Path) -> Result<String, StartError> {
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

/// Opens the database; one that is not there yet may still come up.
async fn open_catalog(database_url: &str) -> Result<Catalog, StartError> {
    let settings = Settings::new(database_url);
    let give_up = Instant::now() + DATABASE_PATIENCE;
    loop {
        match Catalog::open(&settings).await {
            Ok(catalog) => return Ok(catalog),
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

async fn ensure_account(
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
async fn until_synced(table: &Table, health: &Health) {
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

async fn sweep(catalog: Catalog) -> Result<(), StartError> {
    let mut tick = interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match catalog.sweep(Utc::now()).await {
            Ok(0) => {}
            Ok(count) => info!("Deleted {count} expired sessions and tickets"),
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not delete expired sessions"
                );
            }
        }
    }
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers the kernel's own action ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn part<E>(task: &'static str) -> impl FnOnce(E) -> StartError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| StartError::Part {
        task,
        source: Box::new(source),
    }
}

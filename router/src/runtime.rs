//! Wires clients and tasks, starts them and ends them.

use std::io::IsTerminal;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalog::{Blobs, Catalog};
use chrono::{TimeDelta, Utc};
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::activity::Reporter;
use crate::app_log::AppLogs;
use crate::args::{Args, BlobsCommand, Command, GcArgs, LogFormat};
use crate::backoff;
use crate::bearer::Bearers;
use crate::client_address::TrustedProxies;
use crate::descriptors::Limits;
use crate::events::Events;
use crate::exchange::Journal;
use crate::garbage;
use crate::gateway::{Front, Gateway};
use crate::internal::{Internal, Pods, Readiness, Sending};
use crate::limits;
use crate::metrics::{Metrics, Scraped};
use crate::objects::Objects;
use crate::offer::Offer;
use crate::oidc::Provider;
use crate::pod_log::PodLogs;
use crate::proxy::Proxy;
use crate::proxy::tunnels::Tunnels;
use crate::proxy::upstream::Connector;
use crate::replicas;
use crate::secrets::Secrets;
use crate::server::{self, Slots};
use crate::session::Sessions;
use crate::sign_in::SignIn;
use crate::site::Site;
use crate::start_up::{
    StartError, bind, ensure_account, migrate, open_catalog, open_tls, part, read_password,
    until_synced,
};
use crate::table::Table;
use crate::table::health::Health;
use crate::table::watch;
use crate::tags::Tags;
use crate::tls::Tls;
use crate::usage::Meter;
use crate::waiting::Phases;
use crate::web::{Rates, Store, Uploads};

/// Connections of the cluster that may be open at once, and of them from one address: apps are not trusted, and the
/// kubelet's probes come here too.
const MAX_INTERNAL_CONNECTIONS: usize = 1000;
const MAX_INTERNAL_CONNECTIONS_OF_ONE: usize = 100;

/// How often expired sessions are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(15);

/// How long telling of the last use of instances may take at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// Runs the router until it is told to stop, or does what else it is asked for.
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
        .block_on(async {
            match args.command {
                None => run(args).await,
                Some(Command::Migrate) => {
                    unless_stopped("the tables were up to date", migrate(&args.database_url)).await
                }
                Some(Command::Blobs(BlobsCommand::Gc(gc))) => {
                    unless_stopped("all garbage was removed", collect_garbage(&args, gc)).await
                }
            }
        })
}

fn init_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Fails when a log is there already.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
}

#[expect(
    clippy::too_many_lines,
    reason = "one step after another, most of them elsewhere"
)]
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
        instance_undo,
        keep_audit,
        tls_certificate,
        tls_key,
        trusted_proxies,
        max_connections,
        max_connections_per_address,
        max_body_size,
        api_requests_per_minute,
        connect_timeout,
        response_timeout,
        tunnel_idle_timeout,
        leave_delay,
        drain_timeout,
        access_log,
        limits: of_users,
        offer,
        oidc,
        // Used before anything else.
        command: _,
        log_format: _,
    } = args;

    let site = Site::new(&store_url, &apps_domain).map_err(StartError::Site)?;
    let tls = open_tls(tls_certificate.as_deref(), tls_key.as_deref(), &site)?;
    let proxies = TrustedProxies::new(trusted_proxies);
    let limits = Limits::of(max_connections, max_connections_per_address);
    let oidc = oidc.read().map_err(StartError::Oidc)?;
    let public = bind(listen)?;
    let internal = bind(internal_listen)?;
    let admin_password = admin_password_file
        .as_deref()
        .map(read_password)
        .transpose()?;
    let core = Core {
        site: Arc::new(site),
        namespace,
        table: Arc::default(),
        health: Arc::default(),
        started: Arc::default(),
        leaving: CancellationToken::new(),
        stop: CancellationToken::new(),
        metrics: Arc::default(),
        blobs: Blobs::open(&blobs).map_err(StartError::Data)?,
        client: Client::try_default()
            .await
            .map_err(StartError::Kubernetes)?,
    };

    let mut tasks = JoinSet::new();
    let stop_internal = CancellationToken::new();
    tasks.spawn(core.serve_cluster(internal, stop_internal.clone()));
    let connector =
        Connector::new(connect_timeout, response_timeout).measured(core.metrics.clone());
    tasks.spawn(core.watch(connector));
    let start_up = async {
        let catalog = open_catalog(&database_url).await?;
        ensure_account(&catalog, &admin_name, admin_password).await?;
        until_synced(&core.table, &core.health).await;
        Ok(catalog)
    };
    let catalog = tokio::select! {
        catalog = start_up => catalog?,
        () = stop_signal() => return Ok(()),
        Some(ended) = tasks.join_next() => return Err(ended_early(ended)),
    };

    let journal = Journal::open(core.metrics.clone(), access_log)
        .map(Arc::new)
        .map_err(part("start the access log"))?;
    let sessions = Sessions::new(catalog.clone());
    let tunnels = Arc::new(Tunnels::new(
        tunnel_idle_timeout,
        limits.sockets(),
        limits.each(),
    ));
    core.metrics.watch(Scraped {
        table: core.table.clone(),
        health: core.health.clone(),
        tunnels: tunnels.clone(),
        journal: journal.clone(),
        limits,
    });
    let reporter = Reporter::new(core.client.clone(), &core.namespace, core.table.clone());
    let reporter = Arc::new(reporter);
    let max_body = u64::try_from(max_body_size.units()).unwrap_or(u64::MAX);
    let front = Front {
        site: core.site.clone(),
        proxies: proxies.clone(),
        journal,
        max_body,
        leaving: core.leaving.clone(),
    };
    let provider = oidc
        .map(|settings| Provider::new(settings, &core.site, catalog.clone()).map(Arc::new))
        .transpose()
        .map_err(StartError::Oidc)?;
    let bearers = Arc::new(Bearers::new(catalog.clone(), provider.clone()));
    let sign_in = SignIn::new(catalog.clone(), session_lifetime, provider.clone())
        .map_err(part("prepare the sign-in"))?;
    if let Some(provider) = provider {
        tasks.spawn(async move {
            provider.keep_known().await;
            Err(StartError::TaskEnded("the watch over the OIDC provider"))
        });
    }
    let gateway = core.gateway(
        front,
        catalog.clone(),
        (sessions.clone(), bearers.clone()),
        (
            sign_in,
            Rates::new(NonZeroU32::new(api_requests_per_minute)),
            instance_undo,
            of_users,
            offer,
        ),
        tunnels.clone(),
        reporter.clone(),
    );
    tasks.spawn(report(reporter.clone()));
    tasks.spawn(follow(sessions.clone(), bearers.clone()));
    tasks.spawn(core.watch_over(tunnels.clone(), sessions, bearers));
    tasks.spawn(sweep(catalog.clone(), keep_audit));
    let mut serving = JoinSet::new();
    let slots = Slots::new(limits.connections())
        .each(limits.each())
        .of_clients(proxies, core.metrics.clone());
    serving.spawn(core.serve_public(public, slots, tls.clone(), gateway));
    if let Some(tls) = tls {
        tasks.spawn(async move {
            tls.follow_files().await;
            Err(StartError::TaskEnded("the watch over the certificate"))
        });
    }
    core.started.store(true, Ordering::Relaxed);
    info!(
        "Serving the store at {} on {listen}, {limits}",
        core.site.store_origin()
    );

    let failed = tokio::select! {
        () = stop_signal() => None,
        Some(ended) = tasks.join_next() => Some(ended_early(ended)),
    };
    core.leave(leave_delay, failed.is_some()).await;
    info!(
        "Stopping: no new connections; open requests have {} s to end",
        drain_timeout.as_secs()
    );
    core.stop.cancel();
    let drain = async { tokio::join!(tunnels.drain(), serving.join_next()) };
    if timeout(drain_timeout, drain).await.is_err() {
        warn!("Some requests did not end in time and are cut off");
    }
    if timeout(FLUSH, reporter.flush()).await.is_err() {
        warn!("The last use of some instances could not be told in time");
    }
    stop_internal.cancel();
    tasks.shutdown().await;
    catalog.close().await;
    failed.map_or(Ok(()), Err)
}

/// What the router's tasks share.
struct Core {
    site: Arc<Site>,
    namespace: String,
    table: Arc<Table>,
    health: Arc<Health>,
    started: Arc<AtomicBool>,
    /// Cancelled when this replica is on its way out, and then when it takes nothing new any more.
    leaving: CancellationToken,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
    blobs: Blobs,
    client: Client,
}

/// A task that goes on until the process ends, or tells why it could not.
type Outcome = Result<(), StartError>;

impl Core {
    fn serve_cluster(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> impl Future<Output = Outcome> + use<> {
        let internal = Arc::new(Internal {
            readiness: Readiness {
                health: self.health.clone(),
                started: self.started.clone(),
                stop: self.leaving.clone(),
            },
            table: self.table.clone(),
            blobs: self.blobs.clone(),
            pods: Pods::new(self.client.clone(), &self.namespace),
            sending: Sending::default(),
            metrics: self.metrics.clone(),
        });
        let slots = Slots::new(MAX_INTERNAL_CONNECTIONS).each(MAX_INTERNAL_CONNECTIONS_OF_ONE);
        async move {
            let handle = move |_, request| internal.clone().handle(request);
            server::serve(listener, slots, None, stop, handle).await;
            Err(StartError::TaskEnded("the listener for the cluster"))
        }
    }

    /// Tells the cluster that this replica leaves. Nodes and ingresses hear of it with a delay; until then they send new
    /// requests, which are served as before.
    async fn leave(&self, delay: Duration, at_once: bool) {
        self.leaving.cancel();
        if !at_once {
            info!("Leaving: new requests are taken for {} s", delay.as_secs());
            backoff::leave(delay).await;
        }
    }

    fn watch(&self, connector: Connector) -> impl Future<Output = Outcome> + use<> {
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let (table, health) = (self.table.clone(), self.health.clone());
        let site = self.site.clone();
        async move {
            let ended = watch::keep(client, &namespace, &table, &health, connector, &site).await;
            ended.map_err(part("watch the Kubernetes API"))
        }
    }

    fn watch_over(
        &self,
        tunnels: Arc<Tunnels>,
        sessions: Sessions,
        bearers: Arc<Bearers>,
    ) -> impl Future<Output = Outcome> + use<> {
        let table = self.table.clone();
        async move {
            tunnels.watch_over(&table, &sessions, &bearers).await;
            Err(StartError::TaskEnded("the watch over open sockets"))
        }
    }

    fn gateway(
        &self,
        front: Front,
        catalog: Catalog,
        (sessions, bearers): (Sessions, Arc<Bearers>),
        (sign_in, rates, undo, limits, offer): (SignIn, Rates, Duration, limits::Limits, Offer),
        tunnels: Arc<Tunnels>,
        reporter: Arc<Reporter>,
    ) -> Arc<Gateway> {
        let logs = PodLogs::new(self.client.clone(), &self.namespace);
        let store = Store {
            site: self.site.clone(),
            table: self.table.clone(),
            instances: Objects::new(self.client.clone(), &self.namespace),
            events: Events::new(self.client.clone(), &self.namespace),
            apps: Objects::new(self.client.clone(), &self.namespace),
            aliases: Objects::new(self.client.clone(), &self.namespace),
            app_logs: AppLogs::new(
                self.client.clone(),
                &self.namespace,
                self.table.clone(),
                tunnels.clone(),
            ),
            meter: Meter::new(self.client.clone(), &self.namespace),
            secrets: Secrets::new(self.client.clone(), &self.namespace),
            uploads: Uploads::default(),
            tags: Tags::new(catalog.clone()),
            catalog,
            blobs: self.blobs.clone(),
            sessions: sessions.clone(),
            bearers: bearers.clone(),
            rates,
            sign_in,
            undo,
            limits,
            offer,
            logs: logs.clone(),
            namespace: self.namespace.clone(),
        };
        let phases = Phases::new(self.table.clone(), tunnels.clone(), logs);
        let proxy = Proxy::new(self.table.clone(), tunnels, front.max_body);
        let pages = store.into_pages();
        Arc::new(Gateway::new(
            front,
            self.table.clone(),
            (sessions, bearers),
            proxy,
            Arc::new(phases),
            reporter,
            pages,
        ))
    }

    fn serve_public(
        &self,
        listener: TcpListener,
        slots: Slots,
        tls: Option<Arc<Tls>>,
        gateway: Arc<Gateway>,
    ) -> impl Future<Output = ()> + use<> {
        let handle = move |peer, request| gateway.clone().handle(peer, request);
        server::serve(listener, slots, tls, self.stop.clone(), handle)
    }
}

async fn report(reporter: Arc<Reporter>) -> Outcome {
    reporter.run().await;
    Err(StartError::TaskEnded("the reports of use"))
}

async fn follow(sessions: Sessions, bearers: Arc<Bearers>) -> Outcome {
    replicas::follow(&sessions, &bearers).await;
    Err(StartError::TaskEnded("the watch over sessions and tokens"))
}

fn ended_early(ended: Result<Outcome, JoinError>) -> StartError {
    match ended {
        Ok(Ok(())) => StartError::TaskEnded("a task"),
        Ok(Err(error)) => error,
        Err(error) => part("go on after a task broke")(error),
    }
}

async fn sweep(catalog: Catalog, keep_audit: Duration) -> Outcome {
    // Beyond what a date can hold nothing is forgotten.
    let keep_audit = TimeDelta::from_std(keep_audit).unwrap_or(TimeDelta::MAX);
    let mut tick = interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match catalog.sweep(Utc::now()).await {
            Ok(0) => {}
            Ok(count) => info!("Deleted {count} expired sessions, tickets and tokens"),
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not delete expired sessions"
                );
            }
        }
        let Some(oldest) = Utc::now().checked_sub_signed(keep_audit) else {
            continue;
        };
        match catalog.forget_deeds(oldest).await {
            Ok(0) => {}
            Ok(count) => info!("Forgot {count} deeds of the audit trail, which are old"),
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not shorten the audit trail"
                );
            }
        }
    }
}

async fn collect_garbage(args: &Args, gc: GcArgs) -> Result<(), StartError> {
    let blobs = Blobs::open(&args.blobs).map_err(StartError::Data)?;
    let client = Client::try_default()
        .await
        .map_err(StartError::Kubernetes)?;
    let mut out = std::io::stdout();
    let collected = garbage::collect(&client, &args.namespace, &blobs, gc, &mut out);
    collected.await.map_err(StartError::Garbage)
}

/// What a command comes to, or what had not been done when it was told to stop.
async fn unless_stopped(
    end: &'static str,
    command: impl Future<Output = Result<(), StartError>>,
) -> Result<(), StartError> {
    tokio::select! {
        done = command => done,
        () = stop_signal() => Err(StartError::Interrupted(end)),
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

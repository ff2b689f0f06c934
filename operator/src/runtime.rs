//! Wiring: clients, controllers, signals.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bundle::EnvRules;
use catalog::{Blobs, Catalog};
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use crate::app::environment::Environments;
use crate::app::images::Images;
use crate::app::import::{Buckets, Hosts, Importer};
use crate::app::resolve::StoreSettings;
use crate::app::secrets::Readers;
use crate::args::{Args, LogFormat};
use crate::attempts::Attempts;
use crate::error::{Error, chain};
use crate::events::Events;
use crate::freshness::Freshness;
use crate::health::{self, Health, Stage};
use crate::helm::Helm;
use crate::instance::Rollout;
use crate::lease::{self, Election, Leadership};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::{alias, app, gate, instance, watches};

/// How long what runs may take to end after SIGTERM, beyond Helm's own time at the most.
const DRAIN: Duration = Duration::from_secs(50);

/// How long threads may take to end when everything else has.
const END: Duration = Duration::from_millis(500);

/// Runs the operator until SIGTERM or SIGINT.
///
/// # Errors
/// What kept it from starting, or ended it.
pub fn start(args: Args) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System {
            task: "start the runtime".to_owned(),
            source,
        })?;
    let outcome = runtime.block_on(serve(args));
    // Whoever has lost the lease does not wait for the last file to be written, or a name to be found.
    runtime.shutdown_timeout(END);
    outcome
}

/// Prints what went wrong, with its causes and a hint; picks the exit code.
#[must_use]
pub fn report(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", chain(&failure));
            if let Some(hint) = failure.hint() {
                eprintln!("\nhint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::too_many_lines, reason = "every flag is named once")]
async fn serve(args: Args) -> Result<(), Error> {
    let health_address = args.health_address();
    let Args {
        namespace,
        database_url,
        blobs,
        import_dir,
        import_timeout,
        import_hosts,
        import_buckets,
        import_registry_config,
        import_digest_required,
        chart,
        helm,
        helm_timeout,
        helm_concurrency,
        concurrency,
        instance_image,
        runtimes,
        sizes,
        custom_images,
        image_pull_policy,
        instance_store_url,
        ca_config_map,
        mut instance_env,
        instance_secret_env,
        environments,
        instance_oidc,
        instance_disk,
        idle_timeout,
        environment,
        store_url,
        apps_domain,
        max_cache_age,
        lease_name,
        identity,
        health_port: _,
        rollout,
        rollout_at_once,
        max_instances_per_user,
        max_memory_per_user,
        max_versions_per_app,
        log_format,
    } = args;
    log(log_format);
    instance_env.extend(instance_secret_env);
    // Fails only when there is a provider already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let stop = CancellationToken::new();
    let freshness = Arc::new(Freshness::default());
    let metrics = Arc::new(Metrics::new(freshness.clone()));

    let chart_version = chart_version(&chart)?;
    // Helm runs in another folder than we do.
    let chart = absolute(&chart)?;
    let helm = if helm.components().count() > 1 {
        absolute(&helm)?
    } else {
        helm
    };
    let helm_concurrency = helm_concurrency.unwrap_or_else(default_helm_concurrency);
    let leadership = Arc::new(Leadership::default());
    let helm = Helm::new(
        helm,
        chart,
        namespace.clone(),
        helm_timeout,
        helm_concurrency,
        metrics.clone(),
        leadership.clone(),
    );
    let helm_version = helm.check().await?;
    let config = kube::Config::infer()
        .await
        .map_err(|error| Error::Config(Box::new(error)))?;
    // The lease has connections of its own: it must not wait behind anything.
    let mut lease_config = config.clone();
    // The election decides itself when to try again.
    lease_config.default_retry = false;
    let lease_client = Client::try_from(lease_config);
    let lease_client = lease_client.map_err(|error| Error::Config(Box::new(error)))?;
    let lease_client = freshness.poller(&lease_client);
    let client = gate::client(config, leadership.clone());
    let client = client.map_err(|error| Error::Config(Box::new(error)))?;
    let blobs = Blobs::open(&blobs)?;
    let listener = TcpListener::bind(health_address)
        .await
        .map_err(|source| Error::System {
            task: format!("listen on {health_address}"),
            source,
        })?;
    let health = Arc::new(Health::new(
        freshness.clone(),
        max_cache_age,
        metrics.clone(),
    ));
    // Probes are answered from here to the very end.
    let probes = AbortOnDropHandle::new(tokio::spawn(health::serve(
        listener,
        health.clone(),
        CancellationToken::new(),
    )));
    let settings = catalog::Settings::new(database_url);
    let mut signals = Signals::new()?;
    let catalog = tokio::select! {
        catalog = Catalog::open(&settings) => catalog?,
        () = signals.recv() => return Ok(()),
    };
    health.enter(Stage::Listing);

    let events = Arc::new(Events::new(client.clone()));
    let (world, queue) = watches::start(&client, &namespace, &freshness, &leadership);
    metrics.count_instances(world.instances.clone());
    let world = Arc::new(world);
    let limits = Limits {
        instances_per_user: max_instances_per_user,
        memory_per_user: max_memory_per_user,
        versions_per_app: max_versions_per_app,
    };
    let apps = Arc::new(app::Context {
        client: client.clone(),
        namespace: namespace.clone(),
        catalog: catalog.clone(),
        importer: Importer {
            import_dir,
            hosts: Hosts::new(import_hosts),
            buckets: Buckets::new(import_buckets),
            registry_config: import_registry_config,
            digest_required: import_digest_required,
            timeout: import_timeout,
            limits: bundle::Limits::default(),
            rules: EnvRules::default(),
            blobs,
            one_picture: Arc::new(Semaphore::new(1)),
        },
        store: StoreSettings {
            image: instance_image,
            runtimes,
            sizes,
            custom_images: Images::new(custom_images),
            image_pull_policy: image_pull_policy.to_string(),
            store_url: instance_store_url.map_or_else(
                || format!("http://wavestore-internal.{namespace}.svc:8081"),
                |url| url.as_str().trim_end_matches('/').to_owned(),
            ),
            ca_config_map,
            environment: environment
                .unwrap_or_else(|| store_url.as_str().trim_end_matches('/').to_owned()),
            env: instance_env,
            oidc: instance_oidc.read(&store_url, &apps_domain),
            disk: instance_disk,
            idle_timeout,
        },
        world: world.clone(),
        events: events.clone(),
        metrics: metrics.clone(),
        freshness: freshness.clone(),
        errors: Attempts::default(),
        readers: Readers::default(),
        secrets: app::secrets::index::Index::default(),
        environments: Environments::new(environments.limits()),
        limits: limits.clone(),
        stop: stop.clone(),
    });
    let settings = instance::Settings {
        namespace: namespace.clone(),
        store_url,
        apps_domain,
        helm_timeout,
        concurrency,
        limits,
        rollout: Rollout::new(rollout, rollout_at_once.into()),
        chart_version,
    };
    let instances = Arc::new(instance::Context::new(
        client,
        settings,
        helm,
        world,
        events,
        metrics.clone(),
        leadership.clone(),
        stop.clone(),
    ));

    info!(
        helm.version = helm_version,
        helm.concurrency = helm_concurrency,
        "Serving namespace {namespace}"
    );
    let mut tasks = JoinSet::new();
    let controllers = instances.clone();
    let led = leadership.clone();
    tasks.spawn(async move {
        app::run(apps, &led).await;
        "controller of WaveApps"
    });
    tasks.spawn(async move {
        Box::pin(instance::run(controllers, queue)).await;
        "controller of WaveInstances"
    });
    let (named, told, led) = (instances.clone(), freshness, leadership.clone());
    let named_stop = stop.clone();
    tasks.spawn(async move {
        Box::pin(alias::run(named, told, &led, named_stop)).await;
        "controller of WaveAliases"
    });
    let drained = CancellationToken::new();
    let election = {
        let (instances, drained, metrics) = (instances.clone(), drained.clone(), metrics.clone());
        let identity = identity.unwrap_or_else(lease::default_identity);
        tokio::spawn(async move {
            tokio::select! {
                // Who has not seen everything yet does not stand.
                () = instances.world.synced() => {}
                () = drained.cancelled() => return Ok(()),
            }
            let election = Election {
                api: Api::namespaced(lease_client, &namespace),
                name: lease_name,
                identity,
                leadership: &leadership,
            };
            let told = async {
                leadership.begun().await;
                metrics.leader(true);
                std::future::pending::<()>().await;
            };
            let ended = tokio::select! {
                ended = election.run(&drained) => ended,
                () = told => Ok(()),
            };
            metrics.leader(false);
            ended
        })
    };
    let mut election = AbortOnDropHandle::new(election);
    tokio::select! {
        // Tasks, and the Helms that they run, end where they are.
        ended = &mut election => {
            drop(tasks);
            return Err(lost(ended));
        }
        outcome = supervise(&mut tasks, &mut signals, &instances, &health, &stop) => outcome?,
    }
    drained.cancel();
    if let Ok(Err(lost)) = election.await {
        warn!(
            error = &lost as &dyn std::error::Error,
            "Lost the lease at the very end"
        );
    }
    drop(probes);
    catalog.close().await;
    Ok(())
}

/// What asks the process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let signals = |kind| {
            signal(kind).map_err(|source| Error::System {
                task: "listen for signals".to_owned(),
                source,
            })
        };
        Ok(Self {
            terminate: signals(SignalKind::terminate())?,
            interrupt: signals(SignalKind::interrupt())?,
        })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits for a signal, then for what runs to end. A controller that ends before is an error.
async fn supervise(
    tasks: &mut JoinSet<&'static str>,
    signals: &mut Signals,
    instances: &instance::Context,
    health: &Health,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut synced = std::pin::pin!(instances.world.synced());
    let mut is_synced = false;
    loop {
        tokio::select! {
            ended = tasks.join_next() => return Err(ended_early(ended)),
            () = signals.recv() => break,
            () = &mut synced, if !is_synced => {
                is_synced = true;
                health.enter(Stage::Serving);
                info!("Ready: all watches have listed what there is");
            }
        }
    }
    info!("Stopping: no new work; what runs may end");
    health.enter(Stage::Stopping);
    stop.cancel();
    let drained = tokio::time::timeout(DRAIN, async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(panic) = ended {
                error!(
                    error = &panic as &dyn std::error::Error,
                    "A controller broke"
                );
            }
        }
    })
    .await;
    match drained {
        Ok(()) => info!("Stopped"),
        Err(_elapsed) => {
            error!("Stopped with Helm still at work");
            // It is killed before another may lead.
            let _ = tokio::time::timeout(END, tasks.shutdown()).await;
        }
    }
    Ok(())
}

/// Why there is no going on without the election.
fn lost(ended: Result<Result<(), lease::Error>, JoinError>) -> Error {
    match ended {
        Ok(Ok(())) => Error::Ended("election"),
        Ok(Err(lost)) => lost.into(),
        Err(panic) => after(panic),
    }
}

fn after(panic: JoinError) -> Error {
    Error::System {
        task: "go on after a panic".to_owned(),
        source: panic.into(),
    }
}

fn ended_early(ended: Option<Result<&'static str, JoinError>>) -> Error {
    match ended {
        Some(Ok(name)) => Error::Ended(name),
        Some(Err(panic)) => after(panic),
        None => Error::Ended("controllers"),
    }
}

/// Version of the chart in a folder.
fn chart_version(chart: &Path) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Chart {
        version: String,
    }
    let file = chart.join("Chart.yaml");
    let no_chart = || Error::NoChart(chart.display().to_string());
    let text = std::fs::read_to_string(&file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => no_chart(),
        _ => Error::System {
            task: format!("read `{}`", file.display()),
            source,
        },
    })?;
    let chart: Chart = serde_saphyr::from_str(&text).map_err(|_| no_chart())?;
    Ok(chart.version)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::System {
        task: format!("find `{}`", path.display()),
        source,
    })
}

/// Memory that one Helm takes, with some reserve.
const HELM_BYTES: u64 = 64 << 20;

/// Memory of the container that is not Helm's.
const OWN_BYTES: u64 = 128 << 20;

/// How many Helms a machine like this one bears.
fn default_helm_concurrency() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max");
    helm_concurrency(cores, limit.ok().and_then(|text| text.trim().parse().ok()))
}

/// Helm is bound by CPU, but waits for the API server in between. One too many, and the kernel kills us all.
fn helm_concurrency(cores: usize, memory_limit: Option<u64>) -> u16 {
    let by_cores = u16::try_from(cores.saturating_mul(4).min(16)).unwrap_or(16);
    let by_memory = memory_limit.map_or(u64::MAX, |limit| {
        limit.saturating_sub(OWN_BYTES) / HELM_BYTES
    });
    by_cores
        .min(u16::try_from(by_memory).unwrap_or(u16::MAX))
        .max(1)
}

fn log(format: LogFormat) {
    // kube's own span around each reconciliation repeats what ours says.
    let quiet = "kube_runtime=warn,kube_client=warn,sqlx=warn,sea_orm_migration=warn";
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(format!("{quiet},{wanted}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("{quiet},info")));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(colours).init(),
        LogFormat::Json => log
            .json()
            .flatten_event(true)
            // The innermost span says it all.
            .with_span_list(false)
            .init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helms_fit_into_the_container() {
        let cases = [
            ("no limit", 2, None, 8),
            ("a large machine without a limit", 64, None, 16),
            ("the chart's limit", 64, Some(512 << 20), 6),
            ("more memory", 64, Some(2 << 30), 16),
            ("hardly any memory", 64, Some(64 << 20), 1),
        ];
        for (name, cores, limit, expected) in cases {
            assert_eq!(helm_concurrency(cores, limit), expected, "{name}");
        }
    }
}

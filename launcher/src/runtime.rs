//! Wires everything: signals, probes, the page, the reaper, and the steps from bundle to running app.

use std::env;
use std::io;
use std::mem;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::args::{BuildArgs, Task};
use crate::build;
use crate::certificates;
use crate::environment::{self, EnvironmentKey};
use crate::error::{Error, told};
use crate::family::Family;
use crate::front::Front;
use crate::http1;
use crate::output::Output;
use crate::phase::{Board, Phase};
use crate::probes;
use crate::process::Host;
use crate::settings::{App, Settings, Site};
use crate::signals::StopSignals;
use crate::sourcing;
use crate::supervise::Supervisor;
use crate::termination;

/// The launcher waits for other processes most of the time; one thread answers while the other works.
const THREADS: usize = 2;

/// Longest wait for what cannot be interrupted, such as unpacking.
const LEAVE: Duration = Duration::from_secs(1);

/// Code of a launcher that was asked to stop: 128 + SIGTERM. With 0 Kubernetes would call a pod that its node has evicted
/// `Succeeded`, and forget why.
const STOPPED: u8 = 143;

/// Does what the launcher is asked to: runs an app until that ends or a signal comes, or builds an environment. Returns the
/// process's exit code.
///
/// # Errors
/// Whatever keeps it from that. It is in the termination message too.
pub fn start(task: Task) -> Result<ExitCode, Error> {
    let variables = env::vars_os().collect();
    match task {
        Task::Run(args) => {
            let mut settings = Settings::new(*args, variables)?;
            let result = begin(&mut settings.site).and_then(|()| execute(run(&settings)));
            end(&settings.site, result)?;
            Ok(ExitCode::from(STOPPED))
        }
        Task::Build(args) => {
            let BuildArgs {
                site,
                environment_key,
            } = *args;
            let mut site = Site::new(site, variables);
            let result = begin(&mut site).and_then(|()| execute(build(&site, environment_key)));
            let report = end(&site, result)?;
            termination::write(&site.termination_log, &report);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn begin(site: &mut Site) -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_env_filter(site.log.clone())
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    let variables = mem::take(&mut site.variables);
    site.variables = certificates::trust(variables, &site.ca_file, &site.folders.scratch)?;
    Ok(())
}

fn end<T>(site: &Site, result: Result<T, Error>) -> Result<T, Error> {
    if let Err(error) = &result {
        termination::write(&site.termination_log, &termination::message(error));
    }
    result
}

fn execute<T>(task: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(setup("the runtime"))?;
    let result = runtime.block_on(task);
    runtime.shutdown_timeout(LEAVE);
    result
}

fn setup(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Setup { what, source }
}

/// What goes on beside a task until that has ended.
struct Attended {
    host: Host,
    /// Cancelled by a signal.
    stop: CancellationToken,
    /// Cancelled when all that attends is to end.
    leave: CancellationToken,
    tasks: TaskTracker,
}

impl Attended {
    /// Listens for signals, and adopts orphans.
    fn begin(site: &Site) -> Result<Self, Error> {
        if let Err(error) = Family::adopt() {
            debug!("Orphans go to another process: {error}");
        }
        let host = Host {
            family: Arc::new(Family::default()),
            output: Output::start(),
            cgroups: site.cgroups.clone(),
        };
        let signals = StopSignals::listen().map_err(setup("the signals"))?;
        let reaper = Arc::clone(&host.family)
            .reaper()
            .map_err(setup("the reaper of orphans"))?;
        let attended = Self {
            host,
            stop: CancellationToken::new(),
            leave: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let Self {
            stop, leave, tasks, ..
        } = &attended;
        tasks.spawn(signals.cancel(stop.clone()));
        tasks.spawn(reaper.run(leave.clone()));
        Ok(attended)
    }

    /// Ends it, after the last line of every process.
    async fn end(self) {
        self.stop.cancel();
        self.leave.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.host.output.finish().await;
    }
}

async fn run(settings: &Settings) -> Result<(), Error> {
    info!(instance.id = settings.instance, bundle.digest = %settings.site.digest, "Starting");
    let board = Arc::new(Board::new());
    let attended = Attended::begin(&settings.site)?;
    let relay_to = match &settings.app {
        App::Wave { .. } => None,
        App::Python { port, .. } => Some(*port),
    };
    let mut front = Front::new(settings.port, relay_to, board.watch());
    front.open().await?;
    let port = settings.health_port;
    let probes = http1::listen(port)
        .await
        .map_err(|source| Error::Listen { port, source })?;
    let leave = attended.leave.clone();
    attended
        .tasks
        .spawn(probes::serve(probes, board.watch(), leave));

    let result = work(settings, &attended, &board, &mut front).await;

    match &result {
        Ok(()) => board.stopping(),
        Err(error) => board.failed(&told(error)),
    }
    front.close().await;
    attended.end().await;
    result
}

/// Builds an environment; returns what the operator is to know of it.
async fn build(site: &Site, key: EnvironmentKey) -> Result<String, Error> {
    let attended = Attended::begin(site)?;
    let result = tokio::select! {
        biased;
        () = attended.stop.cancelled() => Err(Error::Stopped),
        built = build::build(site, &key, &attended.host) => built,
    };
    attended.end().await;
    result
}

/// Everything from the bundle to the app's end.
async fn work(
    settings: &Settings,
    Attended { host, stop, .. }: &Attended,
    board: &Arc<Board>,
    front: &mut Front,
) -> Result<(), Error> {
    let prepare = async {
        board.enter(Phase::Sourcing);
        sourcing::source(settings, board).await?;
        board.enter(Phase::Installing);
        environment::prepare(settings, host, board).await
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(()),
        prepared = prepare => prepared?,
    }
    let supervisor = Supervisor {
        settings,
        host,
        board,
        stop,
    };
    supervisor.run(front).await
}

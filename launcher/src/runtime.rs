//! Wires everything: signals, probes, the page, the reaper, and the steps from bundle to running app.

use std::env;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::args::Args;
use crate::certificates;
use crate::environment;
use crate::error::{Error, chain};
use crate::family::Family;
use crate::front::Front;
use crate::http1;
use crate::output::Output;
use crate::phase::{Board, Phase};
use crate::probes;
use crate::process::Host;
use crate::settings::{App, Settings};
use crate::signals::StopSignals;
use crate::sourcing;
use crate::supervise::Supervisor;
use crate::termination;

/// The launcher waits for other processes most of the time; one thread answers while the other works.
const THREADS: usize = 2;

/// Longest wait for what cannot be interrupted, such as unpacking.
const LEAVE: Duration = Duration::from_secs(1);

/// Runs the launcher until its app ends or a signal comes.
///
/// # Errors
/// Whatever keeps the app from running. It is in the termination message too.
pub fn start(args: Args) -> Result<(), Error> {
    let mut settings = Settings::new(args, env::vars_os().collect())?;
    tracing_subscriber::fmt()
        .with_env_filter(settings.log.clone())
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    let result = trust(&mut settings).and_then(|()| execute(&settings));
    if let Err(error) = &result {
        termination::write(&settings.termination_log, error);
    }
    result
}

fn trust(settings: &mut Settings) -> Result<(), Error> {
    let variables = mem::take(&mut settings.variables);
    settings.variables =
        certificates::trust(variables, &settings.ca_file, &settings.folders.scratch)?;
    Ok(())
}

fn execute(settings: &Settings) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(setup("the runtime"))?;
    let result = runtime.block_on(run(settings));
    runtime.shutdown_timeout(LEAVE);
    result
}

fn setup(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Setup { what, source }
}

async fn run(settings: &Settings) -> Result<(), Error> {
    info!(instance.id = settings.instance, bundle.digest = %settings.digest, "Starting");
    if let Err(error) = Family::adopt() {
        debug!("Orphans go to another process: {error}");
    }
    let board = Arc::new(Board::new());
    let host = Host {
        family: Arc::new(Family::default()),
        output: Output::start(),
    };
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
    let signals = StopSignals::listen().map_err(setup("the signals"))?;
    let reaper = Arc::clone(&host.family)
        .reaper()
        .map_err(setup("the reaper of orphans"))?;

    let stop = CancellationToken::new();
    let leave = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(signals.cancel(stop.clone()));
    tasks.spawn(reaper.run(leave.clone()));
    tasks.spawn(probes::serve(probes, board.watch(), leave.clone()));

    let result = work(settings, &host, &board, &mut front, &stop).await;

    match &result {
        Ok(()) => board.stopping(),
        Err(error) => board.failed(&chain(error)),
    }
    front.close().await;
    stop.cancel();
    leave.cancel();
    tasks.close();
    tasks.wait().await;
    host.output.finish().await;
    result
}

/// Everything from the bundle to the app's end.
async fn work(
    settings: &Settings,
    host: &Host,
    board: &Arc<Board>,
    front: &mut Front,
    stop: &CancellationToken,
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

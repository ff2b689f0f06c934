//! Keeps the app running: waved and the app as one pair, started and stopped together.
//!
//! A restarted app heals by itself, but to a restarted waved no app ever registers again; so whichever
//! dies, both are started again.

mod policy;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backoff;
use crate::commands::{self, Keys};
use crate::environment::Places;
use crate::error::Error;
use crate::front::Front;
use crate::phase::{Board, Phase};
use crate::process::{Host, OnLine, Process};
use crate::reason::{self, Who};
use crate::settings::{App, Settings};
use crate::sockets;
use crate::wave_log;

use policy::{History, Next, Policy};

/// How long waved may take until it listens. It does nothing before but read its settings, and ask the OIDC
/// provider where there is one.
const SERVER_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the other half may take to stop before both are started again.
const RESTART_GRACE: Duration = Duration::from_secs(5);

/// Time between two looks at a port that does not listen yet, and at one that does.
const LOOK_EARLY: Duration = Duration::from_millis(50);
const LOOK_LATER: Duration = Duration::from_secs(1);

/// What supervision needs.
pub(crate) struct Supervisor<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) host: &'a Host,
    pub(crate) board: &'a Board,
    pub(crate) stop: &'a CancellationToken,
}

/// The processes of one attempt.
#[derive(Default)]
struct Pair {
    server: Option<Process>,
    app: Option<Process>,
}

/// Why one attempt ended.
#[derive(Debug)]
struct Crash {
    reason: String,
    hint: Option<String>,
    code: u8,
    ready_for: Option<Duration>,
}

impl Crash {
    /// Cause and fix on one line.
    fn told(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} (hint: {hint})", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// What happened to the pair.
enum Event {
    Exited(Who),
    ServerSilent,
    AppSilent(Duration),
}

impl Supervisor<'_> {
    /// Runs the app until the launcher is to stop, or until the app proves that it cannot start.
    pub(crate) async fn run(&self, front: &mut Front) -> Result<(), Error> {
        let policy = Policy {
            start_attempts: self.settings.start_attempts,
            first_delay: self.settings.restart_delay,
            longest_delay: self.settings.longest_restart_delay,
            ..Policy::default()
        };
        let mut history = History::default();
        loop {
            front.hand_over().await;
            let Some(crash) = self.attempt().await? else {
                return Ok(());
            };
            let (now, next) = policy.next(history, crash.ready_for);
            history = now;
            match next {
                Next::GiveUp => {
                    error!(
                        "Giving up after {} attempts: {}",
                        history.failures, crash.reason
                    );
                    let Crash {
                        reason, hint, code, ..
                    } = crash;
                    return Err(Error::App { reason, hint, code });
                }
                Next::Retry { after } => {
                    warn!("Starting again in {after:?}: {}", crash.reason);
                    if let Err(error) = front.open().await {
                        // Visitors see no page meanwhile; waved will say what is wrong with the port.
                        warn!("{error}");
                    }
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => return Ok(()),
                        () = backoff::pause(after) => {}
                    }
                }
            }
        }
    }

    /// Starts the pair and watches it. `None` when the launcher is to stop.
    async fn attempt(&self) -> Result<Option<Crash>, Error> {
        let mut pair = Pair::default();
        let mut ready_since = None;
        let event = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            event = self.drive(&mut pair, &mut ready_since) => Some(event),
        };
        let Some(event) = event else {
            self.board.stopping();
            pair.stop(Instant::now() + self.settings.grace).await;
            self.host.family.sweep().await;
            return Ok(None);
        };
        let ready_for = ready_since.map(|since: Instant| since.elapsed());
        let crash = match event {
            Err(error) => Err(error),
            Ok(event) => Ok(pair.crash(event, ready_for).await),
        };
        if let Ok(crash) = &crash {
            self.board.restarting(&crash.told());
        }
        let grace = RESTART_GRACE.min(self.settings.grace);
        pair.stop(Instant::now() + grace).await;
        self.host.family.sweep().await;
        crash.map(Some)
    }

    /// Starts one after the other, then tells when the app is ready, until something happens.
    async fn drive(
        &self,
        pair: &mut Pair,
        ready_since: &mut Option<Instant>,
    ) -> Result<Event, Error> {
        let mut random = [0; 48];
        getrandom::fill(&mut random).map_err(|error| Error::Setup {
            what: "the access keys",
            source: error.into(),
        })?;
        let keys = Keys::new(&random);
        let (registration, registered) = watch::channel(false);

        if let App::Wave { base_url, .. } = &self.settings.app {
            self.board.enter(Phase::StartingServer);
            let on_line: OnLine = Arc::new(move |line: &str| {
                if let Some(registered) = wave_log::registration(line) {
                    registration.send_replace(registered);
                }
            });
            let plan = commands::waved(self.settings, base_url, &keys);
            let server = pair
                .server
                .insert(Process::start(&plan, self.host, &on_line)?);
            tokio::select! {
                biased;
                _ = server.exited() => return Ok(Event::Exited(Who::Server)),
                () = until_listening(self.settings.port) => {}
                () = backoff::pause(SERVER_TIMEOUT) => return Ok(Event::ServerSilent),
            }
        } else {
            registration.send_replace(true);
        }

        self.board.enter(Phase::StartingApp);
        let places = Places::find(&self.settings.site.folders.venv);
        let plan = commands::app(self.settings, &keys, &places);
        let nothing: OnLine = Arc::new(|_: &str| ());
        pair.app = Some(Process::start(&plan, self.host, &nothing)?);
        tokio::select! {
            biased;
            who = pair.exited() => Ok(Event::Exited(who)),
            () = self.tell_readiness(registered, ready_since) => {
                Ok(Event::AppSilent(self.settings.silence))
            }
        }
    }

    /// Tells, again and again, whether the app answers, until it was silent for too long. One that is still starting may take
    /// its time, and so may one that hangs: it may be at work.
    async fn tell_readiness(
        &self,
        mut registered: watch::Receiver<bool>,
        ready_since: &mut Option<Instant>,
    ) {
        // A Wave app registers first and listens a moment later.
        let port = match &self.settings.app {
            App::Wave { .. } => self.settings.internal_port,
            App::Python { port, .. } => *port,
        };
        let begun = Instant::now();
        let mut is_slow = false;
        let mut was_up = false;
        let mut was_hanging = false;
        let mut silent_since = None;
        let mut queue = Queue::default();
        loop {
            let is_registered = *registered.borrow_and_update();
            let is_there = is_registered && sockets::is_listening(port);
            let wait = queue.longest_wait(&sockets::waiting(port), Instant::now());
            let hangs = is_there && ready_since.is_some() && wait >= self.settings.silence;
            let is_up = is_there && !hangs;
            if is_up && !was_up {
                ready_since.get_or_insert_with(Instant::now);
                self.board.running();
                info!(instance.id = self.settings.instance, "The app is ready");
            } else if was_up && hangs {
                let message = format!(
                    "the app has let somebody wait for {:?}, though it runs: it hangs, or is busy without a pause (hint: let long work \
                     run beside, in a thread or by `q.run` of h2o_wave)",
                    self.settings.silence
                );
                self.board.hanging(&message);
                warn!("{message}");
            } else if !is_there && (was_up || was_hanging) {
                self.board.lost("the app does not answer any more");
                warn!("The app does not answer any more");
                silent_since = Some(Instant::now());
            } else if ready_since.is_none()
                && !is_slow
                && begun.elapsed() >= self.settings.slow_start
            {
                is_slow = true;
                let lack = self.settings.app.lack(is_registered, port);
                let message = format!(
                    "the app has run for {:?} and {lack}",
                    self.settings.slow_start
                );
                self.board.slow(&message);
                warn!("{message}");
            }
            if is_there {
                silent_since = None;
            } else if silent_since.is_some_and(|since| since.elapsed() >= self.settings.silence) {
                return;
            }
            was_up = is_up;
            was_hanging = hangs;
            let look = backoff::pause(if is_there { LOOK_LATER } else { LOOK_EARLY });
            tokio::select! {
                () = look => {}
                Ok(()) = registered.changed() => {}
            }
        }
    }
}

/// Those who wait to be let in by the app.
#[derive(Default)]
struct Queue {
    /// One of them, and since when. They are let in one after the other, so as long as this one waits nobody is.
    first: Option<(String, Instant)>,
}

impl Queue {
    /// How long one has been waiting at least, of those who are `waiting` now.
    fn longest_wait(&mut self, waiting: &[String], now: Instant) -> Duration {
        self.first = self
            .first
            .take()
            .filter(|(who, _)| waiting.contains(who))
            .or_else(|| Some((waiting.first()?.clone(), now)));
        let since = self.first.as_ref().map_or(now, |(_, since)| *since);
        now - since
    }
}

impl Pair {
    /// Waits until one of them ends.
    async fn exited(&mut self) -> Who {
        let Self { server, app } = self;
        tokio::select! {
            biased;
            () = end_of(app) => Who::App,
            () = end_of(server) => Who::Server,
        }
    }

    /// Tells why the pair ended, with the last lines of the one that ended it.
    async fn crash(&mut self, event: Event, ready_for: Option<Duration>) -> Crash {
        let who = match event {
            Event::Exited(who) => who,
            Event::ServerSilent => {
                return Crash {
                    reason: format!("the Wave server did not listen within {SERVER_TIMEOUT:?}"),
                    hint: Some("does the OIDC provider answer?".to_owned()),
                    code: 1,
                    ready_for,
                };
            }
            Event::AppSilent(silence) => {
                return Crash {
                    reason: format!("the app did not answer for {silence:?}, though it runs"),
                    hint: None,
                    code: 1,
                    ready_for,
                };
            }
        };
        let process = match who {
            Who::Server => self.server.take(),
            Who::App => self.app.take(),
        };
        let ended = process.expect("what ended was started").finish().await;
        let reason = reason::describe(who, &ended);
        Crash {
            hint: reason::hint(&ended, &reason),
            // An app that ends by itself has failed, whatever it says.
            code: ended.exit.code().max(1),
            reason,
            ready_for,
        }
    }

    /// Stops the app, then waved, since the app takes leave of it. Kills what is left at `until`.
    async fn stop(&mut self, until: Instant) {
        if let Some(mut app) = self.app.take() {
            let exit = app.stop(until).await;
            info!("The app has stopped: it {exit}");
        }
        if let Some(mut server) = self.server.take() {
            // Even after an app that took all the time.
            let until = until.max(Instant::now() + Duration::from_millis(500));
            let exit = server.stop(until).await;
            info!("The Wave server has stopped: it {exit}");
        }
    }
}

async fn end_of(process: &mut Option<Process>) {
    match process {
        Some(process) => {
            process.exited().await;
        }
        None => std::future::pending().await,
    }
}

async fn until_listening(port: u16) {
    while !sockets::is_listening(port) {
        backoff::pause(LOOK_EARLY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_let_in_waits_longer_and_longer() {
        let start = Instant::now();
        let mut queue = Queue::default();
        let cases = [
            ("nobody", 0, vec![], 0),
            ("the first comes", 1, vec!["a"], 0),
            ("another behind", 11, vec!["b", "a"], 10),
            (
                "the first is let in, the other counts anew",
                12,
                vec!["b"],
                0,
            ),
            (
                "a busy app: always somebody, always another",
                13,
                vec!["c"],
                0,
            ),
            ("it hangs", 73, vec!["d", "c"], 60),
            ("it goes on", 74, vec![], 0),
        ];
        for (name, second, waiting, expected) in cases {
            let waiting: Vec<String> = waiting.into_iter().map(str::to_owned).collect();
            let wait = queue.longest_wait(&waiting, start + Duration::from_secs(second));
            assert_eq!(wait, Duration::from_secs(expected), "{name}");
        }
    }
}

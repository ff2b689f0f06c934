//! `Phase` and `Board`: where the instance stands, for probes, the page and the operator.

use serde::Serialize;
use tokio::sync::watch;

/// Where the instance stands, in words that its users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr)]
pub(crate) enum Phase {
    /// The launcher has just begun.
    #[serde(rename = "Starting")]
    #[strum(serialize = "Starting")]
    Starting,
    /// The bundle is fetched and unpacked.
    #[serde(rename = "Sourcing The Wave Application")]
    #[strum(serialize = "Sourcing The Wave Application")]
    Sourcing,
    /// uv makes the environment.
    #[serde(rename = "Installing Application Dependencies")]
    #[strum(serialize = "Installing Application Dependencies")]
    Installing,
    /// waved is started.
    #[serde(rename = "Starting The Wave Server")]
    #[strum(serialize = "Starting The Wave Server")]
    StartingServer,
    /// The app is started.
    #[serde(rename = "Starting The Application")]
    #[strum(serialize = "Starting The Application")]
    StartingApp,
    /// The app answers.
    #[serde(rename = "Running")]
    #[strum(serialize = "Running")]
    Running,
    /// Something died and is started again.
    #[serde(rename = "Restarting The Application")]
    #[strum(serialize = "Restarting The Application")]
    Restarting,
    /// It runs, and lets nobody in.
    #[serde(rename = "Not Responding")]
    #[strum(serialize = "Not Responding")]
    Hanging,
    /// The pod ends.
    #[serde(rename = "Stopping")]
    #[strum(serialize = "Stopping")]
    Stopping,
}

impl Phase {
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the app is on its way to its first answer. What is started again never is: its phase says that.
    pub(crate) fn is_first_start(self) -> bool {
        match self {
            Self::Starting
            | Self::Sourcing
            | Self::Installing
            | Self::StartingServer
            | Self::StartingApp => true,
            Self::Running | Self::Restarting | Self::Hanging | Self::Stopping => false,
        }
    }
}

/// The answer to `GET /phase`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// What is going on, or why the app failed last.
    pub(crate) message: Option<String>,
    pub(crate) ready: bool,
    /// How often the app was started again.
    pub(crate) restarts: u32,
}

/// The one place where the status is kept. Writers move it on, readers hold a receiver.
#[derive(Debug)]
pub(crate) struct Board(watch::Sender<Status>);

impl Board {
    pub(crate) fn new() -> Self {
        let (sender, _) = watch::channel(Status {
            phase: Phase::Starting,
            message: None,
            ready: false,
            restarts: 0,
        });
        Self(sender)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.0.subscribe()
    }

    /// A step begins. While the app is started again the phase stays, and with it the reason.
    pub(crate) fn enter(&self, phase: Phase) {
        self.0.send_modify(|status| {
            status.ready = false;
            if status.phase != Phase::Restarting {
                status.phase = phase;
                status.message = None;
            }
        });
    }

    /// Something to tell about the step that goes on.
    pub(crate) fn tell(&self, message: &str) {
        self.0
            .send_modify(|status| status.message = Some(message.to_owned()));
    }

    /// The step that goes on takes long. While the app is started again, the reason for that says more.
    pub(crate) fn slow(&self, message: &str) {
        self.0.send_if_modified(|status| {
            let tells = status.phase != Phase::Restarting;
            if tells {
                status.message = Some(message.to_owned());
            }
            tells
        });
    }

    /// The app answers.
    pub(crate) fn running(&self) {
        self.0.send_modify(|status| {
            status.phase = Phase::Running;
            status.message = None;
            status.ready = true;
        });
    }

    /// The app answers no more, though its process lives.
    pub(crate) fn lost(&self, reason: &str) {
        self.0.send_modify(|status| {
            status.phase = Phase::Restarting;
            status.message = Some(reason.to_owned());
            status.ready = false;
        });
    }

    /// The app listens, and lets nobody in.
    pub(crate) fn hanging(&self, reason: &str) {
        self.lost(reason);
        self.0.send_modify(|status| status.phase = Phase::Hanging);
    }

    /// The app died and will be started again.
    pub(crate) fn restarting(&self, reason: &str) {
        self.lost(reason);
        self.0.send_modify(|status| status.restarts += 1);
    }

    /// The pod ends. Final.
    pub(crate) fn stopping(&self) {
        self.0.send_modify(|status| {
            status.phase = Phase::Stopping;
            status.message = None;
            status.ready = false;
        });
    }

    /// The launcher gives up.
    pub(crate) fn failed(&self, reason: &str) {
        self.0.send_modify(|status| {
            status.message = Some(reason.to_owned());
            status.ready = false;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_crash_stays_until_the_app_runs_again() {
        let board = Board::new();
        let seen = board.watch();
        board.enter(Phase::StartingApp);
        board.restarting("the app ended with code 1");
        board.enter(Phase::StartingServer);
        board.enter(Phase::StartingApp);
        assert_eq!(
            *seen.borrow(),
            Status {
                phase: Phase::Restarting,
                message: Some("the app ended with code 1".to_owned()),
                ready: false,
                restarts: 1,
            }
        );
        board.running();
        assert_eq!(
            serde_json::to_string(&*seen.borrow()).unwrap(),
            r#"{"phase":"Running","message":null,"ready":true,"restarts":1}"#
        );
    }

    #[test]
    fn phases_have_the_words_that_users_know() {
        for phase in [Phase::Sourcing, Phase::Installing, Phase::StartingServer] {
            let json = serde_json::to_value(phase).unwrap();
            assert_eq!(json, phase.as_str());
        }
    }
}

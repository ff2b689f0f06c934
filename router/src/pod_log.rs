//! The last lines that a crashed app has logged, for its owner.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use moka::future::Cache;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use crate::table::Route;

/// The container of every instance's pod.
pub(crate) const CONTAINER: &str = "app";

/// How much is read and shown.
const LINES: i64 = 40;
const BYTES: i64 = 16 * 1024;
const LINE_CHARS: usize = 400;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long lines are shown before they are read again.
const FRESH: Duration = Duration::from_secs(3);

/// Readings at once, and pods whose lines are kept.
const READINGS: usize = 4;
const CAPACITY: u64 = 500;

/// Reads what pods have logged.
#[derive(Clone)]
pub(crate) struct PodLogs {
    api: Api<Pod>,
    kept: Cache<String, Arc<str>>,
    readings: Arc<Semaphore>,
}

impl std::fmt::Debug for PodLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodLogs").finish_non_exhaustive()
    }
}

impl PodLogs {
    /// For the pods of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        let kept = Cache::builder().max_capacity(CAPACITY).time_to_live(FRESH);
        Self {
            api: Api::namespaced(client, namespace),
            kept: kept.build(),
            readings: Arc::new(Semaphore::new(READINGS)),
        }
    }

    /// The last lines of an instance that fails; none when there are none, or nobody can tell now.
    pub(crate) async fn last_lines(&self, route: &Route) -> Option<Arc<str>> {
        let pod = route.pods.last()?;
        let lines = self.kept.get_with_by_ref(pod, self.read(pod)).await;
        (!lines.is_empty()).then_some(lines)
    }

    /// Reads the container that runs, or that ended when none has said anything yet.
    async fn read(&self, pod: &str) -> Arc<str> {
        let Ok(_turn) = self.readings.try_acquire() else {
            return "".into();
        };
        for previous in [false, true] {
            let params = LogParams {
                container: Some(CONTAINER.to_owned()),
                tail_lines: Some(LINES),
                limit_bytes: Some(BYTES),
                previous,
                ..LogParams::default()
            };
            match timeout(PATIENCE, self.api.logs(pod, &params)).await {
                Ok(Ok(text)) if !text.trim().is_empty() => return clean(&text).into(),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => debug!(
                    error = &error as &dyn std::error::Error,
                    "Could not read the log of pod {pod}"
                ),
                Err(_elapsed) => return "".into(),
            }
        }
        "".into()
    }
}

/// Lines without colours and other control characters, none of them longer than a screen takes.
fn clean(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let limit = usize::try_from(LINES).unwrap_or_default();
    for line in text.lines().take(limit) {
        let mut letters = line.chars();
        let mut length = 0;
        while let Some(letter) = letters.next() {
            if length == LINE_CHARS {
                plain.push('…');
                break;
            }
            match letter {
                // `ESC [ ... letter`, by which terminals are told of colours.
                '\u{1b}' => drop(letters.find(char::is_ascii_alphabetic)),
                '\t' => plain.push(' '),
                letter if letter.is_control() => continue,
                letter => plain.push(letter),
            }
            length += 1;
        }
        plain.push('\n');
    }
    plain.truncate(plain.trim_end().len());
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_plain_and_bounded() {
        let cases = [
            ("one\ntwo\n", "one\ntwo".to_owned()),
            (
                "\u{1b}[31mred\u{1b}[0m and \u{7}bell\tend\r\n",
                "red and bell end".to_owned(),
            ),
            ("<script>", "<script>".to_owned()),
            ("unfinished \u{1b}[", "unfinished ".trim_end().to_owned()),
        ];
        for (text, expected) in cases {
            assert_eq!(clean(text), expected, "{text:?}");
        }
        let long = clean(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), LINE_CHARS + 1);
        assert_eq!(clean(&"x\n".repeat(1000)).lines().count(), 40);
    }
}

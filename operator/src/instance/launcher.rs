//! Asks the launcher in the pod for its phase. Its answer is a stranger's: bounded, and cleaned.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

/// Longest time that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes of an answer.
const ANSWER_BYTES: usize = 16 << 10;

/// Most characters of a phase.
const PHASE_CHARS: usize = 64;

/// Most characters of a message.
const MESSAGE_CHARS: usize = 1024;

/// What the launcher says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Answer {
    /// The phase, in words for people.
    #[serde(default)]
    pub(crate) phase: String,
    /// What is wrong, if something is.
    #[serde(default)]
    pub(crate) message: Option<String>,
    /// How often the app was started again.
    #[serde(default)]
    pub(crate) restarts: u32,
}

/// The way to all launchers.
pub(crate) struct Launchers {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Launchers {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        Self {
            // Pods come and go; a pool would only keep sockets to those that went.
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector),
        }
    }

    /// What the launcher at this address says; nothing when it does not answer in time or in form.
    pub(crate) async fn ask(&self, ip: &str) -> Option<Answer> {
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        let uri = format!("http://{host}:{}/phase", crds::HEALTH_PORT);
        tokio::time::timeout(TIMEOUT, self.fetch(&uri))
            .await
            .ok()
            .flatten()
    }

    async fn fetch(&self, uri: &str) -> Option<Answer> {
        let request = Request::get(uri).body(Empty::new()).ok()?;
        let response = self.client.request(request).await.ok()?;
        if response.status() != StatusCode::OK {
            return None;
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES);
        parse(&body.collect().await.ok()?.to_bytes())
    }
}

fn parse(body: &[u8]) -> Option<Answer> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    Some(Answer {
        phase: clean(&answer.phase, PHASE_CHARS),
        message: answer
            .message
            .map(|message| clean(&message, MESSAGE_CHARS))
            .filter(|message| !message.is_empty()),
        restarts: answer.restarts,
    })
}

/// Text of a stranger, without control characters and not longer than `chars`. Lines become one.
pub(crate) fn clean(text: &str, chars: usize) -> String {
    let cleaned: String = text
        .chars()
        .map(|char| if char == '\n' { ' ' } else { char })
        .filter(|char| !char.is_control() && !is_format(*char))
        .take(chars)
        .collect();
    cleaned.trim().to_owned()
}

/// Characters that are not seen but turn or hide what is.
fn is_format(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = parse(
            br#"{"phase":"Starting The Application","message":null,"ready":false,"restarts":2}"#,
        );
        let expected = Answer {
            phase: "Starting The Application".to_owned(),
            message: None,
            restarts: 2,
        };
        assert_eq!(answer, Some(expected));
    }

    #[test]
    fn a_hostile_answer_is_cut_and_cleaned() {
        let body = serde_json::json!({
            "phase": "\u{1b}[31mRed\u{202e}\n".repeat(50),
            "message": "x".repeat(9000),
        });
        let answer = parse(body.to_string().as_bytes()).expect("an answer");
        assert_eq!(answer.phase.len(), "[31mRed ".len() * 8 - 1);
        assert!(answer.phase.starts_with("[31mRed [31mRed"));
        assert_eq!(
            answer.message.map(|message| message.len()),
            Some(MESSAGE_CHARS)
        );
        assert_eq!(parse(b"{\"phase\": 1}"), None);
        assert_eq!(parse(b"<html>"), None);
    }
}

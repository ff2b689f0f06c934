//! Commands of chromedriver that `WebDriver` does not have.

use fantoccini::wd::WebDriverCompatibleCommand;
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its place below the session.
    place: &'static str,
    body: Value,
}

impl Command {
    /// A command of Chromium's own protocol.
    pub(crate) fn chromium(command: &str, parameters: &Value) -> Self {
        Self {
            place: "goog/cdp/execute",
            body: json!({ "cmd": command, "params": parameters }),
        }
    }

    /// What the browser has logged since it was asked last.
    pub(crate) fn log() -> Self {
        Self {
            place: "se/log",
            body: json!({ "type": "browser" }),
        }
    }
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.place))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

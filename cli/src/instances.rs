//! Instances: run, changed, looked after.

use std::process::Stdio;
use std::time::Duration;

use indicatif::ProgressBar;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::args::{InstanceCommand, Output, Visibility};
use crate::client::{Client, answer, done};
use crate::error::Error;
use crate::print::{note, print, print_raw, table};

/// How long we wait for an app to be ready: a first start may install for minutes.
const PATIENCE: Duration = Duration::from_mins(15);

/// How often we ask how far it is.
const INTERVAL: Duration = Duration::from_secs(1);

/// An instance as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub(crate) name: String,
    app: App,
    owner: String,
    visibility: String,
    suspended: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    state: String,
    ready: bool,
    failing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    pub(crate) url: String,
}

/// A version of an app.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl App {
    /// The one of this bundle.
    pub(crate) fn of(app: &bundle::App) -> Self {
        Self {
            name: app.name.clone(),
            version: app.version.to_string(),
        }
    }
}

pub(crate) async fn run(
    client: &Client,
    command: InstanceCommand,
    output: Output,
) -> Result<(), Error> {
    match command {
        InstanceCommand::List => list(client, output).await,
        InstanceCommand::Get { name } => {
            let instance: Instance = client.get(&format!("instances/{name}")).await?;
            show(&instance, output);
            Ok(())
        }
        InstanceCommand::Run {
            app,
            app_version,
            name,
            visibility,
            size,
            no_wait,
        } => {
            let app = reference(&app, app_version)?;
            let made = create(client, &app, name.as_deref(), visibility, size.as_deref()).await?;
            note(format_args!("Made the instance {}", made.name));
            let made = if no_wait {
                made
            } else {
                ready(client, made).await?
            };
            show(&made, output);
            Ok(())
        }
        InstanceCommand::Status { name, no_wait } => status(client, &name, no_wait, output).await,
        InstanceCommand::Logs {
            name,
            follow,
            previous,
            tail,
        } => {
            let query = [
                ("follow", follow.to_string()),
                ("previous", previous.to_string()),
                ("tailLines", tail.to_string()),
            ];
            logs(client, &name, &query).await
        }
        InstanceCommand::Open { name, no_browser } => {
            let instance: Instance = client.get(&format!("instances/{name}")).await?;
            print(output, &instance, || instance.url.clone());
            if !no_browser {
                open(&instance.url);
            }
            Ok(())
        }
        InstanceCommand::Suspend { name } => {
            change(client, &name, &json!({ "suspended": true }), output).await
        }
        InstanceCommand::Resume { name } => {
            change(client, &name, &json!({ "suspended": false }), output).await
        }
        InstanceCommand::Upgrade { name, app_version } => {
            let change_of = json!({ "app": { "version": app_version } });
            change(client, &name, &change_of, output).await
        }
        InstanceCommand::Resize { name, size } => {
            let size = size.unwrap_or_default();
            change(client, &name, &json!({ "size": size }), output).await
        }
        InstanceCommand::Share { name, visibility } => {
            let visibility: &str = visibility.into();
            change(client, &name, &json!({ "visibility": visibility }), output).await
        }
        InstanceCommand::Delete { name } => {
            let path = format!("instances/{name}");
            done(client.request(Method::DELETE, &path).send().await?).await?;
            note(format_args!(
                "Deleted the instance {name}; it is gone in a moment"
            ));
            Ok(())
        }
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Error> {
    let all: Vec<Instance> = client.list("instances", &[]).await?;
    print(output, &all, || {
        table(
            ["NAME", "APP", "VERSION", "OWNER", "VISIBILITY", "STATE"],
            all.iter().map(|instance| {
                [
                    instance.name.as_str(),
                    &instance.app.name,
                    &instance.app.version,
                    &instance.owner,
                    &instance.visibility,
                    &instance.state,
                ]
            }),
        )
    });
    Ok(())
}

/// The app that somebody means: `hello:1.0.0`, or `hello` and a version.
fn reference(app: &str, version: Option<String>) -> Result<App, Error> {
    let (name, version) = match (app.split_once(':'), version) {
        (Some((name, version)), None) => (name, version.to_owned()),
        (_, Some(version)) => (app, version),
        (None, None) => return Err(Error::NoVersion(app.to_owned())),
    };
    Ok(App {
        name: name.to_owned(),
        version,
    })
}

pub(crate) async fn create(
    client: &Client,
    app: &App,
    name: Option<&str>,
    visibility: Visibility,
    size: Option<&str>,
) -> Result<Instance, Error> {
    let visibility: &str = visibility.into();
    let mut new = json!({ "app": app, "visibility": visibility });
    if let Some(name) = name {
        new["name"] = json!(name);
    }
    if let Some(size) = size {
        new["size"] = json!(size);
    }
    let request = client.request(Method::POST, "instances").json(&new);
    answer(request.send().await?).await
}

/// Waits until the app answers, telling of its phases.
pub(crate) async fn ready(client: &Client, made: Instance) -> Result<Instance, Error> {
    let waiting = ProgressBar::new_spinner();
    waiting.enable_steady_tick(Duration::from_millis(100));
    let start = Instant::now();
    let mut now = made;
    while !now.ready {
        if now.failing || start.elapsed() > PATIENCE {
            return Err(Error::NotReady {
                detail: now.detail.unwrap_or(now.state),
                name: now.name,
            });
        }
        waiting.set_message(now.state);
        tokio::time::sleep(INTERVAL).await;
        now = client.get(&format!("instances/{}", now.name)).await?;
    }
    waiting.finish_and_clear();
    Ok(now)
}

/// Tells how far an instance is. One that nobody uses, or that is suspended, is as far as it comes.
async fn status(client: &Client, name: &str, no_wait: bool, output: Output) -> Result<(), Error> {
    let start = Instant::now();
    let mut told = String::new();
    loop {
        let now: Instance = client.get(&format!("instances/{name}")).await?;
        let rests = matches!(now.state.as_str(), "Suspended" | "Asleep");
        if no_wait || now.ready || rests {
            show(&now, output);
            return Ok(());
        }
        if now.failing || start.elapsed() > PATIENCE {
            return Err(Error::NotReady {
                detail: now.detail.unwrap_or(now.state),
                name: now.name,
            });
        }
        if told != now.state {
            note(format_args!("{name}: {}", now.state));
            told = now.state;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Prints a log as it comes. An app may be silent for as long as it likes.
pub(crate) async fn logs(
    client: &Client,
    name: &str,
    query: &[(&str, String)],
) -> Result<(), Error> {
    let request = client.patient(Method::GET, &format!("instances/{name}/logs"))?;
    let mut response = request.query(query).send().await?;
    if !response.status().is_success() {
        return done(response).await;
    }
    while let Some(piece) = response.chunk().await? {
        match print_raw(&piece) {
            // Whoever has read enough, such as `head`, has got what they wanted.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            printed => printed.map_err(Error::Print)?,
        }
    }
    Ok(())
}

/// Opens an address in a browser, where there is one; it is printed anyway.
fn open(url: &str) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = std::process::Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if started.is_err() {
        note("No browser could be opened from here.");
    }
}

async fn change(
    client: &Client,
    name: &str,
    change: &serde_json::Value,
    output: Output,
) -> Result<(), Error> {
    let request = client.request(Method::PATCH, &format!("instances/{name}"));
    let changed: Instance = answer(request.json(change).send().await?).await?;
    show(&changed, output);
    Ok(())
}

fn show(instance: &Instance, output: Output) {
    print(output, instance, || {
        let mut words = format!(
            "{}: {} {}, {}, {}\n{}",
            instance.name,
            instance.app.name,
            instance.app.version,
            instance.visibility,
            instance.state,
            instance.url
        );
        if let Some(detail) = &instance.detail {
            words.push('\n');
            words.push_str(detail);
        }
        words
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_named_with_its_version() {
        let cases = [
            ("hello:1.0.0", None, Some(("hello", "1.0.0"))),
            ("hello", Some("2.0.0"), Some(("hello", "2.0.0"))),
            ("hello", None, None),
        ];
        for (app, version, expected) in cases {
            let app = reference(app, version.map(str::to_owned)).ok();
            let found = app.as_ref().map(|app| (&*app.name, &*app.version));
            assert_eq!(found, expected);
        }
    }
}

//! Instances: run, changed, looked after.

use std::time::{Duration, SystemTime};

use bundle::{bytes_words, cpu_words};
use crds::AppRef;
use indicatif::ProgressBar;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::args::{InstanceCommand, Output, Visibility};
use crate::browser;
use crate::client::{Client, answer, done};
use crate::error::Error;
use crate::print::{note, print, print_piece, table};

/// How long we wait for an app to be ready: a first start may install for minutes.
const PATIENCE: Duration = Duration::from_mins(15);

/// How often we ask how far it is.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whom to ask for instances: a store, or the Kubernetes API itself.
pub(crate) trait Instances {
    /// All that we manage.
    async fn all(&self) -> Result<Vec<Instance>, Error>;
    /// One of them.
    async fn one(&self, name: &str) -> Result<Instance, Error>;
    /// Makes one.
    async fn create(&self, new: &New<'_>) -> Result<Instance, Error>;
    /// Sets some fields of a spec.
    async fn change(&self, name: &str, change: &Value) -> Result<Instance, Error>;
    /// Says when one is to be deleted, or that it stays.
    async fn delete_after(&self, name: &str, at: Option<&str>) -> Result<Instance, Error>;
    /// Deletes one at once.
    async fn delete(&self, name: &str) -> Result<(), Error>;
    /// Prints what its app has written, and writes.
    async fn log(&self, name: &str, wanted: &LogWanted) -> Result<(), Error>;
}

/// An instance that is to be made.
pub(crate) struct New<'a> {
    pub(crate) app: &'a App,
    pub(crate) name: Option<&'a str>,
    pub(crate) visibility: Visibility,
    pub(crate) size: Option<&'a str>,
    /// Whose it is; a store makes it its caller's.
    pub(crate) owner: Option<&'a str>,
}

/// Which part of a log is wanted.
pub(crate) struct LogWanted {
    pub(crate) follow: bool,
    /// That of the container before, which has ended.
    pub(crate) previous: bool,
    /// How many of the last lines.
    pub(crate) tail: u32,
}

/// An instance as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) app: App,
    pub(crate) owner: String,
    pub(crate) visibility: String,
    pub(crate) suspended: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<String>,
    pub(crate) state: String,
    pub(crate) ready: bool,
    pub(crate) failing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    pub(crate) url: String,
    /// When it will be deleted, unless somebody keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delete_after: Option<String>,
    /// What its pod uses, where the store knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
}

/// What a pod uses, as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    cpu_millicores: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_limit_millicores: Option<u64>,
    memory_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_limit_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measured_at: Option<String>,
}

impl Usage {
    fn words(&self) -> String {
        format!(
            "It uses {} of memory, {}",
            bytes_words(self.memory_bytes, self.memory_limit_bytes),
            cpu_words(self.cpu_millicores, self.cpu_limit_millicores)
        )
    }
}

impl Instance {
    /// That it will be deleted, if it will.
    fn ending(&self) -> Option<String> {
        let at = self.delete_after.as_ref()?;
        Some(format!("will be deleted at {at}"))
    }
}

/// A version of an app.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl From<AppRef> for App {
    fn from(app: AppRef) -> Self {
        let AppRef { name, version } = app;
        Self { name, version }
    }
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

impl Instances for Client {
    async fn all(&self) -> Result<Vec<Instance>, Error> {
        self.list("instances", &[]).await
    }

    async fn one(&self, name: &str) -> Result<Instance, Error> {
        self.get(&format!("instances/{name}")).await
    }

    async fn create(&self, new: &New<'_>) -> Result<Instance, Error> {
        if new.owner.is_some() {
            return Err(Error::OwnerNeedsKube);
        }
        let visibility: &str = new.visibility.into();
        let mut object = json!({ "app": new.app, "visibility": visibility });
        if let Some(name) = new.name {
            object["name"] = json!(name);
        }
        if let Some(size) = new.size {
            object["size"] = json!(size);
        }
        let request = self.request(Method::POST, "instances").json(&object);
        answer(request.send().await?).await
    }

    async fn change(&self, name: &str, change: &Value) -> Result<Instance, Error> {
        let request = self.request(Method::PATCH, &format!("instances/{name}"));
        answer(request.json(change).send().await?).await
    }

    async fn delete_after(&self, name: &str, at: Option<&str>) -> Result<Instance, Error> {
        let change = json!({ "deleteAfter": at.unwrap_or_default() });
        self.change(name, &change).await
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let request = self.request(Method::DELETE, &format!("instances/{name}"));
        done(request.send().await?).await
    }

    /// An app may be silent for as long as it likes.
    async fn log(&self, name: &str, wanted: &LogWanted) -> Result<(), Error> {
        let query = [
            ("follow", wanted.follow.to_string()),
            ("previous", wanted.previous.to_string()),
            ("tailLines", wanted.tail.to_string()),
        ];
        let request = self.patient(Method::GET, &format!("instances/{name}/logs"))?;
        let mut response = request.query(&query).send().await?;
        if !response.status().is_success() {
            return done(response).await;
        }
        while let Some(piece) = response.chunk().await? {
            if !print_piece(&piece)? {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) async fn run(
    instances: &impl Instances,
    command: InstanceCommand,
    output: Output,
) -> Result<(), Error> {
    match command {
        InstanceCommand::List => list(instances, output).await,
        InstanceCommand::Get { name } => {
            show(&instances.one(&name).await?, output);
            Ok(())
        }
        InstanceCommand::Run {
            app,
            app_version,
            name,
            visibility,
            size,
            owner,
            no_wait,
        } => {
            let new = New {
                app: &reference(&app, app_version)?,
                name: name.as_deref(),
                visibility,
                size: size.as_deref(),
                owner: owner.as_deref(),
            };
            let made = instances.create(&new).await?;
            note(format_args!("Made the instance {}", made.name));
            let made = if no_wait {
                made
            } else {
                ready(instances, made).await?
            };
            show(&made, output);
            Ok(())
        }
        InstanceCommand::Status { name, no_wait } => {
            status(instances, &name, no_wait, output).await
        }
        InstanceCommand::Logs {
            name,
            follow,
            previous,
            tail,
        } => {
            let wanted = LogWanted {
                follow,
                previous,
                tail,
            };
            instances.log(&name, &wanted).await
        }
        InstanceCommand::Open { name, no_browser } => {
            let instance = instances.one(&name).await?;
            print(output, &instance, || instance.url.clone());
            if !no_browser {
                browser::open(&instance.url);
            }
            Ok(())
        }
        InstanceCommand::Suspend { name } => {
            change(instances, &name, &json!({ "suspended": true }), output).await
        }
        InstanceCommand::Resume { name } => {
            change(instances, &name, &json!({ "suspended": false }), output).await
        }
        InstanceCommand::Upgrade { name, app_version } => {
            let change_of = json!({ "app": { "version": app_version } });
            change(instances, &name, &change_of, output).await
        }
        InstanceCommand::Resize { name, size } => {
            let size = size.unwrap_or_default();
            change(instances, &name, &json!({ "size": size }), output).await
        }
        InstanceCommand::Share { name, visibility } => {
            let visibility: &str = visibility.into();
            change(
                instances,
                &name,
                &json!({ "visibility": visibility }),
                output,
            )
            .await
        }
        InstanceCommand::Delete { name, undo_within } => {
            delete(instances, &name, undo_within, output).await
        }
        InstanceCommand::Keep { name } => {
            show(&instances.delete_after(&name, None).await?, output);
            Ok(())
        }
    }
}

/// Deletes an instance, or says when it will be deleted.
async fn delete(
    instances: &impl Instances,
    name: &str,
    undo_within: Option<Duration>,
    output: Output,
) -> Result<(), Error> {
    if let Some(time) = undo_within {
        let end = humantime::format_rfc3339_seconds(SystemTime::now() + time).to_string();
        show(&instances.delete_after(name, Some(&end)).await?, output);
    } else {
        instances.delete(name).await?;
        note(format_args!(
            "Deleted the instance {name}; it is gone in a moment"
        ));
    }
    Ok(())
}

async fn list(instances: &impl Instances, output: Output) -> Result<(), Error> {
    let all = instances.all().await?;
    let states = all.iter().map(|instance| match instance.ending() {
        Some(ending) => format!("{}, {ending}", instance.state),
        None => instance.state.clone(),
    });
    let states: Vec<String> = states.collect();
    print(output, &all, || {
        table(
            ["NAME", "APP", "VERSION", "OWNER", "VISIBILITY", "STATE"],
            all.iter().zip(&states).map(|(instance, state)| {
                [
                    instance.name.as_str(),
                    &instance.app.name,
                    &instance.app.version,
                    &instance.owner,
                    &instance.visibility,
                    state,
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

/// Waits until the app answers, telling of its phases.
pub(crate) async fn ready(instances: &impl Instances, made: Instance) -> Result<Instance, Error> {
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
        now = instances.one(&now.name).await?;
    }
    waiting.finish_and_clear();
    Ok(now)
}

/// Tells how far an instance is. One that nobody uses, or that is suspended, is as far as it comes.
async fn status(
    instances: &impl Instances,
    name: &str,
    no_wait: bool,
    output: Output,
) -> Result<(), Error> {
    let start = Instant::now();
    let mut told = String::new();
    loop {
        let now = instances.one(name).await?;
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

async fn change(
    instances: &impl Instances,
    name: &str,
    change: &Value,
    output: Output,
) -> Result<(), Error> {
    show(&instances.change(name, change).await?, output);
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
        let ending = instance.ending().map(|ending| {
            format!(
                "It {ending}; `wavestore instance keep {}` keeps it",
                instance.name
            )
        });
        let usage = instance.usage.as_ref().map(Usage::words);
        for line in [&instance.detail, &usage, &ending].into_iter().flatten() {
            words.push('\n');
            words.push_str(line);
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

//! `bundle test`: an app is tried in the store, as its users would run it, and nothing of it stays.

use std::time::{Duration, SystemTime};

use reqwest::{Method, StatusCode};
use toml::{Table, Value};

use crate::args::{Output, Trial, Visibility};
use crate::bundles::{self, Published};
use crate::client::{Client, done};
use crate::error::Error;
use crate::instances::{self, Instances as _, LogWanted, New};
use crate::print::{note, print};

/// How many of the last lines are shown of an app that does not come up.
const LAST_LINES: u32 = 50;

/// How many of the last lines of one that is followed.
const FOLLOWED_LINES: u32 = 1000;

/// How often we ask whether the instance is gone.
const INTERVAL: Duration = Duration::from_millis(500);

/// How often we ask that, in all: its pod may take a minute to end.
const TIMES: u32 = 240;

/// What there is of a trial in the store.
#[derive(Default)]
struct Traces {
    app: Option<String>,
    instance: Option<String>,
}

/// Publishes the app of a folder under a version of its own, runs it, and takes both away again.
pub(crate) async fn run(client: &Client, trial: &Trial, output: Output) -> Result<(), Error> {
    let mut traces = Traces::default();
    let tried = tokio::select! {
        tried = attempt(client, trial, output, &mut traces) => tried,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
    };
    let tried = match tried {
        // Whoever follows a log ends it so.
        Err(Error::Interrupted) if trial.follow => Ok(()),
        tried => tried,
    };
    if trial.keep {
        let kept = traces.instance.or(traces.app);
        note(format_args!(
            "Kept {}",
            kept.as_deref().unwrap_or("nothing")
        ));
        return tried;
    }
    let removed = remove(client, &traces).await;
    tried.and(removed)
}

async fn attempt(
    client: &Client,
    trial: &Trial,
    output: Output,
    traces: &mut Traces,
) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    let packed = bundles::open(&trial.folder, |manifest| of_a_trial(manifest, seconds))?;
    packed.tell_warnings();
    let app = instances::App::of(packed.app());
    let published: Published = bundles::upload(client, packed, Visibility::Private).await?;
    traces.app = Some(published.name.clone());
    bundles::imported(client, published).await?;
    let made = client
        .create(&New {
            app: &app,
            name: None,
            visibility: Visibility::Private,
            size: trial.size.as_deref(),
            owner: None,
        })
        .await?;
    let name = made.name.clone();
    traces.instance = Some(name.clone());
    note(format_args!(
        "Trying {} {} as {name}",
        app.name, app.version
    ));
    match instances::ready(client, made).await {
        Ok(ready) => print(output, &ready, || {
            format!("The app is ready: {}", ready.url)
        }),
        Err(error) => {
            note(format_args!("The last lines of its log:"));
            let wanted = LogWanted {
                follow: false,
                previous: false,
                tail: LAST_LINES,
            };
            // It may not have one yet.
            let _ = client.log(&name, &wanted).await;
            return Err(error);
        }
    }
    if trial.follow {
        note("Its log follows, until Ctrl-C.");
        let wanted = LogWanted {
            follow: true,
            previous: false,
            tail: FOLLOWED_LINES,
        };
        client.log(&name, &wanted).await?;
    }
    Ok(())
}

/// Takes away what a trial has made: the instance with its volumes, then the app.
async fn remove(client: &Client, traces: &Traces) -> Result<(), Error> {
    if let Some(name) = &traces.instance {
        unless_gone(client.delete(name).await)?;
        for _ in 0..TIMES {
            match client.one(name).await {
                Ok(_) => tokio::time::sleep(INTERVAL).await,
                Err(error) => {
                    unless_gone(Err(error))?;
                    break;
                }
            }
        }
    }
    if let Some(name) = &traces.app {
        let path = format!("apps/{name}");
        unless_gone(done(client.request(Method::DELETE, &path).send().await?).await)?;
        note("Nothing of it is left in the store.");
    }
    Ok(())
}

fn unless_gone(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(Error::Refused {
            status: StatusCode::NOT_FOUND,
            ..
        }) => Ok(()),
        done => done,
    }
}

/// The app.toml of a trial: of a version that no other one has. What is no app.toml stays as it is, and is refused as such.
fn of_a_trial(manifest: &str, seconds: u64) -> String {
    let Ok(mut table) = manifest.parse::<Table>() else {
        return manifest.to_owned();
    };
    let app = table.get_mut("App").and_then(Value::as_table_mut);
    if let Some(Value::String(version)) = app.and_then(|app| app.get_mut("Version")) {
        // In a semantic version, what follows the first dash is dots and words.
        let separator = if version.contains('-') { '.' } else { '-' };
        *version = format!("{version}{separator}test.{seconds}");
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_has_a_version_of_its_own() {
        let cases = [
            ("1.2.3", "1.2.3-test.7"),
            ("1.2.3-rc.1", "1.2.3-rc.1.test.7"),
        ];
        for (version, expected) in cases {
            let manifest = format!(
                "# why\n[App]\nName = \"a\"\nVersion = \"{version}\"\n[[Env]]\nName = \"A\"\n"
            );
            let table: Table = of_a_trial(&manifest, 7).parse().expect("TOML");
            assert_eq!(table["App"]["Version"].as_str(), Some(expected));
            assert_eq!(table["Env"][0]["Name"].as_str(), Some("A"));
        }
        for broken in ["[App", "[App]\nVersion = 1\n", "App = 1\n", ""] {
            let same = of_a_trial(broken, 7);
            assert!(!same.contains("test.7"), "{broken}: {same}");
        }
    }
}

//! Apps: found, shown, downloaded, shared, deleted.

use std::path::{Path, PathBuf};

use reqwest::{Method, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::args::{AppChange, AppCommand, Output};
use crate::client::{Client, answer, done};
use crate::error::Error;
use crate::instances::App;
use crate::print::{note, print, table};

/// One version of an app in a list. What the store says beside that is printed as it comes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) app: App,
    pub(crate) title: String,
    pub(crate) owner: String,
    pub(crate) visibility: String,
    pub(crate) ready: bool,
    #[serde(default)]
    pub(crate) likes: u64,
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

/// One version of an app.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app: Option<App>,
    pub(crate) owner: String,
    pub(crate) visibility: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<Environment>,
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) message: String,
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

pub(crate) async fn run(client: &Client, command: AppCommand, output: Output) -> Result<(), Error> {
    match command {
        AppCommand::List {
            words,
            owner,
            lifecycle,
            tag,
        } => {
            let words = words.join(" ");
            let mut query = vec![("q", words.as_str()), ("limit", "500")];
            query.extend(owner.as_deref().map(|owner| ("owner", owner)));
            query.extend(lifecycle.map(|lifecycle| ("lifecycle", lifecycle.into())));
            query.extend(tag.as_deref().map(|tag| ("tag", tag)));
            let all = client.list("apps", &query).await?;
            show_all(&all, output);
            Ok(())
        }
        AppCommand::Get { app } => {
            if !app.contains(':') {
                let versions = versions(client, &app).await?;
                if !versions.is_empty() {
                    show_all(&versions, output);
                    return Ok(());
                }
            }
            let path = path(client, &app).await?;
            show(&client.get(&path).await?, output);
            Ok(())
        }
        AppCommand::Download { app, file } => {
            let path = format!("{}/bundle", path(client, &app).await?);
            let response = client.request(Method::GET, &path).send().await?;
            let file = save(response, file).await?;
            note(format_args!("Wrote {}", file.display()));
            Ok(())
        }
        AppCommand::Update { app, change } => {
            let path = path(client, &app).await?;
            let request = client
                .request(Method::PATCH, &path)
                .json(&fields_of(change));
            show(&answer(request.send().await?).await?, output);
            Ok(())
        }
        AppCommand::Like { name } => prefer(client, &name, json!({ "liked": true })).await,
        AppCommand::Unlike { name } => prefer(client, &name, json!({ "liked": false })).await,
        AppCommand::Pin { name } => prefer(client, &name, json!({ "pinned": true })).await,
        AppCommand::Unpin { name } => prefer(client, &name, json!({ "pinned": false })).await,
        AppCommand::Delete { app } => {
            let path = path(client, &app).await?;
            done(client.request(Method::DELETE, &path).send().await?).await?;
            note(format_args!(
                "Deleted the app {app}; it is gone in a moment"
            ));
            Ok(())
        }
    }
}

/// The fields of an app that are to change.
pub(crate) fn fields_of(change: AppChange) -> Map<String, Value> {
    let AppChange {
        visibility,
        owner,
        tags,
    } = change;
    let mut fields = Map::new();
    if let Some(visibility) = visibility {
        let visibility: &str = visibility.into();
        fields.insert("visibility".to_owned(), json!(visibility));
    }
    if let Some(owner) = owner {
        fields.insert("owner".to_owned(), json!(owner));
    }
    if let Some(tags) = tags {
        fields.insert("tags".to_owned(), json!(without_empty(tags)));
    }
    fields
}

/// What one thinks of an app, with all its versions.
#[derive(Debug, Deserialize)]
struct Preference {
    app: String,
    liked: bool,
    pinned: bool,
}

async fn prefer(client: &Client, name: &str, change: Value) -> Result<(), Error> {
    let path = format!("preferences/{name}");
    let request = client.request(Method::PATCH, &path).json(&change);
    let Preference { app, liked, pinned } = answer(request.send().await?).await?;
    let words = match (liked, pinned) {
        (true, true) => "You like it and have pinned it",
        (true, false) => "You like it",
        (false, true) => "You have pinned it",
        (false, false) => "You neither like it nor have pinned it",
    };
    note(format_args!("{app}: {words}"));
    Ok(())
}

/// A list as somebody says it, where an empty word stands for none.
pub(crate) fn without_empty(words: Vec<String>) -> Vec<String> {
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// All versions of an app that we see, the newest first.
async fn versions(client: &Client, name: &str) -> Result<Vec<Listed>, Error> {
    let query = [("app", name), ("limit", "500")];
    client.list("apps", &query).await
}

/// Path of what somebody calls `NAME:VERSION`, or by the name of its `WaveApp`.
async fn path(client: &Client, app: &str) -> Result<String, Error> {
    let Some((name, version)) = app.split_once(':') else {
        return Ok(format!("apps/{app}"));
    };
    let versions = versions(client, name).await?;
    let found = versions.iter().find(|listed| listed.app.version == version);
    let found = found.ok_or_else(|| Error::NoApp(app.to_owned()))?;
    Ok(format!("apps/{}", found.name))
}

/// Writes what the store sends to a file, which is there only once it is whole.
async fn save(response: Response, file: Option<PathBuf>) -> Result<PathBuf, Error> {
    if !response.status().is_success() {
        done(response).await?;
        return Ok(PathBuf::new());
    }
    let file = file.unwrap_or_else(|| named(&response).into());
    let failed = |source| Error::File {
        task: "write",
        file: file.clone(),
        source,
    };
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let temporary = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    let temporary = temporary.map_err(failed)?;
    let mut writer = tokio::fs::File::from_std(temporary.reopen().map_err(failed)?);
    let progress = crate::bundles::bar("Downloading", response.content_length().unwrap_or(0));
    let mut response = response;
    while let Some(piece) = response.chunk().await? {
        writer.write_all(&piece).await.map_err(failed)?;
        progress.inc(piece.len() as u64);
    }
    writer.flush().await.map_err(failed)?;
    progress.finish_and_clear();
    let persisted = temporary.persist(&file);
    persisted.map_err(|error| failed(error.error))?;
    Ok(file)
}

/// The name that the store gives the file, if it is a plain one.
fn named(response: &Response) -> String {
    let line = response.headers().get(header::CONTENT_DISPOSITION);
    let line = line.and_then(|line| line.to_str().ok()).unwrap_or_default();
    let name = line.split('"').nth(1).unwrap_or_default();
    plain(name).unwrap_or("app.wave").to_owned()
}

/// A store must not choose where on this machine a file goes.
fn plain(name: &str) -> Option<&str> {
    let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    is_plain.then_some(name)
}

pub(crate) fn show_all(all: &[Listed], output: Output) {
    print(output, &all, || {
        let likes: Vec<String> = all.iter().map(|listed| listed.likes.to_string()).collect();
        table(
            [
                "APP",
                "VERSION",
                "TITLE",
                "OWNER",
                "VISIBILITY",
                "READY",
                "LIKES",
                "WAVEAPP",
            ],
            all.iter().zip(&likes).map(|(listed, likes)| {
                [
                    listed.app.name.as_str(),
                    &listed.app.version,
                    &listed.title,
                    &listed.owner,
                    &listed.visibility,
                    if listed.ready { "true" } else { "false" },
                    likes,
                    &listed.name,
                ]
            }),
        )
    });
}

pub(crate) fn show(version: &Version, output: Output) {
    print(output, version, || {
        let app = version.app.as_ref();
        let app = app.map_or_else(String::new, |app| format!("{} {}, ", app.name, app.version));
        let mut words = format!(
            "{}: {app}of {}, {}, {}",
            version.name, version.owner, version.visibility, version.state
        );
        let built = version.environment.as_ref();
        let built = built.map_or("", |built| &built.message);
        for line in [&version.message, built] {
            if !line.is_empty() {
                words.push('\n');
                words.push_str(line);
            }
        }
        words
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_chooses_no_place_for_a_file() {
        for (name, expected) in [
            ("hello.1.0.0.wave", Some("hello.1.0.0.wave")),
            ("../x", None),
            ("/etc/passwd", None),
            (".bashrc", None),
            ("", None),
        ] {
            assert_eq!(plain(name), expected);
        }
    }
}

//! What people do with apps, by pages and by the API alike: each act is put before the policy, and ends in a `WaveApp`.

use std::io::Seek;
use std::sync::Arc;
use std::time::Duration;

use bundle::{Bundle, EnvRules, Limits};
use bytes::Buf;
use catalog::{Blob, Digest, Thing};
use crds::{AppRef, BundleSource, ConditionType, Visibility, WaveApp, WaveAppSpec, holds};
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::idempotency::Key;
use super::if_match::IfMatch;
use super::{PATIENCE, Store, Visitor, again, tags};
use crate::error::Error;
use crate::policy::{Action, App};
use crate::table::{AppEntry, read_app};

/// Uploads that one router takes at once: each may fill half a GiB of its scratch space.
const UPLOADS: usize = 4;

/// How long somebody who uploads may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Longest name of a Kubernetes object.
const LONGEST_NAME: usize = 253;

/// Places for those who upload.
#[derive(Debug)]
pub(crate) struct Uploads(Semaphore);

impl Default for Uploads {
    fn default() -> Self {
        Self(Semaphore::new(UPLOADS))
    }
}

/// A bundle in a file of ours, which is deleted with this value.
struct Upload {
    file: NamedTempFile,
    digest: Digest,
}

/// Stores the bundle that the request brings, and makes its `WaveApp`. The operator imports it from there. A request that has made it
/// before makes it no second time.
pub(super) async fn publish(
    store: &Store,
    visitor: &Visitor,
    visibility: Visibility,
    key: Option<&Key>,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<WaveApp, Error> {
    let _place = store.uploads.0.try_acquire().map_err(|_| Error::Busy)?;
    let limits = Limits::default();
    let upload = keep(body, &limits).await?;
    let bundle = read(&upload, limits).await?;
    for tag in &bundle.manifest.app.tags {
        require_tag(visitor, tag)?;
    }
    let new = New {
        app: AppRef {
            name: bundle.manifest.app.name.clone(),
            version: bundle.manifest.app.version.to_string(),
        },
        owner: visitor.signed_in()?.viewer.name.to_string(),
        visibility,
        digest: upload.digest,
        key,
    };
    // The operator has the last word; this one saves an import.
    let known = store.table.load().apps.get(&new.app).cloned();
    if let Some(known) = known {
        let held = store.apps.get(&known.object).await?;
        return new.made_before(held);
    }
    let stored = store.blobs.put_bundle(&new.digest, upload.file.path());
    stored
        .await
        .map_err(|error| Error::BlobsAway(Box::new(error)))?;
    let made = create(store, &new).await?;
    let name = made.name_any();
    let done = format!("published {} as WaveApp {name}", new.app);
    visitor.did(store, (Thing::App, &name), &done).await?;
    Ok(made)
}

/// What is to be published.
struct New<'a> {
    app: AppRef,
    owner: String,
    visibility: Visibility,
    digest: Digest,
    key: Option<&'a Key>,
}

impl New<'_> {
    fn object(&self, name: &str) -> WaveApp {
        let spec = WaveAppSpec {
            bundle: BundleSource {
                digest: Some(self.digest.to_string()),
                ..BundleSource::default()
            },
            owner: self.owner.clone(),
            visibility: self.visibility,
            tags: Vec::new(),
        };
        let mut object = WaveApp::new(name, spec);
        if let Some(key) = self.key {
            key.mark(&mut object, self.request().as_bytes());
        }
        object
    }

    /// All that the request asks for.
    fn request(&self) -> String {
        format!("{} {}", self.digest, self.visibility)
    }

    /// What holds the app, if this very request has made that.
    fn made_before(&self, held: Option<WaveApp>) -> Result<WaveApp, Error> {
        if let (Some(key), Some(held)) = (self.key, held)
            && held.spec.owner == self.owner
            && key.has_made(&held, self.request().as_bytes())?
        {
            return Ok(held);
        }
        Err(Error::AppExists(self.app.clone()))
    }
}

async fn create(store: &Store, new: &New<'_>) -> Result<WaveApp, Error> {
    let plain = object_name(&new.app, "");
    if let Some(made) = store.apps.create(&new.object(&plain)).await? {
        return Ok(made);
    }
    let held = store.apps.get(&plain).await?;
    if held.as_ref().is_some_and(|held| may_be(held, &new.app)) {
        return new.made_before(held);
    }
    let special = object_name(&new.app, &format!("-{}", &new.digest.hex()[..8]));
    if let Some(made) = store.apps.create(&new.object(&special)).await? {
        return Ok(made);
    }
    new.made_before(store.apps.get(&special).await?)
}

/// Whether a `WaveApp` is this app, or will be once it is imported. It is not when it has failed, and two apps may differ by
/// letters that no object's name has.
fn may_be(object: &WaveApp, app: &AppRef) -> bool {
    let status = object.status.as_ref();
    match status.and_then(|status| status.app.as_ref()) {
        Some(imported) => imported == app,
        None => !holds(conditions(object), ConditionType::Stalled),
    }
}

/// What the operator says of a `WaveApp`.
pub(super) fn conditions(object: &WaveApp) -> impl Iterator<Item = &Condition> {
    object.status.iter().flat_map(|status| &status.conditions)
}

/// A name for the app's object: lower-case letters, digits, `-` and `.` (RFC 1123).
fn object_name(app: &AppRef, end: &str) -> String {
    let name: String = format!("{}-{}", app.name, app.version)
        .to_ascii_lowercase()
        .chars()
        .map(|letter| match letter {
            'a'..='z' | '0'..='9' | '.' => letter,
            _ => '-',
        })
        .take(LONGEST_NAME - end.len())
        .collect();
    // Neither may stand at either end of a part.
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| part.trim_matches('-'))
        .filter(|part| !part.is_empty())
        .collect();
    format!("{}{end}", parts.join("."))
}

/// Writes what comes to a file, piece by piece and never more than the limit.
async fn keep(
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limits: &Limits,
) -> Result<Upload, Error> {
    let unwritten = |error: std::io::Error| Error::Internal(Box::new(error));
    let file = NamedTempFile::new().map_err(unwritten)?;
    let mut writer = File::from_std(file.reopen().map_err(unwritten)?);
    let mut sha256 = Sha256::new();
    let mut size = 0_u64;
    let mut body = std::pin::pin!(body);
    while let Some(piece) = timeout(SILENCE, body.next())
        .await
        .map_err(|_| Error::ClientTimeout { limit: SILENCE })?
    {
        let mut piece = piece.map_err(|_| Error::ClientBody)?;
        size += piece.remaining() as u64;
        if size > limits.archive_bytes {
            return Err(Error::TooLarge {
                limit_bytes: limits.archive_bytes,
                setting: None,
            });
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            sha256.update(chunk);
            writer.write_all(chunk).await.map_err(unwritten)?;
            let written = chunk.len();
            piece.advance(written);
        }
    }
    writer.flush().await.map_err(unwritten)?;
    Ok(Upload {
        file,
        digest: Digest::from_sha256(sha256.finalize().into()),
    })
}

/// Reads a bundle as the operator will.
async fn read(upload: &Upload, limits: Limits) -> Result<Bundle, Error> {
    let internal = |error| Error::Internal(Box::new(error));
    let mut file = upload.file.reopen().map_err(internal)?;
    let read = move || {
        file.rewind().map_err(bundle::Error::Read)?;
        bundle::read(std::io::BufReader::new(file), &limits, &EnvRules::default())
    };
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|panic| Error::Internal(panic.into()))?;
    read.map_err(|error| {
        if error.blames_archive() {
            Error::BadBundle(Box::new(error))
        } else {
            Error::Internal(Box::new(error))
        }
    })
}

/// What is known of an app. Whoever has just seen it imported by another replica may come here before this one's watch tells
/// of it, so that what the table does not call ready is looked up.
///
/// # Errors
/// [`Error::KubernetesAway`].
pub(super) async fn entry(store: &Store, app: &AppRef) -> Result<Option<Arc<AppEntry>>, Error> {
    let known = store.table.load().apps.get(app).cloned();
    if known.as_ref().is_some_and(|known| known.ready) {
        return Ok(known);
    }
    let name = known.as_ref().map(|known| known.object.clone());
    let name = name.unwrap_or_else(|| object_name(app, ""));
    let found = store.apps.get(&name).await?.and_then(read_app);
    let found = found.filter(|found| found.app == *app);
    Ok(found.map(Arc::new).or(known))
}

/// The `WaveApp` of this name, for those who may see it. What does not exist and what is not for them look the same.
pub(super) async fn find(store: &Store, visitor: &Visitor, name: &str) -> Result<WaveApp, Error> {
    let found = if is_object_name(name) {
        store.apps.get(name).await?
    } else {
        None
    };
    visitor.may(Action::SeeApp(found.as_ref().map(of_object)))?;
    found.ok_or(Error::NotFound)
}

/// The `WaveApp` of this name, for those who manage it.
async fn find_managed(store: &Store, visitor: &Visitor, name: &str) -> Result<WaveApp, Error> {
    let found = find(store, visitor, name).await?;
    visitor.may(Action::ManageApp(of_object(&found)))?;
    Ok(found)
}

/// What is to become of an app; what is not named stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AppChange")]
pub(super) struct Change {
    /// Who sees it.
    #[serde(default)]
    pub visibility: Option<Visibility>,
    /// The account that owns it.
    #[serde(default)]
    pub owner: Option<String>,
    /// All its tags. Those of its app.toml are there in any case.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 63),
            regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")
        )
    )]
    pub tags: Option<Vec<String>>,
}

/// Changes an app that the visitor manages.
pub(super) async fn change(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    change: &Change,
    if_match: &IfMatch,
) -> Result<WaveApp, Error> {
    again(|| async move {
        let found = find_managed(store, visitor, name).await?;
        if_match.check(&found)?;
        let spec = changed_fields(store, visitor, &found, change).await?;
        if spec.is_empty() {
            return Ok(found);
        }
        let fields = Value::Object(spec);
        let changed = store.apps.change(&found, fields.clone()).await?;
        let done = format!("changed the WaveApp {name}: {fields}");
        visitor.did(store, (Thing::App, name), &done).await?;
        Ok(changed)
    })
    .await
}

/// What of the spec becomes another one, if the visitor may do all of it.
async fn changed_fields(
    store: &Store,
    visitor: &Visitor,
    found: &WaveApp,
    change: &Change,
) -> Result<Map<String, Value>, Error> {
    let Change {
        visibility,
        owner,
        tags,
    } = change;
    let now = &found.spec;
    let mut spec = Map::new();
    if let Some(visibility) = *visibility
        && visibility != now.visibility
    {
        spec.insert("visibility".to_owned(), json!(visibility));
    }
    if let Some(owner) = owner
        && *owner != now.owner
    {
        visitor.may(Action::GiveApp(of_object(found)))?;
        let account = timeout(PATIENCE, store.catalog.account(owner)).await??;
        if account.is_none() {
            return Err(Error::NoOwner(owner.clone()));
        }
        spec.insert("owner".to_owned(), json!(owner));
    }
    if let Some(tags) = tags {
        let tags = changed_tags(visitor, found, tags)?;
        spec.extend(tags.map(|tags| ("tags".to_owned(), json!(tags))));
    }
    Ok(spec)
}

/// The tags beside those of the bundle, if they become other ones and the visitor may put on and take off what differs.
fn changed_tags(
    visitor: &Visitor,
    found: &WaveApp,
    wanted: &[String],
) -> Result<Option<Vec<String>>, Error> {
    if !wanted.iter().all(|tag| tags::can_be_on_apps(tag)) {
        return Err(Error::BadRequest(
            "a tag is a line of 1 to 63 letters, digits and other signs",
        ));
    }
    let own = found.status.as_ref().map_or(&[][..], |it| &it.tags);
    let mut now: Vec<String> = Vec::new();
    for tag in wanted {
        if !own.contains(tag) && !now.contains(tag) {
            now.push(tag.clone());
        }
    }
    let before = &found.spec.tags;
    let put_on = now.iter().filter(|tag| !before.contains(tag));
    // What is also in the bundle stays on the app.
    let taken_off = before
        .iter()
        .filter(|tag| !now.contains(tag) && !own.contains(tag));
    for tag in put_on.chain(taken_off) {
        require_tag(visitor, tag)?;
    }
    Ok((now != *before).then_some(now))
}

fn require_tag(visitor: &Visitor, tag: &str) -> Result<(), Error> {
    let may = visitor.may(Action::SetTag(tag));
    may.map_err(|_| Error::TagForbidden(tag.to_owned()))
}

/// The tags of a `WaveApp`, each once.
pub(super) fn tags_of(object: &WaveApp) -> Vec<&str> {
    let mut tags: Vec<&str> = Vec::new();
    for tag in of_object(object).tags.into_iter().flatten() {
        if !tags.contains(&tag.as_str()) {
            tags.push(tag);
        }
    }
    tags
}

/// Deletes an app that the visitor manages, unless an instance of it exists.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    if_match: &IfMatch,
) -> Result<(), Error> {
    again(|| async move {
        let found = find_managed(store, visitor, name).await?;
        if_match.check(&found)?;
        require_unused(store, &found)?;
        store.apps.delete(&found).await?;
        let done = format!("deleted the WaveApp {name}");
        visitor.did(store, (Thing::App, name), &done).await
    })
    .await
}

/// Refuses an app that has instances. One that is made in this very moment keeps the app, too: the operator sees to that.
fn require_unused(store: &Store, found: &WaveApp) -> Result<(), Error> {
    let app = found.status.as_ref().and_then(|status| status.app.as_ref());
    let snapshot = store.table.load();
    let routes = snapshot.routes.values();
    let mut running: Vec<&str> = routes
        .filter(|route| Some(&route.app) == app)
        .map(|route| route.id.as_ref())
        .collect();
    if running.is_empty() {
        return Ok(());
    }
    running.sort_unstable();
    Err(Error::AppInUse(running.join(", ")))
}

/// The bundle of an app that the visitor manages, and a name for its file.
pub(super) async fn bundle(
    store: &Store,
    visitor: &Visitor,
    name: &str,
) -> Result<(Blob, String), Error> {
    let found = find_managed(store, visitor, name).await?;
    let status = found.status.as_ref();
    let file = match status.and_then(|status| status.app.as_ref()) {
        Some(AppRef { name, version }) => format!("{name}.{version}.wave"),
        None => format!("{name}.wave"),
    };
    let digest = digest(&found).and_then(|digest| digest.parse().ok());
    let digest: Digest = digest.ok_or(Error::NotFound)?;
    let blob = store.blobs.bundle(&digest).await;
    let blob = blob.map_err(|error| Error::BlobsAway(Box::new(error)))?;
    Ok((blob.ok_or(Error::NotFound)?, file))
}

/// Digest of its bundle, as far as it is known.
pub(super) fn digest(object: &WaveApp) -> Option<&str> {
    let imported = object.status.as_ref();
    let imported = imported.and_then(|status| status.digest.as_deref());
    imported.or(object.spec.bundle.digest.as_deref())
}

/// Whether an object can have this name (RFC 1123): what is none must not become a part of another address.
pub(super) fn is_object_name(name: &str) -> bool {
    let letters = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let ends = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    name.len() <= LONGEST_NAME
        && name.bytes().all(letters)
        && ends(name.chars().next())
        && ends(name.chars().next_back())
}

/// What the policy wants to know of a `WaveApp`, imported or not.
fn of_object(app: &WaveApp) -> App<'_> {
    App {
        owner: &app.spec.owner,
        visibility: app.spec.visibility,
        lifecycle: app
            .status
            .as_ref()
            .and_then(|status| status.lifecycle)
            .unwrap_or_default(),
        tags: [
            app.status.as_ref().map_or(&[], |status| &status.tags),
            &app.spec.tags,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_called_like_its_app() {
        let cases = [
            ("hello", "1.0.0", "", "hello-1.0.0"),
            ("My_App", "1.0.0-RC.1", "", "my-app-1.0.0-rc.1"),
            ("a", "1.0.0-.x", "", "a-1.0.0.x"),
            ("hello", "1.0.0", "-0123abcd", "hello-1.0.0-0123abcd"),
        ];
        for (name, version, end, expected) in cases {
            let app = AppRef {
                name: name.to_owned(),
                version: version.to_owned(),
            };
            assert_eq!(object_name(&app, end), expected);
        }
    }
}

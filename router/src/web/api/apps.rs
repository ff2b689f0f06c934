//! Apps, for programs: one thing is one version of an app, which is one `WaveApp`, by whose name it is asked for.

use bytes::Buf;
use catalog::{AppCursor, Preference};
use crds::{AppRef, ConditionType, Lifecycle, Visibility, WaveApp, find_condition, holds};
use futures::Stream;
use http::{HeaderValue, StatusCode, header};
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;
use warp::Reply as _;

use super::super::app_query;
use super::super::apps::{self, Change};
use super::super::idempotency::Key;
use super::super::if_match::{self, IfMatch};
use super::super::preferences::Opinions;
use super::super::{Call, PATIENCE, Reply, Store, Visitor, pages};
use super::{
    Page, accepted, created_at, document_with_lists, json, limit, located, moment, rest_of,
};
use crate::body::Exclusive;
use crate::error::Error;
use crate::policy::Action;
use crate::table::{AppEntry, Snapshot};

/// One version of an app, imported or not.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AppVersion")]
pub(super) struct Version<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a AppRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    owner: &'a str,
    visibility: Visibility,
    /// Those of its app.toml and those that were put on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    state: State,
    /// Why, with what the import has warned of.
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment<'a>>,
    /// Where people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// All versions of the app that the viewer sees, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<Sibling<'a>>,
}

/// How far the operator is with it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppState")]
enum State {
    Importing,
    Ready,
    Failed,
}

/// What was made of its requirements.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Environment<'a> {
    ready: bool,
    reason: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
}

/// A version among others.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OtherVersion")]
struct Sibling<'a> {
    name: &'a str,
    version: &'a str,
    ready: bool,
}

/// One version of an app in a list: what the catalog has of it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "App")]
pub(super) struct Listed {
    name: String,
    app: AppRef,
    title: String,
    description: String,
    owner: String,
    visibility: Visibility,
    lifecycle: Lifecycle,
    tags: Vec<String>,
    digest: String,
    /// Whether it can be run now.
    ready: bool,
    page: String,
    published_at: String,
    /// How many like it, whatever its version.
    likes: u64,
    /// Whether one likes it.
    liked: bool,
    /// Whether one has pinned it.
    pinned: bool,
}

impl<'a> Version<'a> {
    fn new(object: &'a WaveApp) -> Self {
        let status = object.status.as_ref();
        let condition = |type_| find_condition(apps::conditions(object), type_);
        let state = if holds(apps::conditions(object), ConditionType::Ready) {
            State::Ready
        } else if holds(apps::conditions(object), ConditionType::Stalled) {
            State::Failed
        } else {
            State::Importing
        };
        let app = status.and_then(|status| status.app.as_ref());
        Self {
            name: object.name_any(),
            app,
            title: status.and_then(|status| status.title.as_deref()),
            owner: &object.spec.owner,
            visibility: object.spec.visibility,
            tags: apps::tags_of(object),
            digest: apps::digest(object),
            state,
            message: condition(ConditionType::Ready).map_or("", |ready| ready.message.as_str()),
            environment: condition(ConditionType::EnvironmentReady).map(|ready| {
                let built = status.and_then(|status| status.environment.as_ref());
                Environment {
                    ready: ready.status == "True",
                    reason: &ready.reason,
                    message: &ready.message,
                    digest: built.and_then(|built| built.digest.as_deref()),
                }
            }),
            page: app.map(|app| pages::page_of(&app.name, &app.version)),
            created_at: created_at(object),
            versions: Vec::new(),
        }
    }

    /// The same among the others of its app.
    fn among(mut self, visitor: &Visitor, snapshot: &'a Snapshot) -> Self {
        let Some(app) = self.app else {
            return self;
        };
        let entries = snapshot.apps.values().map(AsRef::as_ref);
        let mut entries: Vec<&AppEntry> = entries
            .filter(|entry| entry.app.name == app.name)
            .filter(|entry| visitor.may(Action::SeeApp(Some((*entry).into()))).is_ok())
            .collect();
        entries.sort_by(|a, b| (b.created, &b.app.version).cmp(&(a.created, &a.app.version)));
        let siblings = entries.into_iter().map(|entry| Sibling {
            name: &entry.object,
            version: &entry.app.version,
            ready: entry.ready,
        });
        self.versions = siblings.collect();
        self
    }
}

impl Listed {
    fn new(app: catalog::App, snapshot: &Snapshot, opinions: &Opinions) -> Self {
        let (Preference { liked, pinned }, likes) = opinions.of(&app.name);
        let page = pages::page_of(&app.name, &app.version);
        let reference = AppRef {
            name: app.name,
            version: app.version,
        };
        let entry = snapshot.apps.get(&reference);
        Self {
            ready: entry.is_some_and(|entry| entry.ready),
            name: app.resource,
            app: reference,
            title: app.title,
            description: app.description,
            owner: app.owner,
            visibility: app.visibility,
            lifecycle: app.lifecycle,
            tags: app.tags,
            digest: app.digest.to_string(),
            page,
            published_at: moment(app.published_at),
            likes,
            liked,
            pinned,
        }
    }
}

/// The apps that the visitor sees, the newest first: all of them, those that are asked for, or the versions of one.
pub(in crate::web) async fn list(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let viewer = visitor.of_catalog()?;
    let query = app_query::of_program(call)?;
    let name = call.parameter("app");
    let one_more = limit as u64 + 1;
    let found = async {
        match &name {
            Some(name) => {
                store
                    .catalog
                    .versions(&viewer, name, &query, one_more)
                    .await
            }
            None => store.catalog.visible_apps(&viewer, &query, one_more).await,
        }
    };
    let mut found = timeout(PATIENCE, found).await??;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| is_more);
    let next = last.map(|last| {
        let after = AppCursor::after(last).to_string();
        let mut asked = app_query::asked(&query).to_vec();
        asked.push(("app", name.as_deref()));
        rest_of("/api/v1/apps", &after, limit, &asked)
    });
    let names = found.iter().map(|app| app.name.as_str());
    let opinions = Opinions::of_apps(store, visitor, names).await?;
    let snapshot = store.table.load();
    let items = found.into_iter();
    let items = items.map(|app| Listed::new(app, &snapshot, &opinions));
    json(&Page {
        items: items.collect(),
        next,
    })
}

/// Publishes the bundle that is the body of the request. It can be run a little later.
pub(in crate::web) async fn publish(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Reply, Error> {
    let visibility = call.parameter("visibility");
    let visibility = visibility.map_or(Ok(Visibility::default()), |visibility| visibility.parse());
    let visibility =
        visibility.map_err(|_| Error::BadRequest("visibility is Private, AllUsers or Public"))?;
    let key = Key::of(&call.headers, &visitor.signed_in()?.viewer.name)?;
    let made = apps::publish(store, visitor, visibility, key.as_ref(), body).await?;
    let path = format!("/api/v1/apps/{}", made.name_any());
    let reply = if_match::tag(json(&Version::new(&made))?, &made)?;
    located(reply, StatusCode::ACCEPTED, path)
}

/// One app.
pub(in crate::web) async fn get(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let found = apps::find(store, visitor, call.last_segment()).await?;
    one(store, visitor, &found)
}

/// Changes an app.
pub(in crate::web) async fn change(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let change: Change = document_with_lists(body, &["tags"])?;
    let if_match = IfMatch::of(&call.headers);
    let changed = apps::change(store, visitor, call.last_segment(), &change, &if_match).await?;
    one(store, visitor, &changed)
}

/// Deletes an app. It is gone a little later.
pub(in crate::web) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let if_match = IfMatch::of(&call.headers);
    apps::delete(store, visitor, call.last_segment(), &if_match).await?;
    Ok(accepted())
}

/// The bundle of an app, as it was published.
pub(in crate::web) async fn bundle(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let (blob, file) = apps::bundle(store, visitor, call.segment_before_last()).await?;
    let mut reply = warp::reply::stream(Exclusive::new(blob.stream)).into_response();
    let headers = reply.headers_mut();
    pages::safety(headers, "application/zip");
    headers.insert(header::CONTENT_LENGTH, blob.size.into());
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{file}\""));
    let disposition = disposition.map_err(|error| Error::Internal(Box::new(error)))?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(reply)
}

/// An app with the tag of its state.
fn one(store: &Store, visitor: &Visitor, object: &WaveApp) -> Result<Reply, Error> {
    let snapshot = store.table.load();
    let version = Version::new(object).among(visitor, &snapshot);
    if_match::tag(json(&version)?, object)
}

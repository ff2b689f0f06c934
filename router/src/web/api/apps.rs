//! Apps, for programs.

use bytes::Buf;
use crds::{AppRef, ConditionType, Visibility, WaveApp};
use futures::Stream;
use http::StatusCode;
use kube::ResourceExt;
use serde::Serialize;

use super::super::{Call, Reply, Store, Visitor, apps, pages};
use super::{accepted, json, located};
use crate::error::Error;

/// One version of an app, imported or not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a AppRef>,
    owner: &'a str,
    visibility: Visibility,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    state: State,
    message: &'a str,
    /// Where people see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
}

/// How far the operator is with it.
#[derive(Serialize)]
enum State {
    Importing,
    Ready,
    Failed,
}

impl<'a> Version<'a> {
    fn new(object: &'a WaveApp) -> Self {
        let status = object.status.as_ref();
        let state = if apps::is_true(object, ConditionType::Ready) {
            State::Ready
        } else if apps::is_true(object, ConditionType::Stalled) {
            State::Failed
        } else {
            State::Importing
        };
        let ready = ConditionType::Ready.to_string();
        let conditions = status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|found| found.type_ == ready);
        let app = status.and_then(|status| status.app.as_ref());
        Self {
            name: object.name_any(),
            app,
            owner: &object.spec.owner,
            visibility: object.spec.visibility,
            digest: status.and_then(|status| status.digest.as_deref()).or(object
                .spec
                .bundle
                .digest
                .as_deref()),
            state,
            message: ready.map_or("", |ready| ready.message.as_str()),
            page: app.map(|app| pages::page_of(&app.name, &app.version)),
        }
    }
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
    let made = apps::publish(store, visitor, visibility, body).await?;
    let path = format!("/api/v1/apps/{}", made.name_any());
    located(json(&Version::new(&made))?, StatusCode::ACCEPTED, path)
}

/// One app.
pub(in crate::web) async fn get(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let found = apps::find(store, visitor, call.last_segment()).await?;
    json(&Version::new(&found))
}

/// Deletes an app. It is gone a little later.
pub(in crate::web) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    apps::delete(store, visitor, call.last_segment()).await?;
    Ok(accepted())
}

//! The store's API: for programs that show a token, and for pages that have a session.

pub(super) mod accounts;
pub(super) mod aliases;
pub(super) mod apps;
pub(super) mod audit;
pub(super) mod devices;
pub(super) mod instances;
pub(super) mod limits;
pub(super) mod logs;
pub(super) mod offer;
pub(super) mod openapi;
pub(super) mod preferences;
pub(super) mod secrets;
pub(super) mod sessions;
pub(super) mod tags;
pub(super) mod tokens;

use catalog::Scope;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderValue, Response, StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::form_urlencoded;

use super::accounts::Role;
use super::{Call, Reply, Store, Visitor, pages};
use crate::error::Error;
use crate::viewer::Credential;

/// Whose request it is, and what shows that.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Account<'a> {
    name: &'a str,
    role: Role,
    /// `token`, `access` (of the OIDC provider) or `session`.
    credential: &'static str,
    /// `instances` and `store`.
    #[schemars(with = "Vec<String>")]
    scopes: &'a [Scope],
    /// What names the token in addresses, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// When it ends.
    expires_at: String,
}

/// Answers whose request it is.
pub(super) async fn account(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    const ALL: &[Scope] = &[Scope::Instances, Scope::Store];
    let signed_in = visitor.signed_in()?;
    let scopes: Vec<Scope>;
    let (credential, scopes, expires_at) = match &signed_in.credential {
        Credential::Session(key) => {
            let session = store.sessions.session(*key).await?;
            let session = session.ok_or(Error::NotSignedIn)?;
            ("session", ALL, session.expires_at)
        }
        Credential::Token(key) => {
            let token = store.bearers.token(*key).await?;
            let token = token.ok_or(Error::InvalidToken)?;
            scopes = token.scopes.iter().copied().collect();
            ("token", scopes.as_slice(), token.expires_at)
        }
        Credential::Access { expires_at, .. } => ("access", ALL, *expires_at),
    };
    json(&Account {
        name: &signed_in.viewer.name,
        role: signed_in.viewer.role.into(),
        credential,
        scopes,
        token_id: match &signed_in.credential {
            Credential::Token(key) => Some(key.to_text()),
            Credential::Session(_) | Credential::Access { .. } => None,
        },
        expires_at: moment(expires_at),
    })
}

/// How many things one answer holds, when the request says nothing, and at most.
const USUAL_LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;

/// A part of a list, and the address of the rest of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
struct Page<T> {
    items: Vec<T>,
    /// None at the end.
    next: Option<String>,
}

/// How many things the answer is to hold.
fn limit(call: &Call) -> Result<usize, Error> {
    let Some(limit) = call.parameter("limit") else {
        return Ok(USUAL_LIMIT);
    };
    let limit = limit.parse().ok();
    limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or(Error::BadRequest("`limit` is a number from 1 to 500"))
}

/// The address of the rest of the list at `path`, which begins after a place and is asked for by the same parameters.
fn rest_of(path: &str, after: &str, limit: usize, asked: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("after", after);
    query.append_pair("limit", &limit.to_string());
    for (name, value) in asked {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("{path}?{}", query.finish())
}

/// So many of a list that is sorted by names, after the one that the request names.
fn page_by_name<'a, X, T>(
    call: &Call,
    limit: usize,
    all: &'a [X],
    name: impl Fn(&X) -> &str,
    told: impl Fn(&'a X) -> T,
) -> Page<T> {
    let after = call.parameter("after").unwrap_or_default();
    let rest = &all[all.partition_point(|it| *name(it) <= *after)..];
    page_of(call, limit, rest, name, told)
}

/// The first so many of the rest of a list, which the one that is told last is named to go on from.
fn page_of<'a, X, T>(
    call: &Call,
    limit: usize,
    rest: &'a [X],
    name: impl Fn(&X) -> &str,
    told: impl Fn(&'a X) -> T,
) -> Page<T> {
    let found = &rest[..limit.min(rest.len())];
    let last = found.last().filter(|_| found.len() < rest.len());
    Page {
        next: last.map(|last| rest_of(call.path.as_str(), name(last), limit, &[])),
        items: found.iter().map(told).collect(),
    }
}

/// Reads the document that a request has brought, which has no list in it.
fn document<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    document_with_lists(body, &[])
}

/// Reads a document in which the fields of these names are lists, and nothing else is: serde takes a list of values for an object.
fn document_with_lists<T: DeserializeOwned>(body: &[u8], lists: &[&str]) -> Result<T, Error> {
    // From the body itself, so that an error tells the line.
    let document = serde_json::from_slice(body).map_err(Error::BadDocument)?;
    let mut plain: Value = serde_json::from_slice(body).map_err(Error::BadDocument)?;
    if let Value::Object(fields) = &mut plain {
        fields.retain(|name, _| !lists.contains(&name.as_str()));
    }
    if has_list(&plain) {
        return Err(Error::BadRequest(
            "the body has a list where an object belongs",
        ));
    }
    Ok(document)
}

fn has_list(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::Object(fields) => fields.values().any(has_list),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// When an object was made.
fn created_at(object: &impl ResourceExt) -> Option<String> {
    let created = object.creation_timestamp()?;
    of_kubernetes(created.0)
}

fn of_kubernetes(at: Timestamp) -> Option<String> {
    DateTime::from_timestamp(at.as_second(), 0).map(moment)
}

/// Says that it will be done a little later, and no more.
fn accepted() -> Reply {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    pages::safety(response.headers_mut(), "application/json");
    response.headers_mut().remove(header::CONTENT_TYPE);
    response.map(Into::into)
}

/// Says that it is done, and no more.
fn done() -> Reply {
    let mut reply = accepted();
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// Tells where the thing is that was made.
fn located(mut reply: Reply, status: StatusCode, path: String) -> Result<Reply, Error> {
    let path = HeaderValue::try_from(path).map_err(|error| Error::Internal(Box::new(error)))?;
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::LOCATION, path);
    Ok(reply)
}

/// Tells of the thing at `path` that was set, and that it was made if it is new.
fn set_at(reply: Reply, is_new: bool, path: String) -> Result<Reply, Error> {
    if is_new {
        located(reply, StatusCode::CREATED, path)
    } else {
        Ok(reply)
    }
}

fn json(value: &impl Serialize) -> Result<Reply, Error> {
    let words = serde_json::to_string(value).map_err(|error| Error::Internal(Box::new(error)))?;
    let mut response = Response::new(words);
    pages::safety(response.headers_mut(), "application/json");
    Ok(response.map(Into::into))
}

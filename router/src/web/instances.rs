//! What people do with instances, by pages and by the API alike: each act is put before the policy with the instance as the
//! Kubernetes API has it, and ends there.

use std::sync::Arc;
use std::time::Duration;

use catalog::Thing;
use crds::{AppRef, DELETE_AFTER_ANNOTATION, Visibility, WaveInstance, WaveInstanceSpec};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::idempotency::Key;
use super::if_match::IfMatch;
use super::{Store, TRIES, Visitor, again, apps};
use crate::InstanceId;
use crate::error::Error;
use crate::instance_id::{self, label_of};
use crate::policy::Action;
use crate::table::{AppEntry, Route, Snapshot};

/// Letters at the end of a name that is made here. Without vowels they are no words.
const LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
const LETTERS_IN_NAME: usize = 5;

/// An instance that is asked for.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewInstance {
    /// The app and version to run.
    pub app: AppRef,
    /// Its name; one is made of the app's when there is none.
    #[serde(default)]
    #[schemars(length(max = 53), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Who may enter.
    #[serde(default)]
    pub visibility: Visibility,
    /// The size of its pod, one of those that the app may have; without one, what the app asks for.
    #[serde(default)]
    pub size: Option<String>,
}

/// What is to become of an instance; what is not named stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "InstanceChange")]
pub(super) struct Change {
    /// Another version of its app.
    #[serde(default)]
    pub app: Option<ChangedApp>,
    /// Who may enter.
    #[serde(default)]
    pub visibility: Option<Visibility>,
    /// Whether it is kept down.
    #[serde(default)]
    pub suspended: Option<bool>,
    /// The size of its pod; an empty one stands for none, which is what the app asks for.
    #[serde(default)]
    pub size: Option<String>,
    /// When it is to be deleted. An empty one stands for no time: it is kept.
    #[serde(default)]
    #[schemars(schema_with = "time_or_none")]
    pub delete_after: Option<String>,
}

/// A time, nothing, or no change.
fn time_or_none(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "string", "maxLength": 0 },
            { "type": "null" },
        ],
    })
}

/// Another version of an instance's app.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "VersionChange")]
pub(super) struct ChangedApp {
    /// The version.
    pub version: String,
}

/// The instances that the visitor manages, of an owner or of everybody, after a name and by name.
pub(super) fn managed<'a>(
    visitor: &Visitor,
    snapshot: &'a Snapshot,
    (owner, after): (Option<&str>, &str),
) -> Vec<&'a Route> {
    let routes = snapshot.routes.values().map(AsRef::as_ref);
    let mut routes: Vec<&Route> = routes
        .filter(|route| route.id.as_ref() > after)
        .filter(|route| owner.is_none_or(|owner| *owner == *route.owner))
        .filter(|route| visitor.may(Action::Manage(Some((*route).into()))).is_ok())
        .collect();
    routes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    routes
}

/// The instance of this name, for those who manage it. What does not exist and what is somebody else's look the same.
pub(super) async fn find(
    store: &Store,
    visitor: &Visitor,
    name: &str,
) -> Result<WaveInstance, Error> {
    let found = if name.parse::<InstanceId>().is_ok() {
        store.instances.get(name).await?
    } else {
        None
    };
    let manage = Action::Manage(found.as_ref().map(|found| (&found.spec).into()));
    visitor.may(manage)?;
    found.ok_or(Error::NotFound)
}

/// Makes an instance that the visitor owns. A request that has made it before makes it no second time.
pub(super) async fn create(
    store: &Store,
    visitor: &Visitor,
    new: NewInstance,
    key: Option<&Key>,
) -> Result<WaveInstance, Error> {
    let request = json!(new).to_string();
    let marked = key.map(|key| (key, request.as_bytes()));
    let NewInstance {
        app,
        name,
        visibility,
        size,
    } = new;
    let entry = require_runnable(store, visitor, &app).await?;
    let size = size.filter(|size| !size.is_empty());
    require_size(Some(&entry), size.as_deref())?;
    let owner = &visitor.signed_in()?.viewer.name;
    let spec = WaveInstanceSpec {
        app,
        owner: owner.to_string(),
        visibility,
        suspended: false,
        size,
    };
    let made = if let Some(name) = name {
        let id = new_name(&name)?;
        create_as(store, &id, spec, marked).await?
    } else {
        create_somehow(store, spec, marked).await?
    };
    let id = made.name_any();
    let done = format!("made the instance {id}");
    visitor.did(store, (Thing::Instance, &id), &done).await?;
    Ok(made)
}

/// A name that an instance can be given, or an alias: those that begin with a digit are older than that rule.
pub(super) fn new_name(name: &str) -> Result<InstanceId, Error> {
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(Error::BadInstanceName);
    }
    name.parse().map_err(|_| Error::BadInstanceName)
}

/// What a request makes is marked with: its key, and all that it asks for.
type Marked<'a> = Option<(&'a Key, &'a [u8])>;

async fn create_as(
    store: &Store,
    id: &InstanceId,
    spec: WaveInstanceSpec,
    marked: Marked<'_>,
) -> Result<WaveInstance, Error> {
    // An instance of its name would take what is meant for the alias.
    if store.table.load().names.aliases.contains_key(id) {
        return Err(Error::InstanceNameTaken(id.to_string()));
    }
    let owner = spec.owner.clone();
    let mut object = WaveInstance::new(id.as_ref(), spec);
    if let Some((key, request)) = marked {
        key.mark(&mut object, request);
    }
    if let Some(made) = store.instances.create(&object).await? {
        return Ok(made);
    }
    if let Some((key, request)) = marked
        && let Some(held) = store.instances.get(id.as_ref()).await?
        && held.spec.owner == owner
        && key.has_made(&held, request)?
    {
        return Ok(held);
    }
    Err(Error::InstanceNameTaken(id.to_string()))
}

/// By chance the name says nothing of the names of others; by its key a request comes to the same name again.
async fn create_somehow(
    store: &Store,
    spec: WaveInstanceSpec,
    marked: Marked<'_>,
) -> Result<WaveInstance, Error> {
    let label = label_of(
        &spec.app.name,
        instance_id::MAX_LENGTH - LETTERS_IN_NAME - 1,
    );
    let mut last = Error::InstanceNameTaken(label.clone());
    for attempt in 0..TRIES {
        let digits = marked.map(|(key, _)| key.digits(attempt));
        let digits = digits.unwrap_or_else(|| std::array::from_fn(|_| fastrand::u8(..)));
        let letters = digits.iter().take(LETTERS_IN_NAME);
        let letters = letters.map(|digit| LETTERS[usize::from(*digit) % LETTERS.len()]);
        let letters: String = letters.map(char::from).collect();
        let id = format!("{label}-{letters}").parse();
        let id = id.map_err(|error| Error::Internal(Box::new(error)))?;
        match create_as(store, &id, spec.clone(), marked).await {
            Err(error @ Error::InstanceNameTaken(_)) => last = error,
            other => return other,
        }
    }
    Err(last)
}

/// Changes an instance that the visitor manages.
pub(super) async fn change(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    change: &Change,
    if_match: &IfMatch,
) -> Result<WaveInstance, Error> {
    again(|| async move {
        let found = find(store, visitor, name).await?;
        if_match.check(&found)?;
        let mut fields = changed_fields(store, visitor, &found, change).await?;
        let spec = Value::Object(fields.clone());
        let changed = match changed_deletion(&found, change, Timestamp::now())? {
            Some(at) => {
                let annotations = json!({ DELETE_AFTER_ANNOTATION: at });
                fields.insert("deleteAfter".to_owned(), at);
                let instances = &store.instances;
                instances
                    .change_with_annotations(&found, spec, annotations)
                    .await?
            }
            None if fields.is_empty() => return Ok(found),
            None => store.instances.change(&found, spec).await?,
        };
        let fields = Value::Object(fields);
        let done = format!("changed the instance {name}: {fields}");
        visitor.did(store, (Thing::Instance, name), &done).await?;
        Ok(changed)
    })
    .await
}

/// What of the spec becomes another one, if the visitor may do all of it.
async fn changed_fields(
    store: &Store,
    visitor: &Visitor,
    found: &WaveInstance,
    change: &Change,
) -> Result<Map<String, Value>, Error> {
    let Change {
        app,
        visibility,
        suspended,
        size,
        delete_after: _,
    } = change;
    let now = &found.spec;
    let mut spec = Map::new();
    if let Some(ChangedApp { version }) = app
        && *version != now.app.version
    {
        let app = AppRef {
            name: now.app.name.clone(),
            version: version.clone(),
        };
        require_runnable(store, visitor, &app).await?;
        spec.insert("app".to_owned(), json!({ "version": version }));
    }
    if let Some(visibility) = *visibility
        && visibility != now.visibility
    {
        let share = visitor.may(Action::Share((&found.spec).into()));
        share.map_err(|_| Error::OwnerOnly)?;
        spec.insert("visibility".to_owned(), json!(visibility));
    }
    if let Some(suspended) = *suspended
        && suspended != now.suspended
    {
        spec.insert("suspended".to_owned(), json!(suspended));
    }
    if let Some(size) = size {
        let size = Some(size.as_str()).filter(|size| !size.is_empty());
        if size != now.size.as_deref() {
            let entry = apps::entry(store, &now.app).await?;
            require_size(entry.as_deref(), size)?;
            spec.insert("size".to_owned(), json!(size));
        }
    }
    Ok(spec)
}

/// What the annotation becomes that says when an instance is to be deleted, if that becomes another time, or none.
fn changed_deletion(
    found: &WaveInstance,
    change: &Change,
    now: Timestamp,
) -> Result<Option<Value>, Error> {
    let Some(wanted) = &change.delete_after else {
        return Ok(None);
    };
    if found.metadata.deletion_timestamp.is_some() {
        return Err(Error::BeingDeleted);
    }
    if wanted.is_empty() {
        let is_asked = found.annotations().contains_key(DELETE_AFTER_ANNOTATION);
        return Ok(is_asked.then_some(Value::Null));
    }
    let at = wanted.parse().ok().filter(|at: &Timestamp| *at > now);
    let at = at.ok_or_else(|| Error::BadDeletionTime(wanted.clone()))?;
    let is_asked = found.delete_after() == Ok(Some(at));
    Ok((!is_asked).then(|| json!(at.to_string())))
}

/// The end of the time for which the deletion of an instance can be undone, to the second and not before that time is over.
pub(super) fn end_of(undo: Duration, now: Timestamp) -> Timestamp {
    let seconds = i64::try_from(undo.as_secs()).unwrap_or(i64::MAX);
    let end = now.as_second().saturating_add(seconds).saturating_add(1);
    Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
}

/// Deletes an instance that the visitor manages.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    if_match: &IfMatch,
) -> Result<(), Error> {
    again(|| async move {
        let found = find(store, visitor, name).await?;
        if_match.check(&found)?;
        store.instances.delete(&found).await?;
        let done = format!("deleted the instance {name}");
        visitor.did(store, (Thing::Instance, name), &done).await
    })
    .await
}

/// Refuses a size that the store does not have.
fn require_size(entry: Option<&AppEntry>, size: Option<&str>) -> Result<(), Error> {
    let Some(size) = size else {
        return Ok(());
    };
    let mut sizes = entry.map_or(&[][..], |entry| &entry.sizes).iter();
    if sizes.any(|known| known.name == size) {
        Ok(())
    } else {
        Err(Error::NoSize(size.to_owned()))
    }
}

/// Refuses an app that the visitor may not run, or that cannot be run now.
async fn require_runnable(
    store: &Store,
    visitor: &Visitor,
    app: &AppRef,
) -> Result<Arc<AppEntry>, Error> {
    let entry = apps::entry(store, app).await?;
    let run = Action::RunApp(entry.as_deref().map(Into::into));
    visitor.may(run).map_err(|_| Error::NoApp(app.clone()))?;
    entry
        .filter(|entry| entry.ready)
        .ok_or_else(|| Error::AppNotReady(app.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_deletion_can_be_undone_for_as_long_as_is_said() {
        let now = at("2026-01-01T12:00:00.5Z");
        let cases = [
            (Duration::from_mins(1), "2026-01-01T12:01:01Z"),
            (Duration::from_millis(1), "2026-01-01T12:00:01Z"),
            (Duration::MAX, "9999-12-30T22:00:00.999999999Z"),
        ];
        for (undo, expected) in cases {
            let end = end_of(undo, now);
            assert_eq!(end, at(expected), "{undo:?}");
            assert!(
                end > now + undo.min(Duration::from_hours(1)) || undo > Duration::from_hours(1)
            );
        }
    }

    #[test]
    fn a_deletion_is_asked_for_at_a_time_to_come_and_taken_back_until_then() {
        const NOON: &str = "2026-01-01T12:00:00Z";
        let change = |wanted: Option<&str>| Change {
            delete_after: wanted.map(str::to_owned),
            ..Change::default()
        };
        let bad = |wanted: &str| Err(format!("`{wanted}` is no time to come"));
        let cases = [
            (None, None, Ok(None)),
            (Some(NOON), None, Ok(None)),
            (None, Some(NOON), Ok(Some(json!(NOON)))),
            (
                None,
                Some("2026-01-01T13:00:00+01:00"),
                Ok(Some(json!(NOON))),
            ),
            (Some(NOON), Some("2026-01-01T13:00:00+01:00"), Ok(None)),
            (Some("tomorrow"), Some(NOON), Ok(Some(json!(NOON)))),
            (
                None,
                Some("2026-01-01T11:00:00Z"),
                bad("2026-01-01T11:00:00Z"),
            ),
            (None, Some("5m"), bad("5m")),
            (Some(NOON), Some(""), Ok(Some(Value::Null))),
            (Some("tomorrow"), Some(""), Ok(Some(Value::Null))),
            (None, Some(""), Ok(None)),
        ];
        for (before, wanted, expected) in cases {
            let annotations = before.map(|at| json!({ DELETE_AFTER_ANNOTATION: at }));
            let object = json!({
                "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveInstance",
                "metadata": { "name": "sales", "annotations": annotations },
                "spec": { "app": { "name": "hello", "version": "1.0.0" }, "owner": "alice" },
            });
            let found: WaveInstance = serde_json::from_value(object).expect("an instance");
            let changed = changed_deletion(&found, &change(wanted), at("2026-01-01T11:00:00Z"));
            let changed = changed.map_err(|error| error.to_string());
            assert_eq!(changed, expected, "{before:?} {wanted:?}");
            let mut found = found;
            found.metadata.deletion_timestamp = Some(
                k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(NOON)),
            );
            let changed = changed_deletion(&found, &change(wanted), at(NOON));
            let refused = matches!(changed, Err(Error::BeingDeleted));
            assert_eq!(refused, wanted.is_some(), "{before:?} {wanted:?}");
        }
    }
}

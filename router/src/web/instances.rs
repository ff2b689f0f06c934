//! What people do with instances, by pages and by the API alike: each act is put before the policy with the instance as the
//! Kubernetes API has it, and ends there.

use crds::{AppRef, Visibility, WaveInstance, WaveInstanceSpec};
use http::{HeaderMap, header};
use kube::ResourceExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::info;

use super::{Store, Visitor};
use crate::InstanceId;
use crate::error::Error;
use crate::instance_id::{self, label_of};
use crate::policy::Action;

/// How often a change is tried that others' changes come in between, and a name that is made here and taken.
const TRIES: usize = 5;

/// Letters at the end of a name that is made here. Without vowels they are no words.
const LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
const LETTERS_IN_NAME: usize = 5;

/// An instance that is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewInstance {
    /// The app and version to run.
    pub app: AppRef,
    /// Its name; one is made of the app's when there is none.
    #[serde(default)]
    pub name: Option<String>,
    /// Who may enter.
    #[serde(default)]
    pub visibility: Visibility,
}

/// What is to become of an instance; what is not named stays.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
}

/// Another version of an instance's app.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChangedApp {
    /// The version.
    pub version: String,
}

/// The header `If-Match`: which state of an instance its change is meant for (RFC 9110, 13.1.1).
#[derive(Debug, Default)]
pub(super) struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// What the request says; any state when it says nothing or `*`.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::IF_MATCH).into_iter();
        let tags: Vec<String> = lines
            .flat_map(|line| line.to_str().unwrap_or_default().split(','))
            .map(|tag| tag.trim().to_owned())
            .collect();
        let any = tags.is_empty() || tags.iter().any(|tag| tag == "*");
        Self((!any).then_some(tags))
    }

    fn check(&self, instance: &WaveInstance) -> Result<(), Error> {
        let now = entity_tag(instance);
        match &self.0 {
            Some(tags) if !tags.contains(&now) => Err(Error::InstanceChanged),
            Some(_) | None => Ok(()),
        }
    }
}

/// Names the state of an instance, as the header `ETag` does.
pub(super) fn entity_tag(instance: &WaveInstance) -> String {
    let version = instance.metadata.resource_version.as_deref();
    format!("\"{}\"", version.unwrap_or_default())
}

/// The instance of this name, for those who manage it. What does not exist and what is somebody else's look the same.
pub(super) async fn find(
    store: &Store,
    visitor: &Visitor,
    name: &str,
) -> Result<WaveInstance, Error> {
    let found = match name.parse() {
        Ok(id) => store.instances.get(&id).await?,
        Err(_) => None,
    };
    let manage = Action::Manage(found.as_ref().map(|found| (&found.spec).into()));
    visitor.may(manage)?;
    found.ok_or(Error::NotFound)
}

/// Makes an instance that the visitor owns.
pub(super) async fn create(
    store: &Store,
    visitor: &Visitor,
    new: NewInstance,
) -> Result<WaveInstance, Error> {
    let NewInstance {
        app,
        name,
        visibility,
    } = new;
    require_runnable(store, visitor, &app)?;
    let owner = &visitor.signed_in()?.viewer.name;
    let spec = WaveInstanceSpec {
        app,
        owner: owner.to_string(),
        visibility,
        suspended: false,
    };
    let made = if let Some(name) = name {
        let id: InstanceId = name.parse().map_err(|_| Error::BadInstanceName)?;
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(Error::BadInstanceName);
        }
        create_as(store, &id, spec).await?
    } else {
        create_somehow(store, spec).await?
    };
    let id = made.name_any();
    info!(instance.id = id, "{owner} made the instance {id}");
    Ok(made)
}

async fn create_as(
    store: &Store,
    id: &InstanceId,
    spec: WaveInstanceSpec,
) -> Result<WaveInstance, Error> {
    // An instance of its name would take what is meant for the alias.
    if store.table.load().names.aliases.contains_key(id) {
        return Err(Error::InstanceNameTaken(id.to_string()));
    }
    store.instances.create(id, spec).await
}

/// By chance the name says nothing of the names of others.
async fn create_somehow(store: &Store, spec: WaveInstanceSpec) -> Result<WaveInstance, Error> {
    let label = label_of(
        &spec.app.name,
        instance_id::MAX_LENGTH - LETTERS_IN_NAME - 1,
    );
    let mut last = Error::InstanceNameTaken(label.clone());
    for _ in 0..TRIES {
        let letters = (0..LETTERS_IN_NAME).filter_map(|_| fastrand::choice(LETTERS));
        let letters: String = letters.copied().map(char::from).collect();
        let id = format!("{label}-{letters}").parse();
        let id = id.map_err(|error| Error::Internal(Box::new(error)))?;
        match create_as(store, &id, spec.clone()).await {
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
    for _ in 0..TRIES {
        let found = find(store, visitor, name).await?;
        if_match.check(&found)?;
        let spec = changed_fields(store, visitor, &found, change)?;
        if spec.is_empty() {
            return Ok(found);
        }
        let fields = Value::Object(spec);
        match store.instances.change(&found, fields.clone()).await {
            Err(Error::InstanceChanged) => {}
            Ok(changed) => {
                let who = &visitor.signed_in()?.viewer.name;
                info!(
                    instance.id = name,
                    "{who} changed the instance {name}: {fields}"
                );
                return Ok(changed);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::InstanceChanged)
}

/// What of the spec becomes another one, if the visitor may do all of it.
fn changed_fields(
    store: &Store,
    visitor: &Visitor,
    found: &WaveInstance,
    change: &Change,
) -> Result<Map<String, Value>, Error> {
    let Change {
        app,
        visibility,
        suspended,
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
        require_runnable(store, visitor, &app)?;
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
    Ok(spec)
}

/// Deletes an instance that the visitor manages.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    if_match: &IfMatch,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let found = find(store, visitor, name).await?;
        if_match.check(&found)?;
        match store.instances.delete(&found).await {
            Err(Error::InstanceChanged) => {}
            Ok(()) => {
                let who = &visitor.signed_in()?.viewer.name;
                info!(instance.id = name, "{who} deleted the instance {name}");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
    Err(Error::InstanceChanged)
}

/// Refuses an app that the visitor may not run, or that cannot be run now.
fn require_runnable(store: &Store, visitor: &Visitor, app: &AppRef) -> Result<(), Error> {
    let snapshot = store.table.load();
    let entry = snapshot.apps.get(app);
    let run = Action::RunApp(entry.map(|entry| (&**entry).into()));
    visitor.may(run).map_err(|_| Error::NoApp(app.clone()))?;
    if entry.is_some_and(|entry| entry.ready) {
        Ok(())
    } else {
        Err(Error::AppNotReady(app.clone()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_change_is_for_the_state_that_it_names() {
        let mut instance = WaveInstance::new("sales", spec());
        instance.metadata.resource_version = Some("7".to_owned());
        let cases: [(&[&'static str], bool); 8] = [
            (&[], true),
            (&["*"], true),
            (&["\"7\""], true),
            (&["\"6\", \"7\""], true),
            (&["\"6\"", "\"7\""], true),
            (&["\"6\""], false),
            (&["W/\"7\""], false),
            (&["7"], false),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_MATCH, HeaderValue::from_static(line));
            }
            let matches = IfMatch::of(&headers).check(&instance).is_ok();
            assert_eq!(matches, expected, "{lines:?}");
        }
    }

    fn spec() -> WaveInstanceSpec {
        WaveInstanceSpec {
            app: AppRef::default(),
            owner: "alice".to_owned(),
            visibility: Visibility::Private,
            suspended: false,
        }
    }
}

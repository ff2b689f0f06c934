//! What people do with aliases. An alias takes a name that an instance could have, so those who run the store set them.

use catalog::Thing;
use crds::{WaveAlias, WaveAliasSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::if_match::IfMatch;
use super::{Store, Visitor, again, instances};
use crate::InstanceId;
use crate::error::Error;
use crate::policy::{Action, Instance};

/// What an alias is to be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WantedAlias")]
pub(super) struct Wanted {
    /// The instance that it leads to.
    pub instance: String,
    /// Whether the instance's other names lead to this one.
    #[serde(default)]
    pub primary: bool,
}

/// Some of the aliases that the visitor sees, from a place of the API server's on; and the place of the rest.
pub(super) async fn list(
    store: &Store,
    visitor: &Visitor,
    limit: usize,
    after: Option<&str>,
) -> Result<(Vec<WaveAlias>, Option<String>), Error> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let (mut found, rest) = store.aliases.list(limit, after).await?;
    found.retain(|alias| may_see(store, visitor, Some(alias)).is_ok());
    Ok((found, rest))
}

/// The alias of this name, for those who see it.
pub(super) async fn find(store: &Store, visitor: &Visitor, name: &str) -> Result<WaveAlias, Error> {
    let found = if name.parse::<InstanceId>().is_ok() {
        store.aliases.get(name).await?
    } else {
        None
    };
    may_see(store, visitor, found.as_ref())?;
    found.ok_or(Error::NotFound)
}

/// Those who manage an instance see what leads to it.
fn may_see(store: &Store, visitor: &Visitor, alias: Option<&WaveAlias>) -> Result<(), Error> {
    if visitor.may(Action::SetAliases).is_ok() {
        return Ok(());
    }
    let route = alias.and_then(|alias| store.table.route(&alias.spec.instance));
    visitor.may(Action::Manage(route.as_deref().map(Instance::from)))
}

/// Makes an alias, or lets it lead elsewhere; says whether it is new. A host of its own stays.
pub(super) async fn set(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    wanted: &Wanted,
    if_match: &IfMatch,
) -> Result<(WaveAlias, bool), Error> {
    let id = &instances::new_name(name)?;
    let Wanted { instance, primary } = wanted;
    let target = if instance.parse::<InstanceId>().is_ok() {
        store.instances.get(instance).await?
    } else {
        None
    };
    if target.is_none() {
        return Err(Error::NoInstance(instance.clone()));
    }
    again(|| async move {
        if let Some(known) = store.aliases.get(id.as_ref()).await? {
            if_match.check(&known)?;
            let fields = json!({ "instance": instance, "primary": primary });
            let now = store.aliases.change(&known, fields).await?;
            let done = format!("let the alias {id} lead to {instance}");
            visitor.did(store, (Thing::Alias, name), &done).await?;
            return Ok((now, false));
        }
        if_match.check_absent()?;
        if store.table.load().routes.contains_key(id) {
            return Err(Error::InstanceNameTaken(id.to_string()));
        }
        let spec = WaveAliasSpec {
            instance: instance.clone(),
            primary: *primary,
            host: None,
        };
        let alias = WaveAlias::new(id.as_ref(), spec);
        let made = store.aliases.create(&alias).await?;
        let made = made.ok_or(Error::Overtaken)?;
        let done = format!("made the alias {id}, which leads to {instance}");
        visitor.did(store, (Thing::Alias, name), &done).await?;
        Ok((made, true))
    })
    .await
}

/// Deletes an alias.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    if_match: &IfMatch,
) -> Result<(), Error> {
    again(|| async move {
        let found = find(store, visitor, name).await?;
        if_match.check(&found)?;
        store.aliases.delete(&found).await?;
        let done = format!("deleted the alias {name}");
        visitor.did(store, (Thing::Alias, name), &done).await
    })
    .await
}

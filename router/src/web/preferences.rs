//! What people like and have pinned, by the pages and by the API alike.

use std::collections::{BTreeMap, HashMap};

use catalog::{Preference, PreferenceChange};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::form::Form;
use super::{PATIENCE, Reply, Store, Visitor, redirect};
use crate::error::Error;
use crate::policy::Action;
use crate::session::LocalPath;

/// What one thinks of an app from now on; what is not said stays.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PreferenceChange")]
pub(super) struct Change {
    /// Whether one likes it.
    pub liked: Option<bool>,
    /// Whether it comes first on one's first page.
    pub pinned: Option<bool>,
}

impl Change {
    /// Whether nothing is liked or pinned by it that was not.
    fn takes_back(self) -> bool {
        self.liked != Some(true) && self.pinned != Some(true)
    }
}

/// What is thought of apps.
#[derive(Debug, Default)]
pub(super) struct Opinions {
    own: BTreeMap<String, Preference>,
    likes: HashMap<String, u64>,
}

impl Opinions {
    /// What is thought of an app: by the viewer, and how many like it.
    pub(super) fn of(&self, app: &str) -> (Preference, u64) {
        let own = self.own.get(app).copied().unwrap_or_default();
        let likes = self.likes.get(app).copied().unwrap_or_default();
        (own, likes)
    }

    /// The names of the apps that the viewer has pinned.
    pub(super) fn pinned(&self) -> Vec<&str> {
        let pinned = self.own.iter().filter(|(_, preference)| preference.pinned);
        pinned.map(|(name, _)| name.as_str()).collect()
    }

    /// What the visitor thinks of apps, and nothing of what others think yet.
    pub(super) async fn own(store: &Store, visitor: &Visitor) -> Result<Self, Error> {
        let own = store.catalog.preferences_of(account(visitor)?);
        Ok(Self {
            own: timeout(PATIENCE, own).await??,
            likes: HashMap::new(),
        })
    }

    /// The same, and how many like the apps of these names.
    pub(super) async fn of_apps(
        store: &Store,
        visitor: &Visitor,
        apps: impl Iterator<Item = &str>,
    ) -> Result<Self, Error> {
        let own = Self::own(store, visitor);
        let (own, likes) = tokio::try_join!(own, Self::likes(store, apps.collect()))?;
        Ok(own.with(likes))
    }

    /// How many like the apps of these names.
    pub(super) async fn likes(
        store: &Store,
        mut apps: Vec<&str>,
    ) -> Result<HashMap<String, u64>, Error> {
        apps.sort_unstable();
        apps.dedup();
        Ok(timeout(PATIENCE, store.catalog.likes(&apps)).await??)
    }

    pub(super) fn with(self, likes: HashMap<String, u64>) -> Self {
        Self { likes, ..self }
    }
}

/// Changes what the visitor thinks of an app that they see. What they cannot see any more, they can still take back.
pub(super) async fn change(
    store: &Store,
    visitor: &Visitor,
    app: &str,
    change: Change,
) -> Result<Preference, Error> {
    let account = account(visitor)?;
    let own = timeout(PATIENCE, store.catalog.preferences_of(account)).await??;
    if !(change.takes_back() && own.contains_key(app)) {
        let viewer = visitor.of_catalog()?;
        let names = [app];
        let found = store.catalog.newest_versions(&viewer, &names);
        let found = timeout(PATIENCE, found).await??;
        visitor.may(Action::SeeApp(found.first().map(Into::into)))?;
    }
    let Change { liked, pinned } = change;
    let change = PreferenceChange { liked, pinned };
    let changed = store.catalog.set_preference(account, app, change);
    Ok(timeout(PATIENCE, changed).await??)
}

/// The same by a button of a page, which is shown again then.
pub(super) async fn press(store: &Store, visitor: &Visitor, form: &Form) -> Result<Reply, Error> {
    let said = |field| match form.field(field) {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    let wanted = Change {
        liked: said("liked"),
        pinned: said("pinned"),
    };
    change(store, visitor, form.field("app"), wanted).await?;
    let back = LocalPath::or_root(form.field("back"));
    redirect(StatusCode::SEE_OTHER, &back.to_string())
}

fn account(visitor: &Visitor) -> Result<&str, Error> {
    Ok(&visitor.signed_in()?.viewer.name)
}

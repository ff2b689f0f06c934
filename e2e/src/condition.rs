//! Waiting for what an object says of itself.

use std::fmt::Debug;

use anyhow::{Context, Result, ensure};
use crds::{WaveAlias, WaveApp, WaveInstance};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::eventually;

/// Objects with conditions after kstatus.
pub trait Conditioned: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned {
    /// What the object says of itself.
    fn conditions(&self) -> &[Condition];
}

impl Conditioned for WaveApp {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

impl Conditioned for WaveInstance {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

impl Conditioned for WaveAlias {
    fn conditions(&self) -> &[Condition] {
        self.status
            .as_ref()
            .map_or(&[], |status| &status.conditions)
    }
}

/// Waits until a condition speaks of the object's newest generation and is as `wanted`.
///
/// # Errors
/// It never is; the error holds what it says instead.
pub async fn condition<K: Conditioned>(
    api: &Api<K>,
    name: &str,
    type_: &str,
    wanted: impl Fn(&Condition) -> bool,
) -> Result<Condition> {
    eventually(&format!("{type_} of {} {name}", K::kind(&())), async || {
        let object = api.get(name).await?;
        let mut found = object.conditions().iter();
        let found = found.find(|condition| condition.type_ == type_);
        let found = found.context("there is no such condition")?;
        ensure!(
            found.observed_generation == object.meta().generation && wanted(found),
            "{} ({}): {}",
            found.status,
            found.reason,
            found.message
        );
        Ok(found.clone())
    })
    .await
}

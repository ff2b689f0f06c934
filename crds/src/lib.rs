//! The custom resources of Wavestore as Rust types.
//!
//! From these types come the CRD manifests (`config/crd/`), the values schema of the instance chart
//! (`config/wave-instance/values.schema.json`) and what operator, router and tests share: labels,
//! ports, names of settings. No client and no async code belongs here.

mod activity;
mod alias;
mod app;
mod condition;
mod contract;
mod instance;
mod naming;
mod offer;
mod runtime;
mod schema;
mod secret;

pub use activity::report_interval;
pub use alias::{WaveAlias, WaveAliasSpec, WaveAliasStatus};
pub use app::{AppEnvironment, BundleSource, ConfigMapKey, WaveApp, WaveAppSpec, WaveAppStatus};
pub use condition::{
    ConditionStatus, ConditionType, condition, find_condition, holds, is_failure, set_condition,
};
pub use contract::{
    APP_PORT, BUILD_AUDIENCE, BUILD_LABEL, BUNDLE_ANNOTATION, DELETE_AFTER_ANNOTATION,
    ENVIRONMENT_ANNOTATION, FINALIZER, GROUP, HEALTH_PORT, INSTANCE_LABEL, INSTANCE_PATH,
    REDEPLOY_ANNOTATION, RESERVED_INSTANCE_NAME, SUSPENDED_PHASE, TOKEN_AUDIENCE,
};
pub use instance::{
    InstanceRelease, WaveInstance, WaveInstanceSpec, WaveInstanceStatus, normalize_values,
};
pub use naming::{Claim, Domains, Fault, Standing, settle};
pub use offer::{RuntimeVersion, Size};
pub use runtime::{
    AppMode, Lifecycle, RoutingMode, Runtime, RuntimeEnvironment, RuntimeFile, RuntimeSize,
    RuntimeVolume,
};
pub use schema::{crd_manifests, values_schema};
pub use secret::{
    APP_SECRET_LABEL, SECRET_APP_ANNOTATION, SECRET_INDEX, SECRET_OWNER_ANNOTATION, SecretEntry,
    SecretFault, SecretReaders, SecretScope,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One version of one app, by the names in its `app.toml`.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct AppRef {
    /// The app's name, `[App] Name` in its app.toml.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
    )]
    pub name: String,
    /// The app's version, `[App] Version` in its app.toml. Quote it in YAML: `1.0` is a number there.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
    )]
    pub version: String,
}

impl std::fmt::Display for AppRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// Who may see an app, or enter an instance.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
)]
pub enum Visibility {
    /// The owner alone.
    #[default]
    Private,
    /// Everybody who is signed in.
    AllUsers,
    /// Everybody, also without signing in.
    Public,
}

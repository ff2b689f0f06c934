//! The labels of metrics. All are enums: no name of an instance, of an app or of a person makes a series.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::freshness::Watch;
use crate::helm;
use crate::instance::Plan;

/// Makes enums labels, under the names that strum gives them.
macro_rules! label_values {
    ($($label:ty),*) => {$(
        impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                <&'static str>::from(self).encode(encoder)
            }
        }
    )*};
}

label_values!(Controller, Outcome, Verb, Exit, Import, Build, State, Watch);

/// Who reconciles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Controller {
    /// The controller of `WaveApp`s.
    App,
    /// The controller of `WaveInstance`s.
    Instance,
}

/// How a reconciliation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Outcome {
    /// What was to be done is done.
    Succeeded,
    /// Helm said no; tried again after a pause.
    HelmFailed,
    /// The API server, the catalog or something else failed; tried again after a pause.
    Failed,
    /// The operator was asked to stop.
    Stopped,
}

/// What Helm was asked to do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Verb {
    /// `helm install`.
    Install,
    /// `helm upgrade`.
    Upgrade,
    /// `helm uninstall`.
    Uninstall,
    /// `helm version`.
    Version,
    /// Anything else.
    Other,
}

/// How a run of Helm ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Exit {
    /// It did what it was asked to do.
    Succeeded,
    /// It said no.
    Failed,
    /// Somebody killed it.
    Killed,
    /// It ran too long and was ended.
    TimedOut,
    /// It could not be started, or not be talked to.
    Broken,
    /// The operator gave it up.
    Abandoned,
}

impl From<&helm::Error> for Exit {
    fn from(error: &helm::Error) -> Self {
        match error {
            helm::Error::Failed { .. } => Self::Failed,
            helm::Error::Killed { .. } => Self::Killed,
            helm::Error::TimedOut { .. } => Self::TimedOut,
            helm::Error::NotLeading { .. } => Self::Abandoned,
            helm::Error::Start { .. }
            | helm::Error::Pipe { .. }
            | helm::Error::Output { .. }
            | helm::Error::Version { .. } => Self::Broken,
        }
    }
}

/// What became of an app's bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Import {
    /// It is in the catalog.
    Imported,
    /// Somebody has to change it.
    Refused,
    /// It could not be fetched or stored; tried again after a pause.
    Failed,
}

/// What became of a job that was to build an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Build {
    /// Its environment is in the store.
    Built,
    /// The `WaveApp` says why not.
    Failed,
}

/// How an instance is, by its conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum State {
    /// It can be used.
    Ready,
    /// It is on its way.
    Reconciling,
    /// Somebody has to change something.
    Stalled,
    /// Nothing has been said of it yet.
    New,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfReconcile {
    pub(super) controller: Controller,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfController {
    pub(super) controller: Controller,
}

/// A plan, in the words of the plan itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfPlan {
    action: &'static str,
    reason: &'static str,
}

impl From<Plan> for OfPlan {
    fn from(Plan { action, reason }: Plan) -> Self {
        Self {
            action: action.into(),
            reason: reason.into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfRun {
    pub(super) verb: Verb,
    pub(super) outcome: Exit,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfVerb {
    pub(super) verb: Verb,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfEnvironment {
    pub(super) outcome: Build,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfImport {
    pub(super) outcome: Import,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfState {
    pub(super) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfWatch {
    pub(super) watch: Watch,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfBuild {
    pub(super) version: &'static str,
}

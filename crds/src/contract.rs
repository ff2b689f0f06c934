//! Names that the chart, the operator, the router and the launcher must agree on.

/// API group of all custom resources.
pub const GROUP: &str = "wavestore.io";

/// Finalizer by which the operator keeps a deleted `WaveInstance` until its release is uninstalled.
pub const FINALIZER: &str = "wavestore.io/release";

/// Label on every object of an instance; its value is the instance's name.
pub const INSTANCE_LABEL: &str = "wavestore.io/instance";

/// Annotation of a `WaveInstance` that asks for a redeployment whenever its value changes: the app is resolved anew, with the
/// store's settings of the day, and its pod starts again.
pub const REDEPLOY_ANNOTATION: &str = "wavestore.io/redeploy";

/// Annotation of a `WaveInstance` that says when it is to be deleted, such as `2026-01-01T12:00:00Z`. Until then it goes on as it
/// is, and whoever takes the annotation away keeps it.
pub const DELETE_AFTER_ANNOTATION: &str = "wavestore.io/delete-after";

/// Port on which an instance's app answers, and the launcher before it.
pub const APP_PORT: u16 = 10101;

/// Port on which the launcher answers probes and tells its phase, as long as the pod lives.
pub const HEALTH_PORT: u16 = 10102;

/// Audience of the projected token by which a pod fetches its bundle.
pub const TOKEN_AUDIENCE: &str = "wavestore";

/// Audience of the projected token by which the job that builds an environment fetches the bundle and stores what it made.
/// No app has such a token.
pub const BUILD_AUDIENCE: &str = "wavestore-build";

/// Label on the pod of such a job; its value is the key of the one environment that it may store.
pub const BUILD_LABEL: &str = "wavestore.io/build";

/// Annotation on the pods of jobs and of instances: the digest of their bundle.
pub const BUNDLE_ANNOTATION: &str = "wavestore.io/bundle";

/// Annotation on an instance's pod: the key of the environment that it may fetch.
pub const ENVIRONMENT_ANNOTATION: &str = "wavestore.io/environment";

/// Path under which apps in `BASE_URL` mode live, followed by the instance's name and `/`.
pub const INSTANCE_PATH: &str = "/instance/";

/// Phase of an instance that has no pod because nobody wants it to: it is suspended, or asleep until somebody visits it.
pub const SUSPENDED_PHASE: &str = "Suspended";

/// Name that no instance may have: the host `apps.<domain>` serves all apps in `BASE_URL` mode.
pub const RESERVED_INSTANCE_NAME: &str = "apps";

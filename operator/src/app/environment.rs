//! The environment of an app with requirements or packages: built once by a job, and stored for all its instances. Instances run without
//! it, too, so whatever goes wrong here is told, tried again a few times, and takes nothing from the app.

mod job;
mod key;
mod plan;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bundle::{Bundle, Quantity};
use catalog::{Digest, EnvironmentKey};
use crds::{AppMode, Runtime, WaveApp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::runtime::reflector::Store;
use kube::{Resource, ResourceExt};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::Context;
use super::secrets;
use crate::attempts;
use crate::error::{Error, chain};
use crate::events::{Tone, cut};
use crate::instance::workload::DeploymentSeen;
use crate::metrics::Build;
use job::Outcome;
pub(super) use plan::FAILURES;
use plan::{Observed, Plan, plan};

/// Builds that run at once.
const AT_ONCE: usize = 2;

/// How often a running job is looked at.
const POLL: Duration = Duration::from_secs(2);

/// How often an app looks whether there is a place.
const QUEUE: Duration = Duration::from_secs(10);

/// The wait after the first failure; it grows by as much with each.
const RETRY: Duration = Duration::from_secs(30);

/// Most bytes of what a job says.
const WORDS: usize = 2048;

/// How old an environment that nobody uses must be to be deleted: it may have been stored a moment ago, and not be noted yet.
const UNUSED: Duration = Duration::from_hours(1);

/// What a build may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Time.
    pub(crate) timeout: Duration,
    /// CPU.
    pub(crate) cpu: Quantity,
    /// Memory.
    pub(crate) memory: Quantity,
    /// Disk: what is installed, uv's cache and the packed environment together.
    pub(crate) disk: Quantity,
}

/// What is to be built for an app.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Hash of all that it is made from.
    pub(crate) key: EnvironmentKey,
    /// The bundle that has the requirements.
    bundle: Digest,
    /// Image, address of the store, certificate authorities: those of the app's instances.
    runtime: Arc<Runtime>,
    /// Those of the app's variables that uv may need, and no others.
    variables: Vec<EnvVar>,
}

/// How far the environment of an app is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The store has it.
    Built(Digest),
    /// A job is at work.
    Building {
        /// How often it has failed before.
        failures: u32,
    },
    /// Other builds come first.
    Queued {
        /// How often it has failed before.
        failures: u32,
    },
    /// The last build has failed.
    Failed {
        /// How often in a row, since the `WaveApp` was changed.
        failures: u32,
        /// Why.
        words: String,
    },
    /// As often as it is tried; what was said then stays.
    GivenUp,
}

impl Progress {
    /// Stable code for the condition and the Event.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Built(_) => "EnvironmentBuilt",
            Self::Building { .. } => "EnvironmentBuilding",
            Self::Queued { .. } => "EnvironmentQueued",
            Self::Failed { .. } | Self::GivenUp => "EnvironmentFailed",
        }
    }

    /// What the condition and the Event say.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Built(_) => "instances start with the environment that was built".to_owned(),
            Self::Building { .. } => {
                "a job builds the environment; until it is there instances install for themselves"
                    .to_owned()
            }
            Self::Queued { .. } => {
                "the environment is built after others; until it is there instances install for themselves"
                    .to_owned()
            }
            Self::Failed { failures, words } if *failures < FAILURES => {
                format!("{words} (tried again in a moment; instances install for themselves)")
            }
            Self::Failed { words, .. } => format!(
                "{words} (instances install for themselves; it is tried again when the WaveApp changes)"
            ),
            Self::GivenUp => format!(
                "building the environment has failed {FAILURES} times; instances install for themselves"
            ),
        }
    }

    pub(crate) fn tone(&self) -> Tone {
        match self {
            Self::Built(_) | Self::Building { .. } | Self::Queued { .. } => Tone::Normal,
            Self::Failed { .. } | Self::GivenUp => Tone::Warning,
        }
    }

    /// When to look again; nothing when it is over.
    pub(crate) fn again(&self) -> Option<Duration> {
        match self {
            Self::Built(_) | Self::GivenUp => None,
            Self::Building { .. } => Some(POLL),
            Self::Queued { .. } => Some(attempts::spread(QUEUE, attempts::random())),
            Self::Failed { failures, .. } => (*failures < FAILURES)
                .then(|| attempts::spread(RETRY * *failures, attempts::random())),
        }
    }
}

/// Builds that are under way.
pub(crate) struct Environments {
    /// None: the store builds none.
    limits: Option<Limits>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is wanted, by `WaveApp`, with the generation that wants it.
    pending: HashMap<String, (i64, Wanted)>,
    /// The `WaveApp`s whose jobs run.
    building: HashSet<String>,
}

impl Environments {
    pub(crate) fn new(limits: Option<Limits>) -> Self {
        Self {
            limits,
            state: Mutex::default(),
        }
    }

    /// What is to be built for an app; nothing when it requires nothing, or the store builds no environments.
    pub(super) fn wanted(
        &self,
        app: &WaveApp,
        bundle: &Bundle,
        digest: Digest,
        runtime: Option<&Runtime>,
    ) -> Option<Wanted> {
        self.limits.as_ref()?;
        let runtime = runtime?;
        if bundle.requirements.is_none() && bundle.packages.is_none() {
            return None;
        }
        // An image of its own has everything in it.
        if runtime.mode == AppMode::Container {
            return None;
        }
        let requirements = bundle.requirements.as_ref();
        let variables = key::variables(requirements, &runtime.env);
        let key = key::key(&key::Sources {
            owner: &app.spec.owner,
            requirements,
            packages: bundle.packages.as_ref(),
            bundle: digest,
            runtime,
            variables: &variables,
        });
        Some(Wanted {
            key,
            bundle: digest,
            runtime: Arc::new(runtime.clone()),
            variables,
        })
    }

    /// What is still to be built for this generation of an app, as its import has found.
    pub(super) fn pending(&self, app: &WaveApp) -> Option<Wanted> {
        let state = self.state.lock();
        let (generation, wanted) = state.pending.get(&app.name_any())?;
        (Some(*generation) == app.metadata.generation).then(|| wanted.clone())
    }

    /// Notes how far an app is.
    fn note(&self, app: &WaveApp, wanted: &Wanted, progress: &Progress) {
        let name = app.name_any();
        let mut state = self.state.lock();
        if !matches!(progress, Progress::Building { .. }) {
            state.building.remove(&name);
        }
        if progress.again().is_some() {
            let generation = app.metadata.generation.unwrap_or_default();
            state.pending.insert(name, (generation, wanted.clone()));
        } else {
            state.pending.remove(&name);
        }
    }

    /// Takes a place for the job of an app, if there is one.
    fn take_place(&self, name: &str) -> bool {
        let building = &mut self.state.lock().building;
        let free = building.contains(name) || building.len() < AT_ONCE;
        if free {
            building.insert(name.to_owned());
        }
        free
    }

    /// Nothing is to be built for an app any more, or it is to be imported again first.
    pub(super) fn forget(&self, name: &str) {
        let mut state = self.state.lock();
        state.pending.remove(name);
        state.building.remove(name);
    }

    fn keys(&self) -> Vec<EnvironmentKey> {
        let state = self.state.lock();
        state
            .pending
            .values()
            .map(|(_, wanted)| wanted.key)
            .collect()
    }
}

/// The digest that an app's status has of the environment with this key.
fn digest(app: &WaveApp, key: &EnvironmentKey) -> Option<Digest> {
    let told = app.status.as_ref()?.environment.as_ref()?;
    (told.key == key.to_string()).then_some(())?;
    told.digest.as_ref()?.parse().ok()
}

/// How often building the environment with this key has failed since the `WaveApp` was changed.
fn failures(app: &WaveApp, key: &EnvironmentKey) -> u32 {
    app.status
        .as_ref()
        .filter(|status| status.observed_generation == app.metadata.generation)
        .and_then(|status| status.environment.as_ref())
        .filter(|told| told.key == key.to_string())
        .map_or(0, |told| told.failures)
}

/// Does the next step towards the environment of an app.
pub(super) async fn advance(
    ctx: &Context,
    app: &WaveApp,
    others: &Store<WaveApp>,
    wanted: &Wanted,
) -> Progress {
    let key = &wanted.key;
    // Of the same owner, or the key would be another one.
    let of_others = || {
        let other = others.find(|other| digest(other, key).is_some())?;
        digest(&other, key)
    };
    let built = digest(app, key).or_else(of_others);
    let failures = failures(app, key);
    let progress = match step(ctx, app, wanted, built, failures).await {
        Ok(progress) => progress,
        Err(error) => {
            warn!(
                error = &error as &dyn std::error::Error,
                "Could not go on with environment {key}"
            );
            Progress::Failed {
                failures: failures + 1,
                words: cut(&chain(&error), WORDS).to_owned(),
            }
        }
    };
    ctx.environments.note(app, wanted, &progress);
    progress
}

async fn step(
    ctx: &Context,
    app: &WaveApp,
    wanted: &Wanted,
    built: Option<Digest>,
    failures: u32,
) -> Result<Progress, Error> {
    let key = &wanted.key;
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let name = job::name(key);
    let is_stored = ctx.importer.blobs.has_environment(key).await?;
    // Whoever has it does not ask: there are many apps when an operator starts.
    let job = if built.is_some() && is_stored {
        None
    } else {
        observe(ctx, &jobs, &name).await?
    };
    let seen = Observed {
        built,
        is_stored,
        job,
        failures,
        has_place: ctx.environments.take_place(&app.name_any()),
    };
    Ok(match plan(seen) {
        Plan::Use(digest) => {
            if built != Some(digest) {
                info!(environment.digest = %digest, "Environment {key} is built");
                ctx.metrics.built(Build::Built);
            }
            Progress::Built(digest)
        }
        Plan::Wait => Progress::Building { failures },
        Plan::Queue => Progress::Queued { failures },
        Plan::GiveUp => Progress::GivenUp,
        Plan::Start => {
            start(ctx, app, wanted, &jobs).await?;
            Progress::Building { failures }
        }
        Plan::Fail(words) => {
            warn!("Environment {key} could not be built: {words}");
            ctx.metrics.built(Build::Failed);
            // Its name is free when its pod is gone, too.
            let deleted = jobs.delete(&name, &DeleteParams::foreground()).await;
            unless_gone(deleted).map_err(kube_error("delete the job", &name))?;
            Progress::Failed {
                failures: failures + 1,
                words,
            }
        }
    })
}

/// Makes the job, in an empty place of the store: what is there without a digest that we know is nobody's.
async fn start(
    ctx: &Context,
    app: &WaveApp,
    wanted: &Wanted,
    jobs: &Api<Job>,
) -> Result<(), Error> {
    let Some(limits) = &ctx.environments.limits else {
        return Ok(());
    };
    let name = job::name(&wanted.key);
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    // What may have been closed since the import.
    secrets::authorize_again(&secrets, &wanted.runtime, &app.spec.owner)
        .await
        .map_err(super::import::Error::from)?;
    ctx.importer.blobs.delete_environment(&wanted.key).await?;
    let job = job::job(wanted, app.controller_owner_ref(&()), limits);
    match jobs.create(&PostParams::default(), &job).await {
        Ok(_) => {
            info!("Building environment {} in job {name}", wanted.key);
            Ok(())
        }
        // Another app's, of the same owner with the same requirements, or the end of the last one.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(kube_error("make the job", &name)(source)),
    }
}

async fn observe(ctx: &Context, jobs: &Api<Job>, name: &str) -> Result<Option<Outcome>, Error> {
    let job = jobs.get_opt(name).await;
    let Some(job) = job.map_err(kube_error("read the job", name))? else {
        return Ok(None);
    };
    // One that is being deleted has been counted, and its name is not free yet.
    let end = job::end(&job).filter(|_| job.metadata.deletion_timestamp.is_none());
    let Some(end) = end else {
        return Ok(Some(Outcome::Running));
    };
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let selector = format!("batch.kubernetes.io/job-name={name}");
    let pods = pods.list(&ListParams::default().labels(&selector)).await;
    let pods = pods.map_err(kube_error("read the pod of job", name))?;
    Ok(Some(job::outcome(&end, pods.items.first())))
}

fn kube_error<'a>(
    task: &'static str,
    name: &'a str,
) -> impl FnOnce(kube::Error) -> Error + use<'a> {
    move |source| Error::Kube {
        task: format!("{task} `{name}`"),
        source,
    }
}

fn unless_gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(drop),
    }
}

/// Deletes the environments that no app has any more, and that no instance may ask for.
pub(super) async fn sweep(ctx: &Context, apps: &Store<WaveApp>) -> Result<(), Error> {
    ctx.world.synced().await;
    let blobs = &ctx.importer.blobs;
    let old = blobs
        .environments_before(chrono::Utc::now() - UNUSED)
        .await?;
    if old.is_empty() {
        return Ok(());
    }
    let mut used: BTreeSet<EnvironmentKey> = ctx.environments.keys().into_iter().collect();
    for app in apps.state() {
        // Those that are being withdrawn have no instance.
        let status = app.status.as_ref();
        let told = status.and_then(|status| status.environment.as_ref());
        if app.metadata.deletion_timestamp.is_none() {
            used.extend(told.and_then(|told| told.key.parse::<EnvironmentKey>().ok()));
        }
    }
    for key in old {
        let asked_for = |deployment: &DeploymentSeen| deployment.environment == Some(key);
        if !used.contains(&key) && ctx.world.deployments.find(asked_for).is_none() {
            blobs.delete_environment(&key).await?;
            blobs.delete_lock(&key).await?;
            info!("Deleted environment {key}, which nobody uses");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(name: &str, generation: i64, status: &serde_json::Value) -> WaveApp {
        serde_json::from_value(json!({
            "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp",
            "metadata": {"name": name, "generation": generation},
            "spec": {"bundle": {}, "owner": "alice"},
            "status": status,
        }))
        .expect("an app")
    }

    #[test]
    fn what_a_status_tells_counts_for_its_key_and_its_generation() {
        let (key, other) = (
            EnvironmentKey::from_sha256([1; 32]),
            EnvironmentKey::from_sha256([2; 32]),
        );
        let built = Digest::of(b"built");
        let status = json!({
            "observedGeneration": 3,
            "environment": {"key": key.to_string(), "digest": built.to_string(), "failures": 2},
        });
        let cases = [
            ("as it is", app("a", 3, &status), key, Some(built), 2),
            ("a changed app", app("a", 4, &status), key, Some(built), 0),
            ("another environment", app("a", 3, &status), other, None, 0),
            ("no status", app("a", 3, &json!(null)), key, None, 0),
        ];
        for (name, app, key, expected, times) in cases {
            let seen = (digest(&app, &key), failures(&app, &key));
            assert_eq!(seen, (expected, times), "{name}");
        }
    }

    #[test]
    fn two_jobs_run_at_once_and_who_is_done_makes_room() {
        let environments = Environments::new(None);
        let runtime = key::tests::runtime();
        let wanted = Wanted {
            key: EnvironmentKey::from_sha256([1; 32]),
            bundle: Digest::of(b"one"),
            variables: key::variables(None, &runtime.env),
            runtime: Arc::new(runtime),
        };
        assert!(environments.take_place("a") && environments.take_place("b"));
        assert!(environments.take_place("a"), "it has its place already");
        assert!(!environments.take_place("c"));
        let a = app("a", 1, &json!(null));
        environments.note(&a, &wanted, &Progress::Building { failures: 0 });
        assert!(!environments.take_place("c"));
        assert!(environments.pending(&a).is_some());
        assert!(
            environments.pending(&app("a", 2, &json!(null))).is_none(),
            "it has changed, and is imported again"
        );
        environments.note(&a, &wanted, &Progress::Built(Digest::of(b"built")));
        assert!(environments.pending(&a).is_none());
        assert!(environments.take_place("c"));
    }
}

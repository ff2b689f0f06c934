//! One reconciliation of an app: import it, or withdraw it.

use std::sync::Arc;
use std::time::Duration;

use bundle::Bundle;
use catalog::{Catalog, Digest, EnvironmentKey, Viewer};
use crds::{Runtime, WaveApp, WaveAppStatus};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, applier, predicates, watcher};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error_span, info, warn};

use super::environment::{self, Environments, Progress, Wanted};
use super::import::{self, Importer, Pictures};
use super::resolve::{StoreSettings, idle_timeout_seconds, resolve};
use super::secrets::index::Index;
use super::secrets::{self, Asking, Readers};
use super::status;
use crate::attempts::Attempts;
use crate::error::{Error, message};
use crate::events::{Events, FIELD_MANAGER, Tone};
use crate::finalizer::{self, Change};
use crate::freshness::{Freshness, Watch};
use crate::lease::Leadership;
use crate::limits::Limits;
use crate::metrics::{Controller, Import, Metrics};
use crate::readable;
use crate::standby::{self, Listing};
use crate::watches::World;

/// Finalizer by which the operator keeps a deleted `WaveApp` until nobody runs it and it is withdrawn.
const FINALIZER: &str = "wavestore.io/catalog";

/// How many apps are imported at once.
const CONCURRENCY: u16 = 4;

/// How often the database is looked at for rows that it has lost.
const ROWS: Duration = Duration::from_secs(30);

/// How often an app that instances hold is looked at again.
const HELD: Duration = Duration::from_secs(2);

/// The only door to the world.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) catalog: Catalog,
    pub(crate) importer: Importer,
    pub(crate) store: StoreSettings,
    pub(crate) world: Arc<World>,
    pub(crate) events: Arc<Events>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) errors: Attempts,
    pub(crate) readers: Readers,
    pub(crate) secrets: Index,
    pub(crate) environments: Environments,
    pub(crate) limits: Limits,
    pub(crate) stop: CancellationToken,
}

/// Reconciles apps from when we lead until told to stop; then lets what runs come to its end.
pub(crate) async fn run(ctx: Arc<Context>, leadership: &Leadership) {
    let (apps, writer) = reflector::store();
    let listing = Listing::new();
    let noted = listing.clone();
    let watched = ctx.freshness.client(Watch::Imports, &ctx.client);
    let queue = ctx
        .freshness
        .follow(
            Watch::Imports,
            readable::watch(watched, &ctx.namespace, leadership),
        )
        .modify(|app: &mut WaveApp| app.managed_fields_mut().clear())
        .reflect(writer)
        .inspect_ok(move |event| noted.note(event))
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::finalizers),
            PredicateConfig::default(),
        )
        .map_ok(|app| ObjectRef::from_obj(&app));
    let queue = stream::select(queue, readers_of_changed_secrets(&ctx));
    let queue = stream::select(queue, without_rows(&ctx, apps.clone(), leadership)).boxed();
    let queue = standby::until_leading(queue, apps.clone(), listing, leadership)
        .take_until(ctx.stop.clone().cancelled_owned());
    let others = apps.clone();
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let maps = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let (told, begun) = (ctx.clone(), leadership.begun());
    let told = async {
        begun.await;
        told.secrets.publish(&secrets, &maps).await;
    };
    let stop = ctx.stop.clone();
    let told = stop.run_until_cancelled(told);
    let imported = applier(
        move |app, ctx: Arc<Context>| reconcile(app, others.clone(), ctx).boxed(),
        |app, error, ctx| error_policy(&app, error, &ctx),
        ctx,
        apps,
        queue,
        controller::Config::default().concurrency(CONCURRENCY),
    )
    .for_each(|result| {
        if let Err(error @ (controller::Error::QueueError(_) | controller::Error::RunnerError(_))) =
            &result
        {
            warn!(
                error = error as &dyn std::error::Error,
                "The watch of WaveApps was interrupted"
            );
        }
        futures::future::ready(())
    });
    tokio::join!(told, imported);
}

/// The apps that name a Secret which was opened, closed, or changed while open. What is told of Secrets follows.
fn readers_of_changed_secrets(
    ctx: &Arc<Context>,
) -> impl Stream<Item = watcher::Result<ObjectRef<WaveApp>>> + Send + 'static {
    let ctx = ctx.clone();
    ctx.freshness
        .watch::<PartialObjectMeta<Secret>>(
            Watch::Secrets,
            &ctx.client,
            &ctx.namespace,
            secrets::watch(),
        )
        .flat_map(move |event| {
            if let Ok(event) = &event {
                ctx.secrets.note(event);
            }
            let apps = match event {
                Err(error) => return stream::iter(vec![Err(error)]),
                Ok(watcher::Event::Apply(secret) | watcher::Event::Delete(secret)) => {
                    ctx.readers.of(&secret.name_any())
                }
                Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => Vec::new(),
                // What was closed while the watch was interrupted is not in the list.
                Ok(watcher::Event::InitDone) => ctx.readers.all(),
            };
            for app in &apps {
                ctx.environments.forget(app);
            }
            let found: Vec<_> = apps
                .iter()
                .map(|app| Ok(ObjectRef::new(app).within(&ctx.namespace)))
                .collect();
            stream::iter(found)
        })
}

/// The apps whose rows the database has lost: it was replaced by an empty or an older one, or somebody deleted them. Who
/// stands by does not look.
fn without_rows(
    ctx: &Arc<Context>,
    apps: Store<WaveApp>,
    leadership: &Leadership,
) -> impl Stream<Item = watcher::Result<ObjectRef<WaveApp>>> + Send + 'static {
    let mut pace = interval(ROWS);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looks = stream::unfold((pace, ctx.clone(), apps), async |(mut pace, ctx, apps)| {
        pace.tick().await;
        let imported: Vec<Arc<WaveApp>> = apps
            .state()
            .into_iter()
            .filter(|app| app.metadata.deletion_timestamp.is_none() && status::is_imported(app))
            .collect();
        let lost = match ctx.catalog.uids().await {
            Ok(uids) => imported
                .into_iter()
                .filter(|app| app.uid().is_some_and(|uid| !uids.contains(&uid)))
                .map(|app| Ok(ObjectRef::from_obj(&*app)))
                .collect(),
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "Could not look for apps that the database has lost"
                );
                Vec::new()
            }
        };
        if !lost.is_empty() {
            warn!(
                "The database has lost {} apps; they are imported again",
                lost.len()
            );
        }
        Some((stream::iter(lost), (pace, ctx, apps)))
    });
    let begun = leadership.begun();
    begun.map(|()| looks.flatten()).flatten_stream()
}

fn error_policy(app: &WaveApp, error: &Error, ctx: &Context) -> Action {
    let name = app.name_any();
    let generation = app.metadata.generation.unwrap_or_default();
    let failed = ctx
        .errors
        .fail(&name, generation, message(error, error.hint()));
    warn!(
        error = error as &dyn std::error::Error,
        app.resource = name,
        "Could not reconcile WaveApp {name}, try {}",
        failed.times
    );
    Action::requeue(failed.wait(Instant::now()))
}

impl Context {
    fn api(&self) -> Api<WaveApp> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Writes the status if it has changed, and an Event with it.
    async fn publish(
        &self,
        app: &WaveApp,
        new: &WaveAppStatus,
        tone: Tone,
        reason: &str,
        note: &str,
    ) -> Result<(), Error> {
        if app.status.as_ref() == Some(new) {
            return Ok(());
        }
        let name = app.name_any();
        let patch = json!({
            "apiVersion": WaveApp::api_version(&()),
            "kind": WaveApp::kind(&()),
            "status": new,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match self
            .api()
            .patch_status(&name, &params, &Patch::Apply(patch))
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(source) => {
                return Err(Error::Kube {
                    task: format!("write the status of WaveApp `{name}`"),
                    source,
                });
            }
        }
        let reference = app.object_ref(&());
        self.events
            .tell(&reference, tone, reason, "Import", note)
            .await;
        Ok(())
    }
}

/// One reconciliation, measured; every line that it logs names the `WaveApp`.
async fn reconcile(
    app: Arc<WaveApp>,
    others: Store<WaveApp>,
    ctx: Arc<Context>,
) -> Result<Action, Error> {
    // Of the highest level, or a filter for warnings would take the app from them.
    let span = error_span!(
        "reconcile",
        app.resource = app.name_any(),
        generation = app.metadata.generation,
    );
    let measured = ctx.metrics.reconcile(Controller::App);
    let result = step(app, others, &ctx).instrument(span).await;
    measured.end(&result);
    result
}

async fn step(
    app: Arc<WaveApp>,
    others: Store<WaveApp>,
    ctx: &Arc<Context>,
) -> Result<Action, Error> {
    let deleting = app.metadata.deletion_timestamp.is_some();
    match (finalizer::has(&*app, FINALIZER), deleting) {
        (false, true) => return Ok(Action::await_change()),
        (false, false) => {
            let added = finalizer::add(&ctx.api(), &*app, FINALIZER).await?;
            return Ok(added.requeue());
        }
        (true, true) => return withdraw(ctx, &app, &others).await,
        (true, false) => {}
    }
    if let Some(wanted) = ctx.environments.pending(&app) {
        return go_on(ctx, &app, &others, &wanted).await;
    }
    let name = app.name_any();
    let now = Time(Timestamp::now());
    match import(ctx, &app, &others).await {
        Ok(imported) => {
            let Imported {
                bundle,
                digest,
                runtime,
            } = imported;
            ctx.metrics.imported(Import::Imported);
            let idle_timeout = idle_timeout_seconds(&bundle.manifest, &ctx.store);
            let lacking = super::resolve::lacks(&bundle.manifest, &ctx.store);
            let environment = built(ctx, &app, &others, &bundle, digest, runtime.as_ref()).await;
            let mut status = status::imported(
                &app,
                &bundle,
                &digest,
                runtime,
                &lacking,
                idle_timeout,
                &now,
            );
            let told = environment.as_ref().map(|(key, progress)| (*key, progress));
            status::tell_environment(&mut status, told, app.metadata.generation, &now);
            let title = status
                .app
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            info!(app.name = title, bundle.digest = %digest, "App {title} is imported");
            let note = format!("app {title} is in the catalog");
            ctx.publish(&app, &status, Tone::Normal, "Imported", &note)
                .await?;
            ctx.errors.clear(&name);
            let again = environment.and_then(|(_, progress)| progress.again());
            Ok(again.map_or_else(Action::await_change, Action::requeue))
        }
        Err(error) => {
            ctx.metrics.imported(if error.stalls() {
                Import::Refused
            } else {
                Import::Failed
            });
            let status = status::failed(&app, &error, &now);
            let note = message(&error, error.hint());
            ctx.publish(&app, &status, Tone::Warning, error.code(), &note)
                .await?;
            // A bundle that its digest names will be as bad tomorrow.
            let for_ever = error.blames_bundle() && app.spec.bundle.digest.is_some();
            if for_ever {
                info!("WaveApp {name} is refused: {note}");
                return Ok(Action::await_change());
            }
            Err(error.into())
        }
    }
}

/// The first step towards the app's environment, if it is to have one.
async fn built(
    ctx: &Context,
    app: &WaveApp,
    others: &Store<WaveApp>,
    bundle: &Bundle,
    digest: Digest,
    runtime: Option<&Runtime>,
) -> Option<(EnvironmentKey, Progress)> {
    let wanted = ctx.environments.wanted(app, bundle, digest, runtime);
    let Some(wanted) = wanted else {
        ctx.environments.forget(&app.name_any());
        return None;
    };
    let progress = environment::advance(ctx, app, others, &wanted).await;
    Some((wanted.key, progress))
}

/// The next step towards the environment of an app that is imported.
async fn go_on(
    ctx: &Context,
    app: &WaveApp,
    others: &Store<WaveApp>,
    wanted: &Wanted,
) -> Result<Action, Error> {
    let progress = environment::advance(ctx, app, others, wanted).await;
    let mut status = app.status.clone().unwrap_or_default();
    let now = Time(Timestamp::now());
    let told = Some((wanted.key, &progress));
    status::tell_environment(&mut status, told, app.metadata.generation, &now);
    let note = progress.message();
    ctx.publish(app, &status, progress.tone(), progress.code(), &note)
        .await?;
    if matches!(progress, Progress::Built(_)) {
        environment::sweep(ctx, others).await?;
    }
    let again = progress.again();
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

struct Imported {
    bundle: Bundle,
    digest: Digest,
    runtime: Option<Runtime>,
}

/// Imports an app. Every step may be done again; nothing is stored before everything is checked.
async fn import(
    ctx: &Context,
    app: &WaveApp,
    others: &Store<WaveApp>,
) -> Result<Imported, import::Error> {
    let known: Option<Digest> = app
        .status
        .as_ref()
        .and_then(|status| status.digest.as_ref())
        .and_then(|digest| digest.parse().ok());
    let config_maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let fetched = ctx
        .importer
        .fetch(&app.spec.bundle, known, &config_maps)
        .await?;
    let mut bundle = ctx.importer.read(&fetched).await?;
    let digest = fetched.digest;
    let name = app.name_any();
    let references = secrets::references(&bundle.manifest).map_err(secrets::Error::from)?;
    ctx.readers.note(&name, &references);
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let asking = Asking {
        app: &bundle.manifest.app.name,
        owner: &app.spec.owner,
    };
    let grant = secrets::authorize(&secrets, &references, asking).await?;
    let runtime = resolve(
        &bundle.manifest,
        &name,
        &digest.to_string(),
        &ctx.store,
        &grant,
    )?;
    refuse_duplicate(app, &bundle, others)?;
    refuse_another_version(app, &bundle, others, &ctx.limits)?;
    drop_stale_row(ctx, app, &bundle, others).await?;

    let blobs = &ctx.importer.blobs;
    // One that nobody names yet must not be taken for garbage before the status names it.
    let text = Some(digest.to_string());
    if known == Some(digest) || app.spec.bundle.digest == text {
        blobs.put_named_bundle(&digest, fetched.file.path()).await?;
    } else {
        blobs.put_bundle(&digest, fetched.file.path()).await?;
    }
    let mut pictures = ctx.importer.pictures(&fetched, &bundle).await?;
    bundle.warnings.append(&mut pictures.warnings);
    let row = row(app, &bundle, digest, pictures);
    if let Err(error) = ctx.catalog.publish(&row).await {
        // Somebody was faster in this very moment.
        if matches!(error, catalog::Error::DuplicateApp { .. }) {
            drop_unused_blobs(ctx, app, digest, others).await?;
        }
        return Err(error.into());
    }
    Ok(Imported {
        bundle,
        digest,
        runtime,
    })
}

/// The older of two `WaveApp`s with the same app keeps it, also when the catalog has lost its rows.
fn refuse_duplicate(
    app: &WaveApp,
    bundle: &Bundle,
    others: &Store<WaveApp>,
) -> Result<(), import::Error> {
    let wanted = super::resolve::app_ref(&bundle.manifest);
    let age = |app: &WaveApp| (app.creation_timestamp(), app.uid());
    let holder = others.find(|other| {
        other.uid() != app.uid()
            && other.status.as_ref().and_then(|status| status.app.as_ref()) == Some(&wanted)
            && age(other) < age(app)
    });
    match holder {
        Some(holder) => Err(import::Error::Duplicate {
            name: wanted.name,
            version: wanted.version,
            holder: holder.name_any(),
        }),
        None => Ok(()),
    }
}

/// An app may have only so many versions; those that are imported stay.
fn refuse_another_version(
    app: &WaveApp,
    bundle: &Bundle,
    others: &Store<WaveApp>,
    limits: &Limits,
) -> Result<(), import::Error> {
    let Some(limit) = limits.versions_per_app else {
        return Ok(());
    };
    let wanted = super::resolve::app_ref(&bundle.manifest);
    let imported = |app: &WaveApp| app.status.as_ref().and_then(|status| status.app.clone());
    if imported(app).as_ref() == Some(&wanted) {
        return Ok(());
    }
    let versions = others
        .state()
        .iter()
        .filter(|other| other.uid() != app.uid())
        .filter(|other| imported(other).is_some_and(|other| other.name == wanted.name))
        .count();
    if versions < limit as usize {
        return Ok(());
    }
    Err(import::Error::TooManyVersions {
        name: wanted.name,
        versions,
        limit,
    })
}

/// Makes way for an app whose name and version the catalog has under a `WaveApp` that is gone: deleted by
/// force, or with the cluster that it was in.
async fn drop_stale_row(
    ctx: &Context,
    app: &WaveApp,
    bundle: &Bundle,
    others: &Store<WaveApp>,
) -> Result<(), import::Error> {
    let wanted = super::resolve::app_ref(&bundle.manifest);
    let held = ctx
        .catalog
        .app(&Viewer::Everything, &wanted.name, &wanted.version)
        .await?;
    let uid = app.uid().unwrap_or_default();
    let Some(held) = held.filter(|held| held.uid != uid) else {
        return Ok(());
    };
    let holder = others.find(|other| other.uid().as_ref() == Some(&held.uid));
    if holder.is_some() {
        return Err(import::Error::Duplicate {
            name: held.name,
            version: held.version,
            holder: held.resource,
        });
    }
    warn!(
        app.resource = held.resource,
        "Withdrawing the row of WaveApp {}, which is gone", held.resource
    );
    ctx.catalog.withdraw(&held.uid).await?;
    Ok(())
}

/// Deletes a bundle and its pictures unless another app has the same bundle.
async fn drop_unused_blobs(
    ctx: &Context,
    app: &WaveApp,
    digest: Digest,
    others: &Store<WaveApp>,
) -> Result<(), catalog::Error> {
    let text = Some(digest.to_string());
    let shared = others.find(|other| {
        let status = other.status.as_ref();
        other.uid() != app.uid()
            && other.metadata.deletion_timestamp.is_none()
            && (status.and_then(|status| status.digest.as_ref()) == text.as_ref()
                || other.spec.bundle.digest == text)
    });
    if shared.is_none() && !ctx.catalog.is_digest_used(&digest).await? {
        ctx.importer.blobs.delete_app(&digest).await?;
    }
    Ok(())
}

fn row(app: &WaveApp, bundle: &Bundle, digest: Digest, pictures: Pictures) -> catalog::App {
    let manifest = &bundle.manifest;
    let mut tags = manifest.app.tags.clone();
    for tag in &app.spec.tags {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    let published = app
        .creation_timestamp()
        .and_then(|time| chrono::DateTime::from_timestamp_millis(time.0.as_millisecond()));
    catalog::App {
        uid: app.uid().unwrap_or_default(),
        resource: app.name_any(),
        name: manifest.app.name.clone(),
        version: manifest.app.version.to_string(),
        title: manifest.app.title.clone(),
        description: manifest.app.description.clone().unwrap_or_default(),
        owner: app.spec.owner.clone(),
        visibility: app.spec.visibility,
        lifecycle: super::resolve::lifecycle(manifest.app.lifecycle),
        tags,
        digest,
        icon: pictures.icon,
        screenshots: pictures.screenshots,
        link: manifest.link.as_ref().map(|link| link.address.to_string()),
        long_description: bundle.long_description.clone(),
        published_at: published.unwrap_or_default(),
    }
}

/// Takes an app out of the catalog, once nobody runs it.
async fn withdraw(ctx: &Context, app: &WaveApp, others: &Store<WaveApp>) -> Result<Action, Error> {
    ctx.world.synced().await;
    let status = app.status.clone().unwrap_or_default();
    let mut instances: Vec<String> = ctx
        .world
        .instances
        .state()
        .iter()
        .filter(|instance| Some(&instance.spec.app) == status.app.as_ref())
        .map(|instance| instance.name_any())
        .collect();
    if !instances.is_empty() {
        instances.sort();
        let held = status::held(app, &instances, &Time(Timestamp::now()));
        let note = status::held_message(&instances);
        ctx.publish(app, &held, Tone::Warning, "InstancesExist", &note)
            .await?;
        return Ok(Action::requeue(HELD));
    }
    ctx.catalog.withdraw(&app.uid().unwrap_or_default()).await?;
    let digest = status.digest.or_else(|| app.spec.bundle.digest.clone());
    if let Some(digest) = digest.and_then(|digest| digest.parse().ok()) {
        drop_unused_blobs(ctx, app, digest, others).await?;
    }
    let removed = finalizer::remove(&ctx.api(), app, FINALIZER).await?;
    if removed == Change::Overtaken {
        return Ok(removed.requeue());
    }
    ctx.readers.forget(&app.name_any());
    ctx.environments.forget(&app.name_any());
    ctx.errors.clear(&app.name_any());
    environment::sweep(ctx, others).await?;
    info!("WaveApp {} is withdrawn", app.name_any());
    Ok(Action::await_change())
}

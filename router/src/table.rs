//! What exists now: instances with their upstreams, and apps, as one snapshot that is read without a lock.

pub(crate) mod health;
mod object;
mod state;
pub(crate) mod watch;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crds::{AppMode, AppRef, Lifecycle, RoutingMode, SecretEntry, Visibility, WaveInstance};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use tokio::sync::watch as channel;

use crate::InstanceId;
use crate::activity::Activity;
use crate::proxy::upstream::Upstream;
use crate::site::AppHost;
use crate::target::Form;
use object::Instance;
pub(crate) use object::read_app;

/// One instance as the router sees it.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its name.
    pub id: InstanceId,
    /// UID of its `WaveInstance`: a new instance of an old name is another one.
    pub uid: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The app it runs.
    pub app: AppRef,
    /// The app's title, as far as the app is known.
    pub title: Option<String>,
    /// The user who owns it.
    pub owner: String,
    /// Who may enter.
    pub visibility: Visibility,
    /// How it is reached; unknown as long as its app is.
    pub form: Option<Form>,
    /// What its pod runs; unknown as long as its app is.
    pub mode: Option<AppMode>,
    /// Digest of its app's bundle.
    pub digest: Option<String>,
    /// Where it stands, in the launcher's words.
    pub phase: Option<String>,
    /// Whether the operator calls it ready.
    pub ready: bool,
    /// Whether it fails, other than being on its way.
    pub failing: bool,
    /// Why it is not ready.
    pub message: Option<String>,
    /// Whether its spec keeps it down, so that no visit wakes it.
    pub suspended: bool,
    /// The size that its spec says.
    pub size: Option<String>,
    /// When it is to be deleted, as long as that can be taken back.
    pub delete_after: Option<Timestamp>,
    /// When its deletion began, if it has.
    pub deleted: Option<Timestamp>,
    /// How long it may be unused before it is put to sleep; none when it never is.
    pub idle_timeout: Option<Duration>,
    /// Its ready pods.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Names of its pods, ready or not.
    pub pods: Vec<String>,
    /// The name that visits by its other names are sent to.
    pub primary: Option<Arc<Primary>>,
    /// Its use, which also takes the pods in turn.
    pub activity: Arc<Activity>,
}

/// The primary name of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Primary {
    /// The alias.
    pub name: InstanceId,
    /// Its own host, if it has one.
    pub host: Option<String>,
}

/// What the router has found out about an instance beyond its object.
#[derive(Debug, Default)]
struct Live {
    upstreams: Vec<Arc<Upstream>>,
    pods: Vec<String>,
    primary: Option<Arc<Primary>>,
    activity: Arc<Activity>,
}

impl Route {
    fn new(id: InstanceId, instance: &Instance, app: Option<&AppEntry>, live: Live) -> Self {
        let Instance {
            uid,
            created,
            app: reference,
            owner,
            visibility,
            suspended,
            size,
            last_activity: _, // in `live.activity`
            phase,
            ready,
            failing,
            message,
            delete_after,
            deleted,
        } = instance.clone();
        let Live {
            upstreams,
            pods,
            primary,
            activity,
        } = live;
        Self {
            id,
            uid,
            created,
            app: reference,
            title: app.and_then(|app| app.title.clone()),
            owner,
            visibility,
            form: app.map(|app| app.routing_mode.into()),
            mode: app.and_then(|app| app.mode),
            digest: app.and_then(|app| app.digest.clone()),
            phase,
            ready,
            failing,
            message,
            suspended,
            size,
            delete_after,
            deleted,
            idle_timeout: app.and_then(|app| app.idle_timeout),
            upstreams,
            pods,
            primary,
            activity,
        }
    }

    /// The pod whose turn it is, if any is ready.
    #[must_use]
    pub(crate) fn pick_upstream(&self) -> Option<&Arc<Upstream>> {
        let turn = self.activity.note();
        let index = turn.checked_rem(self.upstreams.len())?;
        self.upstreams.get(index)
    }

    /// Path that the app lives under, when it is reached in `form`.
    #[must_use]
    pub(crate) fn base(&self, form: Form) -> Cow<'static, str> {
        form.base(&self.id)
    }

    /// Whether it has no pod because nobody uses it.
    #[must_use]
    pub(crate) fn is_asleep(&self) -> bool {
        !self.suspended && self.phase.as_deref() == Some(crds::SUSPENDED_PHASE)
    }

    /// A route without a pod.
    #[cfg(test)]
    pub(crate) fn example(id: &str, owner: &str, visibility: Visibility) -> Self {
        Self {
            id: id.parse().expect("a valid instance name"),
            uid: format!("uid-of-{id}"),
            created: None,
            app: AppRef {
                name: "hello".into(),
                version: "1.0.0".into(),
            },
            title: None,
            owner: owner.to_owned(),
            visibility,
            form: Some(Form::Domain),
            mode: Some(AppMode::Wave),
            digest: None,
            phase: None,
            ready: false,
            failing: false,
            message: None,
            suspended: false,
            size: None,
            delete_after: None,
            deleted: None,
            idle_timeout: None,
            upstreams: Vec::new(),
            pods: Vec::new(),
            primary: None,
            activity: Arc::default(),
        }
    }
}

/// One app as the router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppEntry {
    /// Name of its `WaveApp`.
    pub object: String,
    /// Name and version.
    pub app: AppRef,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Its title.
    pub title: Option<String>,
    /// The user who owns it.
    pub owner: String,
    /// Who sees it.
    pub visibility: Visibility,
    /// Who runs it.
    pub lifecycle: Lifecycle,
    /// Its tags: those of its app.toml and those that were put on it.
    pub tags: Vec<String>,
    /// How its instances are reached.
    pub routing_mode: RoutingMode,
    /// What its pods run; none for apps that are links.
    pub mode: Option<AppMode>,
    /// Digest of its bundle.
    pub digest: Option<String>,
    /// How long its instances may be unused before they are put to sleep.
    pub idle_timeout: Option<Duration>,
    /// Memory that an instance may take that says no size, in bytes; nothing when there is no limit.
    pub memory: u64,
    /// The sizes that its instances may have.
    pub sizes: Vec<Size>,
    /// Names of the Secrets that it reads, each once.
    pub secrets: Vec<String>,
    /// Whether the operator calls it ready.
    pub ready: bool,
}

/// A size that an instance may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Size {
    /// What the spec of an instance says.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Memory that an instance may take, in bytes; nothing when there is no limit.
    pub memory: u64,
}

impl AppEntry {
    /// Memory that an instance of this size may take, in bytes.
    #[must_use]
    pub(crate) fn memory_of(&self, size: Option<&str>) -> u64 {
        let Some(size) = size else {
            return self.memory;
        };
        let mut sizes = self.sizes.iter();
        let known = sizes.find(|known| known.name == size);
        known.map_or(0, |known| known.memory)
    }

    /// An app of `bob` for all users.
    #[cfg(test)]
    pub(crate) fn example(name: &str, version: &str) -> Self {
        Self {
            object: format!("{name}-{version}"),
            app: AppRef {
                name: name.to_owned(),
                version: version.to_owned(),
            },
            created: None,
            title: None,
            owner: "bob".to_owned(),
            visibility: Visibility::AllUsers,
            lifecycle: Lifecycle::OnDemand,
            tags: Vec::new(),
            routing_mode: RoutingMode::Domain,
            mode: Some(AppMode::Wave),
            digest: None,
            idle_timeout: None,
            memory: 0,
            sizes: Vec::new(),
            secrets: Vec::new(),
            ready: true,
        }
    }
}

/// Everything at one moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Snapshot {
    /// Instances by name.
    pub routes: HashMap<InstanceId, Arc<Route>>,
    /// Apps by name and version.
    pub apps: HashMap<AppRef, Arc<AppEntry>>,
    /// Other names of instances.
    pub names: Arc<Names>,
    /// Secrets that apps may read, as the operator tells of them.
    pub secrets: Arc<Secrets>,
}

/// What is told of Secrets, by their names. No value is among it.
pub(crate) type Secrets = BTreeMap<String, SecretEntry>;

/// Names of instances that are not their own.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Instances by alias. They need not exist.
    pub aliases: HashMap<InstanceId, InstanceId>,
    /// Aliases by their own hosts.
    pub hosts: HashMap<String, InstanceId>,
}

/// The snapshot in force, and a signal when it changes.
#[derive(Debug)]
pub(crate) struct Table {
    current: ArcSwap<Snapshot>,
    revision: channel::Sender<u64>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            current: ArcSwap::default(),
            revision: channel::Sender::new(0),
        }
    }
}

impl Table {
    /// The snapshot in force.
    #[must_use]
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The route to an instance.
    #[must_use]
    pub(crate) fn route(&self, id: &str) -> Option<Arc<Route>> {
        self.current.load().routes.get(id).cloned()
    }

    /// The route to the instance of this name, its own or an alias.
    #[must_use]
    pub(crate) fn named(&self, name: &InstanceId) -> Option<Arc<Route>> {
        let snapshot = self.current.load();
        let own = snapshot.routes.get(name);
        own.or_else(|| {
            let instance = snapshot.names.aliases.get(name)?;
            snapshot.routes.get(instance)
        })
        .cloned()
    }

    /// The route as it will be once the watch has seen `object`; none when its name is none.
    #[must_use]
    pub(crate) fn ahead(&self, object: &WaveInstance) -> Option<Route> {
        let id: InstanceId = object.name_any().parse().ok()?;
        let instance = object::read_instance(object.clone());
        let snapshot = self.current.load();
        let known = snapshot.routes.get(&id);
        let known = known.filter(|route| route.uid == instance.uid);
        let live = known.map(|route| Live {
            upstreams: route.upstreams.clone(),
            pods: route.pods.clone(),
            primary: route.primary.clone(),
            activity: route.activity.clone(),
        });
        let app = snapshot.apps.get(&instance.app).map(AsRef::as_ref);
        Some(Route::new(id, &instance, app, live.unwrap_or_default()))
    }

    /// The host of an alias, if `name` is one: in lower case or not, and without a port.
    #[must_use]
    pub(crate) fn own_host(&self, name: &str) -> Option<AppHost> {
        let snapshot = self.current.load();
        let hosts = &snapshot.names.hosts;
        if hosts.is_empty() {
            return None;
        }
        let (host, alias) = hosts.get_key_value(&name.to_ascii_lowercase())?;
        Some(AppHost::Own {
            host: host.clone(),
            alias: alias.clone(),
        })
    }

    /// Puts a new snapshot in force.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Tells when another snapshot has come into force.
    #[must_use]
    pub(crate) fn changes(&self) -> channel::Receiver<u64> {
        self.revision.subscribe()
    }
}

impl From<RoutingMode> for Form {
    fn from(mode: RoutingMode) -> Self {
        match mode {
            RoutingMode::Domain => Self::Domain,
            RoutingMode::BaseUrl => Self::BaseUrl,
        }
    }
}

//! `TestStore`: everything that the router's process wires, without a cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use catalog::{
    App, Blobs, Catalog, Digest, NewAccount, NewToken, Picture, Role, Scope, Settings, TokenId,
};
use crds::{AppMode, Lifecycle, Visibility};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::browser::Browser;
use super::fake_app::FakeApp;
use super::fake_cluster::FakeCluster;
use crate::InstanceId;
use crate::activity::Reporter;
use crate::app_log::AppLogs;
use crate::bearer::Bearers;
use crate::client_address::TrustedProxies;
use crate::events::Events;
use crate::exchange::Journal;
use crate::gateway::{Front, Gateway};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::offer::Offer;
use crate::pod_log::PodLogs;
use crate::proxy::Proxy;
use crate::proxy::tunnels::Tunnels;
use crate::proxy::upstream::{Connector, Upstream, UpstreamKey};
use crate::secrets::Secrets;
use crate::server::{self, Slots};
use crate::session::Sessions;
use crate::sign_in::{SignIn, hash_password};
use crate::site::Site;
use crate::table::{AppEntry, Route, Snapshot, Table};
use crate::tags::Tags;
use crate::target::Form;
use crate::usage::Meter;
use crate::waiting::Phases;
use crate::web::{Rates, Store, Uploads};

/// The password of every account.
pub(super) const PASSWORD: &str = "correct horse";

/// For how long a deletion can be undone.
const UNDO: Duration = Duration::from_mins(1);

/// Largest body of a request.
pub(super) const MAX_BODY: u64 = 4 * 1024 * 1024;

/// Longest time that anything here may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct TestStore {
    pub(super) address: SocketAddr,
    pub(super) app: FakeApp,
    pub(super) cluster: FakeCluster,
    pub(super) reporter: Arc<Reporter>,
    pub(super) catalog: Catalog,
    pub(super) blobs: Blobs,
    pub(super) table: Arc<Table>,
    pub(super) tunnels: Arc<Tunnels>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) leaving: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) server: JoinSet<()>,
    connector: Connector,
    _tasks: JoinSet<()>,
    folder: Arc<TempDir>,
}

impl TestStore {
    /// A store with the accounts `alice`, `mallory`, `vera` (a visitor) and `admin`, and the instances of [`TestStore::routes`].
    pub(super) async fn start() -> Self {
        Self::start_with(Connector::default()).await
    }

    pub(super) async fn start_with(connector: Connector) -> Self {
        Self::start_behind(TrustedProxies::default(), connector).await
    }

    pub(super) async fn start_behind(proxies: TrustedProxies, connector: Connector) -> Self {
        Self::start_as(proxies, connector, None).await
    }

    /// A store whose API takes so many requests a minute of each account.
    pub(super) async fn start_limited(requests: u32) -> Self {
        let proxies = TrustedProxies::default();
        Self::start_as(proxies, Connector::default(), NonZeroU32::new(requests)).await
    }

    async fn start_as(
        proxies: TrustedProxies,
        connector: Connector,
        requests: Option<NonZeroU32>,
    ) -> Self {
        let folder = TempDir::new().expect("a folder");
        std::fs::create_dir(folder.path().join("blobs")).expect("a folder");
        let catalog = open_catalog(&folder).await;
        make_accounts(&catalog).await;
        Self::serve(Arc::new(folder), catalog, proxies, connector, requests)
    }

    /// Another replica on the same database, with the same instances.
    pub(super) async fn replica(&self) -> Self {
        let catalog = open_catalog(&self.folder).await;
        Self::serve(
            self.folder.clone(),
            catalog,
            TrustedProxies::default(),
            Connector::default(),
            None,
        )
    }

    #[expect(clippy::too_many_lines, reason = "each part is named once")]
    fn serve(
        folder: Arc<TempDir>,
        catalog: Catalog,
        proxies: TrustedProxies,
        connector: Connector,
        requests: Option<NonZeroU32>,
    ) -> Self {
        let blobs = format!("file://{}/blobs", folder.path().display());
        let blobs = Blobs::open(&blobs).expect("a blob store");
        let listener = server::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let port = address.port();
        let site = Site::new(
            &format!("http://store.test:{port}"),
            &format!("apps.test:{port}"),
        );
        let site = Arc::new(site.expect("a site"));
        let table = Arc::new(Table::default());
        let sessions = Sessions::new(catalog.clone());
        let bearers = Arc::new(Bearers::new(catalog.clone(), None));
        let tunnels = Arc::new(Tunnels::new(Duration::from_mins(10), 100, 100));
        let leaving = CancellationToken::new();
        let metrics = Arc::new(Metrics::default());
        let front = Front {
            site: site.clone(),
            proxies: proxies.clone(),
            max_body: MAX_BODY,
            journal: Arc::new(Journal {
                metrics: metrics.clone(),
                access_log: None,
            }),
            leaving: leaving.clone(),
        };
        let cluster = FakeCluster::start();
        let lifetime = Duration::from_hours(1);
        let store = Store {
            site: site.clone(),
            table: table.clone(),
            instances: Objects::new(cluster.client.clone(), "wavestore"),
            events: Events::new(cluster.client.clone(), "wavestore"),
            apps: Objects::new(cluster.client.clone(), "wavestore"),
            aliases: Objects::new(cluster.client.clone(), "wavestore"),
            app_logs: AppLogs::new(
                cluster.client.clone(),
                "wavestore",
                table.clone(),
                tunnels.clone(),
            ),
            meter: Meter::new(cluster.client.clone(), "wavestore"),
            secrets: Secrets::new(cluster.client.clone(), "wavestore"),
            uploads: Uploads::default(),
            catalog: catalog.clone(),
            blobs: blobs.clone(),
            sessions: sessions.clone(),
            bearers: bearers.clone(),
            tags: Tags::new(catalog.clone()),
            rates: Rates::new(requests),
            sign_in: SignIn::new(catalog.clone(), lifetime, None).expect("random bytes"),
            undo: UNDO,
            limits: limits(),
            offer: offer(),
            logs: PodLogs::new(cluster.client.clone(), "wavestore"),
            namespace: "wavestore".to_owned(),
        };
        let logs = store.logs.clone();
        let proxy = Proxy::new(table.clone(), tunnels.clone(), MAX_BODY);
        let phases = Phases::new(table.clone(), tunnels.clone(), logs);
        let reporter = Reporter::new(cluster.client.clone(), "wavestore", table.clone());
        let reporter = Arc::new(reporter);
        let gateway = Arc::new(Gateway::new(
            front,
            table.clone(),
            (sessions.clone(), bearers.clone()),
            proxy,
            Arc::new(phases),
            reporter.clone(),
            store.into_pages(),
        ));

        let stop = CancellationToken::new();
        let mut server = JoinSet::new();
        let slots = Slots::new(100).of_clients(proxies, metrics.clone());
        let public_stop = stop.clone();
        server.spawn(async move {
            let handle = move |peer, request| gateway.clone().handle(peer, request);
            server::serve(listener, slots, None, public_stop, handle).await;
        });
        let mut tasks = JoinSet::new();
        let (watched, watched_table) = (tunnels.clone(), table.clone());
        tasks.spawn(async move {
            let watching = watched.watch_over(&watched_table, &sessions, &bearers);
            watching.await;
        });

        tasks.spawn(follow_secrets(&cluster, table.clone()));

        let app = FakeApp::start();
        let store = Self {
            address,
            app,
            cluster,
            reporter,
            catalog,
            blobs,
            table,
            tunnels,
            metrics,
            leaving,
            stop,
            server,
            connector,
            _tasks: tasks,
            folder,
        };
        store.publish(store.routes());
        store
    }

    /// One instance of each kind; the fake app runs in all of them but `asleep`.
    pub(super) fn routes(&self) -> Vec<Route> {
        let route = |id: &str, visibility| {
            let mut route = Route::example(id, "alice", visibility);
            route.upstreams = vec![self.upstream(self.app.address)];
            route
        };
        let mut python = route("python", Visibility::Public);
        python.mode = Some(AppMode::Python);
        let mut based = route("based", Visibility::Private);
        based.form = Some(Form::BaseUrl);
        based.mode = Some(AppMode::Python);
        let mut asleep = route("asleep", Visibility::Private);
        asleep.upstreams = Vec::new();
        asleep.phase = Some("Installing Application Dependencies".to_owned());
        vec![
            route("private", Visibility::Private),
            route("shared", Visibility::AllUsers),
            route("public", Visibility::Public),
            python,
            based,
            asleep,
        ]
    }

    pub(super) fn upstream(&self, address: SocketAddr) -> Arc<Upstream> {
        let pod_uid = address.to_string();
        Arc::new(Upstream::new(
            UpstreamKey { pod_uid, address },
            &self.connector,
        ))
    }

    /// Puts these instances in force, and the apps that are there.
    pub(super) fn publish(&self, routes: Vec<Route>) {
        self.cluster.hold(&routes);
        let routes: HashMap<InstanceId, Arc<Route>> = routes
            .into_iter()
            .map(|route| (route.id.clone(), Arc::new(route)))
            .collect();
        let snapshot = Snapshot::clone(&self.table.load());
        self.table.publish(Snapshot { routes, ..snapshot });
    }

    /// Changes one instance and leaves the others.
    pub(super) fn change(&self, id: &str, change: impl FnOnce(&mut Route)) {
        let mut routes = self.routes();
        let route = routes
            .iter_mut()
            .find(|route| route.id.as_ref() == id)
            .expect("a known instance");
        change(route);
        self.publish(routes);
    }

    /// Publishes an app with a picture; answers its digest.
    pub(super) async fn publish_app(&self, name: &str, visibility: Visibility) -> Digest {
        let digest = Digest::of(name.as_bytes());
        let app = App {
            uid: name.to_owned(),
            resource: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            title: format!("The {name} app"),
            description: "What it does.".to_owned(),
            owner: "alice".to_owned(),
            visibility,
            lifecycle: Lifecycle::OnDemand,
            tags: vec!["demo".to_owned()],
            digest,
            icon: Some(Picture::original("icon.png")),
            screenshots: Vec::new(),
            link: None,
            long_description: None,
            published_at: chrono::Utc::now(),
        };
        self.catalog.publish(&app).await.expect("an app");
        let picture = bytes::Bytes::from_static(b"\x89PNG\r\n\x1a\n and the rest");
        self.blobs
            .put_asset(&digest, "icon.png", picture)
            .await
            .expect("a picture");
        let entry = AppEntry {
            title: Some(format!("The {name} app")),
            owner: "alice".to_owned(),
            visibility,
            tags: app.tags,
            digest: Some(digest.to_string()),
            ..AppEntry::example(name, "1.0.0")
        };
        let mut snapshot = Snapshot::clone(&self.table.load());
        snapshot.apps.insert(entry.app.clone(), Arc::new(entry));
        self.table.publish(snapshot);
        digest
    }

    /// A browser that nobody has signed in with.
    pub(super) fn browser(&self) -> Browser {
        Browser::new(self.address)
    }

    /// A browser with which `name` has signed in.
    pub(super) async fn signed_in(&self, name: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser.sign_in(name, PASSWORD).await;
        assert_eq!(answer.status(), 303, "sign-in of {name}");
        browser
    }

    /// A personal token of `account`, good for a day.
    pub(super) async fn token(&self, account: &str, scopes: &[Scope]) -> TokenId {
        let now = chrono::Utc::now();
        let id = TokenId::random().expect("random bytes");
        let token = NewToken {
            id: id.clone(),
            account: account.to_owned(),
            name: id.key().to_text(),
            scopes: scopes.iter().copied().collect(),
            created_at: now,
            expires_at: now + chrono::TimeDelta::days(1),
        };
        self.catalog.create_token(&token).await.expect("a token");
        id
    }

    /// Address of a store page.
    pub(super) fn store(&self, path: &str) -> String {
        format!("http://store.test:{}{path}", self.address.port())
    }

    /// Address of an instance's page.
    pub(super) fn instance(&self, id: &str, path: &str) -> String {
        format!("http://{id}.apps.test:{}{path}", self.address.port())
    }
}

/// What users and apps may have.
fn limits() -> Limits {
    Limits {
        max_instances_per_user: Some(5),
        max_memory_per_user: "8Gi".parse().ok(),
        max_versions_per_app: None,
    }
}

/// What the store offers by name.
fn offer() -> Offer {
    let runtimes =
        r#"[{"name": "python3.13", "image": "registry/instance:3.13", "aliases": ["latest"]}]"#;
    let sizes = r#"[{"name": "large", "description": "For training", "limits": {"memory": "8Gi", "cpu": 2}}]"#;
    Offer {
        runtimes: runtimes.parse().expect("runtimes"),
        sizes: sizes.parse().expect("sizes"),
    }
}

/// Keeps what the operator tells of Secrets in the table.
fn follow_secrets(cluster: &FakeCluster, table: Arc<Table>) -> impl Future<Output = ()> + use<> {
    let mut told = cluster.told_secrets();
    async move {
        while told.changed().await.is_ok() {
            let secrets = Arc::new(told.borrow_and_update().clone());
            let snapshot = Snapshot::clone(&table.load());
            table.publish(Snapshot {
                secrets,
                ..snapshot
            });
        }
    }
}

/// Somebody of each role, all with the same password.
async fn make_accounts(catalog: &Catalog) {
    let hash = hash_password(PASSWORD.as_bytes()).expect("a hash");
    for (name, role) in [
        ("alice", Role::Full),
        ("mallory", Role::Full),
        ("vera", Role::Visitor),
        ("admin", Role::Admin),
    ] {
        let account = NewAccount {
            name: name.to_owned(),
            password_hash: Some(hash.clone()),
            password_expires_at: None,
            role,
        };
        catalog.create_account(&account).await.expect("an account");
    }
}

async fn open_catalog(folder: &TempDir) -> Catalog {
    let url = format!("sqlite://{}/catalog.db", folder.path().display());
    let settings = Settings::new(url);
    Catalog::migrate(&settings).await.expect("tables");
    Catalog::open(&settings).await.expect("a database")
}

/// Waits until `holds`, and fails when it never does.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + DEADLINE;
    let mut tick = interval(Duration::from_millis(20));
    while !holds().await {
        assert!(Instant::now() < give_up, "never happened: {what}");
        tick.tick().await;
    }
}

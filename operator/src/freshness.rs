//! Whether what the watches have shown is still how things are.
//!
//! A watch is silent while nothing changes, and kube's watcher keeps bookmarks and reopenings to itself. So a watch counts
//! as fresh until it fails, and its age is the time since its first failure: it is fresh again when the API server lets it
//! open, or when it shows something. What no watch can know, a network that swallows everything, shows in the time since
//! the API server last answered a poll.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::{Request, Response, StatusCode};
use k8s_openapi::NamespaceResourceScope;
use kube::client::Body;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use strum::{EnumCount, VariantArray};
use tokio::time::Instant;

/// What is watched.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumCount,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Watch {
    /// `WaveInstance`s.
    Instances,
    /// `WaveApp`s, for the instances that run them.
    Apps,
    /// Helm's records.
    Releases,
    /// Deployments of instances.
    Deployments,
    /// Services of instances.
    Services,
    /// Claims of volumes of instances.
    Volumes,
    /// `ConfigMap`s of instances.
    Files,
    /// Pods of instances.
    Pods,
    /// `WaveApp`s, to import them.
    Imports,
    /// Secrets that apps may read.
    Secrets,
    /// `WaveAlias`es.
    Aliases,
}

/// How fresh every watch is.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    watches: [Seen; Watch::COUNT],
    /// When the API server last answered a poll; none before the first.
    contact: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Seen {
    failing_since: Mutex<Option<Instant>>,
    errors: Counter,
}

impl Freshness {
    /// Watches objects of one kind, again and again, and keeps account of its failures.
    pub(crate) fn watch<K>(
        self: &Arc<Self>,
        watch: Watch,
        client: &Client,
        namespace: &str,
        config: watcher::Config,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let api = Api::<K>::namespaced(self.client(watch, client), namespace);
        self.follow(watch, watcher(api, config))
    }

    /// Lets a watch rest after its failures, and keeps account of them. It has to ask by [`Self::client`].
    pub(crate) fn follow<K, S>(
        self: &Arc<Self>,
        watch: Watch,
        events: S,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K, S>
    where
        K: Send + 'static,
        S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    {
        let freshness = self.clone();
        events.default_backoff().inspect(move |event| match event {
            Err(_) => freshness.failed(watch),
            Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {
                freshness.answered(watch);
            }
            // The one comes before the API server is asked, the other from a list that may break off.
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
        })
    }

    /// Notes that the API server has answered a poll, whatever it said. From the first time on it has to, regularly.
    pub(crate) fn contact(&self) {
        *self.contact.lock() = Some(Instant::now());
    }

    /// How long ago the API server answered a poll; none if it was never polled.
    pub(crate) fn contact_age(&self, now: Instant) -> Option<Duration> {
        let contact = *self.contact.lock();
        contact.map(|at| now.saturating_duration_since(at))
    }

    /// How long a watch has been failing; zero if it is not.
    pub(crate) fn age(&self, watch: Watch, now: Instant) -> Duration {
        let failing_since = *self.seen(watch).failing_since.lock();
        failing_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// How often a watch has failed.
    pub(crate) fn errors(&self, watch: Watch) -> u64 {
        self.seen(watch).errors.get()
    }

    /// A sentence on everything that is older than `limit`; empty if nothing is.
    pub(crate) fn stale(&self, limit: Duration, now: Instant) -> Vec<String> {
        let is_stale = |age: &Duration| *age > limit;
        let told = |age: Duration| {
            let (age, limit) = (whole_seconds(age), whole_seconds(limit));
            format!("for {age} (limit {limit})")
        };
        let silent = self.contact_age(now).filter(is_stale).map(|age| {
            let age = told(age);
            format!("the API server has not answered {age}")
        });
        let failing = Watch::VARIANTS.iter().filter_map(|watch| {
            let age = told(Some(self.age(*watch, now)).filter(is_stale)?);
            Some(format!("the watch of {watch} has been failing {age}"))
        });
        silent.into_iter().chain(failing).collect()
    }

    /// A client that notes when it opens the watch.
    pub(crate) fn client(self: &Arc<Self>, watch: Watch, client: &Client) -> Client {
        let freshness = self.clone();
        noting(client, move |opens, status| {
            if opens && status.is_success() {
                freshness.answered(watch);
            }
        })
    }

    /// A client for who polls regularly: it notes every answer.
    pub(crate) fn poller(self: &Arc<Self>, client: &Client) -> Client {
        let freshness = self.clone();
        noting(client, move |_, _| freshness.contact())
    }

    fn seen(&self, watch: Watch) -> &Seen {
        &self.watches[watch as usize]
    }

    fn failed(&self, watch: Watch) {
        let seen = self.seen(watch);
        seen.errors.inc();
        seen.failing_since.lock().get_or_insert_with(Instant::now);
    }

    fn answered(&self, watch: Watch) {
        *self.seen(watch).failing_since.lock() = None;
    }
}

/// A client that tells of every answer: whether it opens a watch, and its status.
fn noting(client: &Client, note: impl Fn(bool, StatusCode) + Clone + Send + 'static) -> Client {
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, note) = (client.clone(), note.clone());
        async move {
            let opens = opens_watch(&request);
            let response: Response<Body> = client.send(request).await?;
            note(opens, response.status());
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, namespace)
}

fn opens_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "watch=true")
}

fn whole_seconds(age: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(age.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crds::WaveInstance;
    use http_body_util::{BodyExt, Full, StreamBody};
    use hyper::body::Frame;
    use serde_json::json;
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    /// An API server without a network: it lists nothing, and its watches are silent until it goes away.
    fn server(up: watch::Sender<bool>) -> (Client, Arc<watch::Sender<bool>>) {
        let up = Arc::new(up);
        let seen = up.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut up = seen.subscribe();
            async move {
                if !*up.borrow_and_update() {
                    return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
                }
                if !opens_watch(&request) {
                    let list = json!({
                        "kind": "WaveInstanceList", "apiVersion": "wavestore.io/v1alpha1",
                        "metadata": {"resourceVersion": "1"}, "items": [],
                    });
                    return Ok(Response::new(
                        Full::from(list.to_string())
                            .map_err(|never| match never {})
                            .boxed_unsync(),
                    ));
                }
                let broken = futures::stream::once(async move {
                    let _ = up.wait_for(|up| !*up).await;
                    Err::<Frame<bytes::Bytes>, _>(std::io::Error::from(
                        std::io::ErrorKind::ConnectionReset,
                    ))
                });
                Ok(Response::new(StreamBody::new(broken).boxed_unsync()))
            }
        });
        (Client::new(service, "wavestore"), up)
    }

    #[tokio::test]
    async fn a_watch_is_stale_while_the_api_server_is_away_and_fresh_when_it_is_back() {
        let (client, up) = server(watch::Sender::new(true));
        let freshness = Arc::new(Freshness::default());
        let listed = AtomicBool::new(false);
        let events = freshness
            .watch::<WaveInstance>(
                Watch::Instances,
                &client,
                "wavestore",
                watcher::Config::default(),
            )
            .for_each(|event| {
                if matches!(event, Ok(watcher::Event::InitDone)) {
                    listed.store(true, Ordering::Relaxed);
                }
                futures::future::ready(())
            });
        let stale = |after| freshness.stale(LIMIT, Instant::now() + after);
        let story = async {
            until(|| listed.load(Ordering::Relaxed)).await;
            assert_eq!(stale(2 * LIMIT), [""; 0], "a silent watch is no stale one");

            up.send_replace(false);
            until(|| freshness.errors(Watch::Instances) > 1).await;
            assert_eq!(stale(Duration::ZERO), [""; 0], "it has just begun to fail");
            let told = stale(2 * LIMIT).join("\n");
            let expected = "the watch of instances has been failing for 2m";
            assert_eq!(told.get(..expected.len()), Some(expected), "{told}");

            // Nothing changed meanwhile, so the watch shows nothing: that it opens is enough.
            up.send_replace(true);
            until(|| stale(2 * LIMIT).is_empty()).await;
            assert_eq!(
                freshness.age(Watch::Instances, Instant::now()),
                Duration::ZERO
            );
        };
        tokio::select! {
            () = events => unreachable!("a watch does not end"),
            () = story => {}
        }
    }

    #[tokio::test]
    async fn silence_counts_once_the_api_server_is_polled() {
        let freshness = Arc::new(Freshness::default());
        let late = Instant::now() + 2 * LIMIT;
        assert_eq!(freshness.stale(LIMIT, late), [""; 0]);
        let (client, up) = server(watch::Sender::new(false));
        let api: Api<WaveInstance> = Api::namespaced(freshness.poller(&client), "wavestore");
        assert!(api.list(&kube::api::ListParams::default()).await.is_err());
        assert_eq!(freshness.stale(LIMIT, late), [""; 0]);
        up.send_replace(true);
        api.list(&kube::api::ListParams::default())
            .await
            .expect("an answer");
        let polled = freshness.contact.lock().expect("a poll");
        let stale = |seconds| freshness.stale(LIMIT, polled + Duration::from_secs(seconds));
        assert_eq!(stale(60), [""; 0]);
        assert_eq!(
            stale(65),
            ["the API server has not answered for 1m 5s (limit 1m)"]
        );
    }

    /// Waits until `holds`.
    async fn until(holds: impl Fn() -> bool) {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        timeout(Duration::from_mins(1), async {
            while !holds() {
                ticks.tick().await;
            }
        })
        .await
        .expect("it holds in time");
    }
}

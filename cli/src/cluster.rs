//! The same things without a store: what `WaveApp`s and `WaveInstance`s say, asked of the Kubernetes API with a kubeconfig.
//!
//! Who has no account manages them by what the cluster allows them, as with kubectl, and sees the words that the store has for them.

use crds::{
    AppRef, ConditionType, DELETE_AFTER_ANNOTATION, INSTANCE_LABEL, Lifecycle, SUSPENDED_PHASE,
    WaveApp, WaveInstance, find_condition, holds, is_failure,
};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Map, Value, json};

use crate::apps::{self, Environment, Listed, Version};
use crate::args::{self, AppCommand, KubeArgs, Output};
use crate::bundles::State;
use crate::error::Error;
use crate::instances::{App, Instance, Instances, LogWanted, New};
use crate::print::{note, print_piece};

/// The container of every instance's pod.
const CONTAINER: &str = "app";

/// How much of a log is read at once.
const PIECE: usize = 16 * 1024;

/// The longest beginning of a generated name: the longest name of an instance, less what Kubernetes puts behind it.
const GENERATED: usize = 47;

/// A namespace of a cluster.
pub(crate) struct Cluster {
    instances: Api<WaveInstance>,
    apps: Api<WaveApp>,
    pods: Api<Pod>,
}

impl Cluster {
    /// The one that the kubeconfig says, by the rules of kubectl.
    pub(crate) async fn connect(args: &KubeArgs) -> Result<Self, Error> {
        let options = KubeConfigOptions {
            context: args.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &args.kubeconfig {
            Some(file) => {
                let kubeconfig = Kubeconfig::read_from(file)?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await?
            }
            None => Config::from_kubeconfig(&options).await?,
        };
        let namespace = args.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)?;
        Ok(Self {
            instances: Api::namespaced(client.clone(), &namespace),
            apps: Api::namespaced(client.clone(), &namespace),
            pods: Api::namespaced(client, &namespace),
        })
    }

    /// The app that somebody means by `NAME:VERSION`, or by the name of its `WaveApp`.
    async fn app(&self, app: &str) -> Result<WaveApp, Error> {
        let Some((name, version)) = app.split_once(':') else {
            return Ok(self.apps.get(app).await?);
        };
        let all = self.apps.list(&ListParams::default()).await?;
        let found = all.into_iter().find(|object| {
            app_of(object).is_some_and(|app| app.name == name && app.version == version)
        });
        found.ok_or_else(|| Error::NoApp(app.to_owned()))
    }

    /// Those with a bundle that has been read, the newest first.
    async fn listed(&self, wanted: impl Fn(&WaveApp) -> bool) -> Result<Vec<Listed>, Error> {
        let mut all = self.apps.list(&ListParams::default()).await?.items;
        all.sort_by_key(|object| std::cmp::Reverse(object.creation_timestamp().map(|time| time.0)));
        Ok(all.into_iter().filter(wanted).filter_map(listed).collect())
    }

    async fn change_app(&self, app: &str, change: Map<String, Value>) -> Result<WaveApp, Error> {
        let name = self.app(app).await?.name_any();
        let patch = Patch::Merge(json!({ "spec": change }));
        Ok(self
            .apps
            .patch(&name, &PatchParams::default(), &patch)
            .await?)
    }
}

impl Instances for Cluster {
    async fn all(&self) -> Result<Vec<Instance>, Error> {
        let all = self.instances.list(&ListParams::default()).await?;
        Ok(all.into_iter().map(told).collect())
    }

    async fn one(&self, name: &str) -> Result<Instance, Error> {
        Ok(told(self.instances.get(name).await?))
    }

    async fn create(&self, new: &New<'_>) -> Result<Instance, Error> {
        let owner = new.owner.ok_or(Error::NoOwner)?;
        let visibility: &str = new.visibility.into();
        let metadata = match new.name {
            Some(name) => json!({ "name": name }),
            None => json!({ "generateName": generated(&new.app.name) }),
        };
        let object = serde_json::from_value(json!({
            "apiVersion": "wavestore.io/v1alpha1",
            "kind": "WaveInstance",
            "metadata": metadata,
            "spec": { "app": new.app, "owner": owner, "visibility": visibility, "size": new.size },
        }))
        .expect("it is a WaveInstance");
        Ok(told(
            self.instances
                .create(&PostParams::default(), &object)
                .await?,
        ))
    }

    async fn change(&self, name: &str, change: &Value) -> Result<Instance, Error> {
        let mut spec = change.clone();
        // The store takes an empty size for none.
        if spec["size"] == "" {
            spec["size"] = Value::Null;
        }
        let patch = Patch::Merge(json!({ "spec": spec }));
        let params = PatchParams::default();
        Ok(told(self.instances.patch(name, &params, &patch).await?))
    }

    async fn delete_after(&self, name: &str, at: Option<&str>) -> Result<Instance, Error> {
        let annotations = json!({ DELETE_AFTER_ANNOTATION: at });
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let params = PatchParams::default();
        Ok(told(self.instances.patch(name, &params, &patch).await?))
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        self.instances
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    async fn log(&self, name: &str, wanted: &LogWanted) -> Result<(), Error> {
        let mine = ListParams::default().labels(&format!("{INSTANCE_LABEL}={name}"));
        let pods = self.pods.list(&mine).await?;
        let newest = pods
            .into_iter()
            .max_by_key(|pod| pod.creation_timestamp().map(|time| time.0))
            .ok_or_else(|| Error::NoPod(name.to_owned()))?;
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: wanted.follow,
            previous: wanted.previous,
            tail_lines: Some(wanted.tail.into()),
            ..LogParams::default()
        };
        let mut log = std::pin::pin!(self.pods.log_stream(&newest.name_any(), &params).await?);
        let mut piece = vec![0; PIECE];
        loop {
            match log.read(&mut piece).await.map_err(Error::Log)? {
                0 => return Ok(()),
                read if print_piece(&piece[..read])? => {}
                _ => return Ok(()),
            }
        }
    }
}

/// The beginning of a name that Kubernetes is to complete: a DNS label that begins with a letter.
fn generated(app: &str) -> String {
    let plain = app.chars().map(|char| match char {
        char if char.is_ascii_alphanumeric() => char.to_ascii_lowercase(),
        _ => '-',
    });
    let begins = app.starts_with(|first: char| first.is_ascii_alphabetic());
    let prefix = if begins { "" } else { "app-" };
    let name: String = prefix.chars().chain(plain).take(GENERATED).collect();
    format!("{name}-")
}

/// An instance in the words that the store has for it.
fn told(object: WaveInstance) -> Instance {
    let name = object.name_any();
    let delete_after = object.delete_after().ok().flatten();
    let delete_after = delete_after.map(|at| at.to_string());
    let is_going = object.metadata.deletion_timestamp.is_some();
    let status = object.status.unwrap_or_default();
    let ready = find_condition(&status.conditions, ConditionType::Ready);
    let is_ready = holds(&status.conditions, ConditionType::Ready);
    let rests = status.phase.as_deref() == Some(SUSPENDED_PHASE);
    let suspended = object.spec.suspended;
    let is_up = is_ready && !is_going && !suspended && !rests;
    let why = ready.filter(|_| !is_ready && !suspended && !is_going);
    let stalled = holds(&status.conditions, ConditionType::Stalled);
    let state = if is_going {
        "Being Deleted".to_owned()
    } else if suspended {
        SUSPENDED_PHASE.to_owned()
    } else if rests {
        "Asleep".to_owned()
    } else if is_up {
        "Ready".to_owned()
    } else {
        status
            .phase
            .unwrap_or_else(|| "Waiting For The Operator".to_owned())
    };
    Instance {
        name,
        app: object.spec.app.into(),
        owner: object.spec.owner,
        visibility: text(&object.spec.visibility),
        suspended,
        size: object.spec.size,
        state,
        ready: is_up,
        failing: !is_going && (stalled || why.is_some_and(|ready| is_failure(&ready.reason))),
        detail: why
            .map(|ready| ready.message.clone())
            .filter(|message| !message.is_empty()),
        url: status.url.unwrap_or_default(),
        delete_after,
        // Others measure it: `kubectl top pod`.
        usage: None,
    }
}

/// An enum as it stands in JSON.
fn text(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) async fn run_apps(
    cluster: &Cluster,
    command: AppCommand,
    output: Output,
) -> Result<(), Error> {
    match command {
        AppCommand::List {
            words,
            owner,
            lifecycle,
            tag,
        } => {
            let wanted = Wanted {
                words: &words,
                owner: owner.as_deref(),
                lifecycle,
                tag: tag.as_deref(),
            };
            apps::show_all(&cluster.listed(|app| wanted.matches(app)).await?, output);
        }
        AppCommand::Get { app } => {
            let versions = cluster
                .listed(|object| app_of(object).is_some_and(|found| found.name == app))
                .await?;
            if versions.is_empty() {
                apps::show(&version(cluster.app(&app).await?), output);
            } else {
                apps::show_all(&versions, output);
            }
        }
        AppCommand::Update { app, change } => {
            let changed = cluster.change_app(&app, apps::fields_of(change)).await?;
            apps::show(&version(changed), output);
        }
        AppCommand::Delete { app } => {
            let name = cluster.app(&app).await?.name_any();
            cluster.apps.delete(&name, &DeleteParams::default()).await?;
            note(format_args!(
                "Deleted the app {app}; it is gone when no instance of it is left"
            ));
        }
        AppCommand::Download { .. }
        | AppCommand::Like { .. }
        | AppCommand::Unlike { .. }
        | AppCommand::Pin { .. }
        | AppCommand::Unpin { .. } => return Err(Error::NeedsStore),
    }
    Ok(())
}

/// Which apps are asked for.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    words: &'a [String],
    owner: Option<&'a str>,
    lifecycle: Option<args::Lifecycle>,
    tag: Option<&'a str>,
}

impl Wanted<'_> {
    fn matches(&self, object: &WaveApp) -> bool {
        let Some(status) = &object.status else {
            return false;
        };
        let tags = || status.tags.iter().chain(&object.spec.tags);
        let name = status.app.as_ref().map(|app| &app.name);
        let text: Vec<String> = name
            .into_iter()
            .chain(&status.title)
            .chain(tags())
            .map(|word| word.to_lowercase())
            .collect();
        let lifecycle = status.lifecycle.unwrap_or_default();
        self.owner.is_none_or(|owner| object.spec.owner == owner)
            && self
                .tag
                .is_none_or(|wanted| tags().any(|tag| tag == wanted))
            && self
                .lifecycle
                .is_none_or(|wanted| wanted == word(lifecycle))
            && self.words.iter().all(|wanted| {
                let wanted = wanted.to_lowercase();
                text.iter().any(|word| word.contains(&wanted))
            })
    }
}

/// A lifecycle as the command line has it.
fn word(lifecycle: Lifecycle) -> args::Lifecycle {
    match lifecycle {
        Lifecycle::OnDemand => args::Lifecycle::OnDemand,
        Lifecycle::Managed => args::Lifecycle::Managed,
        Lifecycle::Link => args::Lifecycle::Link,
    }
}

/// Name and version of the app, once its bundle has been read.
fn app_of(object: &WaveApp) -> Option<&AppRef> {
    object.status.as_ref()?.app.as_ref()
}

/// A version of an app in a list; nothing as long as its bundle has not been read.
fn listed(object: WaveApp) -> Option<Listed> {
    let name = object.name_any();
    let status = object.status?;
    let app = status.app?;
    Some(Listed {
        name,
        title: status.title.unwrap_or_else(|| app.name.clone()),
        app: app.into(),
        owner: object.spec.owner,
        visibility: text(&object.spec.visibility),
        ready: holds(&status.conditions, ConditionType::Ready),
        likes: 0,
        more: Map::new(),
    })
}

fn version(object: WaveApp) -> Version {
    let name = object.name_any();
    let status = object.status.unwrap_or_default();
    let message = |type_| {
        let found = find_condition(&status.conditions, type_);
        found.map(|condition| condition.message.clone())
    };
    let state = if holds(&status.conditions, ConditionType::Ready) {
        State::Ready
    } else if holds(&status.conditions, ConditionType::Stalled) {
        State::Failed
    } else {
        State::Importing
    };
    Version {
        name,
        message: message(ConditionType::Ready).unwrap_or_default(),
        environment: message(ConditionType::EnvironmentReady).map(|message| Environment {
            message,
            more: Map::new(),
        }),
        app: status.app.map(App::from),
        owner: object.spec.owner,
        visibility: text(&object.spec.visibility),
        state: text(&state),
        more: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(mut spec: Value, status: &Value) -> Instance {
        spec["app"] = json!({ "name": "hello", "version": "1.0.0" });
        spec["owner"] = json!("alice");
        let object = json!({
            "apiVersion": "wavestore.io/v1alpha1",
            "kind": "WaveInstance",
            "metadata": { "name": "sales" },
            "spec": spec,
            "status": status,
        });
        told(serde_json::from_value(object).expect("an instance"))
    }

    fn conditions(reason: &str, ready: &str) -> Value {
        json!([{
            "type": "Ready", "status": ready, "reason": reason, "message": "Why",
            "lastTransitionTime": "2026-11-28T00:00:00Z",
        }])
    }

    #[test]
    fn an_instance_is_told_in_the_words_of_the_store() {
        let cases = [
            (
                json!({}),
                json!(null),
                "Waiting For The Operator",
                false,
                false,
                None,
            ),
            (
                json!({}),
                json!({ "phase": "Running", "conditions": conditions("Running", "True") }),
                "Ready",
                true,
                false,
                None,
            ),
            (
                json!({}),
                json!({ "phase": "Installing Requirements", "conditions": conditions("Starting", "False") }),
                "Installing Requirements",
                false,
                false,
                Some("Why"),
            ),
            (
                json!({}),
                json!({ "phase": "Crashed", "conditions": conditions("AppFailed", "False") }),
                "Crashed",
                false,
                true,
                Some("Why"),
            ),
            (
                json!({ "suspended": true }),
                json!({ "phase": "Suspended", "conditions": conditions("Suspended", "True") }),
                "Suspended",
                false,
                false,
                None,
            ),
            (
                json!({}),
                json!({ "phase": "Suspended", "conditions": conditions("Asleep", "True") }),
                "Asleep",
                false,
                false,
                None,
            ),
        ];
        for (spec, status, state, ready, failing, detail) in cases {
            let told = instance(spec, &status);
            let found = (
                told.state.as_str(),
                told.ready,
                told.failing,
                told.detail.as_deref(),
            );
            assert_eq!(found, (state, ready, failing, detail));
        }
    }

    #[test]
    fn a_name_begins_like_the_app() {
        assert_eq!(generated("Sales.Forecast_2"), "sales-forecast-2-");
        assert_eq!(generated("3d"), "app-3d-");
        assert_eq!(generated(&"x".repeat(63)).len(), 48);
    }

    #[test]
    fn apps_are_found_by_what_they_are() {
        let object: WaveApp = serde_json::from_value(json!({
            "apiVersion": "wavestore.io/v1alpha1",
            "kind": "WaveApp",
            "metadata": { "name": "sales-1.0.0" },
            "spec": { "bundle": {}, "owner": "alice", "visibility": "AllUsers", "tags": ["later"] },
            "status": {
                "app": { "name": "sales", "version": "1.0.0" }, "title": "Sales Forecast",
                "tags": ["finance"], "lifecycle": "Managed",
            },
        }))
        .expect("an app");
        let nothing = Wanted {
            words: &[],
            owner: None,
            lifecycle: None,
            tag: None,
        };
        assert!(nothing.matches(&object));
        let words = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Wanted {
                words: &words,
                ..nothing
            }
            .matches(&object)
        };
        assert!(words(&["forecast", "FIN"]) && words(&["later"]) && !words(&["forecast", "hr"]));
        let owner = |owner| {
            Wanted {
                owner: Some(owner),
                ..nothing
            }
            .matches(&object)
        };
        assert!(owner("alice") && !owner("bob"));
        let tag = |tag| {
            Wanted {
                tag: Some(tag),
                ..nothing
            }
            .matches(&object)
        };
        assert!(tag("finance") && tag("later") && !tag("fin"));
        let lifecycle = |word| {
            Wanted {
                lifecycle: Some(word),
                ..nothing
            }
            .matches(&object)
        };
        assert!(lifecycle(args::Lifecycle::Managed) && !lifecycle(args::Lifecycle::Link));
    }
}

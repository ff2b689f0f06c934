//! Many instances, changed by everybody at once: what was accepted has its turn, and nothing comes back that was replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use crds::{Visibility, WaveInstance, WaveInstanceSpec};
use e2e::{Namespace, Sandbox, eventually};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::{dice, disk, setting};

const CHART: &str = "../config/wave-instance";

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Writer {
    KubectlApply,
    ServerSideApply,
    Helm,
    Web,
}

/// What one writer did. Every write names an owner that no other names.
#[derive(Debug, Default)]
struct Written {
    /// Instances and owners that were accepted.
    accepted: Vec<(String, String)>,
    /// How often a write was refused, by why.
    refused: BTreeMap<String, u32>,
}

/// The owners that the API server has had of each instance, one after the other, without repetitions in a row.
#[derive(Debug, Default)]
struct History(Mutex<BTreeMap<String, Vec<String>>>);

#[tokio::test(flavor = "multi_thread")]
async fn four_kinds_of_writers_at_once_leave_one_truth() -> Result<()> {
    let instances = setting("FAULT_INSTANCES", 20)?;
    let time = Duration::from_secs(setting("FAULT_SECONDS", 20)?);
    let mut dice = dice("writers")?;
    let sandbox = Sandbox::create("writers").await?;
    let mut operator = sandbox.operator().start().await?;
    let names = disk::running(&sandbox, "sales", instances).await?;
    let volumes = sandbox.filled_volumes_of(&names).await?;
    let instances = sandbox.api::<WaveInstance>();
    let history = History::default();
    let version = history.begin(&instances).await?;
    let end = Instant::now() + time;
    let writers = [
        Writer::KubectlApply,
        Writer::ServerSideApply,
        Writer::Helm,
        Writer::Web,
    ]
    .map(|writer| {
        let (mut dice, names, sandbox) = (dice.fork(), &names, &sandbox);
        async move {
            let mut written = Written::default();
            for number in 0.. {
                if Instant::now() > end {
                    break;
                }
                let name = &names[dice.usize(..names.len())];
                let spec = WaveInstanceSpec {
                    owner: format!("{writer:?}-{number}"),
                    visibility: [
                        Visibility::Private,
                        Visibility::AllUsers,
                        Visibility::Public,
                    ][dice.usize(..3)],
                    ..disk::instance()
                };
                let owner = spec.owner.clone();
                // Two at once may collide, and one is told so: that is no update lost.
                match write(writer, sandbox, name, spec).await {
                    Ok(()) => written.accepted.push((name.clone(), owner)),
                    Err(why) => {
                        let why = why.to_string().replace(&owner, "OWNER");
                        *written
                            .refused
                            .entry(why.replace(name, "NAME"))
                            .or_default() += 1;
                    }
                }
            }
            (writer, written)
        }
    });
    let rested = async {
        let written = futures::future::join_all(writers).await;
        let begun = Instant::now();
        sandbox.comes_to_rest(&names).await?;
        eprintln!("at rest after {:.1} s", begun.elapsed().as_secs_f64());
        for (writer, Written { accepted, refused }) in &written {
            let accepted = accepted.len();
            eprintln!("{writer:?}: {accepted} accepted, refused {refused:#?}");
        }
        eventually("all that was accepted", async || history.tells_of(&written)).await
    };
    let watched = async {
        tokio::select! {
            rested = rested => rested,
            ended = history.follow(&instances, version) => ended,
        }
    };
    Box::pin(operator.supervised(watched)).await?;
    sandbox.kept_volumes(&volumes).await?;
    operator.terminate().await?;
    sandbox.passed();
    Ok(())
}

impl History {
    /// Notes what there is; answers from where to follow.
    async fn begin(&self, api: &Api<WaveInstance>) -> Result<String> {
        let listed = api.list(&ListParams::default()).await?;
        for instance in &listed {
            self.note(instance);
        }
        let version = listed.metadata.resource_version;
        version.context("lists have a version")
    }

    /// Follows what becomes of it, without end. No event is left out: a list would hide what was in between.
    async fn follow(&self, api: &Api<WaveInstance>, mut version: String) -> Result<()> {
        loop {
            let events = api.watch(&WatchParams::default(), &version).await?;
            let mut events = events.boxed();
            while let Some(event) = events.try_next().await? {
                match event {
                    WatchEvent::Added(instance)
                    | WatchEvent::Modified(instance)
                    | WatchEvent::Deleted(instance) => {
                        self.note(&instance);
                        version = instance.resource_version().unwrap_or_default();
                    }
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
                }
            }
        }
    }

    fn note(&self, instance: &WaveInstance) {
        let mut all = self.0.lock();
        let owners = all.entry(instance.name_any()).or_default();
        if owners.last() != Some(&instance.spec.owner) {
            owners.push(instance.spec.owner.clone());
        }
    }

    /// Checks that everything that was accepted was there, and that nothing was there twice: an owner that comes back has
    /// overwritten what was accepted after it.
    fn tells_of(&self, written: &[(Writer, Written)]) -> Result<()> {
        let all = self.0.lock();
        for (name, owners) in all.iter() {
            let mut seen = BTreeSet::new();
            let back = owners.iter().find(|owner| !seen.insert(*owner));
            ensure!(back.is_none(), "{name} went back to {back:?}: {owners:?}");
        }
        let accepted = written.iter().flat_map(|(_, written)| &written.accepted);
        for (name, owner) in accepted {
            let owners = all.get(name);
            ensure!(
                owners.is_some_and(|owners| owners.contains(owner)),
                "{owner} was accepted for {name} and never there: {owners:?}"
            );
        }
        Ok(())
    }
}

async fn write(
    writer: Writer,
    namespace: &Namespace,
    name: &str,
    spec: WaveInstanceSpec,
) -> Result<()> {
    let api = namespace.api::<WaveInstance>();
    let object = WaveInstance::new(name, spec);
    let spec = &object.spec;
    match writer {
        Writer::KubectlApply => {
            let manifest = serde_json::to_string(&object)?;
            namespace
                .kubectl(&["apply", "-f", "-"], Some(&manifest))
                .await?;
        }
        Writer::ServerSideApply => {
            let params = PatchParams::apply("gitops").force();
            api.patch(name, &params, &Patch::Apply(&object)).await?;
        }
        Writer::Helm => {
            let values = format!("visibility={},owner={}", spec.visibility, spec.owner);
            namespace
                .helm(&["upgrade", name, CHART, "--reuse-values", "--set", &values])
                .await?;
        }
        Writer::Web => {
            let patch = serde_json::from_value(json!([
                { "op": "replace", "path": "/spec/visibility", "value": spec.visibility },
                { "op": "replace", "path": "/spec/owner", "value": spec.owner },
            ]))?;
            let patch = Patch::Json::<()>(patch);
            api.patch(name, &PatchParams::default(), &patch).await?;
        }
    }
    Ok(())
}

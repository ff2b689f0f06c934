//! What must be true of a store that has come to rest, whatever happened to it: specs = releases = objects, nothing half done,
//! nothing left over, no volume lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    io::Read,
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use crds::{FINALIZER, INSTANCE_LABEL, WaveInstance, WaveInstanceSpec};
use flate2::read::GzDecoder;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, Service},
};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{Namespace, eventually};

/// One revision of a release, as Helm's record has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    /// The release.
    pub name: String,
    /// Helm's revision.
    pub version: u32,
    info: Info,
    #[serde(default)]
    config: serde_json::Value,
    #[serde(default)]
    manifest: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Info {
    status: String,
}

/// Volumes and what is in them, as they were at some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volumes(BTreeMap<String, Volume>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Volume {
    uid: String,
    /// The folder behind it, and what the test wrote there; only where volumes are folders of this machine.
    content: Option<(PathBuf, String)>,
}

#[derive(Debug)]
struct Claim {
    name: String,
    uid: String,
    bound: bool,
    folder: Option<PathBuf>,
}

impl Record {
    fn read(secret: &Secret) -> Result<Self> {
        let data = secret.data.as_ref();
        let encoded = data.and_then(|data| data.get("release"));
        let encoded = encoded.context("a release's Secret holds no release")?;
        let packed = STANDARD.decode(&encoded.0)?;
        let mut text = String::new();
        GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }

    /// How far it is, in Helm's words.
    #[must_use]
    pub fn status(&self) -> &str {
        &self.info.status
    }

    fn spec(&self) -> Result<WaveInstanceSpec> {
        let mut values = self.config.clone();
        if let Some(values) = values.as_object_mut() {
            values.remove("resolved");
        }
        Ok(serde_json::from_value(values)?)
    }

    /// Kind and name of every object that it renders.
    fn objects(&self) -> BTreeSet<String> {
        let documents = self.manifest.split("\n---");
        let named = documents.filter_map(|document| {
            let mut lines = document.lines();
            let kind = lines.clone().find_map(|line| line.strip_prefix("kind: "))?;
            let name = lines.find_map(|line| line.strip_prefix("  name: "))?;
            Some(format!("{} {}", kind.trim(), name.trim().trim_matches('"')))
        });
        named.collect()
    }
}

impl Namespace {
    /// All of Helm's records.
    ///
    /// # Errors
    /// One cannot be read.
    pub async fn records(&self) -> Result<Vec<Record>> {
        let params = ListParams::default().labels("owner=helm");
        let secrets = self.api::<Secret>().list(&params).await?;
        secrets.iter().map(Record::read).collect()
    }

    /// Checks that specs, releases and objects are the same, and that nothing is half done or left over.
    ///
    /// # Errors
    /// What is wrong.
    pub async fn consistent(&self) -> Result<()> {
        let instances = self
            .api::<WaveInstance>()
            .list(&ListParams::default())
            .await?;
        let mut records: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in self.records().await? {
            records.entry(record.name.clone()).or_default().push(record);
        }
        let there = self.objects().await?;
        let mut wanted = BTreeSet::new();
        for instance in &instances {
            let name = instance.name_any();
            let revisions = records.remove(&name).unwrap_or_default();
            let context = || format!("instance {name}");
            wanted.extend(checked(instance, revisions).with_context(context)?);
        }
        ensure!(
            records.is_empty(),
            "releases without an instance: {records:?}"
        );
        let missing: Vec<_> = wanted.difference(&there).collect();
        let orphans: Vec<_> = there.difference(&wanted).collect();
        ensure!(
            missing.is_empty() && orphans.is_empty(),
            "missing: {missing:?}, left over: {orphans:?}"
        );
        Ok(())
    }

    /// Waits until [`Namespace::consistent`], with exactly these instances.
    ///
    /// # Errors
    /// What is still wrong after [`crate::PATIENCE`].
    pub async fn comes_to_rest(&self, names: &[String]) -> Result<()> {
        eventually("specs = releases = objects", async || {
            let instances = self
                .api::<WaveInstance>()
                .list(&ListParams::default())
                .await?;
            let there: BTreeSet<_> = instances.iter().map(ResourceExt::name_any).collect();
            let wanted: BTreeSet<_> = names.iter().cloned().collect();
            ensure!(
                there == wanted,
                "there are {there:?} in place of {wanted:?}"
            );
            self.consistent().await
        })
        .await
    }

    /// Kind and name of everything that belongs to instances.
    async fn objects(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        self.find::<Deployment>(&mut found).await?;
        self.find::<Service>(&mut found).await?;
        self.find::<ConfigMap>(&mut found).await?;
        self.find::<PersistentVolumeClaim>(&mut found).await?;
        let instances = self
            .api::<WaveInstance>()
            .list(&ListParams::default())
            .await?;
        found.extend(
            instances
                .iter()
                .map(|instance| format!("WaveInstance {}", instance.name_any())),
        );
        Ok(found)
    }

    async fn find<K>(&self, found: &mut BTreeSet<String>) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let labelled = ListParams::default().labels(INSTANCE_LABEL);
        for object in self.api::<K>().list(&labelled).await? {
            let (kind, name) = (K::kind(&()), object.name_any());
            ensure!(
                object.meta().deletion_timestamp.is_none(),
                "{kind} {name} is being deleted"
            );
            found.insert(format!("{kind} {name}"));
        }
        Ok(())
    }

    /// The volumes of these instances, once they are bound. Writes something into each that is a folder of this machine.
    ///
    /// # Errors
    /// They are not bound in time, or a folder cannot be written to.
    pub async fn filled_volumes_of(&self, names: &[String]) -> Result<Volumes> {
        let claims = eventually("all volumes to be bound", async || {
            let claims = self.claims().await?;
            let claims = claims.into_iter().filter(|claim| {
                names.iter().any(|name| {
                    let rest = claim.name.strip_prefix(name.as_str());
                    rest.is_some_and(|rest| rest == "-data" || rest == "-resources")
                })
            });
            let claims: Vec<_> = claims.collect();
            ensure!(
                claims.iter().all(|claim| claim.bound),
                "not bound: {claims:?}"
            );
            Ok(claims)
        })
        .await?;
        let mut volumes = BTreeMap::new();
        for Claim {
            name, uid, folder, ..
        } in claims
        {
            let content = folder.map(|folder| (folder.join("kept.txt"), format!("of {uid}")));
            if let Some((file, text)) = &content {
                std::fs::write(file, text)?;
            }
            volumes.insert(name, Volume { uid, content });
        }
        Ok(Volumes(volumes))
    }

    /// Checks that these volumes are the same ones still, with the same in them.
    ///
    /// # Errors
    /// One is not.
    pub async fn kept_volumes(&self, volumes: &Volumes) -> Result<()> {
        let now: BTreeMap<_, _> = self
            .claims()
            .await?
            .into_iter()
            .map(|claim| (claim.name, claim.uid))
            .collect();
        for (name, volume) in &volumes.0 {
            ensure!(
                now.get(name) == Some(&volume.uid),
                "the claim {name} was {} and is {:?}",
                volume.uid,
                now.get(name)
            );
            if let Some((file, text)) = &volume.content {
                let found = std::fs::read_to_string(file)
                    .with_context(|| format!("what was in {name} is gone"))?;
                ensure!(
                    found == *text,
                    "{name} holds `{found}` in place of `{text}`"
                );
            }
        }
        Ok(())
    }

    async fn claims(&self) -> Result<Vec<Claim>> {
        let claims = self
            .api::<PersistentVolumeClaim>()
            .list(&ListParams::default())
            .await?;
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let mut found = Vec::new();
        for claim in claims {
            let spec = claim.spec.as_ref();
            let volume = match spec.and_then(|spec| spec.volume_name.as_ref()) {
                Some(volume) => volumes.get_opt(volume).await?,
                None => None,
            };
            let folder = volume
                .and_then(|volume| volume.spec?.host_path)
                .map(|host| PathBuf::from(host.path));
            found.push(Claim {
                name: claim.name_any(),
                uid: claim.uid().context("objects have a uid")?,
                bound: claim
                    .status
                    .is_some_and(|status| status.phase.as_deref() == Some("Bound")),
                folder,
            });
        }
        Ok(found)
    }
}

/// Checks one instance against its release; answers what objects it has to have.
fn checked(instance: &WaveInstance, mut revisions: Vec<Record>) -> Result<BTreeSet<String>> {
    ensure!(
        instance.metadata.deletion_timestamp.is_none(),
        "it is being deleted"
    );
    ensure!(
        instance.finalizers().iter().any(|name| name == FINALIZER),
        "it has no finalizer"
    );
    revisions.sort_by_key(|record| record.version);
    let Some(latest) = revisions.last() else {
        bail!("it has no release");
    };
    let history: Vec<_> = revisions
        .iter()
        .map(|record| format!("{} {}", record.version, record.status()))
        .collect();
    ensure!(
        latest.status() == "deployed"
            && !revisions
                .iter()
                .any(|record| record.status().starts_with("pending")),
        "its release is: {}",
        history.join(", ")
    );
    let released = latest.spec()?;
    ensure!(
        released == instance.spec,
        "its release has {released:?}, its spec is {:?}",
        instance.spec
    );
    let status = instance.status.as_ref().context("it has no status")?;
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|condition| condition.type_ == "Ready");
    let observed = ready.and_then(|ready| ready.observed_generation);
    ensure!(
        observed == instance.metadata.generation,
        "its Ready condition is of generation {observed:?}"
    );
    let told = status.release.as_ref().map(|release| release.revision);
    ensure!(
        told == Some(latest.version),
        "its status tells of revision {told:?} in place of {}",
        latest.version
    );
    Ok(latest.objects())
}

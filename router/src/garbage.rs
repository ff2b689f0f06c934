//! `wavestore-router blobs gc`: removes what is in the blob store, and no app and no instance names.
//!
//! The order is what keeps it from taking what somebody needs. First all names are asked for, so that little is suspect; then the
//! store is listed; and before some suspects are removed all names are asked for again: whoever has named one of them while the store
//! was listed is seen now. Whoever stores one in this very moment has made it young, which is looked at last, object by object
//! (`catalog`'s `Blobs::put_bundle` and `Blobs::delete_garbage`; docs/decisions/0019-garbage-is-judged-by-names-and-age.md).
//!
//! The database is not asked: its rows follow the `WaveApp`s, and may be lost.

use std::io::{self, Write};

use catalog::{Blobs, Digest, EnvironmentKey, Names, Stored, Verdict};
use chrono::{DateTime, TimeDelta, Utc};
use crds::{BUNDLE_ANNOTATION, ENVIRONMENT_ANNOTATION, WaveApp};

use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;

use crate::args::GcArgs;
use crate::objects::Objects;

/// How many objects the API server is asked for at once.
const PAGE: u32 = 500;

/// Suspects that are removed by the same names: so few that these are some seconds old at the most.
const SUSPECTS: usize = 100;

/// Objects of other kinds that are named; the rest is counted.
const FOREIGN_NAMED: u64 = 10;

/// Why garbage was not collected, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not say what is named.
    #[error("could not ask for the {0} of the namespace")]
    Names(
        &'static str,
        #[source] Box<dyn std::error::Error + Send + Sync>,
    ),
    /// Everything would be garbage.
    #[error(
        "namespace `{0}` has no WaveApp, so everything in the blob store would be garbage: nothing was removed"
    )]
    NoApps(String),
    /// The blob store failed.
    #[error("could not collect all garbage; running again goes on")]
    Blobs(#[source] catalog::Error),
    /// Nobody reads what was found.
    #[error("could not say what was found")]
    Output(#[source] io::Error),
}

impl Error {
    /// One next step, where there is one.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Names(..) => Some(
                "`get` and `list` of waveapps and deployments are what it needs: see blobs.gc in the store's chart".to_owned(),
            ),
            Self::NoApps(_) => Some(
                "give the store's namespace with `--namespace`; after a loss bring the WaveApps back first; a store that is to be empty \
                 is emptied with its folder or bucket"
                    .to_owned(),
            ),
            Self::Blobs(error) => error.hint(),
            Self::Output(_) => None,
        }
    }
}

/// What has been found and done so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Objects that are garbage, and their bytes.
    garbage: (u64, u64),
    named: u64,
    young: u64,
    foreign: u64,
}

/// Collects the garbage in the store at `blobs`, and says what it was on `out`.
///
/// # Errors
/// Why nothing was removed, or not everything.
pub(crate) async fn collect(
    client: &Client,
    namespace: &str,
    blobs: &Blobs,
    args: GcArgs,
    out: &mut (impl Write + Send),
) -> Result<(), Error> {
    let cluster = Cluster::new(client, namespace);
    let grace = TimeDelta::from_std(args.grace).unwrap_or(TimeDelta::MAX);
    let young = Utc::now()
        .checked_sub_signed(grace)
        .unwrap_or(DateTime::<Utc>::MIN_UTC);
    let mut tally = Tally::default();
    let mut names = cluster.names().await?;
    let mut listed = blobs.stored();
    let mut suspects = Vec::new();
    loop {
        let next = listed.try_next().await.map_err(Error::Blobs)?;
        let ended = next.is_none();
        if let Some(stored) = next {
            match stored.verdict(&names, young) {
                Verdict::Named => tally.named += 1,
                Verdict::Young => tally.young += 1,
                Verdict::Foreign => {
                    tally.foreign += 1;
                    if tally.foreign <= FOREIGN_NAMED {
                        say(out, "left alone", &stored)?;
                    }
                }
                Verdict::Garbage => suspects.push(stored),
            }
        }
        if !suspects.is_empty() && (ended || suspects.len() == SUSPECTS) {
            names = cluster.names().await?;
            for stored in suspects.drain(..) {
                remove(blobs, &stored, &names, young, args.dry_run, &mut tally, out).await?;
            }
        }
        if ended {
            break;
        }
    }
    let (objects, bytes) = tally.garbage;
    let Tally {
        named,
        young,
        foreign,
        ..
    } = tally;
    let done = if args.dry_run {
        "would be removed"
    } else {
        "removed"
    };
    writeln!(
        out,
        "{objects} objects of {bytes} bytes {done}; {named} named, {young} younger than {}, {foreign} of other kinds left alone",
        humantime::format_duration(args.grace)
    )
    .map_err(Error::Output)
}

/// Removes a suspect, unless somebody has named or stored it meanwhile.
async fn remove(
    blobs: &Blobs,
    stored: &Stored,
    names: &Names,
    young: DateTime<Utc>,
    dry_run: bool,
    tally: &mut Tally,
    out: &mut (impl Write + Send),
) -> Result<(), Error> {
    if stored.verdict(names, young) != Verdict::Garbage {
        tally.named += 1;
        return Ok(());
    }
    let is_garbage = if dry_run {
        blobs.is_still_garbage(stored, young).await
    } else {
        blobs.delete_garbage(stored, young).await
    };
    if !is_garbage.map_err(Error::Blobs)? {
        tally.young += 1;
        return Ok(());
    }
    tally.garbage.0 += 1;
    tally.garbage.1 += stored.size;
    say(
        out,
        if dry_run { "would remove" } else { "removed" },
        stored,
    )
}

fn say(out: &mut impl Write, done: &str, stored: &Stored) -> Result<(), Error> {
    let (path, size) = (stored.path(), stored.size);
    let day = stored.written_at.format("%Y-%m-%d");
    // What others have stored may have any name.
    writeln!(
        out,
        "{done}: {} ({size} bytes, of {day})",
        path.escape_debug()
    )
    .map_err(Error::Output)
}

/// All who may name an object.
pub(crate) struct Cluster {
    namespace: String,
    apps: Objects<WaveApp>,
    deployments: Objects<Deployment>,
}

impl Cluster {
    /// Those of `namespace`.
    pub(crate) fn new(client: &Client, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            apps: Objects::new(client.clone(), namespace),
            deployments: Objects::new(client.clone(), namespace),
        }
    }

    /// What is named now.
    async fn names(&self) -> Result<Names, Error> {
        let mut names = Names::default();
        let mut any = false;
        let mut place = None;
        loop {
            let (apps, rest) = self
                .apps
                .list(PAGE, place.as_deref())
                .await
                .map_err(|error| Error::Names("WaveApps", Box::new(error)))?;
            any |= !apps.is_empty();
            for app in &apps {
                note_app(&mut names, app);
            }
            place = rest;
            if place.is_none() {
                break;
            }
        }
        if !any {
            return Err(Error::NoApps(self.namespace.clone()));
        }
        loop {
            let (deployments, rest) = self
                .deployments
                .list(PAGE, place.as_deref())
                .await
                .map_err(|error| Error::Names("Deployments", Box::new(error)))?;
            for deployment in &deployments {
                note_deployment(&mut names, deployment);
            }
            place = rest;
            if place.is_none() {
                return Ok(names);
            }
        }
    }
}

/// What an app names: the bundle that it wants, the one that was imported, and its environment.
fn note_app(names: &mut Names, app: &WaveApp) {
    let status = app.status.as_ref();
    let imported = status.and_then(|status| status.digest.as_ref());
    let digests = app.spec.bundle.digest.iter().chain(imported);
    names
        .bundles
        .extend(digests.filter_map(|digest| digest.parse::<Digest>().ok()));
    let environment = status.and_then(|status| status.environment.as_ref());
    names
        .environments
        .extend(environment.and_then(|built| built.key.parse::<EnvironmentKey>().ok()));
}

/// What an instance's pod fetches when it starts: its release may be older than its app's status, or its app torn away by force.
fn note_deployment(names: &mut Names, deployment: &Deployment) {
    let pod = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.metadata.as_ref());
    let annotation = |name| Some(pod?.annotations.as_ref()?.get(name)?.as_str());
    names
        .bundles
        .extend(annotation(BUNDLE_ANNOTATION).and_then(|text| text.parse::<Digest>().ok()));
    names.environments.extend(
        annotation(ENVIRONMENT_ANNOTATION).and_then(|text| text.parse::<EnvironmentKey>().ok()),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ASKED: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const IMPORTED: &str =
        "sha256:2222222222222222222222222222222222222222222222222222222222222222";
    const KEY: &str = "3333333333333333333333333333333333333333";

    fn names(bundles: &[&str], environments: &[&str]) -> Names {
        Names {
            bundles: bundles
                .iter()
                .map(|text| text.parse().expect("a digest"))
                .collect(),
            environments: environments
                .iter()
                .map(|text| text.parse().expect("a key"))
                .collect(),
        }
    }

    #[test]
    fn apps_name_what_they_want_and_what_they_have() {
        let built = json!({"key": KEY, "failures": 0});
        let cases = [
            (
                "one that nobody has looked at",
                json!({"digest": ASKED}),
                json!({}),
                names(&[ASKED], &[]),
            ),
            (
                "one from a ConfigMap, imported",
                json!({"configMapRef": {"name": "a", "key": "b"}}),
                json!({"digest": IMPORTED}),
                names(&[IMPORTED], &[]),
            ),
            (
                "one with another bundle than it had",
                json!({"digest": ASKED}),
                json!({"digest": IMPORTED, "environment": built}),
                names(&[ASKED, IMPORTED], &[KEY]),
            ),
            (
                "one that is still to be fetched",
                json!({"url": "https://a/b"}),
                json!({}),
                names(&[], &[]),
            ),
        ];
        for (case, bundle, status, wanted) in cases {
            let app = json!({
                "apiVersion": "wavestore.io/v1alpha1", "kind": "WaveApp", "metadata": {"name": "a"},
                "spec": {"bundle": bundle, "owner": "alice"}, "status": status,
            });
            let app = serde_json::from_value(app).expect(case);
            let mut names = Names::default();
            note_app(&mut names, &app);
            assert_eq!(names, wanted, "{case}");
        }
    }

    #[test]
    fn instances_name_what_their_pods_fetch() {
        let cases = [
            (
                "of an app with an environment",
                json!({"wavestore.io/bundle": IMPORTED, "wavestore.io/environment": KEY}),
                names(&[IMPORTED], &[KEY]),
            ),
            (
                "of an app without",
                json!({"wavestore.io/bundle": IMPORTED}),
                names(&[IMPORTED], &[]),
            ),
            (
                "somebody else's",
                json!({"wavestore.io/bundle": "none"}),
                names(&[], &[]),
            ),
            ("one without annotations", json!(null), names(&[], &[])),
        ];
        for (case, annotations, wanted) in cases {
            let deployment = json!({
                "spec": {"selector": {}, "template": {"metadata": {"annotations": annotations}}},
            });
            let deployment = serde_json::from_value(deployment).expect(case);
            let mut names = Names::default();
            note_deployment(&mut names, &deployment);
            assert_eq!(names, wanted, "{case}");
        }
    }
}

//! `Caller`: which pod asks, told by its token, and what it may have.

#![deny(clippy::wildcard_enum_match_arm)]

use catalog::{Digest, EnvironmentKey};
use crds::{
    BUILD_AUDIENCE, BUILD_LABEL, BUNDLE_ANNOTATION, ENVIRONMENT_ANNOTATION, INSTANCE_LABEL,
    TOKEN_AUDIENCE,
};
use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use crate::error::Error;

/// Where a bound token names its pod.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// A pod of the store. No pod can change its own labels and annotations; who can make pods is as powerful as the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// It runs an instance.
    Instance {
        /// The instance.
        name: String,
        /// The environment that the operator has given it.
        environment: Option<String>,
    },
    /// It builds an environment.
    Build {
        /// That environment.
        environment: String,
        /// The bundle that it is built from.
        bundle: Option<String>,
    },
}

/// What a pod asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// To read a bundle.
    Bundle(Digest),
    /// To read an environment.
    Environment(EnvironmentKey),
    /// To write an environment.
    NewEnvironment(EnvironmentKey),
    /// To read which versions are in one.
    Lock(EnvironmentKey),
    /// To write that.
    NewLock(EnvironmentKey),
}

impl Object {
    pub(super) fn refusal(&self) -> Error {
        match self {
            Self::Bundle(_) => Error::ForeignBundle,
            Self::Environment(_) | Self::NewEnvironment(_) | Self::Lock(_) | Self::NewLock(_) => {
                Error::ForeignEnvironment
            }
        }
    }
}

impl Caller {
    /// Under which name its share of answers is counted.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Instance { name, .. } => name.clone(),
            // No name of an instance has a slash.
            Self::Build { environment, .. } => format!("build/{environment}"),
        }
    }

    /// Whether it may have `object`; `runs` is the digest of the bundle that its instance runs.
    pub(super) fn may(&self, object: &Object, runs: Option<&str>) -> bool {
        let is = |told: Option<&str>, asked: String| told == Some(asked.as_str());
        match (self, object) {
            (Self::Instance { .. }, Object::Bundle(digest)) => is(runs, digest.to_string()),
            (Self::Instance { environment, .. }, Object::Environment(key) | Object::Lock(key)) => {
                is(environment.as_deref(), key.to_string())
            }
            (Self::Build { bundle, .. }, Object::Bundle(digest)) => {
                is(bundle.as_deref(), digest.to_string())
            }
            (
                Self::Build { environment, .. },
                Object::NewEnvironment(key) | Object::Lock(key) | Object::NewLock(key),
            ) => is(Some(environment), key.to_string()),
            (Self::Instance { .. }, Object::NewEnvironment(_) | Object::NewLock(_))
            | (Self::Build { .. }, Object::Environment(_)) => false,
        }
    }
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    Instance,
    Build,
}

/// Tells which pod a token belongs to.
#[derive(Clone)]
pub(crate) struct Pods {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pods")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Pods {
    /// Pods of `namespace`.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// Asks the API server whose token a request carries, every time: a pod's token ends with its pod.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|line| line.to_str().ok())
            .and_then(|line| line.strip_prefix("Bearer "))
            .ok_or(Error::BadToken)?;
        let away = |error: kube::Error| Error::KubernetesAway(Box::new(error));
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![TOKEN_AUDIENCE.to_owned(), BUILD_AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews
            .create(&PostParams::default(), &review)
            .await
            .map_err(away)?
            .status
            .unwrap_or_default();
        let authenticated = status.authenticated == Some(true);
        let audience = audience(&status.audiences.unwrap_or_default());
        let (audience, user) = audience
            .zip(status.user)
            .filter(|_| authenticated)
            .ok_or(Error::BadToken)?;
        let (name, uid) = self.pod_of(&user).ok_or(Error::BadToken)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = pods
            .get_opt(name)
            .await
            .map_err(away)?
            .ok_or(Error::BadToken)?;
        if pod.uid().as_deref() != Some(uid) {
            return Err(Error::BadToken);
        }
        caller(audience, &pod).ok_or(Error::ForeignBundle)
    }

    /// Name and UID of the pod in our namespace that the token is bound to.
    fn pod_of<'a>(&self, user: &'a UserInfo) -> Option<(&'a str, &'a str)> {
        let account = user
            .username
            .as_deref()?
            .strip_prefix("system:serviceaccount:")?;
        if account.split_once(':')?.0 != self.namespace {
            return None;
        }
        let extra = user.extra.as_ref()?;
        let one = |key: &str| {
            extra
                .get(key)
                .and_then(|values| values.first())
                .map(String::as_str)
        };
        Some((one(POD_NAME)?, one(POD_UID)?))
    }
}

/// Of a token for several audiences nobody knows what it is for.
fn audience(audiences: &[String]) -> Option<Audience> {
    match audiences {
        [one] if one == TOKEN_AUDIENCE => Some(Audience::Instance),
        [one] if one == BUILD_AUDIENCE => Some(Audience::Build),
        _ => None,
    }
}

fn caller(audience: Audience, pod: &Pod) -> Option<Caller> {
    let label = |name: &str| pod.labels().get(name).cloned();
    let annotation = |name: &str| pod.annotations().get(name).cloned();
    Some(match audience {
        Audience::Instance => Caller::Instance {
            name: label(INSTANCE_LABEL)?,
            environment: annotation(ENVIRONMENT_ANNOTATION),
        },
        Audience::Build => Caller::Build {
            environment: label(BUILD_LABEL)?,
            bundle: annotation(BUNDLE_ANNOTATION),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> EnvironmentKey {
        EnvironmentKey::from_sha256([byte; 32])
    }

    #[test]
    fn an_instance_reads_what_it_was_given_and_writes_nothing() {
        use Object as O;
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let runs = one.to_string();
        let runs = Some(runs.as_str());
        let cases = [
            ("its bundle", None, O::Bundle(one), runs, true),
            ("another bundle", None, O::Bundle(two), runs, false),
            ("of an unknown app", None, O::Bundle(one), None, false),
            ("its own", Some(1), O::Environment(key(1)), runs, true),
            ("another's", Some(1), O::Environment(key(2)), runs, false),
            ("none was given", None, O::Environment(key(1)), runs, false),
            ("it writes", Some(1), O::NewEnvironment(key(1)), runs, false),
            ("its own lock", Some(1), O::Lock(key(1)), runs, true),
            ("another's lock", Some(1), O::Lock(key(2)), runs, false),
            ("it locks", Some(1), O::NewLock(key(1)), runs, false),
        ];
        for (name, environment, object, runs, expected) in cases {
            let caller = Caller::Instance {
                name: "sales".to_owned(),
                environment: environment.map(|byte| key(byte).to_string()),
            };
            assert_eq!(caller.may(&object, runs), expected, "{name}");
        }
    }

    #[test]
    fn a_job_reads_its_bundle_and_writes_its_environment() {
        use Object as O;
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let cases = [
            ("its bundle", Some(one), O::Bundle(one), true),
            ("another bundle", Some(one), O::Bundle(two), false),
            ("it has none", None, O::Bundle(one), false),
            ("its environment", None, O::NewEnvironment(key(1)), true),
            ("another's", None, O::NewEnvironment(key(2)), false),
            ("it reads", None, O::Environment(key(1)), false),
            ("its lock", None, O::Lock(key(1)), true),
            ("another's lock", None, O::Lock(key(2)), false),
            ("it locks", None, O::NewLock(key(1)), true),
            ("it locks another's", None, O::NewLock(key(2)), false),
        ];
        for (name, bundle, object, expected) in cases {
            let caller = Caller::Build {
                environment: key(1).to_string(),
                bundle: bundle.map(|digest| digest.to_string()),
            };
            // Which bundle any instance runs is nothing to it.
            let runs = one.to_string();
            let expected = (expected, expected);
            let seen = (caller.may(&object, None), caller.may(&object, Some(&runs)));
            assert_eq!(seen, expected, "{name}");
        }
    }

    #[test]
    fn a_token_is_for_one_thing() {
        let audience = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            audience(&names)
        };
        assert_eq!(audience(&["wavestore"]), Some(Audience::Instance));
        assert_eq!(audience(&["wavestore-build"]), Some(Audience::Build));
        assert_eq!(audience(&["wavestore", "wavestore-build"]), None);
        assert_eq!(audience(&["https://kubernetes.default.svc"]), None);
        assert_eq!(audience(&[]), None);
    }

    #[test]
    fn a_label_counts_with_its_audience_alone() {
        let pod: Pod = serde_json::from_value(serde_json::json!({ "metadata": {
            "labels": { "wavestore.io/instance": "sales" },
            "annotations": { "wavestore.io/environment": "0f", "wavestore.io/bundle": "sha256:00" },
        }}))
        .expect("a pod");
        assert_eq!(
            caller(Audience::Instance, &pod),
            Some(Caller::Instance {
                name: "sales".to_owned(),
                environment: Some("0f".to_owned())
            })
        );
        assert_eq!(caller(Audience::Build, &pod), None);
    }
}

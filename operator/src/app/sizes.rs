//! Sizes: what a pod may have beside what its app asks for, chosen for an instance by name (`spec.size`).

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;

use bundle::Quantity;
use crds::{RuntimeSize, Size};
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;

/// Most sizes: each stands in the status of every app, and in Helm's record of every instance.
const MOST: usize = 20;

/// Longest name of a size.
const LONGEST_NAME: usize = 63;

/// The sizes of a store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sizes(Vec<Size>);

impl Sizes {
    /// What each of them comes to for an app that asks for this.
    pub(crate) fn of(&self, app: &ResourceRequirements) -> Vec<RuntimeSize> {
        self.0.iter().map(|size| of(size, app)).collect()
    }
}

/// What a size comes to for an app that asks for this.
fn of(size: &Size, app: &ResourceRequirements) -> RuntimeSize {
    let with = |asked: &Option<BTreeMap<String, Amount>>, own: &BTreeMap<String, Amount>| {
        let mut all = asked.clone().unwrap_or_default();
        all.extend(own.clone());
        all
    };
    let mut requests = with(&app.requests, &size.requests);
    let mut limits = with(&app.limits, &size.limits);
    // Kubernetes refuses a request over its limit: what the size says counts.
    for (name, limit) in &mut limits {
        let Some(request) = requests
            .get_mut(name)
            .filter(|request| more(request, limit))
        else {
            continue;
        };
        if size.limits.contains_key(name) {
            *request = limit.clone();
        } else {
            *limit = request.clone();
        }
    }
    RuntimeSize {
        name: size.name.clone(),
        description: size.description.clone(),
        resources: ResourceRequirements {
            claims: None,
            limits: Some(limits).filter(|limits| !limits.is_empty()),
            requests: Some(requests).filter(|requests| !requests.is_empty()),
        },
        node_selector: size.node_selector.clone(),
        tolerations: size.tolerations.clone(),
    }
}

fn check(size: &Size) -> Result<(), String> {
    let name = &size.name;
    let ends = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let is_name = name.len() <= LONGEST_NAME
        && ends(name.bytes().next())
        && ends(name.bytes().last())
        && name.bytes().all(|byte| byte == b'-' || ends(Some(byte)));
    if !is_name {
        return Err(format!(
            "`{name}` cannot be the name of a size: those have a-z, 0-9 and - between them, at most {LONGEST_NAME}"
        ));
    }
    for (what, amounts) in [("requests", &size.requests), ("limits", &size.limits)] {
        for (resource, amount) in amounts {
            if amount.0.parse::<Quantity>().is_err() {
                return Err(format!(
                    "size `{name}`: `{what}.{resource}` is `{}`, which is no quantity such as 500m or 2Gi",
                    amount.0
                ));
            }
        }
    }
    let both = size.requests.iter().filter_map(|(resource, request)| {
        let limit = size.limits.get(resource)?;
        more(request, limit).then_some(resource)
    });
    match both.into_iter().next() {
        Some(resource) => Err(format!(
            "size `{name}`: `requests.{resource}` is more than `limits.{resource}`"
        )),
        None => Ok(()),
    }
}

fn more(a: &Amount, b: &Amount) -> bool {
    let read = |amount: &Amount| amount.0.parse::<Quantity>().ok();
    read(a)
        .zip(read(b))
        .is_some_and(|(a, b)| a.compare(&b).is_gt())
}

/// A JSON list of objects with `name` and, as they like, `description`, `requests`, `limits`, `nodeSelector` and `tolerations`.
impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sizes: Vec<Size> =
            serde_json::from_str(text).map_err(|error| format!("no list of sizes: {error}"))?;
        if sizes.len() > MOST {
            return Err(format!("{} sizes are more than {MOST}", sizes.len()));
        }
        let mut names = HashSet::new();
        for size in &sizes {
            check(size)?;
            if !names.insert(&size.name) {
                return Err(format!("`{}` is the name of two sizes", size.name));
            }
        }
        Ok(Self(sizes))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resources(value: Value) -> ResourceRequirements {
        serde_json::from_value(value).expect("resources")
    }

    #[test]
    fn a_size_counts_where_it_says_something() {
        let app = resources(json!({
            "requests": { "memory": "512Mi", "cpu": "500m" },
            "limits": { "memory": "2Gi", "nvidia.com/gpu": "1" },
        }));
        let cases = [
            (
                json!({ "name": "a" }),
                json!({ "memory": "512Mi", "cpu": "500m" }),
                json!({ "memory": "2Gi", "nvidia.com/gpu": "1" }),
            ),
            (
                json!({ "name": "a", "requests": { "cpu": 2 }, "limits": { "cpu": "4", "memory": "8Gi" } }),
                json!({ "memory": "512Mi", "cpu": "2" }),
                json!({ "memory": "8Gi", "cpu": "4", "nvidia.com/gpu": "1" }),
            ),
            // A limit takes the app's request along, and a request the app's limit.
            (
                json!({ "name": "a", "limits": { "memory": "256Mi", "cpu": 0.1 } }),
                json!({ "memory": "256Mi", "cpu": "0.1" }),
                json!({ "memory": "256Mi", "cpu": "0.1", "nvidia.com/gpu": "1" }),
            ),
            (
                json!({ "name": "a", "requests": { "memory": "4Gi" } }),
                json!({ "memory": "4Gi", "cpu": "500m" }),
                json!({ "memory": "4Gi", "nvidia.com/gpu": "1" }),
            ),
        ];
        for (size, requests, limits) in cases {
            let sizes: Sizes = json!([size]).to_string().parse().expect("sizes");
            let [found] = &sizes.of(&app)[..] else {
                panic!("one size");
            };
            let expected = resources(json!({ "requests": requests, "limits": limits }));
            assert_eq!(found.resources, expected, "{size}");
        }
        let sizes: Sizes = r#"[{
            "name": "gpu-large", "description": "For training",
            "nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]
        }]"#
        .parse()
        .expect("sizes");
        let found = &sizes.of(&ResourceRequirements::default())[0];
        assert_eq!(found.description.as_deref(), Some("For training"));
        assert_eq!(found.node_selector["pool"], "gpu");
        assert_eq!(found.tolerations[0].key.as_deref(), Some("gpu"));
        assert_eq!(found.resources, ResourceRequirements::default());
    }

    #[test]
    fn what_no_pod_could_have_is_refused() {
        for (text, refusal) in [
            ("[]", None),
            ("{}", Some("no list of sizes")),
            (r"[{}]", Some("missing field `name`")),
            (r#"[{"name": "A"}]"#, Some("`A` cannot be the name")),
            (r#"[{"name": "a-"}]"#, Some("`a-` cannot be the name")),
            (r#"[{"name": ""}]"#, Some("`` cannot be the name")),
            (r#"[{"name": "a", "cpu": 1}]"#, Some("unknown field `cpu`")),
            (
                r#"[{"name": "a"}, {"name": "a"}]"#,
                Some("`a` is the name of two sizes"),
            ),
            (
                r#"[{"name": "a", "limits": {"memory": "much"}}]"#,
                Some("size `a`: `limits.memory` is `much`, which is no quantity"),
            ),
            (
                r#"[{"name": "a", "requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}]"#,
                Some("size `a`: `requests.cpu` is more than `limits.cpu`"),
            ),
        ] {
            let refused = text.parse::<Sizes>().err();
            let fits = match (&refused, refusal) {
                (None, None) => true,
                (Some(refused), Some(refusal)) => refused.contains(refusal),
                _ => false,
            };
            assert!(fits, "{text}: {refused:?}");
        }
        let many: Vec<Value> = (0..=MOST)
            .map(|n| json!({ "name": n.to_string() }))
            .collect();
        let refused = json!(many).to_string().parse::<Sizes>().err();
        assert_eq!(refused.as_deref(), Some("21 sizes are more than 20"));
    }
}

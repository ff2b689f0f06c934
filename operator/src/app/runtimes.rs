//! Runtime versions: the images that apps may ask for by name (`[Runtime] RuntimeVersion` in app.toml).

use std::collections::HashSet;
use std::str::FromStr;

use crds::RuntimeVersion;

/// The runtime versions of a store, beside the image of those who ask for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Runtimes(Vec<RuntimeVersion>);

impl Runtimes {
    /// The one that has this name.
    pub(crate) fn find(&self, name: &str) -> Option<&RuntimeVersion> {
        self.0
            .iter()
            .find(|version| version.names().any(|held| held == name))
    }

    /// Names of those that are not deprecated, for people.
    pub(crate) fn offered(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter(|version| !version.deprecated)
            .map(|version| version.name.as_str())
            .collect()
    }
}

/// A JSON list of objects with `name`, `image`, and, as they like, `aliases` and `deprecated`.
impl FromStr for Runtimes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let versions: Vec<RuntimeVersion> =
            serde_json::from_str(text).map_err(|error| format!("no list of runtimes: {error}"))?;
        let mut names = HashSet::new();
        for version in &versions {
            if version.image.is_empty() {
                return Err(format!("runtime `{}` has no image", version.name));
            }
            for name in version.names() {
                if name.is_empty() {
                    return Err(format!("a runtime of {} has no name", version.image));
                }
                if !names.insert(name) {
                    return Err(format!("`{name}` is the name of two runtimes"));
                }
            }
        }
        Ok(Self(versions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_found_by_each_of_its_names() {
        let runtimes: Runtimes = r#"[
            {"name": "python3.13", "image": "registry/instance:3.13", "aliases": ["latest"]},
            {"name": "python3.9", "image": "registry/instance:3.9", "deprecated": true}
        ]"#
        .parse()
        .expect("runtimes");
        let image = |name| {
            runtimes
                .find(name)
                .map(|version| (version.image.as_str(), version.deprecated))
        };
        assert_eq!(image("python3.13"), Some(("registry/instance:3.13", false)));
        assert_eq!(image("latest"), image("python3.13"));
        assert_eq!(image("python3.9"), Some(("registry/instance:3.9", true)));
        assert_eq!(image("Latest"), None);
        assert_eq!(runtimes.offered(), ["python3.13"]);
    }

    #[test]
    fn what_would_be_ambiguous_is_refused() {
        let cases = [
            ("[]", None),
            ("{}", Some("no list of runtimes")),
            (r#"[{"name": "a"}]"#, Some("missing field `image`")),
            (
                r#"[{"name": "a", "image": ""}]"#,
                Some("runtime `a` has no image"),
            ),
            (
                r#"[{"name": "", "image": "i"}]"#,
                Some("a runtime of i has no name"),
            ),
            (
                r#"[{"name": "a", "image": "i"}, {"name": "b", "image": "i", "aliases": ["a"]}]"#,
                Some("`a` is the name of two runtimes"),
            ),
            (
                r#"[{"name": "a", "image": "i", "default": true}]"#,
                Some("unknown field `default`"),
            ),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Runtimes>().err();
            let matches = match (&error, expected) {
                (Some(error), Some(words)) => error.contains(words),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(matches, "{text}: {error:?}");
        }
    }
}

//! `ObjectKey`: the only place where paths in the object store are made.

use object_store::path::Path;

use crate::{Digest, EnvironmentKey, Error};

/// Longest name in bytes, as it stands in the path. File systems allow 255, and the folder backend appends
/// to it while it writes.
const LONGEST_NAME: usize = 200;

/// The folder with all environments.
pub(crate) const ENVIRONMENTS: &str = "envs";

/// The folder with the exact versions that are in environments.
const LOCKS: &str = "locks";

/// What an object is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ObjectKey<'a> {
    /// A bundle.
    Bundle(&'a Digest),
    /// A picture of a bundle, by its file name.
    Asset(&'a Digest, &'a str),
    /// The folder with all pictures of a bundle.
    Assets(&'a Digest),
    /// An environment.
    Environment(&'a EnvironmentKey),
    /// The exact versions that are in an environment.
    Lock(&'a EnvironmentKey),
}

/// What an object that is there belongs to, as its path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belonging {
    /// It is this bundle.
    Bundle(Digest),
    /// It is a picture of this bundle.
    Picture(Digest),
    /// It is this environment, or its lock.
    Environment(EnvironmentKey),
}

impl Belonging {
    /// Reads a path that [`ObjectKey::path`] has made; nothing for every other one.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let parts: Vec<_> = path.parts().collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts[..] {
            ["bundles", "sha256", name] => digest(name.strip_suffix(".wave")?).map(Self::Bundle),
            ["assets", "sha256", hex, _] => digest(hex).map(Self::Picture),
            [ENVIRONMENTS | LOCKS, key] => key.parse().ok().map(Self::Environment),
            _ => None,
        }
    }
}

fn digest(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

impl ObjectKey<'_> {
    /// Where it is in the store.
    pub(crate) fn path(self) -> Result<Path, Error> {
        Ok(match self {
            Self::Bundle(digest) => {
                Path::from_iter(["bundles", "sha256", &format!("{}.wave", digest.hex())])
            }
            Self::Assets(digest) => Path::from_iter(["assets", "sha256", &digest.hex()]),
            Self::Environment(key) => Path::from_iter([ENVIRONMENTS, &key.to_string()]),
            Self::Lock(key) => Path::from_iter([LOCKS, &key.to_string()]),
            Self::Asset(digest, name) => {
                let invalid = |reason| Error::InvalidAssetName {
                    name: name.to_owned(),
                    reason,
                };
                if name.is_empty() {
                    return Err(invalid("it is empty"));
                }
                if name.contains(['/', '\\']) {
                    return Err(invalid("it holds a slash"));
                }
                if name.starts_with('.') {
                    return Err(invalid("it starts with a dot"));
                }
                if name.chars().any(char::is_control) {
                    return Err(invalid("it holds control characters"));
                }
                // Characters that are special in paths are percent-encoded here, which may lengthen it.
                let path = Path::from_iter(["assets", "sha256", &digest.hex(), name]);
                if path.filename().is_none_or(|name| name.len() > LONGEST_NAME) {
                    return Err(invalid("it is longer than 200 bytes"));
                }
                path
            }
        })
    }
}

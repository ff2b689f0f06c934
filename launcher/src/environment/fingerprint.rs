//! What an environment was made from, as one short text.

use bundle::{Packages, Requirements};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Changes when environments are made in another way.
const RECIPE: &str = "1";

/// Two environments with the same fingerprint are interchangeable. A volume at `/resources` outlives the
/// app's version, so the bundle counts only where the requirements name files of it.
pub(crate) fn fingerprint(
    python: &str,
    requirements: Option<&Requirements>,
    packages: Option<&Packages>,
    bundle: &Digest,
) -> String {
    let mut hasher = Sha256::new();
    let mut add = |part: &str| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(RECIPE);
    add(python);
    add(requirements.map_or("", Requirements::as_str));
    if requirements.is_some_and(Requirements::names_files) {
        add(&bundle.to_string());
    }
    // None of them leaves the fingerprint as it was before there were any.
    for package in packages.iter().flat_map(|packages| packages.iter()) {
        add("package");
        add(package);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_made_again_when_its_sources_change() {
        let one = Digest::from([1; 32]);
        let two = Digest::from([2; 32]);
        let made = |python, requirements: &str, bundle| {
            let requirements = Requirements::from_bytes(requirements.as_bytes());
            fingerprint(python, Some(&requirements), None, bundle)
        };
        let first = made("Python 3.11.2", "h2o-wave", &one);
        assert_eq!(made("Python 3.11.2", "h2o-wave", &two), first);
        assert_ne!(made("Python 3.12.1", "h2o-wave", &one), first);
        assert_ne!(made("Python 3.11.2", "pandas", &one), first);
        let local = made("Python 3.11.2", "./a.whl", &one);
        assert_ne!(made("Python 3.11.2", "./a.whl", &two), local);
        let packages = Packages::from_bytes(b"jq").unwrap();
        let with = fingerprint("Python 3.11.2", None, packages.as_ref(), &one);
        assert_ne!(fingerprint("Python 3.11.2", None, None, &one), with);
    }
}

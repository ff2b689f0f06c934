//! What an environment was made from, as one short text.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Changes when environments are made in another way.
const RECIPE: &str = "1";

/// Two environments with the same fingerprint are interchangeable. A volume at `/resources` outlives the
/// app's version, so the bundle counts only where the requirements name files of it.
pub(crate) fn fingerprint(python: &str, requirements: Option<&str>, bundle: &Digest) -> String {
    let mut hasher = Sha256::new();
    let mut add = |part: &str| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(RECIPE);
    add(python);
    add(requirements.unwrap_or_default());
    if requirements.is_some_and(names_files) {
        add(&bundle.to_string());
    }
    hex::encode(hasher.finalize())
}

/// Whether requirements name files: other lists, constraints, wheels, folders. True in doubt.
fn names_files(requirements: &str) -> bool {
    requirements
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .any(|line| {
            let options = ["-r", "-c", "-e", "-f", "--req", "--con", "--edit", "--find"];
            // One line may have several options.
            line.split_whitespace()
                .any(|word| options.iter().any(|option| word.starts_with(option)))
                || line.ends_with('\\')
                || line.contains(".whl")
                || line.contains(".tar.")
                || line.contains(".tgz")
                || line.contains(".zip")
                || line.contains("file:")
                || line.contains('$')
                || line.starts_with(['.', '/'])
                || (line.contains('/') && !line.contains("://"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_counts_only_where_its_files_are_named() {
        let cases = [
            (
                "h2o-wave==1.8.16\n# see ./docs/x\npandas>=2 # comment\n",
                false,
            ),
            ("", false),
            ("--index-url https://pypi.example/simple\nh2o-wave", false),
            ("./wheels/mine-1.0-py3-none-any.whl", true),
            ("mine-1.0-py3-none-any.whl", true),
            ("mine @ file:///app/mine", true),
            ("wheels/mine", true),
            ("-r more.txt", true),
            ("--constraint=limits.txt", true),
            ("-e .", true),
            ("--no-index --find-links wheels", true),
            ("mine-1.0.tar.bz2", true),
            ("mine-1.0.tgz", true),
            ("h2o-wave==1.8.16 --hash=sha256:00", false),
            ("mine @ https://x.example/${TOKEN}/mine", true),
        ];
        for (requirements, expected) in cases {
            assert_eq!(names_files(requirements), expected, "{requirements}");
        }
    }

    #[test]
    fn an_environment_is_made_again_when_its_sources_change() {
        let one = Digest::from([1; 32]);
        let two = Digest::from([2; 32]);
        let first = fingerprint("Python 3.11.2", Some("h2o-wave"), &one);
        assert_eq!(fingerprint("Python 3.11.2", Some("h2o-wave"), &two), first);
        assert_ne!(fingerprint("Python 3.12.1", Some("h2o-wave"), &one), first);
        assert_ne!(fingerprint("Python 3.11.2", Some("pandas"), &one), first);
        let local = fingerprint("Python 3.11.2", Some("./a.whl"), &one);
        assert_ne!(fingerprint("Python 3.11.2", Some("./a.whl"), &two), local);
    }
}

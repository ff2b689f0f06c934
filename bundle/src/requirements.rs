//! `Requirements`: what an app's `requirements.txt` asks for.

use std::collections::BTreeSet;

/// The text of a `requirements.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements(String);

impl Requirements {
    /// The file of an app, by its path in the bundle.
    pub const FILE: &'static str = "requirements.txt";

    /// Takes the content of a file.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether they name files: other lists, constraints, wheels, folders. True in doubt.
    #[must_use]
    pub fn names_files(&self) -> bool {
        self.lines().any(|line| {
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

    /// The environment variables that they name, as `${NAME}`.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<&str> {
        self.lines()
            .flat_map(|line| line.split("${").skip(1))
            .filter_map(|rest| Some(rest.split_once('}')?.0))
            .collect()
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.0
            .lines()
            .map(|line| line.split(" #").next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    }
}

#[cfg(test)]
mod tests {
    use super::Requirements;

    #[test]
    fn files_are_found_wherever_they_are_named() {
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
        for (text, expected) in cases {
            let requirements = Requirements::from_bytes(text.as_bytes());
            assert_eq!(requirements.names_files(), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_found_outside_of_comments() {
        let text = b"--index-url https://${USER}:${TOKEN}@pypi.example/simple\n# ${NOT}\nx # ${NOR}\n$NEITHER ${open";
        let requirements = Requirements::from_bytes(text);
        let found: Vec<&str> = requirements.variables().into_iter().collect();
        assert_eq!(found, ["TOKEN", "USER"]);
    }
}

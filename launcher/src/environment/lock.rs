//! `Lock`: the exact versions of what is in an environment. Whoever makes it again, makes the same.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Lines `name==version`, and no others: what stands in a lock is given to uv, for which a line may be much else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock(String);

impl Lock {
    /// The versions that are told in `text`, by uv or by the store. What was installed from a file or a URL has none that an index
    /// could give again, and requirements.txt names it anyway.
    pub(crate) fn of(text: &str) -> Self {
        let mut lines = String::new();
        for line in text.lines().filter(|line| is_exact(line)) {
            lines.push_str(line);
            lines.push('\n');
        }
        Self(lines)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Writes it where uv can read it.
    pub(super) async fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        let path = folder.join("constraints.txt");
        super::write(&path, &self.0).await?;
        Ok(path)
    }
}

/// Whether it is `name==version` in the letters of PEP 508 and PEP 440.
fn is_exact(line: &str) -> bool {
    let made_of = |text: &str, more: &[char]| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    line.split_once("==").is_some_and(|(name, version)| {
        made_of(name, &['.', '_', '-']) && made_of(version, &['.', '_', '-', '+', '!'])
    })
}

#[cfg(test)]
mod tests {
    use super::Lock;

    #[test]
    fn a_lock_has_versions_and_nothing_else() {
        let cases = [
            ("pandas==2.2.3", true),
            ("torch==2.5.1+cpu", true),
            ("ruamel.yaml.clib==1!0.2.12.post1", true),
            ("pandas", false),
            ("pandas>=2", false),
            ("own @ file:///app/own-1.0-py3-none-any.whl", false),
            ("-e /app", false),
            ("--index-url=https://elsewhere==1", false),
            ("pandas==2.2.3 --index-url https://elsewhere", false),
            ("pandas==", false),
            ("==1", false),
            ("# pandas==2.2.3", false),
            ("", false),
        ];
        for (line, expected) in cases {
            let lock = Lock::of(&format!("{line}\n"));
            assert_eq!(!lock.as_str().is_empty(), expected, "{line}");
        }
        assert_eq!(
            Lock::of("a==1\r\n-r b\nb==2").as_str(),
            "a==1\nb==2\n",
            "line by line"
        );
    }
}

//! `Packages`: what an app's `packages.txt` asks for.

use std::collections::BTreeSet;

use crate::Error;

/// Most packages that an app may name.
const MOST: usize = 100;

/// Longest name or version, in bytes.
const LONGEST: usize = 100;

/// The Debian packages that an app names, such as `libgomp1`. Each is one that a command line can take as nothing else: an
/// option, a path, or one that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages(BTreeSet<String>);

impl Packages {
    /// The file of an app, by its path in the bundle.
    pub const FILE: &'static str = "packages.txt";

    /// Takes the content of a file: names, one a line, each with `=` and a version or without. `#` begins a comment. Nothing when it
    /// names none.
    ///
    /// # Errors
    /// [`Error::BadPackage`] and [`Error::TooManyPackages`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let text = String::from_utf8_lossy(bytes);
        let mut names = BTreeSet::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            for word in line.split_whitespace() {
                if !is_package(word) {
                    let mut name = word.to_owned();
                    name.truncate(word.floor_char_boundary(LONGEST));
                    return Err(Error::BadPackage {
                        line: index + 1,
                        name,
                    });
                }
                names.insert(word.to_owned());
                if names.len() > MOST {
                    return Err(Error::TooManyPackages { limit: MOST });
                }
            }
        }
        Ok((!names.is_empty()).then_some(Self(names)))
    }

    /// What apt is asked for, in order: names, with `=` and a version where one is wanted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether a package is named, in whatever version.
    #[must_use]
    pub fn contains(&self, package: &str) -> bool {
        self.iter()
            .any(|word| word.split('=').next() == Some(package))
    }
}

/// Debian's own rules (Policy 5.6.1 and 5.6.12), but for a `-` at the end, by which apt removes a package.
fn is_package(word: &str) -> bool {
    let (name, version) = match word.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (word, None),
    };
    let is_name = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.');
    let is_version = |letter: u8| {
        letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'+' | b'-' | b'~' | b':')
    };
    (2..=LONGEST).contains(&name.len())
        && name.bytes().all(is_name)
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && !name.ends_with('-')
        && version.is_none_or(|version| {
            (1..=LONGEST).contains(&version.len())
                && version.as_bytes()[0].is_ascii_digit()
                && version.bytes().all(is_version)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let packages = Packages::from_bytes(text.as_bytes()).unwrap();
        let names = packages.iter().flat_map(Packages::iter);
        names.map(str::to_owned).collect()
    }

    #[test]
    fn packages_are_named_one_a_line_or_several() {
        assert_eq!(
            names(
                "\u{feff}libgomp1\r\n# fonts\n\n  jq # of JSON\ng++ libgomp1\ntesseract-ocr=5.3.0-2\n"
            ),
            ["g++", "jq", "libgomp1", "tesseract-ocr=5.3.0-2"]
        );
        assert_eq!(names("\n# none\n"), [""; 0]);
        let packages = Packages::from_bytes(b"jq=1.6-2.1+deb12u2")
            .unwrap()
            .unwrap();
        assert!(packages.contains("jq") && !packages.contains("j"));
    }

    #[test]
    fn what_apt_could_take_for_something_else_is_refused() {
        let long = "x".repeat(101);
        for word in [
            "-y",
            "--allow-unauthenticated",
            "jq-",
            "./local.deb",
            "/tmp/local.deb",
            "~nlib.*",
            "?any",
            "lib*",
            "jq/sid",
            "jq:i386",
            "JQ",
            "j",
            "jq;id",
            "$(id)",
            "jq=",
            "jq=-1",
            "jq=1=2",
            "jq=1;id",
            "jq\u{0}",
            "j\u{e9}",
            long.as_str(),
        ] {
            let text = format!("libgomp1\n{word}\n");
            let error = Packages::from_bytes(text.as_bytes()).unwrap_err();
            assert!(
                matches!(error, Error::BadPackage { line: 2, .. }),
                "{word}: {error}"
            );
        }
        assert!(Packages::from_bytes(b"libgomp1\n\xff\xfe").is_err());
        let many: Vec<String> = (0..101).map(|number| format!("lib{number}")).collect();
        let error = Packages::from_bytes(many.join("\n").as_bytes()).unwrap_err();
        assert!(matches!(error, Error::TooManyPackages { limit: 100 }));
    }
}

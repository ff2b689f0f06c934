//! Which stores we are signed in to: kept by `wavestore login` in a file that only its owner reads.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Error;

/// A store and a token for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The store's address.
    pub(crate) url: Url,
    /// A token with the scope `store`.
    pub(crate) token: String,
}

/// All that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// The store that is meant when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<Url>,
    /// Tokens by their stores' addresses.
    #[serde(default)]
    pub(crate) tokens: BTreeMap<Url, String>,
}

impl Settings {
    /// Those of the environment, else those that were kept.
    pub(crate) fn find(
        url: Option<&str>,
        token: Option<String>,
        file: &Path,
    ) -> Result<Self, Error> {
        let kept = if url.is_some() && token.is_some() {
            Kept::default()
        } else {
            Kept::read(file)?
        };
        let url = match url {
            Some(url) => address(url)?,
            None => kept.current.clone().ok_or(Error::NotSignedIn)?,
        };
        let token = match token {
            Some(token) => token,
            // A token goes to its own store alone.
            None => kept.token(&url).ok_or(Error::NotSignedIn)?.to_owned(),
        };
        Ok(Self { url, token })
    }
}

impl Kept {
    /// What the file has; nothing when there is none.
    pub(crate) fn read(file: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Settings {
            task: "read",
            file: file.to_owned(),
            source,
        };
        match std::fs::read_to_string(file) {
            Ok(text) => toml::from_str(&text).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Keeps it, for this user's eyes alone.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Error> {
        let write = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let folder = file.parent().unwrap_or_else(|| Path::new("."));
            std::fs::create_dir_all(folder)?;
            // Temporary files are their owner's alone, and so is what they become.
            let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
            temporary.write_all(toml::to_string(self)?.as_bytes())?;
            temporary.persist(file)?;
            Ok(())
        };
        write().map_err(|source| Error::Settings {
            task: "write",
            file: file.to_owned(),
            source,
        })
    }

    /// The token of the store at this address.
    fn token(&self, url: &Url) -> Option<&str> {
        let mut all = self.tokens.iter();
        let found = all.find(|(store, _)| store.origin() == url.origin());
        found.map(|(_, token)| token.as_str())
    }

    /// Means this store from now on when none is named, with this token.
    pub(crate) fn sign_in(&mut self, settings: Settings) {
        let Settings { url, token } = settings;
        self.tokens
            .retain(|store, _| store.origin() != url.origin());
        self.tokens.insert(url.clone(), token);
        self.current = Some(url);
    }

    /// The store at this address, as it is kept; the one that is meant when none is named.
    pub(crate) fn store(&self, url: Option<&str>) -> Result<Url, Error> {
        let Some(url) = url else {
            return self.current.clone().ok_or(Error::NotSignedIn);
        };
        let url = address(url)?;
        let mut all = self.tokens.keys();
        let found = all.find(|store| store.origin() == url.origin()).cloned();
        found.ok_or_else(|| Error::UnknownStore(url.into()))
    }

    /// Forgets the store, and gives its token away. No other is meant in its place until one is chosen.
    pub(crate) fn forget(&mut self, url: &Url) -> Option<String> {
        self.current = self.current.take().filter(|current| current != url);
        self.tokens.remove(url)
    }
}

/// Where it is kept: `wavestore/settings.toml` below the user's folder for such.
pub(crate) fn file() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .unwrap_or_default()
        .join("wavestore/settings.toml")
}

/// A store's address, as people write it.
pub(crate) fn address(text: &str) -> Result<Url, Error> {
    let invalid = || Error::Address(text.to_owned());
    let url = Url::parse(text).map_err(|_| invalid())?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn settings(url: &str, token: &str) -> Settings {
        Settings {
            url: address(url).expect("an address"),
            token: token.to_owned(),
        }
    }

    #[test]
    fn what_was_kept_is_found_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("wavestore/settings.toml");
        let find = |url, token| Settings::find(url, token, &file);
        assert!(matches!(find(None, None), Err(Error::NotSignedIn)));

        let first = settings("https://store.example.com", "wst_first");
        let second = settings("https://test.example.com/", "wst_second");
        let mut kept = Kept::default();
        kept.sign_in(settings("https://store.example.com/account", "wst_old"));
        kept.sign_in(second.clone());
        kept.sign_in(first.clone());
        kept.write(&file).expect("written");
        let mode = file.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Kept::read(&file).expect("kept"), kept);
        assert_eq!(kept.tokens.len(), 2, "one token for each store");
        assert_eq!(find(None, None).expect("kept"), first);
        let named = find(Some("https://test.example.com"), None);
        assert_eq!(named.expect("kept"), second);

        let given = find(None, Some("wst_given".to_owned())).expect("given");
        assert_eq!(given, settings("https://store.example.com", "wst_given"));
        assert!(
            matches!(
                find(Some("https://other.example.com"), None),
                Err(Error::NotSignedIn)
            ),
            "a token goes to its own store alone"
        );
        find(Some("https://other.example.com"), Some("wst".to_owned())).expect("both given");
    }

    #[test]
    fn a_store_that_is_forgotten_is_meant_no_more() {
        let mut kept = Kept::default();
        kept.sign_in(settings("https://a.example.com", "wst_a"));
        kept.sign_in(settings("https://b.example.com", "wst_b"));
        let b = kept.store(None).expect("the current one");
        assert_eq!(b.as_str(), "https://b.example.com/");
        let a = kept.store(Some("https://a.example.com/x")).expect("kept");
        let unknown = kept.store(Some("https://c.example.com"));
        assert!(matches!(unknown, Err(Error::UnknownStore(_))));
        kept.forget(&a);
        assert_eq!(kept.store(None).expect("still"), b);
        kept.forget(&b);
        assert!(matches!(kept.store(None), Err(Error::NotSignedIn)));
        assert_eq!(kept, Kept::default());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "store",
            "ftp://store",
            "https://",
            "https://me:secret@store",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}

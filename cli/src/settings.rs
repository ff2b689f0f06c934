//! Which store, and who we are there: kept by `wavestore login` in a file that only its owner reads.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::Error;

/// A store and a token for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The store's address.
    pub(crate) url: Url,
    /// A token with the scope `store`.
    pub(crate) token: String,
}

impl Settings {
    /// Those of the environment, else those that were kept.
    pub(crate) fn find(
        url: Option<&str>,
        token: Option<String>,
        file: &Path,
    ) -> Result<Self, Error> {
        let kept = if url.is_some() && token.is_some() {
            None
        } else {
            Self::read(file)?
        };
        let url = match url {
            Some(url) => address(url)?,
            None => kept.as_ref().ok_or(Error::NotSignedIn)?.url.clone(),
        };
        let token = match (token, kept) {
            (Some(token), _) => token,
            // A token goes to its own store alone.
            (None, Some(kept)) if kept.url.origin() == url.origin() => kept.token,
            (None, _) => return Err(Error::NotSignedIn),
        };
        Ok(Self { url, token })
    }

    fn read(file: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Settings {
            task: "read",
            file: file.to_owned(),
            source,
        };
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let settings = toml::from_str(&text).map_err(|error| failed(error.into()))?;
                Ok(Some(settings))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Keeps them, for this user's eyes alone.
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
}

/// Where they are kept: `wavestore/settings.toml` below the user's folder for such.
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

    #[test]
    fn what_was_kept_is_found_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("wavestore/settings.toml");
        let find = |url, token| Settings::find(url, token, &file);
        assert!(matches!(find(None, None), Err(Error::NotSignedIn)));

        let kept = Settings {
            url: address("https://store.example.com").expect("an address"),
            token: "wst_kept".to_owned(),
        };
        kept.write(&file).expect("written");
        let mode = file.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(find(None, None).expect("kept"), kept);

        let given = find(None, Some("wst_given".to_owned())).expect("given");
        assert_eq!((given.url, given.token), (kept.url, "wst_given".to_owned()));
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

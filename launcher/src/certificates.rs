//! Certificate authorities of the site, trusted beside the usual ones.
//!
//! The chart names the site's file in variables that *replace* what programs trust. So the app would reach
//! the site's servers and no others; the launcher names a file with both instead.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::variables::Variables;

/// Where Debian keeps the usual ones.
const USUAL: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Points all variables that name `own` to a file in `folder` that has the usual authorities too.
/// Variables that name another file stay, and so do all when there is no `own`.
pub(crate) fn trust(variables: Variables, own: &Path, folder: &Path) -> Result<Variables, Error> {
    merge(variables, own, Path::new(USUAL), folder)
}

fn merge(
    mut variables: Variables,
    own: &Path,
    usual: &Path,
    folder: &Path,
) -> Result<Variables, Error> {
    let (Some(mut all), Some(more)) = (read(usual)?, read(own)?) else {
        return Ok(variables);
    };
    all.push(b'\n');
    all.extend(more);
    let file = folder.join("wavestore-ca.crt");
    fs::write(&file, all).map_err(|source| Error::File {
        verb: "write",
        path: file.clone(),
        source,
    })?;
    for value in variables.values_mut() {
        if Path::new(value) == own {
            *value = OsString::from(file.clone());
        }
    }
    Ok(variables)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            verb: "read",
            path: PathBuf::from(path),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn authorities_of_the_site_are_added_to_the_usual_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (usual, own) = (folder.path().join("usual"), folder.path().join("own"));
        let variables: Variables = [
            ("SSL_CERT_FILE", own.as_os_str()),
            ("REQUESTS_CA_BUNDLE", OsStr::new("/the/apps/own.crt")),
        ]
        .map(|(name, value)| (name.into(), value.to_owned()))
        .into();
        let merge = || merge(variables.clone(), &own, &usual, folder.path()).unwrap();

        assert_eq!(merge(), variables, "without any file");
        fs::write(&usual, "usual").unwrap();
        assert_eq!(merge(), variables, "without a file of the site");
        fs::write(&own, "own").unwrap();
        let seen = merge();
        let both = folder.path().join("wavestore-ca.crt");
        let expected: Variables = [
            ("SSL_CERT_FILE", both.as_os_str()),
            ("REQUESTS_CA_BUNDLE", OsStr::new("/the/apps/own.crt")),
        ]
        .map(|(name, value)| (name.into(), value.to_owned()))
        .into();
        assert_eq!(seen, expected);
        assert_eq!(fs::read_to_string(both).unwrap(), "usual\nown");
    }
}

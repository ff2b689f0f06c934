//! `[[File]]` entries of app.toml inside the app's folder.
//!
//! Kubernetes cannot mount them there: it makes the folders around a mount as root, and no bundle could be unpacked into
//! those. So they are mounted elsewhere, and linked to their places once the bundle is unpacked. A link keeps a secret
//! where Kubernetes put it, in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// Where files are mounted, by their places in the app's folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AppFiles(BTreeMap<PathBuf, PathBuf>);

impl FromStr for AppFiles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let files: BTreeMap<PathBuf, PathBuf> = serde_json::from_str(text)
            .map_err(|error| format!("not a JSON object of strings: {error}"))?;
        let stays_inside = |place: &PathBuf| {
            place.file_name().is_some()
                && place
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)))
        };
        match files.keys().find(|place| !stays_inside(place)) {
            Some(place) => Err(format!(
                "`{}` is no path below the app's folder",
                place.display()
            )),
            None => Ok(Self(files)),
        }
    }
}

impl AppFiles {
    /// Links every file to its place below `folder`, over what the bundle has there.
    pub(crate) fn link(&self, folder: &Path) -> Result<(), Error> {
        for (place, mounted) in &self.0 {
            let path = folder.join(place);
            replace(&path, mounted).map_err(|source| Error::File {
                verb: "link",
                path,
                source,
            })?;
        }
        Ok(())
    }
}

fn replace(path: &Path, mounted: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(mounted, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_linked_again_and_again_over_what_is_there() {
        let pod = tempfile::tempdir().unwrap();
        let (app, mounted) = (pod.path().join("app"), pod.path().join("0"));
        fs::create_dir_all(app.join("conf")).unwrap();
        fs::write(app.join("conf/settings.toml"), "from the bundle").unwrap();
        fs::write(&mounted, "from app.toml").unwrap();
        let text = serde_json::json!({
            "conf/settings.toml": mounted,
            "new/folder/settings.toml": mounted,
        });
        let files: AppFiles = text.to_string().parse().unwrap();
        for _container in 0..2 {
            files.link(&app).unwrap();
            for place in ["conf/settings.toml", "new/folder/settings.toml"] {
                let found = fs::read_to_string(app.join(place)).unwrap();
                assert_eq!(found, "from app.toml", "{place}");
            }
        }
    }

    #[test]
    fn a_folder_of_the_bundle_stays() {
        let pod = tempfile::tempdir().unwrap();
        fs::create_dir_all(pod.path().join("conf/settings.toml")).unwrap();
        let files: AppFiles = r#"{"conf/settings.toml": "/0"}"#.parse().unwrap();
        let error = files.link(pod.path()).unwrap_err();
        let expected = pod.path().join("conf/settings.toml");
        assert_eq!(
            error.to_string(),
            format!("could not link `{}`", expected.display())
        );
    }

    #[test]
    fn places_are_below_the_apps_folder() {
        for place in ["/etc/passwd", "../x", "a/../../x", "", "."] {
            let text = serde_json::json!({ place: "/0" }).to_string();
            let expected = format!("`{place}` is no path below the app's folder");
            assert_eq!(text.parse::<AppFiles>(), Err(expected), "{place}");
        }
        assert_eq!("{}".parse(), Ok(AppFiles::default()));
    }
}

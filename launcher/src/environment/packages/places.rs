//! Where programs find what packages have brought, since it is not where packages expect it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::variables::Variables;

/// Folder of an environment that has its packages, as if it were `/`.
const FOLDER: &str = "os";

/// Folders of programs.
const PROGRAMS: [&str; 4] = ["usr/local/bin", "usr/bin", "bin", "usr/games"];

/// Folders of libraries, which have one for the architecture.
const LIBRARIES: [&str; 2] = ["usr/lib", "lib"];

/// What programs look into unless told otherwise.
const USUAL_DATA: &str = "/usr/local/share:/usr/share";

/// The folder for packages of the environment in `venv`.
pub(crate) fn folder(venv: &Path) -> PathBuf {
    venv.join(FOLDER)
}

/// What an app's variables say of its packages; nothing when it has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Places {
    programs: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
    data: Vec<PathBuf>,
    fonts: Option<PathBuf>,
}

impl Places {
    /// Looks for them in an environment.
    pub(crate) fn find(venv: &Path) -> Self {
        let root = folder(venv);
        let there = |path: PathBuf| path.is_dir().then_some(path);
        let below = |names: &[&str]| -> Vec<PathBuf> {
            let paths = names.iter().map(|name| root.join(name));
            paths.filter_map(there).collect()
        };
        let mut libraries = Vec::new();
        for path in below(&LIBRARIES) {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            // Of an architecture, such as x86_64-linux-gnu.
            let mut folders: Vec<PathBuf> = entries
                .filter(|entry| entry.file_name().to_string_lossy().contains("-linux-gnu"))
                .map(|entry| entry.path())
                .collect();
            folders.sort();
            for folder in folders {
                let below = folders_of_libraries(&folder);
                libraries.push(folder);
                libraries.extend(below);
            }
            libraries.push(path);
        }
        Self {
            programs: below(&PROGRAMS),
            libraries,
            data: below(&["usr/local/share", "usr/share"]),
            fonts: there(root.join("etc/fonts")),
        }
    }

    /// Adds them to an app's variables; the image's own programs come first, and what the app has set itself counts.
    pub(crate) fn add(&self, variables: &mut Variables) {
        let mut list = |name: &str, paths: &[PathBuf], usual: &str| {
            if paths.is_empty() {
                return;
            }
            let own = variables.get(OsStr::new(name));
            let before = own.cloned().unwrap_or_else(|| usual.into());
            let mut all = before;
            for path in paths {
                if !all.is_empty() {
                    all.push(":");
                }
                all.push(path);
            }
            variables.insert(OsString::from(name), all);
        };
        list("PATH", &self.programs, "");
        list("LD_LIBRARY_PATH", &self.libraries, "");
        list("XDG_DATA_DIRS", &self.data, USUAL_DATA);
        if let Some(fonts) = &self.fonts {
            let name = OsString::from("FONTCONFIG_PATH");
            variables.entry(name).or_insert_with(|| fonts.into());
        }
    }
}

/// Those below a folder of libraries that have some of their own: programs know these by a path, or one of them is chosen when it is
/// installed.
fn folders_of_libraries(folder: &Path) -> Vec<PathBuf> {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let is_library = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("lib") && name.contains(".so")
    };
    let mut found = names(folder);
    found.retain(|path| names(path).iter().any(is_library));
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(venv: &Path, own: &[(&str, &str)]) -> Vec<String> {
        let mut variables: Variables = own
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Places::find(venv).add(&mut variables);
        let lines = variables.iter().map(|(name, value)| {
            let value = value
                .to_string_lossy()
                .replace(&venv.display().to_string(), "VENV");
            format!("{}={value}", name.display())
        });
        lines.collect()
    }

    #[test]
    fn an_app_without_packages_has_no_variables_of_them() {
        let venv = tempfile::tempdir().unwrap();
        assert_eq!(told(venv.path(), &[("PATH", "/bin")]), ["PATH=/bin"]);
    }

    #[test]
    fn programs_libraries_and_data_are_found_after_the_image_s_own() {
        let venv = tempfile::tempdir().unwrap();
        for name in [
            "usr/bin",
            "usr/lib/x86_64-linux-gnu/blas",
            "usr/lib/x86_64-linux-gnu/dri",
            "lib/x86_64-linux-gnu",
            "usr/share",
            "etc/fonts",
        ] {
            fs::create_dir_all(folder(venv.path()).join(name)).unwrap();
        }
        let libraries = folder(venv.path()).join("usr/lib/x86_64-linux-gnu");
        // As libpulsecommon-16.1.so: not all have a version behind.
        fs::write(libraries.join("blas/libblas-3.so"), "").unwrap();
        fs::write(libraries.join("dri/swrast_dri.so"), "").unwrap();
        assert_eq!(
            told(
                venv.path(),
                &[("PATH", "/bin"), ("LD_LIBRARY_PATH", "/mine")]
            ),
            [
                "FONTCONFIG_PATH=VENV/os/etc/fonts",
                "LD_LIBRARY_PATH=/mine:VENV/os/usr/lib/x86_64-linux-gnu:VENV/os/usr/lib/x86_64-linux-gnu/blas:VENV/os/usr/lib:VENV/os/lib/x86_64-linux-gnu:VENV/os/lib",
                "PATH=/bin:VENV/os/usr/bin",
                "XDG_DATA_DIRS=/usr/local/share:/usr/share:VENV/os/usr/share",
            ]
        );
    }
}

//! Packs an app's folder into a bundle, without what `.appignore` leaves out.
//!
//! The same files make the same bytes, so that the digest tells whether anything has changed.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// What every bundle leaves out: what version control, Python and we ourselves leave in a folder.
const NEVER: [&str; 6] = [
    ".git",
    "__pycache__",
    ".venv",
    "venv",
    "*.wave",
    ".DS_Store",
];

/// Name of the file that says what the app is.
const MANIFEST: &str = "app.toml";

/// Name of the file that says what to leave out, in the syntax of `.gitignore`.
const IGNORE_FILE: &str = ".appignore";

/// Why a folder was not packed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no app in the folder.
    #[error("`{}` has no app.toml", .0.display())]
    NoManifest(PathBuf),
    /// The folder could not be walked through, or `.appignore` not be read.
    #[error("could not read the folder")]
    Walk(#[from] ignore::Error),
    /// A link.
    #[error("`{}` is a link, which bundles do not hold", .0.display())]
    Link(PathBuf),
    /// A name that is not Unicode.
    #[error("`{}` has a name that is not Unicode", .0.display())]
    Name(PathBuf),
    /// A file could not be read.
    #[error("could not read `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The bundle could not be written.
    #[error("could not write the bundle")]
    Write(#[from] zip::result::ZipError),
}

impl Error {
    /// The next step that helps.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoManifest(_) => Some("name the folder that holds app.toml"),
            Self::Link(_) => {
                Some("put the file itself there, or leave it out with a line in `.appignore`")
            }
            Self::Name(_) => Some("rename it, or leave it out with a line in `.appignore`"),
            Self::Walk(_) | Self::Read { .. } | Self::Write(_) => None,
        }
    }
}

/// Writes the bundle of the app in `folder`, with what `manifest` makes of its app.toml, telling of each file's bytes.
pub(crate) fn pack(
    folder: &Path,
    manifest: impl Fn(&str) -> String,
    into: &mut File,
    mut told: impl FnMut(u64),
) -> Result<(), Error> {
    if !folder.join(MANIFEST).is_file() {
        return Err(Error::NoManifest(folder.to_owned()));
    }
    let mut archive = ZipWriter::new(into);
    for (path, name) in files(folder)? {
        let unreadable = |source| Error::Read {
            file: path.clone(),
            source,
        };
        let mut file = File::open(&path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        let is_executable = metadata.permissions().mode() & 0o111 != 0;
        let options = SimpleFileOptions::default()
            .last_modified_time(zip::DateTime::default())
            .large_file(metadata.len() > u64::from(u32::MAX))
            .unix_permissions(if is_executable { 0o755 } else { 0o644 });
        let is_manifest = name == MANIFEST;
        archive.start_file(name, options)?;
        let copied = if is_manifest {
            let text = io::read_to_string(&mut file).map_err(unreadable)?;
            io::copy(&mut manifest(&text).as_bytes(), &mut archive)
        } else {
            io::copy(&mut file, &mut archive)
        };
        told(copied.map_err(unreadable)?);
    }
    archive.finish()?;
    Ok(())
}

/// The files that belong into the bundle with their names there, sorted by these.
fn files(folder: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let mut never = ignore::overrides::OverrideBuilder::new(folder);
    for pattern in NEVER {
        never.add(&format!("!{pattern}"))?;
    }
    let walk = WalkBuilder::new(folder)
        .standard_filters(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .overrides(never.build()?)
        .build();
    let mut found = Vec::new();
    for entry in walk {
        let entry = entry?;
        if let Some(error) = entry.error() {
            return Err(error.clone().into());
        }
        let path = entry.path();
        let Some(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_symlink() {
            return Err(Error::Link(path.to_owned()));
        }
        if !kind.is_file() {
            continue;
        }
        let inside = path.strip_prefix(folder).unwrap_or(path);
        let name = inside
            .to_str()
            .ok_or_else(|| Error::Name(path.to_owned()))?;
        found.push((path.to_owned(), name.to_owned()));
    }
    found.sort_by(|(_, one), (_, other)| one.cmp(other));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            std::fs::write(file, content).expect("written");
        }
        folder
    }

    fn packed(folder: &Path) -> Result<Vec<u8>, Error> {
        let mut file = tempfile::tempfile().expect("a file");
        pack(folder, str::to_owned, &mut file, |_| ())?;
        io::Seek::rewind(&mut file).expect("rewound");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("read");
        Ok(bytes)
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        let archive = zip::ZipArchive::new(io::Cursor::new(bytes)).expect("an archive");
        let names = archive.file_names();
        names
            .map(|name| name.expect("a name").into_owned())
            .collect()
    }

    #[test]
    fn a_bundle_has_what_nobody_left_out_and_always_the_same_bytes() {
        let files = [
            ("app.toml", "[App]"),
            (".appignore", "data/\n*.csv\n!keep.csv\n# a comment\n"),
            (".env.example", "A=1"),
            ("big.csv", ""),
            ("keep.csv", ""),
            ("data/large.bin", ""),
            ("src/app.py", "print()"),
            ("src/__pycache__/app.cpython-312.pyc", ""),
            ("src/.appignore", "secret.txt\n"),
            ("src/secret.txt", ""),
            (".git/config", ""),
            (".gitignore", "src/app.py"),
            ("venv/bin/python", ""),
            ("old-1.0.0.wave", ""),
        ];
        let one = folder(&files);
        let bytes = packed(one.path()).expect("packed");
        assert_eq!(
            names(&bytes),
            [
                ".appignore",
                ".env.example",
                ".gitignore",
                "app.toml",
                "keep.csv",
                "src/.appignore",
                "src/app.py"
            ]
        );
        let other = folder(&files);
        assert!(packed(other.path()).expect("packed") == bytes);
    }

    #[test]
    fn what_is_packed_is_a_bundle() {
        let folder = folder(&[
            (
                "app.toml",
                "[App]\nName = \"a\"\nVersion = \"1.0.0\"\n[Runtime]\nModule = \"app\"\n",
            ),
            ("app.py", ""),
        ]);
        let bytes = packed(folder.path()).expect("packed");
        let read = bundle::read(
            io::Cursor::new(bytes),
            &bundle::Limits::default(),
            &bundle::EnvRules::default(),
        );
        assert_eq!(read.expect("a bundle").manifest.app.name, "a");
    }

    #[test]
    fn what_cannot_be_packed_is_named() {
        let empty = folder(&[]);
        let error = packed(empty.path()).expect_err("refused");
        assert!(matches!(error, Error::NoManifest(_)), "{error}");

        let linked = folder(&[("app.toml", "")]);
        std::os::unix::fs::symlink("/etc/passwd", linked.path().join("link")).expect("linked");
        let error = packed(linked.path()).expect_err("refused");
        assert!(matches!(error, Error::Link(_)), "{error}");
    }
}

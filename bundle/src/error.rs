//! Why an archive is refused.
#![deny(clippy::wildcard_enum_match_arm)]

use std::io;
use std::path::PathBuf;

use crate::problem::Problem;

/// Why an archive is refused, or could not be unpacked.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum Error {
    /// The archive itself is too large.
    #[error("the archive is larger than {limit} bytes")]
    ArchiveTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Not a zip archive, or one that two programs could read differently.
    #[error("the archive is not a well-formed zip file: {reason}")]
    NotAnArchive {
        /// What is wrong with it.
        reason: String,
    },
    /// Too many entries.
    #[error("the archive has {entries} entries; at most {limit} are allowed")]
    TooManyEntries {
        /// How many it has.
        entries: u64,
        /// The limit.
        limit: u64,
    },
    /// An entry with a bad name.
    #[error("the archive has an entry named `{name}`, {fault}", name = name.escape_debug())]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// An entry that is neither a file nor a folder.
    #[error("`{name}` in the archive is {kind}; only files and folders are allowed")]
    NotAFile {
        /// The entry.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// An encrypted entry.
    #[error("`{name}` in the archive is encrypted")]
    Encrypted {
        /// The entry.
        name: String,
    },
    /// A compression method that is not supported.
    #[error("`{name}` in the archive is compressed by method {method}, which is not supported")]
    Compression {
        /// The entry.
        name: String,
        /// The method.
        method: String,
    },
    /// A file that inflates to too much.
    #[error("`{name}` in the archive inflates to more than {limit} bytes")]
    EntryTooLarge {
        /// The entry.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// All files together inflate to too much.
    #[error("the archive inflates to more than {limit} bytes")]
    TotalTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The files inflate to many times the archive's size.
    #[error("the archive inflates to more than {limit} times its size")]
    RatioTooLarge {
        /// The limit.
        limit: u64,
    },
    /// An entry whose content is damaged.
    #[error("`{name}` in the archive cannot be read")]
    DamagedEntry {
        /// The entry.
        name: String,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// No `app.toml` at the root.
    #[error("the archive has no `app.toml` at its root")]
    NoManifest {
        /// A file that may be meant, such as `my-app/app.toml`.
        near: Option<String>,
    },
    /// `app.toml` is not UTF-8.
    #[error("app.toml: byte {position} is not UTF-8")]
    NotText {
        /// Offset of the first bad byte.
        position: usize,
    },
    /// `app.toml` is not TOML.
    #[error("app.toml: line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// Keys of `app.toml` are missing or wrong.
    #[error("app.toml: {}", joined(.0))]
    Invalid(
        /// All of them, never none.
        Vec<Problem>,
    ),
    /// A word in `packages.txt` that names no package.
    #[error("packages.txt: `{name}` in line {line} is no name of a Debian package", name = name.escape_debug())]
    BadPackage {
        /// Line, from 1.
        line: usize,
        /// The word, or its beginning.
        name: String,
    },
    /// Too many packages.
    #[error("packages.txt names more than {limit} packages")]
    TooManyPackages {
        /// The limit.
        limit: usize,
    },
    /// The archive could not be read.
    #[error("could not read the archive")]
    Read(#[source] io::Error),
    /// A file or folder could not be written.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with an entry's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing in it.
    #[error("which is empty")]
    Empty,
    /// Longer than file systems allow.
    #[error("which is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes, of the name or of one of its parts.
        limit: usize,
    },
    /// It begins with `/` or a drive letter.
    #[error("which is an absolute path")]
    Absolute,
    /// An empty, `.` or `..` part.
    #[error("which has an empty, `.` or `..` part")]
    Unclean,
    /// A backslash, which is a separator to some programs.
    #[error("which has a backslash")]
    Backslash,
    /// A control character.
    #[error("which has a control character")]
    ControlCharacter,
    /// Two names in one: programs would disagree on which one counts.
    #[error("which programs read differently")]
    Ambiguous,
    /// The same name twice.
    #[error("which another entry has already")]
    Duplicate,
    /// A file where another entry needs a folder.
    #[error("which is both a file and a folder")]
    FileAndFolder,
    /// A folder with content of its own.
    #[error("which is a folder with content of its own")]
    FolderWithContent,
}

impl Error {
    /// Stable code for conditions, API answers and metrics, such as `NotAnArchive`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.into()
    }

    /// Whether the archive is to blame; otherwise reading or writing failed on our side.
    #[must_use]
    pub fn blames_archive(&self) -> bool {
        match self {
            Self::Read(_) | Self::Write { .. } => false,
            Self::ArchiveTooLarge { .. }
            | Self::NotAnArchive { .. }
            | Self::TooManyEntries { .. }
            | Self::BadName { .. }
            | Self::NotAFile { .. }
            | Self::Encrypted { .. }
            | Self::Compression { .. }
            | Self::EntryTooLarge { .. }
            | Self::TotalTooLarge { .. }
            | Self::RatioTooLarge { .. }
            | Self::DamagedEntry { .. }
            | Self::NoManifest { .. }
            | Self::NotText { .. }
            | Self::Syntax { .. }
            | Self::BadPackage { .. }
            | Self::TooManyPackages { .. }
            | Self::Invalid(_) => true,
        }
    }

    /// The one next step that helps, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ArchiveTooLarge { .. } | Self::TotalTooLarge { .. } => {
                "leave data and environments out of the archive, and let the app fetch them".into()
            }
            Self::TooManyEntries { .. } => {
                "leave folders such as `.git`, `venv` and `node_modules` out of the archive".into()
            }
            Self::EntryTooLarge { name, .. } => {
                format!("leave `{name}` out, and let the app fetch it when it starts")
            }
            Self::RatioTooLarge { .. } => "leave files that are mostly zeros out".into(),
            Self::NotAnArchive { .. } | Self::DamagedEntry { .. } => {
                "make the archive anew inside the app's folder: `zip -r app.wave .`".into()
            }
            Self::BadName { fault, .. } => match fault {
                NameFault::Absolute | NameFault::Unclean => {
                    "make the archive inside the app's folder: `zip -r app.wave .`".into()
                }
                NameFault::Backslash => {
                    "make the archive with a program that writes `/` between folders".into()
                }
                NameFault::Empty
                | NameFault::TooLong { .. }
                | NameFault::ControlCharacter
                | NameFault::Ambiguous => "rename the file".into(),
                NameFault::Duplicate | NameFault::FileAndFolder | NameFault::FolderWithContent => {
                    "make the archive anew instead of adding to an old one".into()
                }
            },
            Self::NotAFile { name, .. } => {
                format!("replace `{name}` by a copy of what it stands for")
            }
            Self::Encrypted { .. } => "make the archive without a password".into(),
            Self::Compression { .. } => "make the archive with the usual method, deflate".into(),
            Self::NoManifest { near: Some(near) } => match near.rsplit_once('/') {
                Some((folder, _)) => format!("make the archive inside `{folder}`, not around it"),
                None => format!("rename `{near}` to `app.toml`"),
            },
            Self::NoManifest { near: None } => "add an `app.toml` beside the app's code".into(),
            Self::NotText { .. } => "save `app.toml` as UTF-8".into(),
            Self::BadPackage { .. } => {
                "write one name a line, such as `libgomp1`, or `libgomp1=12.2.0-14` for one version"
                    .into()
            }
            Self::TooManyPackages { .. } => {
                "name what the app uses itself; what that needs comes with it".into()
            }
            Self::Invalid(problems) => return problems.iter().find_map(Problem::hint),
            Self::Syntax { .. } | Self::Read(_) | Self::Write { .. } => return None,
        };
        Some(hint)
    }
}

fn joined(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

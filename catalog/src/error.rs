//! What can go wrong here, in words for people.

#![deny(clippy::wildcard_enum_match_arm)]

use std::path::PathBuf;

use crate::{Digest, blobs};

/// What lies beneath an error: database's or object store's own words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What brings the tables up to date.
pub(crate) const MIGRATE: &str = "the Job `...-migrate-...` of the store's chart does that: see \
    `kubectl logs -l app.kubernetes.io/component=migrate`, delete it when it has failed or the database is a new one, and upgrade \
    the release again; without the chart run `wavestore-router migrate`";

/// Everything that can go wrong in the catalog and in the blob store.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum Error {
    /// Another app has this name and version.
    #[error("app `{name}` version `{version}` is already published, by WaveApp `{holder}`")]
    DuplicateApp {
        /// The app's name.
        name: String,
        /// The app's version.
        version: String,
        /// Name of the `WaveApp` that has them.
        holder: String,
    },
    /// Another account has this name.
    #[error("account `{0}` exists already")]
    DuplicateAccount(String),
    /// A change of what an OIDC provider alone decides.
    #[error("account `{0}` is of an OIDC provider, which alone decides on its password and role")]
    ForeignAccount(String),
    /// A change that would leave the store without anybody who manages it.
    #[error("account `{0}` is the last admin that may sign in")]
    LastAdmin(String),
    /// The account has a token of this name.
    #[error("there is a token `{0}` already")]
    DuplicateToken(String),
    /// The account has as many tokens as it may have.
    #[error("an account may have {limit} tokens, and this one has as many")]
    TooManyTokens {
        /// How many it may have.
        limit: u64,
    },
    /// The store knows as many tags as it may.
    #[error("there are {limit} tags, and may not be more")]
    TooManyTags {
        /// How many there may be.
        limit: u64,
    },
    /// An account likes or has pinned as many apps as it may.
    #[error("an account may like or pin {limit} apps, and this one has as many")]
    TooManyPreferences {
        /// How many it may.
        limit: u64,
    },
    /// A session for an account that does not exist, or below a session that ended.
    #[error("the account or the session that this belongs to is gone")]
    SessionGone,
    /// Not a `sqlite:` or `postgres:` address.
    #[error("the database URL cannot be used: {reason}")]
    InvalidDatabaseUrl {
        /// What is wrong with it; never the URL, which may hold a password.
        reason: String,
    },
    /// The folder of an SQLite file does not exist.
    #[error("the folder `{}` of the database file `{}` does not exist", folder.display(), file.display())]
    NoDatabaseFolder {
        /// The missing folder.
        folder: PathBuf,
        /// The database file that was to be opened.
        file: PathBuf,
    },
    /// The SQLite file cannot be opened or created.
    #[error("could not open the database file `{}`", file.display())]
    DatabaseFile {
        /// The database file.
        file: PathBuf,
        /// The driver's words.
        source: Cause,
    },
    /// The database does not answer, or refuses us.
    #[error("could not connect to {database}")]
    Connect {
        /// Which database, without password.
        database: String,
        /// The driver's words.
        source: Cause,
    },
    /// The tables lack what this release needs, and nobody has brought it in time.
    #[error("the tables of {database} are behind this release: {} to be migrated", missing.join(", "))]
    SchemaBehind {
        /// Which database, without password.
        database: String,
        /// Names of the migrations that have not run.
        missing: Vec<String>,
    },
    /// A later release has taken away from the tables what this one needs.
    #[error(
        "the tables of {database} are ahead of this release: `{migration}` has run, and this release ends with `{newest}`"
    )]
    SchemaAhead {
        /// Which database, without password.
        database: String,
        /// The later release's migration.
        migration: String,
        /// The last migration that this release knows.
        newest: String,
    },
    /// The database's tables could not be brought up to date.
    #[error("could not migrate {database}")]
    Migrate {
        /// Which database, without password.
        database: String,
        /// The driver's words.
        source: Cause,
    },
    /// A question or a change that the database could not answer.
    #[error("could not {task}")]
    Database {
        /// What was to be done, such as `read apps`.
        task: &'static str,
        /// The driver's words.
        source: Cause,
    },
    /// A row that this release cannot read.
    #[error("column `{column}` of {row} holds `{value}`, which this release does not know")]
    UnknownValue {
        /// Which row, such as ``app `hello` ``.
        row: String,
        /// The column's name.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// Text that is no digest.
    #[error("`{0}` is not a digest")]
    InvalidDigest(String),
    /// Text that is no key of an environment.
    #[error("`{0}` is not the key of an environment")]
    InvalidEnvironmentKey(String),
    /// Text that is no id of a session, ticket or token. The text is not repeated, since it may be secret.
    #[error("the id is not well formed")]
    InvalidId,
    /// The operating system gave no random bytes.
    #[error("could not get random bytes from the operating system")]
    Random {
        /// The system's words.
        source: Cause,
    },
    /// An address of the blob store that we cannot use.
    #[error("the blob store's URL `{url}` cannot be used: {reason}")]
    InvalidBlobsUrl {
        /// The URL, without user and password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder of the blob store is missing or cannot be written.
    #[error("the blob store's folder `{}` cannot be used", folder.display())]
    BlobsFolder {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A name of a picture that may not become part of a path.
    #[error("`{name}` cannot be the name of an asset: {reason}")]
    InvalidAssetName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A bundle's bytes are not those that its digest promises.
    #[error("`{}` has the digest {actual}, not {expected}", file.display())]
    DigestMismatch {
        /// The file that was to be stored.
        file: PathBuf,
        /// The digest under which it was to be stored.
        expected: String,
        /// The digest of its bytes.
        actual: String,
    },
    /// An object's bytes are not those that were stored.
    #[error("the blob `{path}` is damaged: its digest is {actual}")]
    DamagedBlob {
        /// The object's path in the store, with the digest that it should have.
        path: String,
        /// The digest of its bytes.
        actual: Digest,
    },
    /// A local file that could not be read.
    #[error("could not read `{}`", file.display())]
    ReadFile {
        /// The file.
        file: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The blob store failed.
    #[error("could not {task} blob `{path}`")]
    Blob {
        /// What was to be done: `read`, `write` or `delete`.
        task: &'static str,
        /// The object's path in the store.
        path: String,
        /// The store's words.
        source: Cause,
    },
}

impl Error {
    /// Stable code for logs, metrics and conditions, such as `DuplicateApp`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.into()
    }

    /// One next step for whoever reads the error, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DuplicateApp { .. } => Some(
                "raise `Version` in app.toml; a published version never changes".to_owned(),
            ),
            Self::DuplicateAccount(_) => Some("choose another name".to_owned()),
            Self::ForeignAccount(_) => {
                Some("change it at the provider; it counts from the next sign-in on".to_owned())
            }
            Self::LastAdmin(_) => Some("make somebody else an admin first".to_owned()),
            Self::DuplicateToken(_) => {
                Some("choose another name, or revoke the token that has it".to_owned())
            }
            Self::TooManyTokens { .. } => Some("revoke one that is not used any more".to_owned()),
            Self::TooManyTags { .. } => Some("delete one that no app has".to_owned()),
            Self::TooManyPreferences { .. } => {
                Some("take back one that is not needed any more".to_owned())
            }
            Self::SessionGone => Some("sign in again".to_owned()),
            Self::InvalidDatabaseUrl { .. } => Some(
                "write `sqlite:///data/catalog.db` or `postgres://user:password@host:5432/database`"
                    .to_owned(),
            ),
            Self::NoDatabaseFolder { folder, .. } => Some(format!(
                "create `{}` or mount a volume there",
                folder.display()
            )),
            Self::DatabaseFile { file, .. } => Some(format!(
                "make sure that `{}` is an SQLite database and that this process's user may write to it \
                 and to its folder",
                file.display()
            )),
            Self::Connect { .. } => Some(
                "check that the database runs, that this host may reach it, and the user, password and \
                 database name in the database URL"
                    .to_owned(),
            ),
            Self::SchemaBehind { .. } => Some(MIGRATE.to_owned()),
            Self::SchemaAhead { .. } => Some(
                "run a release that knows this migration, or go back to a backup of the database that was made before it"
                    .to_owned(),
            ),
            Self::Migrate { .. } => Some(
                "check that the database's user may create tables and that no other session holds a lock"
                    .to_owned(),
            ),
            Self::UnknownValue { .. } => {
                Some("update this component to the release that wrote the row".to_owned())
            }
            Self::InvalidDigest(_) => {
                Some("write `sha256:` and 64 lower-case hexadecimal digits".to_owned())
            }
            Self::InvalidBlobsUrl { .. } => {
                Some(
                    "write `file:///data/blobs`, `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`, and keep \
                     credentials in the environment"
                        .to_owned(),
                )
            }
            Self::BlobsFolder { folder, .. } => Some(format!(
                "create `{}`, or mount a volume there, so that this process's user may write to it",
                folder.display()
            )),
            Self::InvalidAssetName { .. } => {
                Some("rename the file, for example to `icon.png`".to_owned())
            }
            Self::DamagedBlob { .. } => Some(
                "bring it back from a backup, or delete it and publish the same bundle again".to_owned(),
            ),
            Self::DigestMismatch { .. } => {
                Some("fetch the bundle again; it was cut short or changed on its way".to_owned())
            }
            Self::Blob { source, .. } => Some(blobs::hint(source).to_owned()),
            Self::Database { .. }
            | Self::InvalidEnvironmentKey(_)
            | Self::InvalidId
            | Self::Random { .. }
            | Self::ReadFile { .. } => None,
        }
    }

    /// Wraps what the database said while it was to do `task`, such as `read apps`.
    pub(crate) fn database(task: &'static str) -> impl FnOnce(sea_orm::DbErr) -> Self {
        move |source| Self::Database {
            task,
            source: Box::new(source),
        }
    }
}

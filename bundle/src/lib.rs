//! The `.wave` archive and its `app.toml`: parse, validate, limits.
//!
//! [`read`] says whether an archive is a bundle and what is in it; [`unpack`] writes it to a folder.
//! Both hold the archive against the same rules, and refuse what they do not accept: nothing is
//! repaired, renamed or skipped. No network, no database and no async code belongs here.

mod archive;
mod env_rules;
mod error;
mod limits;
mod manifest;
mod packages;
mod picture;
mod problem;
mod quantity;
mod read;
mod requirements;
mod timeout;
mod unpack;

pub use env_rules::EnvRules;
pub use error::{Error, NameFault};
pub use limits::Limits;
pub use manifest::{
    APP_ROOT, App, AppMode, Env, File, Legacy, Lifecycle, Link, Manifest, RESOURCES_ROOT,
    RoutingMode, Runtime, SecretKey, Source, Volume,
};
pub use packages::Packages;
pub use picture::{Picture, PictureFormat};
pub use problem::{Fault, Problem};
pub use quantity::{Quantity, bytes_words, cpu_words};
pub use read::{Bundle, read};
pub use requirements::Requirements;
pub use timeout::InstanceTimeout;
pub use unpack::{Folder, Place, unpack};

//! What the store knows about apps and people: apps' metadata, tags, likes and pins, accounts, sessions, tickets, tokens and the audit trail in a
//! database ([`Catalog`]: Postgres or SQLite), bundles, their pictures and environments in an object store ([`Blobs`]).
//!
//! Instances do not belong here: the Kubernetes API alone knows what runs. Neither do passwords' hashing
//! and cookies, which are the router's.

mod accounts;
mod apps;
mod audit;
mod backoff;
mod blobs;
mod catalog;
mod color;
mod connection;
mod devices;
mod digest;
mod entities;
mod environment_key;
mod error;
mod migrations;
mod pictures;
mod preferences;
mod provider_sessions;
mod secrets;
mod sessions;
mod settings;
mod spent;
mod tags;
mod tickets;
mod timestamp;
mod tokens;

#[cfg(test)]
mod tests;

pub use accounts::{Account, AccountChange, NewAccount, Person, Role, Subject};
pub use apps::{App, AppCursor, AppQuery, InvalidAppCursor, Viewer};
pub use audit::{AuditEntry, AuditQuery, Deed, Thing};
pub use blobs::{Blob, Blobs, LEAST_GRACE, Names, Stored, Upload, Verdict, read_object};
pub use catalog::Catalog;
pub use color::{Color, InvalidColor};
pub use crds::{Lifecycle, Visibility};
pub use devices::{DeviceAnswer, NewDevice, UserCode};
pub use digest::Digest;
pub use environment_key::EnvironmentKey;
pub use error::{Cause, Error};
pub use pictures::{Picture, Rendition};
pub use preferences::{MAX_PREFERENCES, Preference, PreferenceChange};
pub use provider_sessions::ProviderSession;
pub use secrets::{DeviceCode, SessionId, SessionKey, TicketId, TokenId, TokenKey};
pub use sessions::{NewSession, Session};
pub use settings::Settings;
pub use tags::{MAX_TAGS, Tag};
pub use tickets::{NewTicket, Ticket};
pub use tokens::{NewToken, Scope, Token};

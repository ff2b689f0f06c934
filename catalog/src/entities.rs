//! Rows as sea-orm sees them. Nothing outside this crate does.

#![expect(unreachable_pub, reason = "sea-orm's derives want plain `pub` items")]

pub(crate) mod accounts;
pub(crate) mod apps;
pub(crate) mod audit;
pub(crate) mod device_sign_ins;
pub(crate) mod preferences;
pub(crate) mod provider_sessions;
pub(crate) mod sessions;
pub(crate) mod spent;
pub(crate) mod tags;
pub(crate) mod tickets;
pub(crate) mod tokens;

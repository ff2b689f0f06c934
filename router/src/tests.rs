//! Whole requests: the real gateway on a loopback port, over a database file, a table made by hand and a fake app.

mod browser;
mod fake_app;
mod fake_cluster;
mod test_store;

mod account_api;
mod accounts;
mod aliases;
mod audit;
mod bearer;
mod churn;
mod cves;
mod devices;
mod edge;
mod endpoints;
mod forwarding;
mod http2;
mod instances;
mod internal;
mod limits;
mod logs;
mod preferences;
mod publishing;
mod raw;
mod secrets;
mod sign_in;
mod sockets;
mod strangers;
mod tags;
mod undo;
mod usage;
mod visits;
mod waking;

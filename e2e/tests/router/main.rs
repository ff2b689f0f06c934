//! The router's binary on a real API server, alone: `make test-router`. Instances are written by the tests, their apps are servers
//! of the tests.

mod access_tokens;
mod accounts;
mod apps;
mod contract;
mod garbage;
mod instances;
mod login;
mod lost_database;
mod migrations;
mod oidc;
mod pages;
mod rolling_update;
mod secrets;
mod smoke;
mod tags;
mod terminal;
mod undo;
mod usage;

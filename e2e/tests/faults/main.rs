//! Faults between the operator, its Helm and the API server: `make test-faults`.

mod foreign;
mod held_helm;
mod leadership;
mod lost_update;
mod release;
mod transparent;

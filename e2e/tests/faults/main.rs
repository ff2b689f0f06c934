//! Faults between the operator, its Helm and the API server: `make test-faults`.

mod transparent;

//! What the binaries say when something they need is not there.

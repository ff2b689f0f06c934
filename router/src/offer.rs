//! What the store offers by name, which the operator applies; here it is told.

use std::str::FromStr;

use crds::{RuntimeVersion, Size};
use serde::de::DeserializeOwned;

/// What the store offers by name.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What the operator offers to apps, as the API tells it")]
pub struct Offer {
    /// Runtime versions that apps may ask for, as the operator has them.
    #[arg(long, env = "WAVESTORE_RUNTIMES", default_value = "[]")]
    pub runtimes: List<RuntimeVersion>,
    /// Sizes that instances may say, as the operator has them.
    #[arg(long, env = "WAVESTORE_SIZES", default_value = "[]")]
    pub sizes: List<Size>,
}

/// A list that is written as JSON. What is in it makes sense: the operator does not start otherwise.
#[derive(Debug, Clone)]
pub struct List<T>(pub(crate) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: DeserializeOwned> FromStr for List<T> {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text).map(Self)
    }
}

//! What a store offers to apps and instances by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::args::Output;
use crate::client::Client;
use crate::error::Error;
use crate::print::{print, table};

/// What a store offers, as the API tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    version: String,
    url: String,
    apps_domain: String,
    runtimes: Vec<Runtime>,
    sizes: Vec<Size>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Runtime {
    name: String,
    aliases: Vec<String>,
    deprecated: bool,
    image: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Size {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    requests: BTreeMap<String, String>,
    limits: BTreeMap<String, String>,
}

/// Prints it.
pub(crate) async fn run(client: &Client, output: Output) -> Result<(), Error> {
    let offer: Offer = client.get("offer").await?;
    print(output, &offer, || words(&offer));
    Ok(())
}

fn words(offer: &Offer) -> String {
    let runtimes: Vec<[String; 3]> = offer
        .runtimes
        .iter()
        .map(|runtime| {
            let note = if runtime.deprecated { "deprecated" } else { "" };
            let mut names = runtime.name.clone();
            for alias in &runtime.aliases {
                names.push_str(", ");
                names.push_str(alias);
            }
            [names, runtime.image.clone(), note.to_owned()]
        })
        .collect();
    let sizes: Vec<[String; 4]> = offer
        .sizes
        .iter()
        .map(|size| {
            let description = size.description.clone().unwrap_or_default();
            let name = size.name.clone();
            [
                name,
                amounts(&size.requests),
                amounts(&size.limits),
                description,
            ]
        })
        .collect();
    let mut parts = vec![format!(
        "Wavestore {} at {}, instances below {}",
        offer.version, offer.url, offer.apps_domain
    )];
    if !runtimes.is_empty() {
        let rows = runtimes
            .iter()
            .map(|row| row.each_ref().map(String::as_str));
        parts.push(table(["RUNTIME VERSION", "IMAGE", ""], rows));
    }
    if !sizes.is_empty() {
        let rows = sizes.iter().map(|row| row.each_ref().map(String::as_str));
        parts.push(table(["SIZE", "REQUESTS", "LIMITS", "FOR"], rows));
    }
    parts.join("\n\n")
}

fn amounts(amounts: &BTreeMap<String, String>) -> String {
    let words = amounts
        .iter()
        .map(|(name, amount)| format!("{name} {amount}"));
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        "as the app asks".to_owned()
    } else {
        words.join(", ")
    }
}

//! What the store offers to apps and instances by name, for programs.

use std::collections::BTreeMap;

use crds::{RuntimeVersion, Size};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Reply, Store};
use super::json;
use crate::error::Error;

/// What the store offers.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Offer")]
pub(super) struct Told<'a> {
    /// The store's version.
    version: &'static str,
    /// The store's address.
    url: &'a str,
    /// The domain below which instances have their hosts.
    apps_domain: &'a str,
    /// What apps may name as `RuntimeVersion`. Those that name none run in the store's own.
    runtimes: Vec<Runtime<'a>>,
    /// The sizes that instances may have.
    sizes: Vec<OfferedSize<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Runtime<'a> {
    name: &'a str,
    /// What else it is called.
    aliases: &'a [String],
    /// Whether apps should name another one.
    deprecated: bool,
    image: &'a str,
}

impl<'a> Runtime<'a> {
    fn new(version: &'a RuntimeVersion) -> Self {
        let RuntimeVersion {
            name,
            image,
            aliases,
            deprecated,
        } = version;
        Self {
            name,
            aliases,
            deprecated: *deprecated,
            image,
        }
    }
}

/// What it leaves out is as the app asks for it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OfferedSize<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    /// What a pod is given in any case, such as `{"memory": "2Gi"}`.
    requests: BTreeMap<&'a str, &'a str>,
    /// What a pod may take at most.
    limits: BTreeMap<&'a str, &'a str>,
}

impl<'a> OfferedSize<'a> {
    fn new(size: &'a Size) -> Self {
        let amounts = |amounts: &'a BTreeMap<String, _>| {
            let amounts = amounts.iter();
            let amounts =
                amounts.map(|(resource, amount): (_, &Quantity)| (&**resource, &*amount.0));
            amounts.collect()
        };
        Self {
            name: &size.name,
            description: size.description.as_deref(),
            requests: amounts(&size.requests),
            limits: amounts(&size.limits),
        }
    }
}

/// What the store offers.
pub(in crate::web) fn get(store: &Store) -> Result<Reply, Error> {
    json(&Told {
        version: env!("CARGO_PKG_VERSION"),
        url: store.site.store_origin(),
        apps_domain: store.site.apps_domain(),
        runtimes: store.offer.runtimes.0.iter().map(Runtime::new).collect(),
        sizes: store.offer.sizes.0.iter().map(OfferedSize::new).collect(),
    })
}

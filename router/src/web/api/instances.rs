//! Instances, for programs.

use crds::{AppRef, Visibility, WaveInstance};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::idempotency::Key;
use super::super::if_match::{self, IfMatch};
use super::super::instances::{self, Change, NewInstance};
use super::super::{Call, Reply, Store, Visitor, pages};
use super::{Page, accepted, document, json, limit, located, of_kubernetes, rest_of};
use crate::error::Error;
use crate::site::Site;
use crate::table::Route;
use crate::target::Form;
use crate::usage;
use crate::viewer::Viewer;
use crate::waiting::Rights;

/// One instance.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance<'a> {
    name: &'a str,
    app: &'a AppRef,
    owner: &'a str,
    visibility: Visibility,
    suspended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<&'a str>,
    #[serde(flatten)]
    state: pages::State<'a>,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    /// When it will be deleted, unless that is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_after: Option<String>,
    /// What its pod uses: told of one instance, not in lists, and where the cluster measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// What a pod uses, and the limits that it runs with.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Usage {
    /// CPU in thousandths of a core.
    cpu_millicores: u64,
    /// How much of it there may be at most; left out where nothing limits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_limit_millicores: Option<u64>,
    /// Memory that the kernel cannot take back, in bytes.
    memory_bytes: u64,
    /// The app is ended when it takes more; left out where nothing limits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit_bytes: Option<u64>,
    /// When it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured_at: Option<String>,
}

impl Usage {
    fn new(usage: usage::Usage) -> Self {
        let usage::Usage {
            cpu,
            memory,
            measured,
        } = usage;
        Self {
            cpu_millicores: cpu.now,
            cpu_limit_millicores: cpu.limit,
            memory_bytes: memory.now,
            memory_limit_bytes: memory.limit,
            measured_at: measured.and_then(of_kubernetes),
        }
    }
}

impl<'a> Instance<'a> {
    fn new(site: &Site, viewer: &Viewer, route: &'a Route) -> Self {
        Self {
            name: route.id.as_ref(),
            app: &route.app,
            owner: &route.owner,
            visibility: route.visibility,
            suspended: route.suspended,
            size: route.size.as_deref(),
            state: pages::State::of(route, Rights::of(Some(viewer), route)),
            url: site.instance_url(&route.id, route.form.unwrap_or(Form::Domain)),
            created_at: route.created.and_then(of_kubernetes),
            delete_after: route.delete_after.and_then(of_kubernetes),
            usage: None,
        }
    }
}

/// The instances that the visitor manages, by name, from one name on.
pub(in crate::web) fn list(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let limit = limit(call)?;
    let after = call.parameter("after").unwrap_or_default();
    let owner = call.parameter("owner");
    let snapshot = store.table.load();
    let routes = instances::managed(visitor, &snapshot, (owner.as_deref(), &after));
    let next = (routes.len() > limit).then(|| {
        let after = routes[limit - 1].id.as_ref();
        let asked = [("owner", owner.as_deref())];
        rest_of("/api/v1/instances", after, limit, &asked)
    });
    let viewer = &visitor.signed_in()?.viewer;
    let items = routes.into_iter().take(limit);
    json(&Page {
        items: items
            .map(|route| Instance::new(&store.site, viewer, route))
            .collect(),
        next,
    })
}

/// One instance, with what its pod uses.
pub(in crate::web) async fn get(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let found = instances::find(store, visitor, call.last_segment()).await?;
    let route = store.table.ahead(&found).ok_or(Error::NotFound)?;
    let usage = store.meter.of(&route).await;
    told(store, visitor, (&found, &route), usage)
}

/// Makes an instance.
pub(in crate::web) async fn create(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let new: NewInstance = document(body)?;
    let key = Key::of(&call.headers, &visitor.signed_in()?.viewer.name)?;
    let made = instances::create(store, visitor, new, key.as_ref()).await?;
    let reply = one(store, visitor, &made)?;
    let name = made.metadata.name.as_deref().unwrap_or_default();
    let path = format!("/api/v1/instances/{name}");
    located(reply, StatusCode::CREATED, path)
}

/// Changes an instance.
pub(in crate::web) async fn change(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    body: &[u8],
) -> Result<Reply, Error> {
    let change: Change = document(body)?;
    let if_match = IfMatch::of(&call.headers);
    let name = call.last_segment();
    let changed = instances::change(store, visitor, name, &change, &if_match).await?;
    one(store, visitor, &changed)
}

/// Deletes an instance. It is gone a little later.
pub(in crate::web) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let if_match = IfMatch::of(&call.headers);
    instances::delete(store, visitor, call.last_segment(), &if_match).await?;
    Ok(accepted())
}

/// An instance with the tag of its state.
fn one(store: &Store, visitor: &Visitor, instance: &WaveInstance) -> Result<Reply, Error> {
    let route = store.table.ahead(instance).ok_or(Error::NotFound)?;
    told(store, visitor, (instance, &route), None)
}

fn told(
    store: &Store,
    visitor: &Visitor,
    (instance, route): (&WaveInstance, &Route),
    usage: Option<usage::Usage>,
) -> Result<Reply, Error> {
    let viewer = &visitor.signed_in()?.viewer;
    let mut told = Instance::new(&store.site, viewer, route);
    told.usage = usage.map(Usage::new);
    if_match::tag(json(&told)?, instance)
}

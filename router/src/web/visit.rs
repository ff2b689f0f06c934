//! The way from the store's host to an instance's, with a ticket.

use http::StatusCode;

use super::{Call, Reply, Store, Visitor, redirect};
use crate::error::Error;
use crate::session::LocalPath;
use crate::session::visit::NonceHash;
use crate::site::AppHost;

/// Sends a browser that is signed in here back to the instance's host, with a ticket.
pub(super) async fn visit(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let host = call
        .parameter("host")
        .and_then(|host| app_host(store, &host));
    let host = host.ok_or(Error::BadRequest("the visit names no host of an app"))?;
    let nonce = call
        .parameter("nonce")
        .and_then(|nonce| NonceHash::parse(&nonce));
    let nonce = nonce.ok_or(Error::BadRequest(
        "the visit does not come from an app's host",
    ))?;
    let path = LocalPath::or_root(&call.parameter("path").unwrap_or_default());
    let location = store
        .sessions
        .issue_ticket(&store.site, visitor.signed_in()?, &host, &path, nonce)
        .await?;
    redirect(StatusCode::FOUND, &location)
}

/// A host that apps live on.
fn app_host(store: &Store, name: &str) -> Option<AppHost> {
    let own = || store.table.own_host(name);
    store.site.app_host(name).or_else(own)
}

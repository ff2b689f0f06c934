//! The audit trail as it is asked for, by the page and by the API alike.

use catalog::{AuditEntry, AuditQuery, Thing};
use tokio::time::timeout;

use super::{Call, PATIENCE, Reply, Store, Visitor, pages};
use crate::error::Error;

/// Reads what the parameters of an address ask for that a form of ours has made: fields that are empty ask for nothing.
fn of_form(call: &Call) -> Result<AuditQuery, Error> {
    read(|name| call.parameter(name).filter(|value| !value.is_empty()))
}

/// Reads what the parameters of an address ask for.
pub(super) fn of_program(call: &Call) -> Result<AuditQuery, Error> {
    read(|name| call.parameter(name))
}

fn read(parameter: impl Fn(&str) -> Option<String>) -> Result<AuditQuery, Error> {
    let thing: Option<Result<Thing, _>> = parameter("thing").map(|thing| thing.parse());
    let before = parameter("after").map(|after| after.parse());
    Ok(AuditQuery {
        account: parameter("account"),
        thing: thing.transpose().map_err(|_| {
            Error::BadRequest("`thing` is app, instance, alias, tag, secret or account")
        })?,
        name: parameter("name"),
        before: before.transpose().map_err(|_| {
            Error::BadRequest("`after` is no place in the audit trail: follow `next`")
        })?,
    })
}

/// What asks for the same entries, wherever in the trail.
pub(super) fn asked(query: &AuditQuery) -> [(&'static str, Option<String>); 3] {
    let AuditQuery {
        account,
        thing,
        name,
        before: _,
    } = query;
    [
        ("account", account.clone()),
        ("thing", thing.map(|thing| thing.to_string())),
        ("name", name.clone()),
    ]
}

/// So many entries that are asked for, and the place after them where there are more.
pub(super) async fn find(
    store: &Store,
    query: &AuditQuery,
    limit: usize,
) -> Result<(Vec<AuditEntry>, Option<String>), Error> {
    let found = store.catalog.audit(query, limit as u64 + 1);
    let mut found = timeout(PATIENCE, found).await??;
    let is_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| is_more);
    let after = last.map(|last| last.number.to_string());
    Ok((found, after))
}

/// The page.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let query = of_form(call)?;
    let (entries, after) = find(store, &query, pages::MAX_DEEDS).await?;
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Audit::new(frame, &query, &entries, after.as_deref());
    page.reply().map(|page| page.map(Into::into))
}

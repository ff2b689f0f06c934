//! The page of what users and apps may have, for admins.

use super::pages;
use super::{Reply, Store, Visitor};
use crate::error::Error;

/// The page.
pub(super) fn page(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    let snapshot = store.table.load();
    let holdings = store.limits.holdings(&snapshot);
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Limits::new(frame, &store.limits, &holdings, &store.namespace);
    page.reply().map(|page| page.map(Into::into))
}

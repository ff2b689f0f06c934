//! What people do: said in the log, and kept in the audit trail.

use catalog::{Catalog, Deed, Thing};
use chrono::Utc;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::answers::PATIENCE;

/// Notes what `account` has done to a thing: `done` goes on after their name, such as `deleted the instance sales`. It has happened by
/// then, so that nobody is told of a trail that cannot be written; the log says it all then.
pub(crate) async fn note(
    catalog: &Catalog,
    account: &str,
    (thing, name): (Thing, &str),
    done: &str,
) {
    match thing {
        Thing::App => info!(app.resource = name, "{account} {done}"),
        Thing::Instance => info!(instance.id = name, "{account} {done}"),
        Thing::Alias => info!(alias.name = name, "{account} {done}"),
        Thing::Tag => info!(tag.name = name, "{account} {done}"),
        Thing::Secret => info!(secret.name = name, "{account} {done}"),
        Thing::Account => info!(account.name = name, "{account} {done}"),
    }
    let deed = Deed {
        at: Utc::now(),
        account: account.to_owned(),
        thing,
        name: name.to_owned(),
        done: done.to_owned(),
    };
    let noted = timeout(PATIENCE, catalog.note(&deed)).await;
    let error: Box<dyn std::error::Error + Send + Sync> = match noted {
        Ok(Ok(())) => return,
        Ok(Err(error)) => Box::new(error),
        Err(late) => Box::new(late),
    };
    warn!(
        error = &*error as &dyn std::error::Error,
        "The audit trail misses that {account} {done}"
    );
}

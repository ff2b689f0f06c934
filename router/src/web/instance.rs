//! The pages of one instance and of all that one manages, and the forms there and on the first page.

use tracing::warn;

use super::form::Form;
use super::if_match::IfMatch;
use super::instances::{self, Change, ChangedApp};
use super::pages::{self, Done, News};
use super::{Call, Reply, Store, Visitor, back_to};
use crate::error::Error;
use crate::session::LocalPath;
use crate::waiting::Rights;

/// The page, with what was done last.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    show(store, visitor, call.last_segment(), call.news()).await
}

/// The page of all instances that the visitor manages.
pub(super) fn all(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let owner = call.parameter("owner").filter(|owner| !owner.is_empty());
    let after = call.parameter("after").unwrap_or_default();
    let asked = (owner.as_deref(), after.as_str());
    let snapshot = store.table.load();
    let routes = instances::managed(visitor, &snapshot, asked);
    let viewer = &visitor.signed_in()?.viewer;
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Instances::new(frame, viewer, asked, &routes, call.news());
    page.reply().map(|page| page.map(Into::into))
}

async fn show(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    news: News<'_>,
) -> Result<Reply, Error> {
    let object = instances::find(store, visitor, name).await?;
    let route = store.table.ahead(&object).ok_or(Error::NotFound)?;
    let viewer = &visitor.signed_in()?.viewer;
    let log = async {
        if Rights::of(Some(viewer), &route).reads_log {
            store.logs.last_lines(&route).await
        } else {
            None
        }
    };
    let (events, log) = tokio::join!(store.events.of(&object), log);
    let events = events.inspect_err(|error| {
        warn!(
            error = error as &dyn std::error::Error,
            "Could not read the Events of instance {name}"
        );
    });
    let snapshot = store.table.load();
    let look = pages::Look {
        object: &object,
        route: &route,
        events: events.ok(),
        log,
        snapshot: &snapshot,
    };
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Instance::new(frame, viewer, look, news);
    page.reply().map(|page| page.map(Into::into))
}

/// Changes the instance that the path names.
pub(super) async fn change(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let (change, done) = asked_change(form)?;
    let name = call.last_segment();
    let changed = instances::change(store, visitor, name, &change, &IfMatch::default()).await;
    match changed {
        Ok(_) => back(form, &format!("/instances/{name}"), done),
        Err(
            error @ (Error::OwnerOnly
            | Error::NoApp(_)
            | Error::NoSize(_)
            | Error::AppNotReady(_)
            | Error::Overtaken
            | Error::KubernetesRefused(_)),
        ) if call.asked.navigation => show(store, visitor, name, News::Failed(&error)).await,
        Err(error) => Err(error),
    }
}

/// What one of the forms asks for.
fn asked_change(form: &Form) -> Result<(Change, Done), Error> {
    let field = |name| Some(form.field(name)).filter(|value| !value.is_empty());
    let nothing = Change::default();
    if let Some(version) = field("version") {
        let app = ChangedApp {
            version: version.to_owned(),
        };
        let app = Some(app);
        return Ok((Change { app, ..nothing }, Done::VersionChanged));
    }
    if let Some(visibility) = field("visibility") {
        let visibility = visibility.parse().ok();
        let visibility = visibility.ok_or(Error::BadRequest("choose who may enter"))?;
        let visibility = Some(visibility);
        let change = Change {
            visibility,
            ..nothing
        };
        return Ok((change, Done::Shared));
    }
    // An empty one stands for what the app asks for.
    if let Some(size) = form.fields("size").next() {
        let size = Some(size.to_owned());
        return Ok((Change { size, ..nothing }, Done::SizeChanged));
    }
    let (suspended, done) = match field("suspended") {
        Some("true") => (true, Done::Suspended),
        Some("false") => (false, Done::Resumed),
        Some(_) | None => return Err(Error::BadRequest("the form asks for nothing")),
    };
    let suspended = Some(suspended);
    let change = Change {
        suspended,
        ..nothing
    };
    Ok((change, done))
}

/// Deletes the instance that the path names.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let path = call.path.as_str();
    let name = path.strip_prefix("/instances/").unwrap_or_default();
    let name = name.strip_suffix("/delete").unwrap_or_default();
    instances::delete(store, visitor, name, &IfMatch::default()).await?;
    back(form, "/", Done::Deleted)
}

/// Shows the list again from which a form was sent, or else this path.
fn back(form: &Form, path: &str, done: Done) -> Result<Reply, Error> {
    let list = form.field("back");
    let list = Some(list).filter(|list| !list.is_empty());
    let path = list.map_or_else(
        || path.to_owned(),
        |list| LocalPath::or_root(list).to_string(),
    );
    back_to(&path, done)
}

//! The pages of one instance and of all that one manages, and the forms there and on the first page.

use std::time::Duration;

use crds::WaveInstance;
use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use tokio::time::timeout;
use tracing::warn;

use super::form::Form;
use super::if_match::IfMatch;
use super::instances::{self, Change, ChangedApp};
use super::pages::{self, Done, News};
use super::{Call, Reply, Store, Visitor, back_to, telling};
use crate::error::Error;
use crate::redirect::redirect;
use crate::session::LocalPath;
use crate::waiting::Rights;

/// How long a change may take until the lists show it.
const LIST_PATIENCE: Duration = Duration::from_secs(1);

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
    let page = pages::Instances::new(frame, viewer, asked, &routes, store.undo, call.news());
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
    let (events, log, usage) = tokio::join!(store.events.of(&object), log, store.meter.of(&route));
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
        usage,
        snapshot: &snapshot,
        undo: store.undo,
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
    make(
        store,
        visitor,
        call,
        form,
        (call.last_segment(), &change, done),
    )
    .await
}

/// Makes a change of an instance, and shows what has become of that.
async fn make(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
    (name, change, done): (&str, &Change, Done),
) -> Result<Reply, Error> {
    let changed = instances::change(store, visitor, name, change, &IfMatch::default()).await;
    match changed {
        Ok(changed) => {
            if matches!(done, Done::WillBeDeleted | Done::Kept) {
                listed(store, &changed).await;
            }
            back(form, &format!("/instances/{name}"), (name, done))
        }
        Err(
            error @ (Error::OwnerOnly
            | Error::NoApp(_)
            | Error::NoSize(_)
            | Error::AppNotReady(_)
            | Error::BeingDeleted
            | Error::Overtaken
            | Error::KubernetesRefused(_)),
        ) if call.asked.navigation => show(store, visitor, name, News::Failed(&error)).await,
        Err(error) => Err(error),
    }
}

/// Waits until lists show until when an instance can be kept: they are made of what the watch has seen, and who looks at one next shall
/// find the button there.
async fn listed(store: &Store, changed: &WaveInstance) {
    let Some(ahead) = store.table.ahead(changed) else {
        return;
    };
    let mut news = store.table.changes();
    let is_listed = async {
        loop {
            news.borrow_and_update();
            let now = store.table.route(ahead.id.as_ref());
            if now.is_none_or(|now| now.delete_after == ahead.delete_after)
                || news.changed().await.is_err()
            {
                return;
            }
        }
    };
    // A watch that is late shows it later.
    let _ = timeout(LIST_PATIENCE, is_listed).await;
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
    if field("keep") == Some("true") {
        let delete_after = Some(String::new());
        let change = Change {
            delete_after,
            ..nothing
        };
        return Ok((change, Done::Kept));
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

/// Deletes the instance that the path names: after a while in which that can be undone, unless the form says now.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let name = call.segment_before_last();
    if form.field("now") == "true" || store.undo.is_zero() {
        instances::delete(store, visitor, name, &IfMatch::default()).await?;
        return back(form, "/", (name, Done::Deleted));
    }
    let end = instances::end_of(store.undo, Timestamp::now());
    let change = Change {
        delete_after: Some(end.to_string()),
        ..Change::default()
    };
    make(
        store,
        visitor,
        call,
        form,
        (name, &change, Done::WillBeDeleted),
    )
    .await
}

/// Shows the list again from which a form was sent, or else this path.
fn back(form: &Form, path: &str, (name, done): (&str, Done)) -> Result<Reply, Error> {
    let list = form.field("back");
    if list.is_empty() {
        return back_to(path, done);
    }
    let list = LocalPath::or_root(list).to_string();
    if done != Done::WillBeDeleted {
        return back_to(&list, done);
    }
    // Where it can be undone.
    let row = format!("{}#instance-{name}", telling(&list, done));
    redirect(StatusCode::SEE_OTHER, &row)
}

//! Logs of instances, for programs and for the instance's page.

use futures::TryStreamExt;
use http::{HeaderValue, header};
use warp::Reply as _;

use super::super::{Call, Reply, Store, Visitor, instances, pages};
use crate::app_log::Wanted;
use crate::body::Exclusive;
use crate::error::Error;
use crate::policy::Action;

/// How many of the last lines there are, when the request says nothing, and at most.
const USUAL_LINES: i64 = 1000;
const MAX_LINES: i64 = 100_000;

/// The log of an instance's app, as plain text: its last lines, and with `follow=true` what comes from now on.
pub(in crate::web) async fn read(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    let wanted = Wanted {
        tail_lines: tail_lines(call)?,
        follow: flag(call, "follow")?,
        previous: flag(call, "previous")?,
    };
    let name = call.segment_before_last();
    let found = instances::find(store, visitor, name).await?;
    let read = visitor.may(Action::ReadLog((&found.spec).into()));
    read.map_err(|_| Error::LogForbidden)?;
    // Whoever may read the log may enter, too; what is so new that the table has not seen it has no pod.
    let id = name.parse().map_err(|_| Error::NotFound)?;
    let permit = store.table.authorize(&id, visitor.signed_in.clone());
    let permit = permit.map_err(|_| Error::NoLog)?;
    let log = store.app_logs.read(permit, wanted).await?;
    let log = log.inspect_err(|error| {
        tracing::debug!(error = error as &dyn std::error::Error, "A log broke off");
    });
    let mut reply = warp::reply::stream(Exclusive::new(log)).into_response();
    let headers = reply.headers_mut();
    pages::safety(headers, "text/plain; charset=utf-8");
    // Proxies that collect an answer before they pass it on would pass on nothing of a log that goes on.
    let unbuffered = HeaderValue::from_static("no");
    headers.insert("x-accel-buffering", unbuffered);
    let name = format!("inline; filename=\"{name}.log\"");
    let disposition = HeaderValue::try_from(name);
    let disposition = disposition.map_err(|error| Error::Internal(Box::new(error)))?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(reply)
}

fn tail_lines(call: &Call) -> Result<i64, Error> {
    let Some(lines) = call.parameter("tailLines") else {
        return Ok(USUAL_LINES);
    };
    let lines = lines.parse().ok();
    lines
        .filter(|lines| (0..=MAX_LINES).contains(lines))
        .ok_or(Error::BadRequest(
            "`tailLines` is a number from 0 to 100000",
        ))
}

fn flag(call: &Call, name: &str) -> Result<bool, Error> {
    match call.parameter(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::BadRequest(
            "`follow` and `previous` are true or false",
        )),
    }
}

//! Answers that the API server did not give, and the streams that it gave.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::json;
use tokio::time::Instant;

use super::{Cut, Shared};

pub(super) type Reply = UnsyncBoxBody<Bytes, Cut>;

pub(super) fn whole(body: Bytes) -> Reply {
    Full::new(body).map_err(Cut::from).boxed_unsync()
}

pub(super) fn passed(body: Body) -> Reply {
    body.map_err(|_| Cut).boxed_unsync()
}

pub(super) fn refused() -> Response<Reply> {
    status(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalError",
        "the fault proxy refuses this write",
    )
}

pub(super) fn conflict() -> Response<Reply> {
    status(
        StatusCode::CONFLICT,
        "Conflict",
        "the fault proxy calls this write a conflict, although it was done",
    )
}

pub(super) fn throttled(retry_after: Duration) -> Response<Reply> {
    let mut response = status(
        StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequests",
        "the fault proxy throttles",
    );
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, retry_after.as_secs().into());
    response
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response<Reply> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    let mut response = Response::new(whole(body.to_string().into()));
    *response.status_mut() = code;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The stream of a watch, which stays silent in silence and ends when it has to.
pub(super) fn watched(body: Body, shared: &Shared, expires: Option<Instant>) -> Reply {
    let changes = shared.faults.subscribe();
    let state = (body, changes, expires, false);
    let frames = stream::unfold(
        state,
        move |(mut body, mut changes, mut expires, ended)| async move {
            if ended {
                return None;
            }
            let mut next: Option<Frame<Bytes>> = None;
            let mut lost = false;
            loop {
                let faults = changes.borrow_and_update().clone();
                let mute = faults.silent || faults.black_hole;
                lost |= faults.black_hole;
                if !mute {
                    if lost {
                        return Some((Err(Cut), (body, changes, expires, true)));
                    }
                    if let Some(frame) = next {
                        return Some((Ok(frame), (body, changes, expires, false)));
                    }
                    // A watch that was open when the fault began is cut, too.
                    if let Some(time) = faults.watches_cut_after {
                        expires.get_or_insert_with(|| Instant::now() + time);
                    }
                }
                let until_expiry = async {
                    match expires {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    told = changes.changed() => if told.is_err() { return None },
                    () = until_expiry, if !mute => return None,
                    frame = body.frame(), if next.is_none() => match frame {
                        Some(Ok(frame)) => next = Some(frame),
                        Some(Err(_)) => return Some((Err(Cut), (body, changes, expires, true))),
                        None => return None,
                    },
                }
            }
        },
    );
    StreamBody::new(frames).boxed_unsync()
}

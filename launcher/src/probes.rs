//! `/livez`, `/readyz` and `/phase`, on a port of their own for the pod's whole life.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http1;
use crate::phase::Status;

/// How long `/readyz` waits for an app that starts for the first time, so that the kubelet learns of it at once and not when it
/// asks next, up to a second later. Less than its `timeoutSeconds`; longer than its `periodSeconds`, so that it always asks.
const HOLD: Duration = Duration::from_millis(1500);

/// Serves until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    status: watch::Receiver<Status>,
    stop: CancellationToken,
) {
    http1::serve(listener, http1::CONNECTIONS, stop, |stream| {
        let status = status.clone();
        async move {
            http1::answer(stream, true, |request| {
                let status = status.clone();
                async move { respond(request.uri().path(), status).await }
            })
            .await;
        }
    })
    .await;
}

async fn respond(path: &str, mut status: watch::Receiver<Status>) -> Response<Full<Bytes>> {
    if path == "/readyz" {
        let settled = status.wait_for(|status| status.ready || !status.phase.is_first_start());
        // Whatever it is by then is told.
        let _ = timeout(HOLD, settled).await;
    }
    let (code, content_type, body) = answer(path, &status.borrow());
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

fn answer(path: &str, status: &Status) -> (StatusCode, &'static str, String) {
    const TEXT: &str = "text/plain; charset=utf-8";
    match path {
        "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" if status.ready => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let body = format!("not ready: {}\n", status.phase.as_str());
            (StatusCode::SERVICE_UNAVAILABLE, TEXT, body)
        }
        "/phase" => {
            let body = serde_json::to_string(status).expect("a status is plain data");
            (StatusCode::OK, "application/json", body)
        }
        _ => (StatusCode::NOT_FOUND, TEXT, "not found\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::{Board, Phase};

    #[test]
    fn probes_tell_life_readiness_and_phase() {
        let board = Board::new();
        let status = board.watch();
        board.enter(Phase::Installing);
        board.tell("Resolved 19 packages in 879ms");
        let waiting = r#"{"phase":"Installing Application Dependencies","message":"Resolved 19 packages in 879ms","ready":false,"restarts":0}"#;
        let cases = [
            ("/livez", 200, "ok\n"),
            (
                "/readyz",
                503,
                "not ready: Installing Application Dependencies\n",
            ),
            ("/phase", 200, waiting),
            ("/", 404, "not found\n"),
        ];
        for (path, code, body) in cases {
            let (seen, _, text) = answer(path, &status.borrow());
            assert_eq!((seen.as_u16(), text.as_str()), (code, body), "{path}");
        }
        board.running();
        assert_eq!(answer("/readyz", &status.borrow()).0, StatusCode::OK);
    }

    /// What is answered without waiting for anything.
    async fn at_once(path: &str, board: &Board) -> Option<u16> {
        let answer = timeout(Duration::ZERO, respond(path, board.watch())).await;
        answer.ok().map(|answer| answer.status().as_u16())
    }

    #[tokio::test]
    async fn the_first_start_is_waited_for_and_no_other() {
        let board = Board::new();
        board.enter(Phase::StartingApp);
        assert_eq!(at_once("/readyz", &board).await, None);
        assert_eq!(at_once("/livez", &board).await, Some(200));
        let waited = respond("/readyz", board.watch()).await;
        assert_eq!(waited.status(), 503, "not for ever");

        let asked = respond("/readyz", board.watch());
        let (told, ()) = tokio::join!(asked, async { board.running() });
        assert_eq!(told.status(), 200);
        for act in [
            |board: &Board| board.restarting("it ended"),
            Board::stopping,
        ] {
            act(&board);
            assert_eq!(at_once("/readyz", &board).await, Some(503));
        }
    }
}

//! `/livez`, `/readyz` and `/phase`, on a port of their own for the pod's whole life.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http1;
use crate::phase::Status;

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
                respond(request.uri().path(), &status.borrow())
            })
            .await;
        }
    })
    .await;
}

fn respond(path: &str, status: &Status) -> Response<Full<Bytes>> {
    let (code, content_type, body) = answer(path, status);
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
}

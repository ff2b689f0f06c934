//! From a permit to the app's answer: the raw path of all proxied traffic.

pub(crate) mod cookies;
mod frames;
pub(crate) mod headers;
pub(crate) mod pool;
pub(crate) mod tunnels;
pub(crate) mod upgrade;
pub(crate) mod upload;
pub(crate) mod upstream;
pub(crate) mod wave;

use std::sync::Arc;

use crds::AppMode;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::Body;
use crate::error::Error;
use crate::exchange::Exchange;
use crate::permit::Permit;
use crate::table::Table;
use crate::target::Form;
use headers::Arrival;
use pool::AnswerBody;
use tunnels::Tunnels;
use upload::Upload;

/// Headers by which an app could act on more than its own answers: on cookies of the whole domain, on where
/// browsers connect, on what we say about our own errors.
const CONFINED: [&str; 3] = ["alt-svc", "clear-site-data", crate::web::ERROR_HEADER];

/// Headers by which an app could act on everything of its host, for longer than it is open: answer for all paths from a
/// service worker, have all addresses reported to it. Where apps share a host, they stay in their own path.
const CONFINED_ON_SHARED_HOST: [&str; 3] = ["service-worker-allowed", "nel", "report-to"];

/// Forwards what the policy has let through.
#[derive(Debug)]
pub(crate) struct Proxy {
    table: Arc<Table>,
    tunnels: Arc<Tunnels>,
    max_body: u64,
}

impl Proxy {
    /// A proxy whose tunnels are watched over by `tunnels`, and for bodies of at most `max_body` bytes.
    #[must_use]
    pub(crate) fn new(table: Arc<Table>, tunnels: Arc<Tunnels>, max_body: u64) -> Self {
        Self {
            table,
            tunnels,
            max_body,
        }
    }

    /// Sends one request to the instance and streams its answer. `base` is the path that the browser knows the instance by.
    pub(crate) async fn forward(
        &self,
        permit: Permit,
        form: Form,
        base: &str,
        mut request: Request<Incoming>,
        arrival: &Arrival<'_>,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        let route = permit.route();
        // What runs there is unknown until its app is; the stricter rules hold meanwhile.
        if matches!(route.mode, None | Some(AppMode::Wave)) {
            let own_base = route.base(form);
            wave::admit(
                request.method(),
                request.uri().path(),
                request.headers(),
                &own_base,
            )?;
        }
        let upgrade = upgrade::Asked::of(&request)?;
        let upstream = route.pick_upstream().ok_or(Error::InstanceBusy)?.clone();
        let slot = upstream.request_slot()?;
        let Some(asked) = upgrade else {
            let (client, body) = request.into_parts();
            let body = Upload::new(body, self.max_body, || exchange.received())?;
            let asked_at = Instant::now();
            let response = upstream.send(|| to_app(&client, arrival), body).await?;
            exchange.answered = Some(asked_at.elapsed());
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Error::UnaskedUpgrade);
            }
            return Ok(answered(response, base, form, slot));
        };
        let slots = (upstream.tunnel_slot()?, self.tunnels.slot(arrival.peer)?);
        let downstream = hyper::upgrade::on(&mut request);
        let (client, _) = request.into_parts();
        let mut request = to_app(&client, arrival);
        asked.insert_into(request.headers_mut());
        let asked_at = Instant::now();
        let mut response = Box::pin(upstream.send_upgrade(request)).await?;
        exchange.answered = Some(asked_at.elapsed());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let response = response.map(AnswerBody::driven_elsewhere);
            return Ok(answered(response, base, form, slot));
        }
        let agreed = asked.agreed(response.headers())?;
        let app = hyper::upgrade::on(&mut response);
        prepare_response(response.headers_mut(), base, form);
        agreed.insert_into(response.headers_mut());
        let meter = agreed.meter();
        let exchange = exchange.go_on();
        self.tunnels
            .open(&self.table, permit, slots, (meter, exchange), async move {
                let (browser, app) = tokio::try_join!(downstream, app)?;
                Ok((TokioIo::new(browser), TokioIo::new(app)))
            });
        drop(slot);
        let (parts, _) = response.into_parts();
        Ok(Response::from_parts(parts, Body::empty()))
    }
}

/// A pod's answer on its way to the browser.
fn answered(
    mut response: Response<AnswerBody>,
    base: &str,
    form: Form,
    slot: OwnedSemaphorePermit,
) -> Response<Body> {
    prepare_response(response.headers_mut(), base, form);
    *response.version_mut() = Version::default();
    response.map(|body| Body::Upstream(body, slot))
}

/// A request's head as its app gets it.
fn to_app(client: &Parts, arrival: &Arrival<'_>) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = client.method.clone();
    *request.uri_mut() = if client.uri.authority().is_some() {
        let path = client.uri.path_and_query().cloned();
        Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
    } else {
        client.uri.clone()
    };
    *request.headers_mut() = headers::outgoing(&client.headers, arrival);
    request
}

fn prepare_response(headers: &mut HeaderMap, base: &str, form: Form) {
    headers::strip(headers, |name| {
        CONFINED.contains(&name)
            || (form == Form::BaseUrl && CONFINED_ON_SHARED_HOST.contains(&name))
    });
    if headers.contains_key(header::SET_COOKIE) {
        cookies::confine_set_cookies(headers, base);
    }
}

/// Whether a body follows the head.
fn has_body(request: &Request<Incoming>) -> bool {
    !request.body().is_end_stream()
}

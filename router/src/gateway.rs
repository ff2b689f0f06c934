//! The way of one request: parse, authenticate, authorize, forward or answer, log.

use std::net::SocketAddr;
use std::sync::Arc;

use catalog::Scope;
use futures::future::BoxFuture;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use url::form_urlencoded;

use crate::activity::Reporter;
use crate::address::{self, Leads, Visit};
use crate::bearer::{self, Bearers};
use crate::client_address::TrustedProxies;
use crate::error::Error;
use crate::exchange::{Answer, Exchange, Journal, Kind};
use crate::origin::{Sender, is_unsafe, sender};
use crate::permit::Permit;
use crate::policy::Decision;
use crate::proxy::Proxy;
use crate::proxy::headers::{Arrival, REQUEST_ID};
use crate::redirect::redirect;
use crate::session::cookie::{BrowserSecret, Cookies};
use crate::session::visit::{self, NonceHash};
use crate::session::{LocalPath, Sessions};
use crate::site::{AppHost, Site};
use crate::table::Table;
use crate::target::{self, Form, Target};
use crate::waiting::{PHASES_PATH, Phases};
use crate::web::{Asked, Asks, failure};
use crate::{Body, InstanceId, head, trace};

/// The store's own pages.
pub(crate) type Pages =
    Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// How requests arrive, and where they are written down.
#[derive(Debug)]
pub(crate) struct Front {
    /// The addresses that are served.
    pub site: Arc<Site>,
    /// Whose word on a request's origin is believed.
    pub proxies: TrustedProxies,
    /// Largest body of a request to an app, in bytes.
    pub max_body: u64,
    /// Where requests are written down.
    pub journal: Arc<Journal>,
    /// Cancelled when this replica is on its way out.
    pub leaving: CancellationToken,
}

/// Everything that one request may need.
pub(crate) struct Gateway {
    front: Front,
    site: Arc<Site>,
    table: Arc<Table>,
    sessions: Sessions,
    bearers: Arc<Bearers>,
    proxy: Proxy,
    phases: Arc<Phases>,
    reporter: Arc<Reporter>,
    pages: Pages,
    cookies: Cookies,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Puts the parts together.
    #[must_use]
    pub(crate) fn new(
        front: Front,
        table: Arc<Table>,
        (sessions, bearers): (Sessions, Arc<Bearers>),
        proxy: Proxy,
        phases: Arc<Phases>,
        reporter: Arc<Reporter>,
        pages: Pages,
    ) -> Self {
        let site = front.site.clone();
        let cookies = Cookies::new(site.is_secure());
        Self {
            front,
            site,
            table,
            sessions,
            bearers,
            proxy,
            phases,
            reporter,
            pages,
            cookies,
        }
    }

    /// Answers one request. Never fails: every error becomes an answer here, and is logged here.
    pub(crate) async fn handle(
        self: Arc<Self>,
        peer: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Response<Answer> {
        let client = self.front.proxies.client(peer.ip(), request.headers());
        let trace = trace::settle(request.headers_mut());
        let asked = Asked::of(&request, client.address, trace);
        let version = request.version();
        let mut exchange = Exchange::begin(&self.front.journal, &request, &asked);
        let scheme = client.scheme.unwrap_or(self.site.scheme());
        let answer = self.route(request, &asked, scheme, &mut exchange).await;
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                self.front.journal.metrics.failed(&error);
                log_failure(&error, &asked);
                failure(&error, &asked, &self.site).map(Body::from)
            }
        };
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, asked.request_id);
        // HTTP/2 has a frame for it.
        if self.front.leaving.is_cancelled() && version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            headers.entry(header::CONNECTION).or_insert(close);
        }
        exchange.status = Some(response.status());
        response.map(|body| Answer::new(body, exchange))
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        asked: &Asked,
        scheme: &'static str,
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        if *request.method() == Method::CONNECT {
            return Err(Error::ConnectRefused);
        }
        head::check(request.uri(), request.headers())?;
        let authority = target::authority(request.uri(), request.headers())?;
        let own_host = |name: &str| self.table.own_host(name);
        let target = Target::parse(&self.site, own_host, authority.host(), request.uri().path());
        exchange.kind = Kind::from(&target);
        match target {
            Target::Store => Ok(self.store(request, asked, authority, exchange).await),
            Target::Instance { name, host, form } => {
                let visit = Visit { name, host, form };
                let arrival = Arrival {
                    peer: asked.peer,
                    scheme,
                    host: authority.as_str(),
                    request_id: &asked.request_id,
                };
                let arrived = (&authority, &arrival);
                self.instance(visit, request, asked, arrived, exchange)
                    .await
            }
            // Boxed, like everything that few requests need: every one would carry the room for it along.
            Target::Slashless(id) => Box::pin(self.add_slash(&id, &request, asked)).await,
            Target::Platform(host) => Box::pin(self.platform(host, &request, asked)).await,
            Target::Nowhere => Err(Error::NotFound),
        }
    }

    async fn store(
        &self,
        mut request: Request<Incoming>,
        asked: &Asked,
        authority: Authority,
        exchange: &mut Exchange,
    ) -> Response<Body> {
        request.extensions_mut().insert(asked.clone());
        request.extensions_mut().insert(authority);
        let mut page = (self.pages)(request).await;
        if let Some(Asks(name)) = page.extensions_mut().remove() {
            exchange.asked_by(name);
        }
        page
    }

    async fn instance(
        &self,
        mut visit: Visit,
        mut request: Request<Incoming>,
        asked: &Asked,
        (authority, arrival): (&Authority, &Arrival<'_>),
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Error> {
        let host = &visit.host;
        let asked_at = Instant::now();
        let permit = self.authorize(&visit.name, host, request.headers(), asked);
        let permit = permit.await;
        exchange.authorized = Some(asked_at.elapsed());
        let permit = match permit {
            Err(Error::NotSignedIn) if asked.navigation => {
                return self.send_to_sign_in(host, &request);
            }
            other => other?,
        };
        exchange.permitted(&permit);
        // Another app's page on the same site can send our cookie along; SameSite does not stop it.
        let changes =
            is_unsafe(request.method()) || request.headers().contains_key(header::UPGRADE);
        if permit.session().is_some()
            && changes
            && sender(request.headers(), authority) == Sender::Foreign
        {
            return Err(Error::ForeignOrigin);
        }
        let path = request.uri().path_and_query();
        let path = path.map_or("/", PathAndQuery::as_str);
        let leads = address::leads(&self.site, permit.route(), &visit, path);
        match leads {
            Leads::Below => visit.form = Form::BaseUrl,
            Leads::ToForm(location) => {
                return redirect(StatusCode::TEMPORARY_REDIRECT, &location);
            }
            Leads::ToPrimary(location) if address::is_page(request.method(), request.headers()) => {
                return redirect(StatusCode::FOUND, &location);
            }
            Leads::Here | Leads::ToPrimary(_) => {}
        }
        if permit.route().upstreams.is_empty() {
            return Err(Box::pin(self.not_ready(permit, visit.name)).await);
        }
        let base = visit.form.base(&visit.name);
        if visit.form == Form::BaseUrl && visit.name != permit.route().id {
            let uri = address::renamed(request.uri(), &base, &permit.route().base(visit.form));
            *request.uri_mut() = uri?;
        }
        self.proxy
            .forward(permit, visit.form, &base, request, arrival, exchange)
            .await
    }

    /// What to tell a visitor of an instance without a pod that could answer. One that sleeps is woken.
    async fn not_ready(&self, permit: Permit, name: InstanceId) -> Error {
        if let Err(error) = self.reporter.wake(permit.route()).await {
            return error;
        }
        Error::NotReady(Box::new(self.phases.now(&permit, name).await))
    }

    /// `/instance/<id>` means `/instance/<id>/`, for those who may know that.
    async fn add_slash(
        &self,
        id: &InstanceId,
        request: &Request<Incoming>,
        asked: &Asked,
    ) -> Result<Response<Body>, Error> {
        let host = AppHost::Shared;
        let permit = self.authorize(id, &host, request.headers(), asked);
        let permit = match permit.await {
            Err(Error::NotSignedIn) if asked.navigation => {
                return self.send_to_sign_in(&host, request);
            }
            other => other?,
        };
        let form = permit.route().form.unwrap_or(Form::BaseUrl);
        let query = request
            .uri()
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        redirect(
            StatusCode::TEMPORARY_REDIRECT,
            &format!("{}{query}", self.site.instance_url(id, form)),
        )
    }

    async fn authorize(
        &self,
        id: &InstanceId,
        host: &AppHost,
        headers: &HeaderMap,
        asked: &Asked,
    ) -> Result<Permit, Error> {
        // Public instances need neither session nor token, and no database.
        if let Ok(permit) = self.table.authorize(id, None) {
            return Ok(permit);
        }
        let signed_in = if let Some(token) = bearer::shown(headers) {
            let shown = self.bearers.signed_in(token, Scope::Instances, asked.peer);
            Some(Box::pin(shown).await?)
        } else if let Some(secret) = self.cookies.session(headers) {
            self.sessions
                .signed_in(secret, |name| {
                    name.is_some_and(|name| self.site.is_called(host, name))
                })
                .await?
        } else {
            None
        };
        self.table
            .authorize(id, signed_in)
            .map_err(|decision| match decision {
                Decision::SignIn => Error::NotSignedIn,
                Decision::Hide | Decision::Forbid | Decision::Allow => Error::Hidden,
            })
    }

    fn send_to_sign_in(
        &self,
        host: &AppHost,
        request: &Request<Incoming>,
    ) -> Result<Response<Body>, Error> {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let path = LocalPath::or_root(path);
        let nonce = BrowserSecret::held_or_new(self.cookies.visit(request.headers()))?;
        let mut response = redirect(
            StatusCode::FOUND,
            &visit::start(&self.site, host, &path, NonceHash::of(&nonce)),
        )?;
        response
            .headers_mut()
            .append(header::SET_COOKIE, self.cookies.set_visit(nonce.expose()));
        Ok(response)
    }

    /// Tells a visitor who waits how the instance is coming along.
    async fn phases(
        &self,
        host: &AppHost,
        name: &str,
        request: &Request<Incoming>,
        asked: &Asked,
    ) -> Result<Response<Body>, Error> {
        if *request.method() != Method::GET {
            return Err(Error::MethodNotAllowed("GET".to_owned()));
        }
        let authority = target::authority(request.uri(), request.headers())?;
        if sender(request.headers(), &authority) == Sender::Foreign {
            return Err(Error::ForeignOrigin);
        }
        let name: InstanceId = name.parse().map_err(|_| Error::NotFound)?;
        match host {
            AppHost::Instance(own) | AppHost::Own { alias: own, .. } if *own != name => {
                return Err(Error::NotFound);
            }
            AppHost::Instance(_) | AppHost::Own { .. } | AppHost::Shared => {}
        }
        let permit = self.authorize(&name, host, request.headers(), asked);
        let permit = permit.await?;
        self.phases.tell(permit, name)
    }

    /// The platform's own path on an app host: the end of a visit, and news for those who wait.
    async fn platform(
        &self,
        host: AppHost,
        request: &Request<Incoming>,
        asked: &Asked,
    ) -> Result<Response<Body>, Error> {
        if let Some(name) = request.uri().path().strip_prefix(PHASES_PATH) {
            return self.phases(&host, name, request, asked).await;
        }
        let host = &host;
        if request.uri().path() != visit::SESSION_PATH {
            return Err(Error::NotFound);
        }
        if *request.method() != Method::GET {
            return Err(Error::MethodNotAllowed("GET".to_owned()));
        }
        let query = request.uri().query().unwrap_or_default();
        let field = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        let path = LocalPath::or_root(&field("path").unwrap_or_default());
        let ticket = field("ticket").ok_or(Error::BadTicket)?;
        let nonce = self
            .cookies
            .visit(request.headers())
            .and_then(BrowserSecret::parse)
            .ok_or(Error::BadTicket)?;
        let session = self
            .sessions
            .redeem_ticket(&self.site, host, &ticket, &nonce)
            .await?;
        let location = format!("{}{path}", self.site.app_origin(host));
        let mut response = redirect(StatusCode::FOUND, &location)?;
        let headers = response.headers_mut();
        headers.append(
            header::SET_COOKIE,
            self.cookies.set_session(&session.expose()),
        );
        headers.append(header::SET_COOKIE, self.cookies.clear_visit());
        Ok(response)
    }
}

/// One line for each error that somebody should see; clients' own mistakes are for debugging.
pub(crate) fn log_failure(error: &Error, asked: &Asked) {
    let code = error.code();
    let id = asked.request_id.to_str().unwrap_or_default();
    let host = asked
        .host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let trace = asked.trace.as_str();
    let cause = error as &dyn std::error::Error;
    let status = error.status();
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(
            error = cause,
            request.id = id,
            trace.id = trace,
            error.code = code,
            "Could not answer a request for {host}"
        );
    } else if status.is_server_error() && !matches!(error, Error::NotReady(_)) {
        warn!(
            error = cause,
            request.id = id,
            trace.id = trace,
            error.code = code,
            "Answered a request for {host} with {code}"
        );
    } else {
        debug!(
            error = cause,
            request.id = id,
            trace.id = trace,
            error.code = code,
            "Refused a request for {host} with {code}"
        );
    }
}

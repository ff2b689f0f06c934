//! The store's own pages.
//!
//! `endpoint` lists every address. Each request is looked up there, its sender is put before the policy (`Visitor::may`), its form
//! is checked, and only then is it handled.

mod account;
mod account_forms;
mod accounts;
mod aliases;
mod api;
mod app;
mod app_query;
mod apps;
mod asked;
mod assets;
mod audit;
mod device;
mod devices;
pub(crate) mod endpoint;
mod form;
mod idempotency;
mod if_match;
mod instance;
mod instances;
mod limits;
mod pages;
mod preferences;
mod provider;
mod rates;
mod secret_forms;
mod secrets;
mod sessions;
mod sign_in;
mod tag_forms;
mod tags;
mod tokens;
mod visit;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use catalog::{AppQuery, Blobs, Catalog, Role, Scope, SessionKey, Thing};
use crds::{WaveAlias, WaveApp, WaveInstance};
use futures::Stream;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::time::{Instant, timeout};
use url::form_urlencoded;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;

use crate::Body;
use crate::app_log::AppLogs;
use crate::bearer::{self, Bearers};
use crate::error::Error;
use crate::events::Events;
use crate::gateway::{Pages, log_failure};
use crate::grants::Grants;
use crate::limits::Limits;
use crate::objects::Objects;
use crate::offer::Offer;
use crate::origin::{Sender, sender};
use crate::pod_log::PodLogs;
use crate::policy::{Action, Decision, decide};
use crate::redirect::redirect;
use crate::secrets::Secrets;
use crate::session::cookie::Cookies;
use crate::session::{LocalPath, Sessions};
use crate::sign_in::SignIn;
use crate::site::Site;
use crate::table::Table;
use crate::tags::Tags;
use crate::usage::Meter;
use crate::viewer::SignedIn;
use account_forms::Act;
pub(crate) use apps::Uploads;
use endpoint::{Endpoint, Kind};
use form::{Form, FormToken, Media};
use pages::Found;
use preferences::Opinions;
pub(crate) use rates::Rates;

pub(crate) use asked::Asked;
pub(crate) use pages::{ERROR_HEADER, failure, phases_object};

/// How long one of these pages may take, the reading of its form included.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an upload may take, and the wait for the blob store.
const UPLOAD_TIMEOUT: Duration = Duration::from_hours(1);

/// How long one question to the catalog may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a change is tried that others' changes come in between, and a name that is made here and taken.
const TRIES: usize = 5;

/// Does it, and once more while others' changes come in between.
async fn again<T, F>(act: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..TRIES {
        match act().await {
            Err(Error::Overtaken) => {}
            done => return done,
        }
    }
    act().await
}

/// What the pages are made from.
#[derive(Debug)]
pub(crate) struct Store {
    /// The store's addresses.
    pub site: Arc<Site>,
    /// What exists now.
    pub table: Arc<Table>,
    /// Instances in the Kubernetes API.
    pub instances: Objects<WaveInstance>,
    /// What has happened to them.
    pub events: Events,
    /// Apps in the Kubernetes API.
    pub apps: Objects<WaveApp>,
    /// Other names of instances in the Kubernetes API.
    pub aliases: Objects<WaveAlias>,
    /// Secrets of apps in the Kubernetes API, where they cannot be read.
    pub secrets: Secrets,
    /// Places for those who upload.
    pub uploads: Uploads,
    /// The last lines that their pods have logged.
    pub logs: PodLogs,
    /// What their pods use.
    pub meter: Meter,
    /// Their whole logs.
    pub app_logs: AppLogs,
    /// Apps' metadata.
    pub catalog: Catalog,
    /// Apps' pictures.
    pub blobs: Blobs,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Whose tokens are in force.
    pub bearers: Arc<Bearers>,
    /// What is known of tags.
    pub tags: Tags,
    /// How much may be asked of the API.
    pub rates: Rates,
    /// How people sign in.
    pub sign_in: SignIn,
    /// For how long the deletion of an instance by a page can be undone.
    pub undo: Duration,
    /// What users and apps may have.
    pub limits: Limits,
    /// What the store offers to apps and instances by name.
    pub offer: Offer,
    /// Namespace of the store, for the commands that cards show.
    pub namespace: String,
}

/// A reply as warp has it.
type Reply = warp::reply::Response;

impl Store {
    /// The pages as the gateway calls them.
    #[must_use]
    pub(crate) fn into_pages(self) -> Pages {
        let service = TowerToHyperService::new(warp::service(routes(Arc::new(self))));
        Arc::new(move |request: Request<Incoming>| {
            let patience = match *request.method() {
                Method::PUT => UPLOAD_TIMEOUT,
                _ => PAGE_TIMEOUT,
            };
            let answer = service.call(request);
            Box::pin(async move {
                let answer = timeout(patience, answer).await;
                answer.map_or_else(
                    |_| {
                        let mut late = Response::new(Body::empty());
                        *late.status_mut() = StatusCode::REQUEST_TIMEOUT;
                        late
                    },
                    |Ok(response)| response.map(Body::stream),
                )
            })
        })
    }

    fn cookies(&self) -> Cookies {
        Cookies::new(self.site.is_secure())
    }
}

fn routes(store: Arc<Store>) -> BoxedFilter<(Reply,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::get::<Asked>())
        .and(warp::ext::get::<Authority>())
        .and(warp::body::stream())
        .then(
            move |method, path: FullPath, query, headers, asked, authority, body| {
                let store = store.clone();
                let call = Call {
                    path,
                    query,
                    headers,
                    asked,
                    authority,
                };
                async move {
                    let (asks, answer) = respond(&store, &method, &call, body).await;
                    let mut reply = answer.unwrap_or_else(|error| {
                        log_failure(&error, &call.asked);
                        failure(&error, &call.asked, &store.site).map(Into::into)
                    });
                    if let Some(asks) = asks {
                        reply.extensions_mut().insert(asks);
                    }
                    reply
                }
            },
        )
        .boxed()
}

/// Name of the one who asked for a page, told along with it.
#[derive(Debug, Clone)]
pub(crate) struct Asks(pub(crate) Arc<str>);

/// One request, without its body.
struct Call {
    path: FullPath,
    query: String,
    headers: HeaderMap,
    asked: Asked,
    authority: Authority,
}

impl Call {
    /// What the browser says it is.
    fn browser(&self) -> Option<String> {
        let said = self.headers.get(header::USER_AGENT)?.to_str().ok()?;
        Some(said.to_owned())
    }

    /// The end of the path, where addresses name a thing.
    fn last_segment(&self) -> &str {
        self.path.as_str().rsplit('/').next().unwrap_or_default()
    }

    /// The one before it, where addresses name a part of a thing.
    fn segment_before_last(&self) -> &str {
        self.path.as_str().rsplit('/').nth(1).unwrap_or_default()
    }

    /// What was done last, which the page tells that one is sent to then.
    fn news(&self) -> pages::News<'static> {
        let done = self.parameter("done").and_then(|done| done.parse().ok());
        done.map_or(pages::News::None, pages::News::Done)
    }

    /// The first parameter of this name.
    fn parameter(&self, name: &str) -> Option<String> {
        field(&self.query, name)
    }
}

/// Somebody who comes to an endpoint; handled only when the policy lets them.
struct Visitor {
    signed_in: Option<SignedIn>,
    /// Goes into the forms of the pages that are shown.
    token: Option<FormToken>,
}

impl Visitor {
    fn name(&self) -> Option<Asks> {
        let signed_in = self.signed_in.as_ref()?;
        Some(Asks(signed_in.viewer.name.clone()))
    }

    /// Puts the visitor before the policy.
    fn may(&self, action: Action<'_>) -> Result<(), Error> {
        let viewer = self.signed_in.as_ref().map(|signed_in| &signed_in.viewer);
        match decide(viewer, action) {
            Decision::Allow => Ok(()),
            Decision::SignIn => Err(Error::NotSignedIn),
            Decision::Forbid => Err(Error::Forbidden),
            Decision::Hide => Err(Error::NotFound),
        }
    }

    /// The session by which the visitor is signed in: pages are for browsers.
    fn session(&self) -> Result<SessionKey, Error> {
        self.signed_in()?.session().ok_or(Error::NotSignedIn)
    }

    /// Notes what the visitor has done to a thing, such as `deleted the instance sales`.
    async fn did(&self, store: &Store, to: (Thing, &str), done: &str) -> Result<(), Error> {
        let account = &self.signed_in()?.viewer.name;
        crate::audit::note(&store.catalog, account, to, done).await;
        Ok(())
    }

    /// What is around the content of a page for somebody who is signed in.
    fn frame<'a>(&'a self, store: &'a Store) -> Result<pages::Frame<'a>, Error> {
        let viewer = &self.signed_in()?.viewer;
        let token = self.token.as_ref().ok_or(Error::NotSignedIn)?;
        Ok(pages::Frame::for_viewer(&store.site, viewer, token))
    }

    /// Who it is to the catalog.
    fn of_catalog(&self) -> Result<catalog::Viewer, Error> {
        let viewer = &self.signed_in()?.viewer;
        let name = viewer.name.to_string();
        let tags = viewer.grants.as_deref().map(Grants::names);
        let tags = tags.unwrap_or_default();
        Ok(match viewer.role {
            Role::Visitor => catalog::Viewer::Visitor { name, tags },
            Role::Full => catalog::Viewer::Publisher { name, tags },
            Role::Admin => catalog::Viewer::Everything,
        })
    }

    /// Who it is, where the policy has asked for somebody who is signed in.
    fn signed_in(&self) -> Result<&SignedIn, Error> {
        self.signed_in.as_ref().ok_or(Error::NotSignedIn)
    }
}

async fn respond(
    store: &Store,
    method: &Method,
    call: &Call,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> (Option<Asks>, Result<Reply, Error>) {
    let endpoint = match Endpoint::find(method, call.path.as_str()) {
        Ok(endpoint) => endpoint,
        Err(error) => return (None, Err(error)),
    };
    let mut asks = None;
    let answer = match identify_within_limits(store, endpoint, call).await {
        Ok(visitor) => {
            asks = visitor.name();
            match visitor.may(endpoint.action()) {
                Ok(()) => handle(store, endpoint, &visitor, call, body).await,
                Err(refused) => Err(refused),
            }
        }
        Err(error) => Err(error),
    };
    let answer = match answer {
        Err(Error::NotSignedIn) if call.asked.navigation => to_sign_in(endpoint, call),
        other => other,
    };
    (asks, answer)
}

/// Finds out who asks, and whether that may ask more of the API now.
async fn identify_within_limits(
    store: &Store,
    endpoint: Endpoint,
    call: &Call,
) -> Result<Visitor, Error> {
    if !endpoint.takes_tokens() {
        return identify(store, endpoint, call).await;
    }
    store.rates.arrives(call.asked.peer, Instant::now())?;
    let visitor = identify(store, endpoint, call).await?;
    if let Some(signed_in) = &visitor.signed_in {
        store.rates.asks(&signed_in.viewer.name, Instant::now())?;
    }
    Ok(visitor)
}

/// Finds out who asks.
async fn identify(store: &Store, endpoint: Endpoint, call: &Call) -> Result<Visitor, Error> {
    let headers = &call.headers;
    let cookies = store.cookies();
    let mut signed_in = match (bearer::shown(headers), cookies.session(headers)) {
        (Some(token), _) if endpoint.takes_tokens() => {
            let shown = store
                .bearers
                .signed_in(token, Scope::Store, call.asked.peer);
            Some(shown.await?)
        }
        // A token is never mixed with a cookie, and opens no page.
        (Some(_), _) | (None, None) => None,
        (None, Some(secret)) => {
            store
                .sessions
                .signed_in(secret, |host| host.is_none())
                .await?
        }
    };
    if let Some(SignedIn { viewer, .. }) = &mut signed_in {
        let tags = store.tags.all().await?;
        let grants = Grants::of(viewer.role, &viewer.roles, &tags.0);
        viewer.grants = Some(Arc::new(grants));
    }
    let secret = match endpoint {
        // Who signs in has no session yet.
        Endpoint::SignIn => cookies.form(headers),
        // A session that is over still names the browser that signs out.
        _ => cookies.session(headers),
    };
    Ok(Visitor {
        signed_in,
        token: secret.map(FormToken::of),
    })
}

async fn handle(
    store: &Store,
    endpoint: Endpoint,
    visitor: &Visitor,
    call: &Call,
    body: impl Stream<Item = Result<impl Buf, warp::Error>>,
) -> Result<Reply, Error> {
    let of_page = match endpoint.kind() {
        Kind::Read | Kind::Call => false,
        Kind::Form => true,
        // Nobody's browser sends a token along without being told.
        Kind::Create | Kind::Upload | Kind::Put | Kind::Change | Kind::Delete => {
            visitor.session().is_ok()
        }
    };
    if of_page {
        require_own_page(call)?;
    }
    let media = match endpoint.kind() {
        Kind::Upload => return api::apps::publish(store, visitor, call, body).await,
        Kind::Read | Kind::Delete => None,
        Kind::Call | Kind::Form => Some(Media::Form),
        Kind::Create | Kind::Put | Kind::Change => Some(Media::Json),
    };
    let body = match media {
        Some(media) => form::read(media, endpoint.max_body(), &call.headers, body).await?,
        None => Bytes::new(),
    };
    let form = match media {
        Some(Media::Form) => Form::parse(&body),
        Some(Media::Json) | None => Form::parse(b""),
    };
    if endpoint.kind() == Kind::Form {
        let token = visitor.token.as_ref().ok_or(Error::StaleForm);
        match token.and_then(|token| token.check(&form)) {
            Err(stale) if endpoint == Endpoint::SignIn && call.asked.navigation => {
                return sign_in::again(store, call, &form, &stale);
            }
            other => other?,
        }
    }
    dispatch(store, endpoint, visitor, call, (&form, &body)).await
}

/// Does what was asked for, by whoever the policy has let in, with the form or the document that came with it.
async fn dispatch(
    store: &Store,
    endpoint: Endpoint,
    visitor: &Visitor,
    call: &Call,
    (form, body): (&Form, &[u8]),
) -> Result<Reply, Error> {
    let act = |act| account_forms::act(store, visitor, call, form, act);
    match endpoint {
        Endpoint::Home => home(store, visitor, call).await,
        Endpoint::SignInPage => sign_in::page(store, visitor, call),
        Endpoint::SignIn => sign_in::sign_in(store, visitor, call, form).await,
        Endpoint::SignOut => sign_in::sign_out(store, visitor).await,
        Endpoint::SignInAtProvider => provider::start(store, call).await,
        Endpoint::ProviderAnswer => provider::answered(store, visitor, call).await,
        Endpoint::BackChannelLogout => Ok(provider::back_channel(store, call, form).await),
        Endpoint::Visit => visit::visit(store, visitor, call).await,
        Endpoint::Picture => assets::picture(store, visitor, call).await,
        Endpoint::Account => account::page(store, visitor, call).await,
        Endpoint::ChangePassword => account::change_password(store, visitor, call, form).await,
        Endpoint::EndSession => account::end_session(store, visitor, form).await,
        Endpoint::EndOtherSessions => account::end_other_sessions(store, visitor).await,
        Endpoint::CreateToken => account::create_token(store, visitor, call, form).await,
        Endpoint::RevokeToken => account::revoke_token(store, visitor, form).await,
        Endpoint::Device => device::page(store, visitor, call).await,
        Endpoint::AnswerDevice => device::answer(store, visitor, call, form).await,
        Endpoint::Accounts => account_forms::page(store, visitor, call).await,
        Endpoint::CreateAccount => act(Act::Create).await,
        Endpoint::ResetPassword => act(Act::ResetPassword).await,
        Endpoint::ChangeRole => act(Act::Role).await,
        Endpoint::DisableAccount => act(Act::Disable).await,
        Endpoint::EnableAccount => act(Act::Enable).await,
        Endpoint::Tags => tag_forms::page(store, visitor, call).await,
        Endpoint::SetTag => tag_forms::set(store, visitor, call, form).await,
        Endpoint::DeleteTag => tag_forms::delete(store, visitor, call, form).await,
        Endpoint::Limits => limits::page(store, visitor),
        Endpoint::Audit => audit::page(store, visitor, call).await,
        Endpoint::Secrets => secret_forms::page(store, visitor, call),
        Endpoint::SetSecret => secret_forms::set(store, visitor, call, form).await,
        Endpoint::DeleteSecret => secret_forms::delete(store, visitor, call, form).await,
        Endpoint::App => app::page(store, visitor, call).await,
        Endpoint::Run => app::run(store, visitor, call, form).await,
        Endpoint::Prefer => preferences::press(store, visitor, form).await,
        Endpoint::PublishPage => publish_page(store, visitor),
        Endpoint::Instances => instance::all(store, visitor, call),
        Endpoint::Instance => instance::page(store, visitor, call).await,
        Endpoint::ChangeInstance => instance::change(store, visitor, call, form).await,
        Endpoint::DeleteInstance => instance::delete(store, visitor, call, form).await,
        Endpoint::ApiDescription => Ok(api::openapi::get()),
        Endpoint::ApiAccount => api::account(store, visitor).await,
        Endpoint::ApiSessions => api::sessions::list(store, visitor).await,
        Endpoint::ApiEndSession => api::sessions::end(store, visitor, call).await,
        Endpoint::ApiEndSessions => api::sessions::end_others(store, visitor).await,
        Endpoint::ApiTokens => api::tokens::list(store, visitor, call).await,
        Endpoint::ApiCreateToken => api::tokens::create(store, visitor, body).await,
        Endpoint::ApiRevokeToken => api::tokens::revoke(store, visitor, call).await,
        Endpoint::ApiDevice => api::devices::ask(store, call, body).await,
        Endpoint::ApiDeviceToken => api::devices::claim(store, body).await,
        Endpoint::ApiAccounts => api::accounts::list(store, call).await,
        Endpoint::ApiCreateAccount => api::accounts::create(store, visitor, body).await,
        Endpoint::ApiOneAccount => api::accounts::get(store, call).await,
        Endpoint::ApiChangeAccount => api::accounts::change(store, visitor, call, body).await,
        Endpoint::ApiResetPassword => {
            api::accounts::reset_password(store, visitor, call, body).await
        }
        Endpoint::ApiPublish => Err(Error::BadRequest("a bundle is the whole body")),
        Endpoint::ApiApps => api::apps::list(store, visitor, call).await,
        Endpoint::ApiApp => api::apps::get(store, visitor, call).await,
        Endpoint::ApiChangeApp => api::apps::change(store, visitor, call, body).await,
        Endpoint::ApiBundle => api::apps::bundle(store, visitor, call).await,
        Endpoint::ApiDeleteApp => api::apps::delete(store, visitor, call).await,
        Endpoint::ApiPreferences => api::preferences::list(store, visitor, call).await,
        Endpoint::ApiPrefer => api::preferences::change(store, visitor, call, body).await,
        Endpoint::ApiInstances => api::instances::list(store, visitor, call),
        Endpoint::ApiCreateInstance => api::instances::create(store, visitor, call, body).await,
        Endpoint::ApiInstance => api::instances::get(store, visitor, call).await,
        Endpoint::ApiChangeInstance => api::instances::change(store, visitor, call, body).await,
        Endpoint::ApiDeleteInstance => api::instances::delete(store, visitor, call).await,
        Endpoint::ApiLogs => api::logs::read(store, visitor, call).await,
        Endpoint::ApiAliases => api::aliases::list(store, visitor, call).await,
        Endpoint::ApiAlias => api::aliases::get(store, visitor, call).await,
        Endpoint::ApiSetAlias => api::aliases::set(store, visitor, call, body).await,
        Endpoint::ApiDeleteAlias => api::aliases::delete(store, visitor, call).await,
        Endpoint::ApiOffer => api::offer::get(store),
        Endpoint::ApiLimits => api::limits::get(store, call),
        Endpoint::ApiAudit => api::audit::list(store, call).await,
        Endpoint::ApiTags => api::tags::list(store, call).await,
        Endpoint::ApiTag => api::tags::get(store, call).await,
        Endpoint::ApiSetTag => api::tags::set(store, visitor, call, body).await,
        Endpoint::ApiDeleteTag => api::tags::delete(store, visitor, call).await,
        Endpoint::ApiSecrets => api::secrets::list(store, visitor, call),
        Endpoint::ApiSecret => api::secrets::get(store, visitor, call),
        Endpoint::ApiSetSecret => api::secrets::set(store, visitor, call, body).await,
        Endpoint::ApiDeleteSecret => api::secrets::delete(store, visitor, call).await,
    }
}

/// Sends a browser to the sign-in page, and from there back to the page it asked for.
fn to_sign_in(endpoint: Endpoint, call: &Call) -> Result<Reply, Error> {
    if endpoint.kind() != Kind::Read {
        return redirect(StatusCode::SEE_OTHER, "/sign-in");
    }
    let query = match call.query.as_str() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    let next = LocalPath::or_root(&format!("{}{query}", call.path.as_str()));
    if next == LocalPath::root() {
        return redirect(StatusCode::FOUND, "/sign-in");
    }
    let next = form_urlencoded::Serializer::new(String::new())
        .append_pair("next", &next.to_string())
        .finish();
    redirect(StatusCode::FOUND, &format!("/sign-in?{next}"))
}

/// Shows a page again that tells what a form has done.
fn back_to(path: &str, done: pages::Done) -> Result<Reply, Error> {
    redirect(StatusCode::SEE_OTHER, &telling(path, done))
}

/// Address of a page that tells what a form has done.
fn telling(path: &str, done: pages::Done) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}done={done}")
}

/// Refuses forms that another site's page sends, or that no browser sends.
fn require_own_page(call: &Call) -> Result<(), Error> {
    match sender(&call.headers, &call.authority) {
        Sender::Same => Ok(()),
        Sender::Foreign | Sender::Unknown => Err(Error::ForeignOrigin),
    }
}

async fn home(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let signed_in = visitor.signed_in()?;
    let query = app_query::of_form(call)?;
    let found = match find_apps(store, visitor, &query).await {
        Ok(found) => Some(found),
        Err(error) => {
            // Instances do not need the database, so their list still shows.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not list apps"
            );
            None
        }
    };
    let snapshot = store.table.load();
    let tags = store.tags.all().await?;
    let frame = visitor.frame(store)?;
    let page = pages::Home::new(
        (&store.site, frame),
        &signed_in.viewer,
        (&query, found),
        (&snapshot, &tags.0),
        store.undo,
        call.news(),
    );
    page.reply().map(|page| page.map(Into::into))
}

/// What the first page shows of apps.
async fn find_apps(store: &Store, visitor: &Visitor, query: &AppQuery) -> Result<Found, Error> {
    let viewer = visitor.of_catalog()?;
    let apps = store
        .catalog
        .visible_apps(&viewer, query, pages::MAX_APPS + 1);
    let apps = async { Ok(timeout(PATIENCE, apps).await??) };
    let (apps, own) = tokio::try_join!(apps, Opinions::own(store, visitor))?;
    let pinned = if app_query::is_for_all(query) {
        own.pinned()
    } else {
        Vec::new()
    };
    let shown = apps.iter().map(|app| app.name.as_str());
    let likes = Opinions::likes(store, shown.chain(pinned.iter().copied()).collect());
    let pinned = async {
        let pinned = store.catalog.newest_versions(&viewer, &pinned);
        Ok(timeout(PATIENCE, pinned).await??)
    };
    let (pinned, likes) = tokio::try_join!(pinned, likes)?;
    let opinions = own.with(likes);
    Ok(Found {
        apps,
        pinned,
        opinions,
    })
}

fn publish_page(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    let page = pages::Publish::new(visitor.frame(store)?);
    page.reply(&store.site).map(|page| page.map(Into::into))
}

/// Ends the session that somebody shows.
async fn end_session(store: &Store, signed_in: &SignedIn) -> Result<(), Error> {
    if let Some(session) = signed_in.session() {
        timeout(PATIENCE, store.catalog.end_session(&session)).await??;
        store.sessions.forget(&session);
    }
    Ok(())
}

fn field(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

//! The store's own pages: sign-in, the first page, pictures of apps, visits.

mod asked;
mod assets;
mod pages;
mod provider;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Blobs, Catalog};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use tokio::time::timeout;
use url::form_urlencoded;
use warp::filters::BoxedFilter;
use warp::{Filter, Rejection};

use crate::Body;
use crate::error::Error;
use crate::gateway::{Pages, log_failure};
use crate::oidc::Provider;
use crate::origin::{Sender, sender};
use crate::session::cookie::Cookies;
use crate::session::visit::{NonceHash, VISIT_PATH};
use crate::session::{LocalPath, Sessions};
use crate::sign_in::SignIn;
use crate::site::{AppHost, Site};
use crate::table::Table;
use crate::viewer::SignedIn;

pub(crate) use asked::Asked;
pub(crate) use pages::{ERROR_HEADER, failure, phases_object};

/// Largest form that is read, in bytes.
const MAX_FORM: u64 = 16 * 1024;

/// How long one of these pages may take, the reading of its form included.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the catalog may take for the first page.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the pages are made from.
#[derive(Debug)]
pub(crate) struct Store {
    /// The store's addresses.
    pub site: Arc<Site>,
    /// What exists now.
    pub table: Arc<Table>,
    /// Apps' metadata.
    pub catalog: Catalog,
    /// Apps' pictures.
    pub blobs: Blobs,
    /// Who is signed in.
    pub sessions: Sessions,
    /// How people sign in.
    pub sign_in: SignIn,
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
            let answer = service.call(request);
            Box::pin(async move {
                let answer = timeout(PAGE_TIMEOUT, answer).await;
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

    async fn viewer(&self, headers: &HeaderMap) -> Result<Option<SignedIn>, Error> {
        match self.cookies().session(headers) {
            Some(secret) => self.sessions.signed_in(secret, None).await,
            None => Ok(None),
        }
    }
}

fn routes(store: Arc<Store>) -> BoxedFilter<(Reply,)> {
    let site = store.site.clone();
    let context = warp::any()
        .map(move || store.clone())
        .and(warp::ext::get::<Asked>())
        .and(warp::header::headers_cloned())
        .boxed();
    let read = warp::get().or(warp::head()).unify().boxed();
    let query = warp::query::raw()
        .or(warp::any().map(String::new))
        .unify()
        .boxed();
    let form = warp::post().and(warp::ext::get::<Authority>()).boxed();

    let at_provider = provider::routes(&context, &query);
    let home = warp::path::end()
        .and(read.clone())
        .and(context.clone())
        .then(
            |store: Arc<Store>, asked: Asked, headers: HeaderMap| async move {
                answer(&store, &asked, home(&store, &headers).await)
            },
        );
    let sign_in_page = warp::path!("sign-in")
        .and(read.clone())
        .and(context.clone())
        .and(query.clone())
        .then(
            |store: Arc<Store>, asked: Asked, headers: HeaderMap, query: String| async move {
                answer(&store, &asked, sign_in_page(&store, &headers, &query).await)
            },
        );
    let sign_in = warp::path!("sign-in")
        .and(form.clone())
        .and(context.clone())
        .and(warp::body::content_length_limit(MAX_FORM))
        .and(warp::body::form())
        .then(
            |authority: Authority,
             store: Arc<Store>,
             asked: Asked,
             headers: HeaderMap,
             form: SignInForm| async move {
                let done = sign_in(&store, &asked, &headers, &authority, form).await;
                answer(&store, &asked, done)
            },
        );
    let sign_out = warp::path!("sign-out").and(form).and(context.clone()).then(
        |authority: Authority, store: Arc<Store>, asked: Asked, headers: HeaderMap| async move {
            answer(&store, &asked, sign_out(&store, &headers, &authority).await)
        },
    );
    let visit = warp::path!("visit")
        .and(warp::get())
        .and(context.clone())
        .and(query)
        .then(
            |store: Arc<Store>, asked: Asked, headers: HeaderMap, query: String| async move {
                answer(&store, &asked, visit(&store, &headers, &query).await)
            },
        );
    let asset =
        warp::path!("assets" / String / String)
            .and(read)
            .and(context)
            .then(
                |digest: String,
                 name: String,
                 store: Arc<Store>,
                 asked: Asked,
                 headers: HeaderMap| async move {
                    let found = match store.viewer(&headers).await {
                        Ok(viewer) => assets::asset(&store, viewer.as_ref(), &digest, &name).await,
                        Err(error) => Err(error),
                    };
                    answer(&store, &asked, found)
                },
            );

    home.or(sign_in_page)
        .unify()
        .or(at_provider)
        .unify()
        .or(sign_in)
        .unify()
        .or(sign_out)
        .unify()
        .or(visit)
        .unify()
        .or(asset)
        .unify()
        .or(
            warp::ext::get::<Asked>().and_then(|asked: Asked| async move {
                Err::<Reply, Rejection>(warp::reject::custom(Unrouted(asked)))
            }),
        )
        .unify()
        .recover(move |rejection: Rejection| {
            let site = site.clone();
            async move { Ok::<_, Infallible>(refusal(&rejection, &site)) }
        })
        .unify()
        .boxed()
}

/// A request that no route took, with what its answer needs.
#[derive(Debug)]
struct Unrouted(Asked);

impl warp::reject::Reject for Unrouted {}

/// What warp itself refuses: unknown paths, other methods, forms that are too large or none.
fn refusal(rejection: &Rejection, site: &Site) -> Reply {
    use warp::reject::{InvalidHeader, LengthRequired, MethodNotAllowed, PayloadTooLarge};
    let error = if rejection.find::<PayloadTooLarge>().is_some() {
        Error::TooLarge {
            limit_bytes: MAX_FORM,
            setting: None,
        }
    } else if rejection.find::<LengthRequired>().is_some() {
        Error::BadRequest("a form needs a Content-Length")
    } else if rejection
        .find::<warp::body::BodyDeserializeError>()
        .is_some()
    {
        Error::BadRequest("the form could not be read")
    } else if rejection.find::<InvalidHeader>().is_some() {
        Error::BadRequest("a header could not be read")
    } else if rejection.find::<MethodNotAllowed>().is_some() {
        Error::MethodNotAllowed
    } else {
        Error::NotFound
    };
    let asked = rejection
        .find::<Unrouted>()
        .map_or_else(Asked::unknown, |unrouted| unrouted.0.clone());
    failure(&error, &asked, site).map(Into::into)
}

/// Turns a handler's result into the reply; an error is logged here, once.
fn answer(store: &Store, asked: &Asked, result: Result<Reply, Error>) -> Reply {
    result.unwrap_or_else(|error| {
        log_failure(&error, asked);
        failure(&error, asked, &store.site).map(Into::into)
    })
}

async fn home(store: &Store, headers: &HeaderMap) -> Result<Reply, Error> {
    let Some(signed_in) = store.viewer(headers).await? else {
        return redirect(StatusCode::FOUND, "/sign-in");
    };
    let viewer = catalog::Viewer {
        name: Some(signed_in.viewer.name.to_string()),
        admin: signed_in.viewer.role == catalog::Role::Admin,
    };
    let apps = timeout(
        PATIENCE,
        store.catalog.visible_apps(&viewer, pages::MAX_APPS + 1),
    )
    .await;
    let apps = match apps
        .map_err(Error::from)
        .and_then(|apps| apps.map_err(Error::from))
    {
        Ok(apps) => Some(apps),
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
    let page = pages::Home::new(
        &store.site,
        &store.namespace,
        &signed_in.viewer,
        apps,
        &snapshot,
    );
    page.reply().map(|page| page.map(Into::into))
}

async fn sign_in_page(store: &Store, headers: &HeaderMap, query: &str) -> Result<Reply, Error> {
    let next = LocalPath::or_root(&field(query, "next").unwrap_or_default());
    if store.viewer(headers).await?.is_some() {
        return redirect(StatusCode::FOUND, &next.to_string());
    }
    let page = pages::SignIn::new(&store.site, &next, provider_label(store), None).reply()?;
    Ok(lead_to_own_host(store, &next, page.map(Into::into)))
}

/// The fields of the sign-in page.
#[derive(Deserialize)]
struct SignInForm {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

async fn sign_in(
    store: &Store,
    asked: &Asked,
    headers: &HeaderMap,
    authority: &Authority,
    form: SignInForm,
) -> Result<Reply, Error> {
    require_own_page(headers, authority)?;
    let SignInForm {
        name,
        password,
        next,
    } = form;
    let next = LocalPath::or_root(&next);
    let session = match store.sign_in.sign_in(&name, password, asked.peer).await {
        Ok(session) => session,
        Err(error @ (Error::WrongPassword | Error::TooManyAttempts { .. })) if asked.navigation => {
            let page = pages::SignIn::new(
                &store.site,
                &next,
                provider_label(store),
                Some((&name, &error)),
            );
            let page = page.reply()?.map(Into::into);
            return Ok(lead_to_own_host(store, &next, page));
        }
        Err(error) => return Err(error),
    };
    // Whoever was signed in here before is not any more.
    if let Ok(Some(before)) = store.viewer(headers).await {
        end_session(store, &before).await?;
    }
    let mut reply = redirect(StatusCode::SEE_OTHER, &next.to_string())?;
    reply.headers_mut().append(
        header::SET_COOKIE,
        store.cookies().set_session(&session.expose()),
    );
    Ok(reply)
}

async fn sign_out(
    store: &Store,
    headers: &HeaderMap,
    authority: &Authority,
) -> Result<Reply, Error> {
    require_own_page(headers, authority)?;
    let mut at_provider = None;
    if let Some(signed_in) = store.viewer(headers).await? {
        if let Some(key) = signed_in.session() {
            let session = store.catalog.provider_session(&key);
            at_provider = timeout(PATIENCE, session).await??;
        }
        end_session(store, &signed_in).await?;
    }
    let elsewhere = match at_provider {
        Some(session) => provider::sign_out_page(store, &session.id_token)?,
        None => None,
    };
    let mut reply = match elsewhere {
        Some(page) => page,
        None => redirect(StatusCode::SEE_OTHER, "/sign-in")?,
    };
    reply
        .headers_mut()
        .append(header::SET_COOKIE, store.cookies().clear_session());
    Ok(reply)
}

fn provider_label(store: &Store) -> Option<&str> {
    store.sign_in.provider().map(Provider::label)
}

async fn end_session(store: &Store, signed_in: &SignedIn) -> Result<(), Error> {
    if let Some(key) = signed_in.session() {
        timeout(PATIENCE, store.catalog.end_session(&key)).await??;
        store.sessions.forget(&key).await;
    }
    Ok(())
}

/// Sends a browser that is signed in here back to the instance's host, with a ticket.
async fn visit(store: &Store, headers: &HeaderMap, query: &str) -> Result<Reply, Error> {
    let host = field(query, "host").and_then(|host| app_host(store, &host));
    let host = host.ok_or(Error::BadRequest("the visit names no host of an app"))?;
    let nonce = field(query, "nonce").and_then(|nonce| NonceHash::parse(&nonce));
    let nonce = nonce.ok_or(Error::BadRequest(
        "the visit does not come from an app's host",
    ))?;
    let path = LocalPath::or_root(&field(query, "path").unwrap_or_default());
    let Some(signed_in) = store.viewer(headers).await? else {
        let next = form_urlencoded::Serializer::new(String::new())
            .append_pair("next", &format!("{VISIT_PATH}?{query}"))
            .finish();
        return redirect(StatusCode::FOUND, &format!("/sign-in?{next}"));
    };
    let location = store
        .sessions
        .issue_ticket(&store.site, &signed_in, &host, &path, nonce)
        .await?;
    redirect(StatusCode::FOUND, &location)
}

/// Lets the form of a page lead to an alias's own host, when that is where somebody comes from: browsers check where the answer
/// to a form redirects to, as well.
fn lead_to_own_host(store: &Store, next: &LocalPath, mut page: Reply) -> Reply {
    let next = next.to_string();
    let query = next
        .strip_prefix(VISIT_PATH)
        .and_then(|rest| rest.strip_prefix('?'));
    let host = query
        .and_then(|query| field(query, "host"))
        .and_then(|host| store.table.own_host(&host));
    let policy = page.headers().get(header::CONTENT_SECURITY_POLICY);
    if let (Some(host), Some(policy)) = (host, policy.and_then(|policy| policy.to_str().ok())) {
        let origin = store.site.app_origin(&host);
        let wider = policy.replace(
            "form-action 'self'",
            &format!("form-action 'self' {origin}"),
        );
        if let Ok(wider) = HeaderValue::from_str(&wider) {
            page.headers_mut()
                .insert(header::CONTENT_SECURITY_POLICY, wider);
        }
    }
    page
}

/// A host that apps live on.
fn app_host(store: &Store, name: &str) -> Option<AppHost> {
    let own = || store.table.own_host(name);
    store.site.app_host(name).or_else(own)
}

/// Refuses forms that another site's page sends, or that no browser sends.
fn require_own_page(headers: &HeaderMap, authority: &Authority) -> Result<(), Error> {
    match sender(headers, authority) {
        Sender::Same => Ok(()),
        Sender::Foreign | Sender::Unknown => Err(Error::ForeignOrigin),
    }
}

fn redirect(status: StatusCode, location: &str) -> Result<Reply, Error> {
    let location = HeaderValue::from_str(location)
        .map_err(|_| Error::BadRequest("the address cannot be redirected"))?;
    let mut reply = Reply::default();
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    Ok(reply)
}

fn field(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

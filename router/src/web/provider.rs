//! Sign-in at the OIDC provider, and sign-out that it asks for.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use warp::filters::BoxedFilter;
use warp::{Filter, Rejection};

use super::{Asked, MAX_FORM, Reply, Store, answer, end_session, field, pages, redirect};
use crate::error::Error;
use crate::gateway::log_failure;
use crate::oidc::{Answer, BrowserSecret, Provider};
use crate::session::LocalPath;

/// Largest logout token that is read, with its form, in bytes.
const MAX_LOGOUT: u64 = MAX_FORM;

/// The routes of the OIDC provider; they lead nowhere when there is none.
pub(super) fn routes(
    context: &BoxedFilter<(Arc<Store>, Asked, HeaderMap)>,
    query: &BoxedFilter<(String,)>,
) -> impl Filter<Extract = (Reply,), Error = Rejection> + Clone + use<> {
    let start = warp::path!("sign-in" / "provider")
        .and(warp::get())
        .and(context.clone())
        .and(query.clone())
        .then(
            |store: Arc<Store>, asked: Asked, headers: HeaderMap, query: String| async move {
                answer(&store, &asked, start(&store, &headers, &query).await)
            },
        );
    let callback = warp::path!("sign-in" / "callback")
        .and(warp::get())
        .and(context.clone())
        .and(query.clone())
        .then(
            |store: Arc<Store>, asked: Asked, headers: HeaderMap, query: String| async move {
                answer(&store, &asked, callback(&store, &headers, &query).await)
            },
        );
    let back_channel = warp::path!("sign-out" / "back-channel")
        .and(warp::post())
        .and(context.clone())
        .and(warp::body::content_length_limit(MAX_LOGOUT))
        .and(warp::body::bytes())
        .then(
            |store: Arc<Store>, asked: Asked, _: HeaderMap, form: bytes::Bytes| async move {
                back_channel(&store, &asked, &form).await
            },
        );
    start.or(callback).unify().or(back_channel).unify()
}

fn provider(store: &Store) -> Result<&Provider, Error> {
    store.sign_in.provider().ok_or(Error::NotFound)
}

/// Sends the browser to the provider.
async fn start(store: &Store, headers: &HeaderMap, query: &str) -> Result<Reply, Error> {
    let provider = provider(store)?;
    let next = LocalPath::or_root(&field(query, "next").unwrap_or_default());
    let held = store.cookies().oidc(headers).and_then(BrowserSecret::parse);
    let secret = match held {
        Some(secret) => secret,
        None => BrowserSecret::random()?,
    };
    let location = provider.start(&secret, next).await?;
    let mut reply = redirect(StatusCode::FOUND, &location)?;
    reply.headers_mut().append(
        header::SET_COOKIE,
        store.cookies().set_oidc(secret.expose()),
    );
    Ok(reply)
}

/// Takes the provider's answer from the browser and makes a session.
async fn callback(store: &Store, headers: &HeaderMap, query: &str) -> Result<Reply, Error> {
    provider(store)?;
    let given = Answer {
        state: field(query, "state"),
        code: field(query, "code"),
        error: field(query, "error"),
        issuer: field(query, "iss"),
    };
    let secret = store.cookies().oidc(headers).and_then(BrowserSecret::parse);
    let (session, next) = store.sign_in.finish_at_provider(secret, given).await?;
    // Whoever was signed in here before is not any more.
    if let Ok(Some(before)) = store.viewer(headers).await {
        end_session(store, &before).await?;
    }
    let mut reply = redirect(StatusCode::FOUND, &next.to_string())?;
    reply.headers_mut().append(
        header::SET_COOKIE,
        store.cookies().set_session(&session.expose()),
    );
    Ok(reply)
}

/// Ends what the provider says is over, and answers as OpenID Connect Back-Channel Logout 1.0, 2.8, wants it.
async fn back_channel(store: &Store, asked: &Asked, form: &[u8]) -> Reply {
    let ended = async {
        let token = url::form_urlencoded::parse(form)
            .find(|(name, _)| name == "logout_token")
            .map(|(_, token)| token.into_owned())
            .ok_or(Error::BadRequest("there is no logout_token"))?;
        provider(store)?.back_channel_logout(&token).await
    };
    let (status, words) = match ended.await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(error) => {
            log_failure(&error, asked);
            let status = error.status();
            let (code, words) = if status.is_server_error() {
                ("temporarily_unavailable", "try again later".to_owned())
            } else {
                ("invalid_request", error.to_string())
            };
            let problem = serde_json::json!({ "error": code, "error_description": words });
            (status, problem.to_string())
        }
    };
    let mut reply = Response::new(words);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    reply.map(Into::into)
}

/// Where somebody whose session came from the provider goes to sign out there as well.
pub(super) fn sign_out_page(store: &Store, id_token: &str) -> Result<Option<Reply>, Error> {
    let Some(location) = store
        .sign_in
        .provider()
        .and_then(|provider| provider.end_session_url(id_token))
    else {
        return Ok(None);
    };
    let page = pages::SigningOut::new(&store.site, &location);
    page.reply().map(|page| Some(page.map(Into::into)))
}

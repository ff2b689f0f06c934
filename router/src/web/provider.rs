//! Sign-in at the OIDC provider, and sign-out that it asks for.

use http::{HeaderValue, Response, StatusCode, header};

use super::form::Form;
use super::{Call, Reply, Store, Visitor, end_session, pages, redirect};
use crate::error::Error;
use crate::gateway::log_failure;
use crate::oidc::{Answer, Provider};
use crate::session::LocalPath;
use crate::session::cookie::BrowserSecret;

fn provider(store: &Store) -> Result<&Provider, Error> {
    store.sign_in.provider().ok_or(Error::NotFound)
}

/// Sends the browser to the provider.
pub(super) async fn start(store: &Store, call: &Call) -> Result<Reply, Error> {
    let provider = provider(store)?;
    let next = LocalPath::or_root(&call.parameter("next").unwrap_or_default());
    let cookies = store.cookies();
    let secret = BrowserSecret::held_or_new(cookies.oidc(&call.headers))?;
    let location = provider.start(&secret, next).await?;
    let mut reply = redirect(StatusCode::FOUND, &location)?;
    reply
        .headers_mut()
        .append(header::SET_COOKIE, cookies.set_oidc(&secret));
    Ok(reply)
}

/// Takes the provider's answer from the browser and makes a session.
pub(super) async fn answered(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
) -> Result<Reply, Error> {
    provider(store)?;
    let given = Answer {
        state: call.parameter("state"),
        code: call.parameter("code"),
        error: call.parameter("error"),
        issuer: call.parameter("iss"),
    };
    let secret = store
        .cookies()
        .oidc(&call.headers)
        .and_then(BrowserSecret::parse);
    let (session, next) = store
        .sign_in
        .finish_at_provider(secret, given, call.browser())
        .await?;
    // Whoever was signed in here before is not any more.
    if let Some(before) = &visitor.signed_in {
        end_session(store, before).await?;
    }
    let mut reply = redirect(StatusCode::FOUND, &next.to_string())?;
    reply.headers_mut().append(
        header::SET_COOKIE,
        store.cookies().set_session(&session.expose()),
    );
    Ok(reply)
}

/// Ends what the provider says is over, and answers as OpenID Connect Back-Channel Logout 1.0, 2.8, wants it.
pub(super) async fn back_channel(store: &Store, call: &Call, form: &Form) -> Reply {
    let ended = async {
        let token = match form.field("logout_token") {
            "" => return Err(Error::BadRequest("there is no logout_token")),
            token => token,
        };
        provider(store)?.back_channel_logout(token).await
    };
    let (status, words) = match ended.await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(error) => {
            log_failure(&error, &call.asked);
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

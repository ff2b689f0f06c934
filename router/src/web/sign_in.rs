//! Signing in with an account of the store, and signing out.

use http::{HeaderValue, StatusCode, header};
use tokio::time::timeout;

use super::form::{Form, FormToken};
use super::{Call, PATIENCE, Reply, Store, Visitor, end_session, field, pages, provider, redirect};
use crate::error::Error;
use crate::oidc::Provider;
use crate::session::LocalPath;
use crate::session::cookie::BrowserSecret;
use crate::session::visit::VISIT_PATH;

/// The sign-in page; whoever is signed in already goes on.
pub(super) fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let next = LocalPath::or_root(&call.parameter("next").unwrap_or_default());
    if visitor.signed_in.is_some() {
        return redirect(StatusCode::FOUND, &next.to_string());
    }
    show(store, call, &next, None)
}

/// The sign-in page once more, with what came of the attempt.
pub(super) fn again(
    store: &Store,
    call: &Call,
    form: &Form,
    error: &Error,
) -> Result<Reply, Error> {
    let next = LocalPath::or_root(form.field("next"));
    show(store, call, &next, Some((form.field("name"), error)))
}

fn show(
    store: &Store,
    call: &Call,
    next: &LocalPath,
    failed: Option<(&str, &Error)>,
) -> Result<Reply, Error> {
    let cookies = store.cookies();
    let held = cookies.form(&call.headers);
    let secret = BrowserSecret::held_or_new(held)?;
    let token = FormToken::of(secret.expose());
    let provider = store.sign_in.provider().map(Provider::label);
    let page = pages::SignIn::new(&store.site, token, next, provider, failed).reply()?;
    let mut page = lead_to_own_host(store, next, page.map(Into::into));
    if held != Some(secret.expose()) {
        let line = cookies.set_form(&secret);
        page.headers_mut().append(header::SET_COOKIE, line);
    }
    Ok(page)
}

/// Makes a session for whoever knows an account's password.
pub(super) async fn sign_in(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let (name, password) = (form.field("name"), form.field("password").to_owned());
    let session = match store
        .sign_in
        .sign_in(name, password, (call.asked.peer, call.browser()))
        .await
    {
        Ok(session) => session,
        Err(
            error @ (Error::WrongPassword | Error::PasswordExpired | Error::TooManyAttempts { .. }),
        ) if call.asked.navigation => {
            return again(store, call, form, &error);
        }
        Err(error) => return Err(error),
    };
    // Whoever was signed in here before is not any more.
    if let Some(before) = &visitor.signed_in {
        end_session(store, before).await?;
    }
    let next = LocalPath::or_root(form.field("next"));
    let mut reply = redirect(StatusCode::SEE_OTHER, &next.to_string())?;
    reply.headers_mut().append(
        header::SET_COOKIE,
        store.cookies().set_session(&session.expose()),
    );
    Ok(reply)
}

/// Ends a session, here and at the provider where it came from there.
pub(super) async fn sign_out(store: &Store, visitor: &Visitor) -> Result<Reply, Error> {
    let mut at_provider = None;
    if let Some(signed_in) = &visitor.signed_in {
        if let Some(session) = signed_in.session() {
            let session = store.catalog.provider_session(&session);
            at_provider = timeout(PATIENCE, session).await??;
        }
        end_session(store, signed_in).await?;
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

//! Signing out: at the provider when somebody signs out here, and here when the provider says so.

use chrono::{TimeDelta, Utc};
use openidconnect::core::CoreIdToken;
use openidconnect::{LogoutRequest, PostLogoutRedirectUrl};
use serde_json::Value;
use tokio::time::timeout;
use tracing::info;

use super::jwt::{self, Refused};
use super::{PATIENCE, Provider};
use crate::error::Error;

/// What makes a token a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How old a logout token may be, and with it how long it is remembered.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);

impl Provider {
    /// Where a browser goes to sign out at the provider as well; none when the provider has no such place, or is away.
    pub(crate) fn end_session_url(&self, id_token: &str) -> Option<String> {
        let metadata = self.known.load_full()?;
        let end = metadata
            .additional_metadata()
            .end_session_endpoint
            .clone()?;
        if !super::settings::is_trustworthy(end.url()) {
            return None;
        }
        let mut request = LogoutRequest::from(end).set_client_id(self.settings.client_id.clone());
        if let Ok(token) = id_token.parse::<CoreIdToken>() {
            request = request.set_id_token_hint(&token);
        }
        if let Ok(back) = PostLogoutRedirectUrl::new(self.signed_out.clone()) {
            request = request.set_post_logout_redirect_uri(back);
        }
        Some(request.http_get_url().into())
    }

    /// Ends the sessions that a logout token names; each token counts once.
    pub(crate) async fn back_channel_logout(&self, token: &str) -> Result<(), Error> {
        let claims = self.signed_claims(&["logout+jwt"], token).await?;
        let now = Utc::now();
        let issuer = self.settings.issuer.as_str();
        let expires_at = jwt::check(&claims, issuer, self.settings.client_id.as_str(), now)?;
        let issued_at = jwt::time(&claims, "iat")?.ok_or(Refused::Claims)?;
        if now - issued_at > MAX_AGE {
            return Err(Refused::Time.into());
        }
        let event = claims
            .get("events")
            .and_then(|events| events.get(EVENT))
            .is_some_and(Value::is_object);
        let id = jwt::text(&claims, "jti").ok_or(Refused::Claims)?;
        let subject = jwt::text(&claims, "sub");
        let sid = jwt::text(&claims, "sid");
        // With a nonce it would be an ID token that somebody shows as another thing.
        if !event || claims.get("nonce").is_some() || (subject.is_none() && sid.is_none()) {
            return Err(Refused::Claims.into());
        }
        let until = expires_at.map_or(now, |at| at.min(now + MAX_AGE)).max(now) + MAX_AGE;
        let token = format!("logout {issuer} {id}");
        let spent = self.catalog.spend(&token, until);
        if !timeout(PATIENCE, spent).await?? {
            return Err(Error::TokenReplayed);
        }
        let ended = self.catalog.end_provider_sessions(issuer, subject, sid);
        let ended = timeout(PATIENCE, ended).await??;
        info!("The provider ended {ended} sessions");
        Ok(())
    }
}

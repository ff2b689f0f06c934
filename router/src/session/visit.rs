//! Visits: how a sign-in on the store's host reaches an instance's host.
//!
//! The instance's host plants a nonce in the browser and sends it to the store's host with the nonce's hash.
//! The store's host makes a ticket and sends the browser back. The ticket's id in the database is made of its
//! secret and that hash, so only the browser that holds the nonce can use it: a link with somebody else's
//! ticket signs nobody in.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{NewSession, NewTicket, SessionId, TicketId};
use chrono::{TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use url::form_urlencoded;

use super::cookie::BrowserSecret;
use super::{LocalPath, Sessions};
use crate::answers::PATIENCE;
use crate::error::Error;
use crate::site::{AppHost, Site};
use crate::viewer::SignedIn;

/// Path on the store's host where a visit begins.
pub(crate) const VISIT_PATH: &str = "/visit";

/// Path on an app host where a visit ends.
pub(crate) const SESSION_PATH: &str = "/.wavestore/session";

/// How long a ticket is good.
const TICKET_LIFETIME: TimeDelta = TimeDelta::seconds(30);

/// SHA-256 of a visit's nonce, the secret that binds it to one browser. Others may see this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NonceHash([u8; 32]);

impl NonceHash {
    pub(crate) fn of(nonce: &BrowserSecret) -> Self {
        Self(Sha256::digest(nonce.expose().as_bytes()).into())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// Where the instance's host sends a browser that has to sign in.
pub(crate) fn start(site: &Site, host: &AppHost, path: &LocalPath, nonce: NonceHash) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("host", &site.host_name(host))
        .append_pair("path", &path.to_string())
        .append_pair("nonce", &nonce.encode())
        .finish();
    format!("{}{VISIT_PATH}?{query}", site.store_origin())
}

impl Sessions {
    /// Makes a ticket for `host`; answers where to send the browser with it.
    pub(crate) async fn issue_ticket(
        &self,
        site: &Site,
        signed_in: &SignedIn,
        host: &AppHost,
        path: &LocalPath,
        nonce: NonceHash,
    ) -> Result<String, Error> {
        let secret = TicketId::random()?.expose();
        let ticket = NewTicket {
            id: bound(&secret, nonce)?,
            session: signed_in.session().ok_or(Error::NotSignedIn)?,
            host: site.host_name(host),
            expires_at: Utc::now() + TICKET_LIFETIME,
        };
        timeout(PATIENCE, self.catalog.create_ticket(&ticket)).await??;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("ticket", &secret)
            .append_pair("path", &path.to_string())
            .finish();
        Ok(format!("{}{SESSION_PATH}?{query}", site.app_origin(host)))
    }

    /// Uses a ticket up and makes the session for `host`; answers its secret, for the cookie.
    pub(crate) async fn redeem_ticket(
        &self,
        site: &Site,
        host: &AppHost,
        secret: &str,
        nonce: &BrowserSecret,
    ) -> Result<SessionId, Error> {
        let now = Utc::now();
        let host = site.host_name(host);
        let id = bound(secret, NonceHash::of(nonce))?;
        let ticket = timeout(PATIENCE, self.catalog.redeem_ticket(&id, &host, now)).await??;
        let parent = ticket.ok_or(Error::BadTicket)?.session;
        let child = NewSession {
            id: SessionId::random()?,
            account: parent.account,
            parent: Some(parent.key),
            host: Some(host),
            created_at: now,
            expires_at: parent.expires_at,
            browser: None,
        };
        timeout(PATIENCE, self.catalog.create_session(&child)).await??;
        Ok(child.id)
    }
}

/// The id of a ticket: made of its secret and of the nonce that its browser must hold.
fn bound(secret: &str, nonce: NonceHash) -> Result<TicketId, Error> {
    secret.parse::<TicketId>().map_err(|_| Error::BadTicket)?;
    let digest = Sha256::new()
        .chain_update(secret)
        .chain_update(nonce.0)
        .finalize();
    URL_SAFE_NO_PAD
        .encode(digest)
        .parse()
        .map_err(|_| Error::BadTicket)
}

//! Sign-in at an OIDC provider: discovery, the code flow, logout in both directions, and the provider's access tokens.

mod access;
mod attempt;
mod http;
mod jwt;
mod logout;
mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalog::{Catalog, Person, ProviderSession, Subject};
use chrono::{TimeDelta, Utc};
use moka::future::Cache;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreIdToken};
use openidconnect::{
    AccessToken, AuthorizationCode, ClaimsVerificationError, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, OAuth2TokenResponse, ProviderMetadataWithLogout, RedirectUrl, RequestTokenError,
    Scope, TokenResponse,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::backoff;
use crate::error::Error;
use crate::session::LocalPath;
use crate::session::cookie::BrowserSecret;
use crate::site::Site;

pub(crate) use access::Access;
pub(crate) use jwt::Refused;
pub(crate) use settings::{InvalidOidc, OidcArgs, OidcSettings};

use self::http::HttpClient;
use access::AccessKey;
use attempt::Attempt;

/// Path on the store's host where the provider sends browsers back to.
pub(crate) const CALLBACK_PATH: &str = "/sign-in/callback";

/// How often the provider may be asked for its metadata and keys, whoever shows which tokens.
const REFRESH_EVERY: Duration = Duration::from_secs(5);

/// How old they may get before they are asked for anyway: a key that was withdrawn must not count for ever.
const MAX_AGE: Duration = Duration::from_mins(15);

/// How long metadata and keys may take to arrive.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// How long one question to the database may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers of the provider that are worked on at once; each costs requests to it.
const AT_ONCE: usize = 32;

/// How long a used state is remembered: as long as its browser keeps the secret, and longer.
const STATE_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// How long a checked access token is not checked again, and how many of them are remembered.
const CHECKED_FOR: Duration = Duration::from_mins(1);
const CHECKED: u64 = 20_000;

/// Longest `code`, in bytes.
const MAX_CODE: usize = 4096;

/// The provider's metadata and keys.
type Metadata = ProviderMetadataWithLogout;

/// openidconnect's client as it comes out of discovery.
type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider at which people sign in.
pub(crate) struct Provider {
    settings: OidcSettings,
    redirect: RedirectUrl,
    /// Where the browser goes after it has signed out there.
    signed_out: String,
    http: HttpClient,
    catalog: Catalog,
    known: ArcSwapOption<Metadata>,
    /// Held by whoever asks for metadata, so that one question serves all; and when it was asked last.
    asking: tokio::sync::Mutex<Option<Instant>>,
    /// Whether it was said that the provider is away.
    away: Mutex<bool>,
    turns: Semaphore,
    /// Access tokens that are good, or were a moment ago.
    checked: Cache<AccessKey, Arc<Access>>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider")
            .field("issuer", &self.settings.issuer)
            .finish_non_exhaustive()
    }
}

/// Somebody who has signed in at the provider, and where they wanted to go.
pub(crate) struct Arrived {
    pub(crate) person: Person,
    pub(crate) session: ProviderSession,
    pub(crate) next: LocalPath,
}

/// What the provider sends a browser back with.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) state: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) issuer: Option<String>,
}

impl Provider {
    /// # Errors
    /// No client can be made, or no redirect address.
    pub(crate) fn new(
        settings: OidcSettings,
        site: &Site,
        catalog: Catalog,
    ) -> Result<Self, InvalidOidc> {
        let redirect = format!("{}{CALLBACK_PATH}", site.store_origin());
        Ok(Self {
            redirect: RedirectUrl::new(redirect).map_err(InvalidOidc::Redirect)?,
            signed_out: format!("{}/sign-in", site.store_origin()),
            http: HttpClient::new()?,
            catalog,
            known: ArcSwapOption::empty(),
            asking: tokio::sync::Mutex::default(),
            away: Mutex::new(false),
            turns: Semaphore::new(AT_ONCE),
            checked: Cache::builder()
                .max_capacity(CHECKED)
                .time_to_live(CHECKED_FOR)
                .build(),
            settings,
        })
    }

    /// What the sign-in page calls it.
    pub(crate) fn label(&self) -> &str {
        &self.settings.label
    }

    /// Asks for metadata and keys, at first until they are there, then now and then, until the process ends.
    pub(crate) async fn keep_known(&self) {
        loop {
            let wait = match self.refresh().await {
                Ok(_) => MAX_AGE,
                Err(_) => REFRESH_EVERY,
            };
            backoff::provider(wait).await;
        }
    }

    /// What is known of the provider.
    async fn metadata(&self) -> Result<Arc<Metadata>, Error> {
        match self.known.load_full() {
            Some(known) => Ok(known),
            None => self.refresh().await,
        }
    }

    /// Asks the provider again, unless that was done a moment ago.
    async fn refresh(&self) -> Result<Arc<Metadata>, Error> {
        let away = || Error::ProviderAway("it has not answered yet".into());
        let mut asked_at = timeout(DISCOVERY_TIMEOUT, self.asking.lock())
            .await
            .map_err(|late| Error::ProviderAway(Box::new(late)))?;
        if asked_at.is_some_and(|at| at.elapsed() < REFRESH_EVERY) {
            return self.known.load_full().ok_or_else(away);
        }
        let issuer = self.settings.issuer.clone();
        let found = timeout(
            DISCOVERY_TIMEOUT,
            Metadata::discover_async(issuer, &self.http),
        )
        .await;
        *asked_at = Some(Instant::now());
        let found = match found {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(Error::ProviderAway(Box::new(error))),
            Err(late) => Err(Error::ProviderAway(Box::new(late))),
        };
        let mut away = self.away.lock();
        match found {
            Ok(found) => {
                if *away || self.known.load().is_none() {
                    info!("Sign-in at {} is possible", self.settings.issuer.as_str());
                }
                *away = false;
                let found = Arc::new(found);
                self.known.store(Some(found.clone()));
                Ok(found)
            }
            Err(error) => {
                if !*away {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "The OIDC provider {} does not answer; it is asked again every {} s",
                        self.settings.issuer.as_str(),
                        REFRESH_EVERY.as_secs()
                    );
                }
                *away = true;
                // Metadata and keys that are known keep counting while the provider is away.
                self.known.load_full().ok_or(error)
            }
        }
    }

    fn client(&self, metadata: &Metadata) -> Client {
        CoreClient::from_provider_metadata(
            metadata.clone(),
            self.settings.client_id.clone(),
            Some(self.settings.client_secret.clone()),
        )
        .set_redirect_uri(self.redirect.clone())
    }

    /// Where a browser that holds `secret` goes to sign in, and then on to `next`.
    pub(crate) async fn start(
        &self,
        secret: &BrowserSecret,
        next: LocalPath,
    ) -> Result<String, Error> {
        let metadata = self.metadata().await?;
        let attempt = Attempt::start(secret, next)?;
        let (state, nonce) = (attempt.token(), attempt.nonce.clone());
        let client = self.client(&metadata);
        let scopes = self.settings.scopes.iter().cloned().map(Scope::new);
        let (url, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || state,
                move || nonce,
            )
            .add_scopes(scopes)
            .set_pkce_challenge(attempt.challenge())
            .url();
        Ok(url.into())
    }

    /// Ends an attempt: exchanges the code, and reads who it is. Each attempt ends once.
    pub(crate) async fn finish(
        &self,
        secret: Option<BrowserSecret>,
        answer: Answer,
    ) -> Result<Arrived, Error> {
        let Answer {
            state,
            code,
            error,
            issuer,
        } = answer;
        let attempt = secret
            .zip(state)
            .and_then(|(secret, state)| Attempt::resume(&secret, &state))
            .ok_or(Error::BadAttempt)?;
        let until = Utc::now() + STATE_LIFETIME;
        let spent = self.catalog.spend(&attempt.state, until);
        if !timeout(PATIENCE, spent).await?? {
            return Err(Error::BadAttempt);
        }
        // RFC 9207: another provider's answer must not be taken for this one's.
        if issuer.is_some_and(|issuer| issuer != self.settings.issuer.as_str()) {
            return Err(Error::ProviderAnswer(Refused::Issuer.into()));
        }
        if let Some(error) = error {
            debug!("The provider refused a sign-in");
            return Err(Error::ProviderRefused(readable(&error)));
        }
        let code = code
            .filter(|code| code.len() <= MAX_CODE)
            .ok_or(Error::BadAttempt)?;
        let turn = self.turns.try_acquire().map_err(|_| Error::Busy)?;
        let metadata = self.metadata().await?;
        let tokens = self
            .client(&metadata)
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| Error::ProviderAnswer(Box::new(error)))?
            .set_pkce_verifier(attempt.verifier())
            .request_async(&self.http)
            .await
            .map_err(|error| match error {
                // A code that is used, expired, or another client's.
                RequestTokenError::ServerResponse(_) => Error::BadAttempt,
                RequestTokenError::Request(error) => Error::ProviderAway(Box::new(error)),
                error @ (RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                    Error::ProviderAnswer(Box::new(error))
                }
            })?;
        let id_token = tokens
            .id_token()
            .ok_or(Error::ProviderAnswer("it sent no ID token".into()))?;
        let claims = self.id_claims(id_token, &attempt).await?;
        let person = self.person(&claims, tokens.access_token()).await?;
        drop(turn);
        Ok(Arrived {
            session: ProviderSession {
                subject: person.subject.clone(),
                sid: jwt::text(&claims, "sid").map(str::to_owned),
                id_token: id_token.to_string(),
            },
            person,
            next: attempt.next,
        })
    }

    /// Checks an ID token: signature, issuer, audience, time and nonce. Answers all of its claims.
    async fn id_claims(&self, token: &CoreIdToken, attempt: &Attempt) -> Result<Value, Error> {
        let check = |metadata: &Metadata| {
            let client = self.client(metadata);
            let verifier = client.id_token_verifier().set_allowed_algs(jwt::ALGORITHMS);
            let claims = token.claims(&verifier, &attempt.nonce)?;
            let azp = claims.authorized_party();
            if azp.is_some_and(|azp| azp.as_str() != self.settings.client_id.as_str()) {
                return Err(ClaimsVerificationError::InvalidAudience("azp".to_owned()));
            }
            Ok(())
        };
        let mut checked = check(&*self.metadata().await?);
        if matches!(
            checked,
            Err(ClaimsVerificationError::SignatureVerification(_))
        ) {
            // The provider may have new keys.
            checked = check(&*self.refresh().await?);
        }
        checked.map_err(|error| Error::ProviderAnswer(Box::new(error)))?;
        let text = token.to_string();
        let payload = text.split('.').nth(1).unwrap_or_default();
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        serde_json::from_slice(&payload).map_err(|error| Error::ProviderAnswer(Box::new(error)))
    }

    /// Who it is, by the ID token and, where that says too little, by the user info and the access token.
    async fn person(&self, claims: &Value, access_token: &AccessToken) -> Result<Person, Error> {
        let subject = jwt::text(claims, "sub")
            .ok_or(Error::ProviderAnswer("its ID token has no subject".into()))?;
        let people = &self.settings.people;
        let whole =
            |claims: &Value| people.roles(&[claims]).is_some() && people.has_name(&[claims]);
        let (mut info, mut access) = (Value::Null, Value::Null);
        if !whole(claims) {
            info = self.user_info(access_token, subject).await?;
            if people.roles(&[claims, &info]).is_none() {
                access = self.own_access_claims(access_token.secret(), subject).await;
            }
        }
        let subject = Subject {
            issuer: self.settings.issuer.as_str().to_owned(),
            subject: subject.to_owned(),
        };
        // The user info is from now, and either clock may be ahead.
        let as_of = jwt::time(claims, "iat")?.map_or_else(Utc::now, |at| at.max(Utc::now()));
        people
            .person(subject, as_of, &[claims, &info, &access])
            .ok_or(Error::NoName)
    }

    /// The provider's user info; nothing when it has none.
    async fn user_info(&self, token: &AccessToken, subject: &str) -> Result<Value, Error> {
        use openidconnect::AsyncHttpClient;
        let metadata = self.metadata().await?;
        let Some(url) = metadata.userinfo_endpoint() else {
            return Ok(Value::Null);
        };
        let request = ::http::Request::get(url.as_str())
            .header(
                ::http::header::AUTHORIZATION,
                format!("Bearer {}", token.secret()),
            )
            .header(::http::header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|error| Error::ProviderAnswer(Box::new(error)))?;
        let answer = self
            .http
            .call(request)
            .await
            .map_err(|error| Error::ProviderAway(Box::new(error)))?;
        if !answer.status().is_success() {
            return Err(Error::ProviderAnswer("it gives no user info".into()));
        }
        let info: Value = serde_json::from_slice(answer.body())
            .map_err(|error| Error::ProviderAnswer(Box::new(error)))?;
        // Somebody else's info must not count (OpenID Connect Core, 5.3.2).
        if jwt::text(&info, "sub") != Some(subject) {
            return Err(Error::ProviderAnswer(
                "its user info is somebody else's".into(),
            ));
        }
        Ok(info)
    }

    /// The claims of the access token that came with a sign-in, if it is a JWT of the provider for the same person.
    async fn own_access_claims(&self, token: &str, subject: &str) -> Value {
        let issuer = self.settings.issuer.as_str();
        match self.signed_claims(&["at+jwt"], token).await {
            Ok(claims)
                if jwt::text(&claims, "iss") == Some(issuer)
                    && jwt::text(&claims, "sub") == Some(subject) =>
            {
                claims
            }
            Ok(_) | Err(_) => Value::Null,
        }
    }

    /// The claims of a token that the provider has signed, with keys that it may have since a moment only.
    async fn signed_claims(&self, types: &[&str], token: &str) -> Result<Value, Error> {
        let metadata = self.metadata().await?;
        match jwt::signed_claims(metadata.jwks().keys(), types, token) {
            Err(Refused::UnknownKey) => {
                let metadata = self.refresh().await?;
                Ok(jwt::signed_claims(metadata.jwks().keys(), types, token)?)
            }
            other => Ok(other?),
        }
    }
}

/// The provider's word for an error, as far as it is one (RFC 6749, 4.1.2.1): the browser has brought it.
fn readable(error: &str) -> String {
    let allowed: BTreeSet<char> = ('a'..='z').chain(['_']).collect();
    let word: String = error
        .chars()
        .filter(|c| allowed.contains(c))
        .take(64)
        .collect();
    if word.is_empty() {
        "no reason".to_owned()
    } else {
        word
    }
}

//! Everything that can go wrong with one request, and the one place that chooses its status.

#![deny(clippy::wildcard_enum_match_arm)]

use std::borrow::Cow;
use std::time::Duration;

use catalog::Scope;
use crds::AppRef;
use http::StatusCode;

use crate::body::BoxError;
use crate::instance_id;
use crate::oidc::Refused;
use crate::waiting::Waiting;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
pub(crate) enum Error {
    /// No Host, two of them, or one that is none.
    #[error("the request names no single valid host")]
    BadHost,
    /// The request target and the Host header name different hosts.
    #[error("the request target and the Host header name different hosts")]
    AuthorityMismatch,
    /// The length of the body is said in a way that could be read in two ways.
    #[error("the request does not say in one plain way where its body ends")]
    BadFraming,
    /// `CONNECT`.
    #[error("this server opens no tunnels for CONNECT")]
    ConnectRefused,
    /// An upgrade with a body, or with two protocols' rules at once.
    #[error("the upgrade request is not well formed")]
    BadUpgrade,
    /// A form or a query that cannot be read.
    #[error("{0}")]
    BadRequest(&'static str),
    /// A document that is not what the address takes.
    #[error("the body cannot be read: {0}")]
    BadDocument(#[source] serde_json::Error),
    /// Nothing is at this address.
    #[error("there is nothing at this address")]
    NotFound,
    /// The route exists, but not with this method.
    #[error("this address does not take this method; it takes {0}")]
    MethodNotAllowed(String),
    /// A body larger than the route takes.
    #[error("the request is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
        /// The flag that sets it, where one does.
        setting: Option<&'static str>,
    },
    /// Nobody is signed in, and somebody has to be.
    #[error("sign in first")]
    NotSignedIn,
    /// The instance does not exist, or it is somebody else's: the same answer for both.
    #[error("there is no such app here, or it is not shared with you")]
    Hidden,
    /// An unsafe request that another site's page sent.
    #[error("the request comes from another site's page")]
    ForeignOrigin,
    /// A form that does not carry what its page was given.
    #[error("this form is out of date")]
    StaleForm,
    /// Something that is not for everybody.
    #[error("this is for the store's admins only")]
    Forbidden,
    /// Somebody manages an instance, but does not own it.
    #[error("only its owner changes who may enter an instance")]
    OwnerOnly,
    /// Somebody manages an instance, but may not read its log.
    #[error("the log of an instance is for its owner, unless that is a Visitor")]
    LogForbidden,
    /// A name that no instance can have.
    #[error(
        "an instance's name has a-z, 0-9 and - between them, begins with a letter, has at most {} characters, and is not `{}`",
        instance_id::MAX_LENGTH,
        crds::RESERVED_INSTANCE_NAME
    )]
    BadInstanceName,
    /// An instance, or an alias of one, has this name.
    #[error("the name `{0}` is taken")]
    InstanceNameTaken(String),
    /// A bundle that cannot be published.
    #[error(transparent)]
    BadBundle(Box<bundle::Error>),
    /// An app that is published never changes.
    #[error("the app `{0}` is published already")]
    AppExists(AppRef),
    /// Instances of the app still exist.
    #[error("the app has instances: {0}")]
    AppInUse(String),
    /// An `Idempotency-Key` that another request has used up.
    #[error("another request has been made with this `Idempotency-Key`")]
    KeyReused,
    /// An alias is to lead to nothing.
    #[error("there is no instance `{0}`")]
    NoInstance(String),
    /// An instance has no pod, or its app has not begun.
    #[error("the instance has no log: it has no pod, or its app has not begun")]
    NoLog,
    /// An app is to be given to somebody who is not there.
    #[error("there is no account `{0}` that could own it")]
    NoOwner(String),
    /// What no tag can be.
    #[error("there can be no such tag: {0}")]
    BadTag(&'static str),
    /// A tag is to be made that is there.
    #[error("there is a tag `{0}` already")]
    TagExists(String),
    /// A tag that only some put on apps.
    #[error("the tag `{0}` is put on apps and taken off by those who have a role for that")]
    TagForbidden(String),
    /// The store knows as many tags as it may.
    #[error("there are {limit} tags, and may not be more")]
    TooManyTags {
        /// How many there may be.
        limit: u64,
    },
    /// Somebody likes or has pinned as many apps as they may.
    #[error("you like or have pinned {limit} apps, and may not have more")]
    TooManyPreferences {
        /// How many they may.
        limit: u64,
    },
    /// What no secret can be.
    #[error("there can be no such secret: {0}")]
    BadSecret(&'static str),
    /// A document of a secret that cannot be read: what is wrong would be said with values in it.
    #[error("the body is no document of a secret: see line {line}, column {column}")]
    UnreadableSecret {
        /// Where it is wrong.
        line: usize,
        /// The same.
        column: usize,
    },
    /// An app is named where none belongs, or the other way round.
    #[error("a secret names an app if its scope is `App`, and only then")]
    SecretScopeUnclear,
    /// A Secret of somebody else's, or of none of the store's, has this name.
    #[error("the name `{0}` is taken by a Secret that is not yours")]
    SecretNameTaken(String),
    /// A secret is to be made that is there.
    #[error("there is a secret `{0}` already")]
    SecretExists(String),
    /// Apps still read the secret.
    #[error("apps read the secret: {0}")]
    SecretInUse(String),
    /// A Secret that carries marks which are not the store's.
    #[error("the secret `{0}` is kept by those who run the cluster")]
    ForeignSecret(String),
    /// An account has as many secrets as it may have.
    #[error("the account has {limit} secrets, and may not have more")]
    TooManySecrets {
        /// How many there may be.
        limit: usize,
    },
    /// The app does not exist, or is not for this viewer: the same answer for both.
    #[error("there is no app `{0}` that you may run")]
    NoApp(AppRef),
    /// A size that the store does not have.
    #[error("there is no size `{0}` in this store")]
    NoSize(String),
    /// Not a time at which an instance can be deleted.
    #[error("`{0}` is no time to come")]
    BadDeletionTime(String),
    /// What is to be undone has begun.
    #[error("the instance is being deleted, and nothing brings it back")]
    BeingDeleted,
    /// An app whose bundle the operator has not read, or cannot.
    #[error("the app `{0}` is not ready to be run")]
    AppNotReady(AppRef),
    /// It has another state than the one that the request is meant for.
    #[error("somebody has changed it in the meantime")]
    Changed,
    /// Somebody else's change came first.
    #[error("others change it at the same time")]
    Overtaken,
    /// The Kubernetes API, or a policy there, says no, and why.
    #[error("the Kubernetes API refuses it: {0}")]
    KubernetesRefused(String),
    /// Name and password do not match.
    #[error("name or password is wrong")]
    WrongPassword,
    /// The right password, too late: an admin gave it to be replaced.
    #[error("this password was to be used once and is not good any more")]
    PasswordExpired,
    /// A new password that is too short.
    #[error("the new password has {characters} characters; it needs at least {limit}")]
    ShortPassword {
        /// The fewest that will do.
        limit: usize,
        /// What it has.
        characters: usize,
    },
    /// A new password that is too long.
    #[error("the new password is longer than {limit_bytes} bytes")]
    LongPassword {
        /// The limit.
        limit_bytes: usize,
    },
    /// A new password that is easily guessed.
    #[error("the new password is the one that you have, or contains your name")]
    PlainPassword,
    /// A name that no account can have.
    #[error("an account's name has letters, digits and -_.@+ between them, at most 128")]
    BadAccountName,
    /// A field of a form that its page does not offer.
    #[error("there is no role `{0}`")]
    NoRole(String),
    /// No account has this name.
    #[error("there is no such account")]
    NoAccount,
    /// An account whose password or role is the OIDC provider's affair.
    #[error(
        "the account `{0}` belongs to the sign-in service, which keeps its password and its role"
    )]
    ProvidersAccount(String),
    /// A token whose name another token of its account has.
    #[error("you have a token `{0}` already")]
    DuplicateToken(String),
    /// No device shows this code, or somebody has answered it.
    #[error("no device waits with this code")]
    NoDevice,
    /// A device asks how it stands before anybody has let it in.
    #[error("nobody has let the device in yet")]
    AuthorizationPending,
    /// Somebody has said that a device is none of theirs.
    #[error("the device was refused")]
    AuthorizationDenied,
    /// A device asks how it stands too late, twice, or with a code that is none.
    #[error("the device has to ask again: its code is used up, or too old")]
    DeviceCodeExpired,
    /// A token is asked for with a token.
    #[error("a token makes no other tokens")]
    TokenByToken,
    /// An account has as many tokens as it may have.
    #[error("you have {limit} tokens, and may not have more")]
    TooManyTokens {
        /// How many there may be.
        limit: u64,
    },
    /// Nobody could manage the store any more.
    #[error("`{0}` is the only admin who can sign in; make another one first")]
    LastAdmin(String),
    /// A sign-in at the provider that this browser did not begin, or that has ended already.
    #[error("this sign-in is over, or was begun in another browser")]
    BadAttempt,
    /// The OIDC provider does not answer.
    #[error(
        "signing in with your organization is not possible at the moment: its sign-in service does not answer"
    )]
    ProviderAway(#[source] BoxError),
    /// The OIDC provider says no.
    #[error("the sign-in service did not sign you in ({0})")]
    ProviderRefused(String),
    /// The OIDC provider says something that cannot be relied on.
    #[error("the answer of the sign-in service cannot be trusted")]
    ProviderAnswer(#[source] BoxError),
    /// The OIDC provider gives no name that an account can have.
    #[error("the sign-in service gives you no name that can be used here")]
    NoName,
    /// Somebody else has the name that the OIDC provider gives.
    #[error("the name `{0}` belongs to somebody else's account in this store")]
    NameTaken(String),
    /// An account that an admin has disabled.
    #[error("this account is disabled")]
    AccountDisabled,
    /// A token of the OIDC provider that is not good here.
    #[error(transparent)]
    TokenRefused(#[from] Refused),
    /// A token of the OIDC provider that was shown before.
    #[error("the token was used before")]
    TokenReplayed,
    /// A personal token, or an access token of the OIDC provider, that is not in force.
    #[error("the token is unknown, expired or revoked")]
    InvalidToken,
    /// A token that is good for something else.
    #[error("the token is not good for the scope `{0}`")]
    InsufficientScope(Scope),
    /// Too many attempts to sign in.
    #[error("too many attempts to sign in")]
    TooManyAttempts {
        /// How long to wait.
        retry_after: Duration,
    },
    /// An account, or an address, has asked too much of the API.
    #[error("too many requests")]
    TooManyRequests {
        /// How long to wait.
        retry_after: Duration,
    },
    /// A token that is none of a pod in this cluster, or for another audience.
    #[error("the token is not one of a pod of this store")]
    BadToken,
    /// A bundle that the pod's instance does not run.
    #[error("the pod's instance does not run this bundle")]
    ForeignBundle,
    /// An environment that the pod was not given, or that is not the one that it is to build.
    #[error("the pod has no part in this environment")]
    ForeignEnvironment,
    /// What is there is never written again.
    #[error("there is an environment with this key already")]
    EnvironmentExists,
    /// A ticket that is used up, expired, or another browser's.
    #[error("this sign-in link is not valid any more, or belongs to another browser")]
    BadTicket,
    /// A method or content type that only the app itself may use with its Wave server.
    #[error("a Wave app takes no PATCH, no PUT and no JSON from outside")]
    WaveMethod,
    /// A path that only the app itself may use with its Wave server.
    #[error("this path of a Wave app is not reachable from outside")]
    WavePath,
    /// The client went away or broke its own body.
    #[error("the request's body ended too early")]
    ClientBody,
    /// The client stopped sending in the middle of its body.
    #[error("the request's body did not go on for {} s", limit.as_secs())]
    ClientTimeout {
        /// The limit.
        limit: Duration,
    },
    /// One address has as many sockets as it may have.
    #[error("your address has too many open sockets")]
    TooManySockets,
    /// No pod of the instance is ready yet.
    #[error("the app is not ready yet")]
    NotReady(Box<Waiting>),
    /// The instance sleeps, and the Kubernetes API does not take that it is wanted.
    #[error("the app sleeps, and could not be woken")]
    WakeFailed(#[source] BoxError),
    /// The instance has as many requests or sockets as it may have.
    #[error("the app has too many requests at once")]
    InstanceBusy,
    /// The pod takes no connection.
    #[error("the app takes no connections")]
    Unreachable(#[source] BoxError),
    /// The pod did not take the connection in time.
    #[error("the app did not take the connection in time")]
    ConnectTimeout,
    /// The app did not begin to answer in time.
    #[error("the app did not answer within {} s", limit.as_secs())]
    ResponseTimeout {
        /// The limit.
        limit: Duration,
    },
    /// The app's answer broke off or was no HTTP.
    #[error("the app's answer could not be read")]
    Upstream(#[source] BoxError),
    /// The app switched to a protocol that nobody asked for.
    #[error("the app switched to a protocol that was not asked for")]
    UnaskedUpgrade,
    /// The database is away.
    #[error("sign-in and the catalog are not available at the moment")]
    CatalogAway(#[source] BoxError),
    /// The blob store is away.
    #[error("the bundle store is not available at the moment")]
    BlobsAway(#[source] BoxError),
    /// The Kubernetes API is away.
    #[error("the Kubernetes API is not available at the moment")]
    KubernetesAway(#[source] BoxError),
    /// The router itself is at its limit.
    #[error("the store is busy")]
    Busy,
    /// Our own fault.
    #[error("something went wrong in the store")]
    Internal(#[source] BoxError),
}

impl Error {
    /// HTTP status; the only place that chooses one.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadHost
            | Self::AuthorityMismatch
            | Self::BadFraming
            | Self::BadUpgrade
            | Self::BadRequest(_)
            | Self::BadDocument(_)
            | Self::AuthorizationPending
            | Self::DeviceCodeExpired
            | Self::BadInstanceName
            | Self::BadTag(_)
            | Self::BadSecret(_)
            | Self::UnreadableSecret { .. }
            | Self::BadTicket
            | Self::BadAttempt
            | Self::TokenRefused(_)
            | Self::TokenReplayed
            | Self::ShortPassword { .. }
            | Self::LongPassword { .. }
            | Self::PlainPassword
            | Self::BadAccountName
            | Self::NoRole(_)
            | Self::ClientBody => StatusCode::BAD_REQUEST,
            Self::NotSignedIn | Self::WrongPassword | Self::BadToken | Self::InvalidToken => {
                StatusCode::UNAUTHORIZED
            }
            Self::ForeignOrigin
            | Self::StaleForm
            | Self::Forbidden
            | Self::TagForbidden(_)
            | Self::OwnerOnly
            | Self::LogForbidden
            | Self::InsufficientScope(_)
            | Self::WavePath
            | Self::ForeignBundle
            | Self::ForeignEnvironment
            | Self::ProviderRefused(_)
            | Self::NoName
            | Self::PasswordExpired
            | Self::TokenByToken
            | Self::AuthorizationDenied
            | Self::AccountDisabled => StatusCode::FORBIDDEN,
            Self::NameTaken(_)
            | Self::EnvironmentExists
            | Self::InstanceNameTaken(_)
            | Self::BeingDeleted
            | Self::AppNotReady(_)
            | Self::NoLog
            | Self::AppExists(_)
            | Self::AppInUse(_)
            | Self::ProvidersAccount(_)
            | Self::DuplicateToken(_)
            | Self::TooManyTokens { .. }
            | Self::TagExists(_)
            | Self::TooManyTags { .. }
            | Self::TooManyPreferences { .. }
            | Self::SecretNameTaken(_)
            | Self::SecretExists(_)
            | Self::SecretInUse(_)
            | Self::ForeignSecret(_)
            | Self::TooManySecrets { .. }
            | Self::LastAdmin(_)
            | Self::Overtaken => StatusCode::CONFLICT,
            Self::NotFound | Self::Hidden | Self::NoAccount | Self::NoDevice => {
                StatusCode::NOT_FOUND
            }
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::NoApp(_)
            | Self::NoSize(_)
            | Self::BadDeletionTime(_)
            | Self::NoOwner(_)
            | Self::NoInstance(_)
            | Self::SecretScopeUnclear
            | Self::KeyReused
            | Self::KubernetesRefused(_)
            | Self::BadBundle(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ConnectRefused | Self::MethodNotAllowed(_) | Self::WaveMethod => {
                StatusCode::METHOD_NOT_ALLOWED
            }
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyAttempts { .. } | Self::TooManyRequests { .. } | Self::TooManySockets => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::ClientTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Unreachable(_)
            | Self::Upstream(_)
            | Self::UnaskedUpgrade
            | Self::ProviderAnswer(_) => StatusCode::BAD_GATEWAY,
            Self::NotReady(_)
            | Self::WakeFailed(_)
            | Self::InstanceBusy
            | Self::CatalogAway(_)
            | Self::BlobsAway(_)
            | Self::KubernetesAway(_)
            | Self::ProviderAway(_)
            | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectTimeout | Self::ResponseTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// How somebody could show who they are (RFC 9110, 11.6.1; RFC 6750, 3), where that is what is missing.
    #[must_use]
    pub(crate) fn challenges(&self) -> &'static [&'static str] {
        if matches!(self, Self::InvalidToken) {
            &[r#"Bearer realm="wavestore", error="invalid_token""#]
        } else if let Self::InsufficientScope(scope) = self {
            match scope {
                Scope::Instances => {
                    &[r#"Bearer realm="wavestore", error="insufficient_scope", scope="instances""#]
                }
                Scope::Store => {
                    &[r#"Bearer realm="wavestore", error="insufficient_scope", scope="store""#]
                }
            }
        } else if self.status() == StatusCode::UNAUTHORIZED {
            &[r#"Cookie realm="wavestore""#, r#"Bearer realm="wavestore""#]
        } else {
            &[]
        }
    }

    /// Stable code for clients, logs and metric labels, such as `Hidden`.
    #[must_use]
    pub(crate) fn code(&self) -> &'static str {
        self.into()
    }

    /// One next step, where there is one.
    #[must_use]
    pub(crate) fn hint(&self) -> Option<Cow<'static, str>> {
        if let Self::BadBundle(error) = self {
            return error.hint().map(Cow::Owned);
        }
        self.own_hint().map(Cow::Borrowed)
    }

    #[expect(clippy::too_many_lines, reason = "one line for each error")]
    fn own_hint(&self) -> Option<&'static str> {
        match self {
            Self::Hidden => Some("check the address, or ask the app's owner to share it"),
            Self::NotSignedIn => Some("open the address in a browser, or send a token"),
            Self::InvalidToken | Self::InsufficientScope(_) => {
                Some("make a new token on your account's page in the store")
            }
            Self::ForeignOrigin => Some("open the page itself and try again there"),
            Self::StaleForm => {
                Some("open the page again and send the form from there; cookies must be allowed")
            }
            Self::Forbidden | Self::TagForbidden(_) => Some("ask an admin of the store"),
            Self::SecretExists(_) | Self::TagExists(_) => {
                Some("choose another name, or change the one that is there")
            }
            Self::TooManyTags { .. } => Some("delete one that no app has"),
            Self::TooManyPreferences { .. } => Some("take back one that you do not need any more"),
            Self::OwnerOnly | Self::LogForbidden => Some("ask its owner"),
            Self::InstanceNameTaken(_) | Self::SecretNameTaken(_) => Some("choose another name"),
            Self::SecretInUse(_) => {
                Some("delete these versions first, or publish others that do without it")
            }
            Self::ForeignSecret(_) => Some("change it with kubectl, or ask who does"),
            Self::TooManySecrets { .. } => {
                Some("delete one that no app reads, or put several keys into one")
            }
            Self::AppExists(_) => Some("raise `Version` in app.toml"),
            Self::AppInUse(_) => Some("delete them first, or ask their owners"),
            Self::NoSize(_) => Some("choose one of those that the app's page offers, or none"),
            Self::BadDeletionTime(_) => {
                Some("write one such as `2026-01-01T12:00:00Z`; DELETE deletes at once")
            }
            Self::BeingDeleted => Some("make a new one of the same app when it is gone"),
            Self::NoApp(_) => Some("choose one of the apps on the store's first page"),
            Self::KeyReused => Some("send a new key with a new request"),
            Self::NoLog => {
                Some("see how it is first; `previous=true` asks for the container before")
            }
            Self::NoOwner(_) => Some("the page /accounts lists all of them"),
            Self::AppNotReady(_) => {
                Some("choose another version, or ask its owner what is wrong with this one")
            }
            Self::Changed => Some("look at it again, and decide anew"),
            Self::TooManyAttempts { .. } | Self::TooManyRequests { .. } | Self::Overtaken => {
                Some("wait a little and try again")
            }
            Self::BadTicket => Some("open the app again; cookies must be allowed for its address"),
            Self::BadAttempt => {
                Some("begin again on the sign-in page; cookies must be allowed for the store")
            }
            Self::ProviderAway(_) => {
                Some("accounts of the store itself can sign in; otherwise try again in a minute")
            }
            Self::ProviderAnswer(_) => Some(
                "try again; if it stays so, the store's log says what is wrong with the answer",
            ),
            Self::ProviderRefused(_) => Some("ask those who run it whether you may use this store"),
            Self::NoName => Some(
                "names have letters, digits and -_.@+ between them; the store's admin chooses the claim that holds them",
            ),
            Self::NameTaken(_) | Self::AccountDisabled => Some("ask the store's admin"),
            Self::TooManyTokens { .. } => Some("revoke one that is not used any more"),
            Self::TokenByToken => {
                Some("make it on the page of your account, or sign in with `wavestore login`")
            }
            Self::NoDevice => {
                Some("look at the device: it may show another one, or has to begin again")
            }
            Self::AuthorizationPending => {
                Some("ask again in a few seconds, until the code is too old")
            }
            Self::AuthorizationDenied | Self::DeviceCodeExpired => Some("begin again"),
            Self::PasswordExpired => Some("ask an admin of the store for another one"),
            Self::WaveMethod | Self::WavePath => {
                Some("these belong to the app's own process; ask the app through its pages")
            }
            Self::NotReady(_) => Some("the page continues by itself when the app is ready"),
            Self::WakeFailed(_) => {
                Some("try again in a minute; the store's log says what the Kubernetes API answered")
            }
            Self::InstanceBusy | Self::Busy => Some("try again in a few seconds"),
            Self::TooManySockets => Some("close some of the app's tabs, and try again"),
            Self::TooLarge {
                setting: Some(_), ..
            } => Some(
                "send less, or ask the store's operator to raise the router's --max-body-size (router.maxBodySize in its chart)",
            ),
            Self::ClientTimeout { .. } => Some("send the request again over a better connection"),
            Self::Unreachable(_) | Self::Upstream(_) | Self::ConnectTimeout => {
                Some("the app may have just stopped or restarted; try again in a few seconds")
            }
            Self::ResponseTimeout { .. } => {
                Some("the app's owner can see in its logs what it was doing")
            }
            Self::CatalogAway(_) | Self::BlobsAway(_) | Self::KubernetesAway(_) => {
                Some("apps that you have open keep working; try again in a minute")
            }
            Self::BadHost
            | Self::AuthorityMismatch
            | Self::BadFraming
            | Self::ConnectRefused
            | Self::BadUpgrade
            | Self::BadRequest(_)
            | Self::BadDocument(_)
            | Self::BadInstanceName
            | Self::BadTag(_)
            | Self::BadSecret(_)
            | Self::UnreadableSecret { .. }
            | Self::SecretScopeUnclear
            | Self::NoInstance(_)
            | Self::KubernetesRefused(_)
            | Self::BadBundle(_)
            | Self::NotFound
            | Self::MethodNotAllowed(_)
            | Self::TooLarge { setting: None, .. }
            | Self::WrongPassword
            | Self::ShortPassword { .. }
            | Self::LongPassword { .. }
            | Self::PlainPassword
            | Self::BadAccountName
            | Self::NoRole(_)
            | Self::NoAccount
            | Self::ProvidersAccount(_)
            | Self::DuplicateToken(_)
            | Self::LastAdmin(_)
            | Self::BadToken
            | Self::TokenRefused(_)
            | Self::TokenReplayed
            | Self::ForeignBundle
            | Self::ForeignEnvironment
            | Self::EnvironmentExists
            | Self::ClientBody
            | Self::UnaskedUpgrade
            | Self::Internal(_) => None,
        }
    }

    /// When to try again, for the header of this name.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line for each error")]
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts { retry_after } | Self::TooManyRequests { retry_after } => {
                Some(*retry_after)
            }
            Self::NotReady(_) => Some(Duration::from_secs(2)),
            Self::InstanceBusy | Self::Busy | Self::TooManySockets => Some(Duration::from_secs(1)),
            Self::CatalogAway(_)
            | Self::BlobsAway(_)
            | Self::KubernetesAway(_)
            | Self::ProviderAway(_)
            | Self::WakeFailed(_) => Some(Duration::from_secs(10)),
            Self::BadHost
            | Self::AuthorityMismatch
            | Self::BadFraming
            | Self::ConnectRefused
            | Self::BadUpgrade
            | Self::BadRequest(_)
            | Self::BadDocument(_)
            | Self::BadInstanceName
            | Self::BadTag(_)
            | Self::TagExists(_)
            | Self::TagForbidden(_)
            | Self::TooManyTags { .. }
            | Self::TooManyPreferences { .. }
            | Self::BadSecret(_)
            | Self::UnreadableSecret { .. }
            | Self::SecretScopeUnclear
            | Self::SecretNameTaken(_)
            | Self::SecretExists(_)
            | Self::SecretInUse(_)
            | Self::ForeignSecret(_)
            | Self::TooManySecrets { .. }
            | Self::InstanceNameTaken(_)
            | Self::BadBundle(_)
            | Self::AppExists(_)
            | Self::AppInUse(_)
            | Self::NoApp(_)
            | Self::NoSize(_)
            | Self::BadDeletionTime(_)
            | Self::BeingDeleted
            | Self::NoOwner(_)
            | Self::NoInstance(_)
            | Self::KeyReused
            | Self::NoLog
            | Self::AppNotReady(_)
            | Self::Changed
            | Self::Overtaken
            | Self::KubernetesRefused(_)
            | Self::OwnerOnly
            | Self::LogForbidden
            | Self::NotFound
            | Self::MethodNotAllowed(_)
            | Self::TooLarge { .. }
            | Self::ClientTimeout { .. }
            | Self::NotSignedIn
            | Self::Hidden
            | Self::ForeignOrigin
            | Self::StaleForm
            | Self::Forbidden
            | Self::WrongPassword
            | Self::PasswordExpired
            | Self::ShortPassword { .. }
            | Self::LongPassword { .. }
            | Self::PlainPassword
            | Self::BadAccountName
            | Self::NoRole(_)
            | Self::NoAccount
            | Self::ProvidersAccount(_)
            | Self::DuplicateToken(_)
            | Self::TooManyTokens { .. }
            | Self::TokenByToken
            | Self::NoDevice
            | Self::AuthorizationPending
            | Self::AuthorizationDenied
            | Self::DeviceCodeExpired
            | Self::LastAdmin(_)
            | Self::BadAttempt
            | Self::ProviderRefused(_)
            | Self::ProviderAnswer(_)
            | Self::NoName
            | Self::NameTaken(_)
            | Self::AccountDisabled
            | Self::TokenRefused(_)
            | Self::TokenReplayed
            | Self::InvalidToken
            | Self::InsufficientScope(_)
            | Self::BadToken
            | Self::ForeignBundle
            | Self::ForeignEnvironment
            | Self::EnvironmentExists
            | Self::BadTicket
            | Self::WaveMethod
            | Self::WavePath
            | Self::ClientBody
            | Self::Unreachable(_)
            | Self::ConnectTimeout
            | Self::ResponseTimeout { .. }
            | Self::Upstream(_)
            | Self::UnaskedUpgrade
            | Self::Internal(_) => None,
        }
    }
}

/// The database's own failures; those that mean "not any more" are told apart where they can happen.
impl From<catalog::Error> for Error {
    fn from(error: catalog::Error) -> Self {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "all others mean that the database fails"
        )]
        match error {
            catalog::Error::SessionGone => Self::NotSignedIn,
            catalog::Error::DuplicateAccount(name) => Self::NameTaken(name),
            catalog::Error::ForeignAccount(name) => Self::ProvidersAccount(name),
            catalog::Error::LastAdmin(name) => Self::LastAdmin(name),
            catalog::Error::DuplicateToken(name) => Self::DuplicateToken(name),
            catalog::Error::TooManyTokens { limit } => Self::TooManyTokens { limit },
            catalog::Error::TooManyTags { limit } => Self::TooManyTags { limit },
            catalog::Error::TooManyPreferences { limit } => Self::TooManyPreferences { limit },
            other => Self::CatalogAway(Box::new(other)),
        }
    }
}

/// Questions to the database have a time limit.
impl From<tokio::time::error::Elapsed> for Error {
    fn from(elapsed: tokio::time::error::Elapsed) -> Self {
        Self::CatalogAway(Box::new(elapsed))
    }
}

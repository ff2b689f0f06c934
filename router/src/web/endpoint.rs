//! Every address of the store's host: the one list of them, with who may use each.

use http::Method;

use crate::error::Error;
use crate::policy::Action;

/// One address and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray)]
pub(crate) enum Endpoint {
    /// The first page.
    Home,
    /// The page to sign in.
    SignInPage,
    /// A name and a password.
    SignIn,
    /// The end of a session.
    SignOut,
    /// The way to the OIDC provider.
    SignInAtProvider,
    /// The way back from the OIDC provider.
    ProviderAnswer,
    /// What the OIDC provider says is over.
    BackChannelLogout,
    /// The way to an instance's host, with a ticket.
    Visit,
    /// A picture of an app.
    Picture,
    /// One's own account: password, sessions, tokens.
    Account,
    /// A new password.
    ChangePassword,
    /// The end of one of one's sessions.
    EndSession,
    /// The end of all of one's sessions but this one.
    EndOtherSessions,
    /// A new token for one's programs.
    CreateToken,
    /// The end of one of one's tokens.
    RevokeToken,
    /// The page on which somebody lets a device in.
    Device,
    /// That it is let in, or not.
    AnswerDevice,
    /// Everybody's accounts.
    Accounts,
    /// A new account.
    CreateAccount,
    /// A new one-time password for somebody.
    ResetPassword,
    /// Another role for somebody.
    ChangeRole,
    /// Keeps somebody from signing in.
    DisableAccount,
    /// Lets somebody in again.
    EnableAccount,
    /// What the store knows of tags.
    Tags,
    /// A new tag, or another look or other roles for one.
    SetTag,
    /// The end of a tag.
    DeleteTag,
    /// What users and apps may have, and who has how much of it.
    Limits,
    /// What people have done.
    Audit,
    /// The secrets that somebody sees.
    Secrets,
    /// A new secret, or all of one replaced.
    SetSecret,
    /// The end of a secret.
    DeleteSecret,
    /// One version of an app.
    App,
    /// A new instance of an app.
    Run,
    /// A like or a pin, or its end.
    Prefer,
    /// The page to publish an app.
    PublishPage,
    /// All instances that somebody manages.
    Instances,
    /// One instance: how it is, and what may be changed.
    Instance,
    /// A change of an instance.
    ChangeInstance,
    /// The end of an instance.
    DeleteInstance,
    /// What the API is, for programs and for those who write them.
    ApiDescription,
    /// Whose request it is, for programs.
    ApiAccount,
    /// Somebody's sessions, for programs.
    ApiSessions,
    /// The end of one of one's sessions, by a program.
    ApiEndSession,
    /// The end of all of one's sessions but this one, by a program.
    ApiEndSessions,
    /// Somebody's tokens, for programs.
    ApiTokens,
    /// A new token for one's programs, by a page or a program of the OIDC provider.
    ApiCreateToken,
    /// The end of one of one's tokens, by a program.
    ApiRevokeToken,
    /// A device that asks to be let in.
    ApiDevice,
    /// How it stands with that, and the token when it is let in.
    ApiDeviceToken,
    /// Everybody's accounts, for programs.
    ApiAccounts,
    /// A new account, by a program.
    ApiCreateAccount,
    /// One account, for programs.
    ApiOneAccount,
    /// Another role for an account, or its end for a while, by a program.
    ApiChangeAccount,
    /// A new one-time password for somebody, by a program.
    ApiResetPassword,
    /// The apps that somebody sees, for programs.
    ApiApps,
    /// A new version of an app, by a program.
    ApiPublish,
    /// One version of an app, for programs.
    ApiApp,
    /// Another owner, another visibility or other tags for a version of an app, by a program.
    ApiChangeApp,
    /// The end of a version of an app, by a program.
    ApiDeleteApp,
    /// The bundle of a version of an app.
    ApiBundle,
    /// The apps that somebody likes or has pinned, for programs.
    ApiPreferences,
    /// A like or a pin, or its end, by a program.
    ApiPrefer,
    /// The instances that somebody manages, for programs.
    ApiInstances,
    /// A new instance, by a program.
    ApiCreateInstance,
    /// One instance, for programs.
    ApiInstance,
    /// A change of an instance, by a program.
    ApiChangeInstance,
    /// The end of an instance, by a program.
    ApiDeleteInstance,
    /// What the app in an instance has written.
    ApiLogs,
    /// Other names of instances, for programs.
    ApiAliases,
    /// One alias, for programs.
    ApiAlias,
    /// An alias that is to be, by a program.
    ApiSetAlias,
    /// The end of an alias, by a program.
    ApiDeleteAlias,
    /// What the store knows of tags, for programs.
    ApiTags,
    /// One tag, for programs.
    ApiTag,
    /// What users and apps may have, for programs.
    ApiLimits,
    /// What the store offers to apps and instances by name, for programs.
    ApiOffer,
    /// What people have done, for programs.
    ApiAudit,
    /// A tag that is to be, by a program.
    ApiSetTag,
    /// The end of a tag, by a program.
    ApiDeleteTag,
    /// The secrets that somebody sees, for programs.
    ApiSecrets,
    /// One secret, for programs.
    ApiSecret,
    /// A secret that is to be, by a program.
    ApiSetSecret,
    /// The end of a secret, by a program.
    ApiDeleteSecret,
}

/// What a request has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A GET or a HEAD. Changes nothing that matters.
    Read,
    /// A form of a page that was shown to this very browser.
    Form,
    /// A POST that no browser sends, and that proves itself.
    Call,
    /// A POST of the API: a JSON document, by a program that shows a token, or by a page of ours.
    Create,
    /// A PUT of the API: a bundle, by the same.
    Upload,
    /// The same as [`Kind::Create`] with PUT.
    Put,
    /// The same as [`Kind::Create`] with PATCH.
    Change,
    /// A DELETE of the API, by the same.
    Delete,
}

impl Kind {
    /// The methods that it takes.
    pub(crate) const fn methods(self) -> &'static [Method] {
        match self {
            Self::Read => &[Method::GET, Method::HEAD],
            Self::Form | Self::Call | Self::Create => &[Method::POST],
            Self::Upload | Self::Put => &[Method::PUT],
            Self::Change => &[Method::PATCH],
            Self::Delete => &[Method::DELETE],
        }
    }
}

impl Endpoint {
    /// The endpoint that takes this request.
    ///
    /// # Errors
    /// Nothing is at the path, or it takes another method.
    pub(crate) fn find(method: &Method, path: &str) -> Result<Self, Error> {
        let all = <Self as strum::VariantArray>::VARIANTS.iter();
        let mut allowed = Vec::new();
        for endpoint in all.filter(|endpoint| matches(endpoint.path(), path)) {
            let methods = endpoint.kind().methods();
            if methods.contains(method) {
                return Ok(*endpoint);
            }
            allowed.extend(methods.iter().map(Method::as_str));
        }
        if allowed.is_empty() {
            Err(Error::NotFound)
        } else {
            Err(Error::MethodNotAllowed(allowed.join(", ")))
        }
    }

    /// Its path; `*` stands for one segment.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::SignInPage | Self::SignIn => "/sign-in",
            Self::SignOut => "/sign-out",
            Self::SignInAtProvider => "/sign-in/provider",
            Self::ProviderAnswer => "/sign-in/callback",
            Self::BackChannelLogout => "/sign-out/back-channel",
            Self::Visit => crate::session::visit::VISIT_PATH,
            Self::Picture => "/assets/*/*",
            Self::Account => "/account",
            Self::ChangePassword => "/account/password",
            Self::EndSession => "/account/sessions/end",
            Self::EndOtherSessions => "/account/sessions/end-others",
            Self::CreateToken => "/account/tokens",
            Self::RevokeToken => "/account/tokens/revoke",
            Self::Device | Self::AnswerDevice => "/device",
            Self::Accounts | Self::CreateAccount => "/accounts",
            Self::ResetPassword => "/accounts/reset-password",
            Self::ChangeRole => "/accounts/role",
            Self::DisableAccount => "/accounts/disable",
            Self::EnableAccount => "/accounts/enable",
            Self::Tags | Self::SetTag => "/tags",
            Self::DeleteTag => "/tags/delete",
            Self::Limits => "/limits",
            Self::Audit => "/audit",
            Self::Secrets | Self::SetSecret => "/secrets",
            Self::DeleteSecret => "/secrets/delete",
            Self::App => "/apps/*/*",
            Self::Run | Self::Instances => "/instances",
            Self::Prefer => "/preferences",
            Self::PublishPage => "/publish",
            Self::Instance | Self::ChangeInstance => "/instances/*",
            Self::DeleteInstance => "/instances/*/delete",
            Self::ApiDescription => "/api/v1/openapi.json",
            Self::ApiAccount => "/api/v1/account",
            Self::ApiSessions | Self::ApiEndSessions => "/api/v1/sessions",
            Self::ApiEndSession => "/api/v1/sessions/*",
            Self::ApiTokens | Self::ApiCreateToken => "/api/v1/tokens",
            Self::ApiRevokeToken => "/api/v1/tokens/*",
            Self::ApiDevice => "/api/v1/devices",
            Self::ApiDeviceToken => "/api/v1/devices/token",
            Self::ApiAccounts | Self::ApiCreateAccount => "/api/v1/accounts",
            Self::ApiOneAccount | Self::ApiChangeAccount => "/api/v1/accounts/*",
            Self::ApiResetPassword => "/api/v1/accounts/*/password",
            Self::ApiApps | Self::ApiPublish => "/api/v1/apps",
            Self::ApiApp | Self::ApiChangeApp | Self::ApiDeleteApp => "/api/v1/apps/*",
            Self::ApiBundle => "/api/v1/apps/*/bundle",
            Self::ApiPreferences => "/api/v1/preferences",
            Self::ApiPrefer => "/api/v1/preferences/*",
            Self::ApiInstances | Self::ApiCreateInstance => "/api/v1/instances",
            Self::ApiInstance | Self::ApiChangeInstance | Self::ApiDeleteInstance => {
                "/api/v1/instances/*"
            }
            Self::ApiLogs => "/api/v1/instances/*/logs",
            Self::ApiAliases => "/api/v1/aliases",
            Self::ApiAlias | Self::ApiSetAlias | Self::ApiDeleteAlias => "/api/v1/aliases/*",
            Self::ApiLimits => "/api/v1/limits",
            Self::ApiOffer => "/api/v1/offer",
            Self::ApiAudit => "/api/v1/audit",
            Self::ApiTags => "/api/v1/tags",
            Self::ApiTag | Self::ApiSetTag | Self::ApiDeleteTag => "/api/v1/tags/*",
            Self::ApiSecrets => "/api/v1/secrets",
            Self::ApiSecret | Self::ApiSetSecret | Self::ApiDeleteSecret => "/api/v1/secrets/*",
        }
    }

    /// What its request has to be.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Home
            | Self::SignInPage
            | Self::SignInAtProvider
            | Self::ProviderAnswer
            | Self::Visit
            | Self::Picture
            | Self::Account
            | Self::Device
            | Self::Accounts
            | Self::Tags
            | Self::Limits
            | Self::Audit
            | Self::Secrets
            | Self::App
            | Self::PublishPage
            | Self::Instances
            | Self::Instance
            | Self::ApiDescription
            | Self::ApiAccount
            | Self::ApiSessions
            | Self::ApiTokens
            | Self::ApiAccounts
            | Self::ApiOneAccount
            | Self::ApiApps
            | Self::ApiApp
            | Self::ApiBundle
            | Self::ApiPreferences
            | Self::ApiInstances
            | Self::ApiInstance
            | Self::ApiLogs
            | Self::ApiAliases
            | Self::ApiAlias
            | Self::ApiLimits
            | Self::ApiOffer
            | Self::ApiAudit
            | Self::ApiTags
            | Self::ApiTag
            | Self::ApiSecrets
            | Self::ApiSecret => Kind::Read,
            Self::SignIn
            | Self::SignOut
            | Self::ChangePassword
            | Self::EndSession
            | Self::EndOtherSessions
            | Self::CreateToken
            | Self::RevokeToken
            | Self::AnswerDevice
            | Self::CreateAccount
            | Self::ResetPassword
            | Self::ChangeRole
            | Self::DisableAccount
            | Self::EnableAccount
            | Self::SetTag
            | Self::DeleteTag
            | Self::SetSecret
            | Self::DeleteSecret
            | Self::Run
            | Self::Prefer
            | Self::ChangeInstance
            | Self::DeleteInstance => Kind::Form,
            Self::BackChannelLogout => Kind::Call,
            Self::ApiPublish => Kind::Upload,
            Self::ApiCreateInstance
            | Self::ApiCreateToken
            | Self::ApiDevice
            | Self::ApiDeviceToken
            | Self::ApiCreateAccount
            | Self::ApiResetPassword => Kind::Create,
            Self::ApiChangeInstance
            | Self::ApiChangeApp
            | Self::ApiPrefer
            | Self::ApiChangeAccount => Kind::Change,
            Self::ApiSetAlias | Self::ApiSetTag | Self::ApiSetSecret => Kind::Put,
            Self::ApiEndSession
            | Self::ApiEndSessions
            | Self::ApiRevokeToken
            | Self::ApiDeleteInstance
            | Self::ApiDeleteApp
            | Self::ApiDeleteAlias
            | Self::ApiDeleteTag
            | Self::ApiDeleteSecret => Kind::Delete,
        }
    }

    /// Whether it belongs to the API, where programs show tokens.
    pub(crate) const fn takes_tokens(self) -> bool {
        matches!(
            self,
            Self::ApiDescription
                | Self::ApiAccount
                | Self::ApiSessions
                | Self::ApiEndSession
                | Self::ApiEndSessions
                | Self::ApiTokens
                | Self::ApiCreateToken
                | Self::ApiRevokeToken
                | Self::ApiDevice
                | Self::ApiDeviceToken
                | Self::ApiAccounts
                | Self::ApiCreateAccount
                | Self::ApiOneAccount
                | Self::ApiChangeAccount
                | Self::ApiResetPassword
                | Self::ApiApps
                | Self::ApiPublish
                | Self::ApiApp
                | Self::ApiChangeApp
                | Self::ApiDeleteApp
                | Self::ApiBundle
                | Self::ApiPreferences
                | Self::ApiPrefer
                | Self::ApiInstances
                | Self::ApiCreateInstance
                | Self::ApiInstance
                | Self::ApiChangeInstance
                | Self::ApiDeleteInstance
                | Self::ApiLogs
                | Self::ApiAliases
                | Self::ApiAlias
                | Self::ApiSetAlias
                | Self::ApiDeleteAlias
                | Self::ApiLimits
                | Self::ApiOffer
                | Self::ApiAudit
                | Self::ApiTags
                | Self::ApiTag
                | Self::ApiSetTag
                | Self::ApiDeleteTag
                | Self::ApiSecrets
                | Self::ApiSecret
                | Self::ApiSetSecret
                | Self::ApiDeleteSecret
        )
    }

    /// Largest form or document that it takes, in bytes.
    pub(crate) const fn max_body(self) -> u64 {
        if matches!(self, Self::SetSecret | Self::ApiSetSecret) {
            // As much as Kubernetes takes in one Secret.
            1024 * 1024
        } else {
            16 * 1024
        }
    }

    /// What the policy is asked before anything else.
    pub(crate) const fn action(self) -> Action<'static> {
        match self {
            Self::SignInPage
            | Self::SignIn
            | Self::SignOut
            | Self::SignInAtProvider
            | Self::ProviderAnswer
            | Self::BackChannelLogout
            | Self::Picture
            | Self::ApiDescription
            | Self::ApiDevice
            | Self::ApiDeviceToken => Action::Arrive,
            Self::Home
            | Self::Visit
            | Self::Account
            | Self::ChangePassword
            | Self::EndSession
            | Self::EndOtherSessions
            | Self::CreateToken
            | Self::RevokeToken
            | Self::Device
            | Self::AnswerDevice
            | Self::App
            | Self::Run
            | Self::Prefer
            | Self::Instances
            | Self::Instance
            | Self::ChangeInstance
            | Self::DeleteInstance
            | Self::ApiAccount
            | Self::ApiSessions
            | Self::ApiEndSession
            | Self::ApiEndSessions
            | Self::ApiTokens
            | Self::ApiCreateToken
            | Self::ApiRevokeToken
            | Self::ApiOffer
            | Self::ApiApps
            | Self::ApiApp
            | Self::ApiChangeApp
            | Self::ApiDeleteApp
            | Self::ApiBundle
            | Self::ApiPreferences
            | Self::ApiPrefer
            | Self::ApiInstances
            | Self::ApiCreateInstance
            | Self::ApiInstance
            | Self::ApiChangeInstance
            | Self::ApiDeleteInstance
            | Self::ApiLogs
            | Self::ApiAliases
            | Self::ApiAlias => Action::UseStore,
            Self::ApiSetAlias | Self::ApiDeleteAlias => Action::SetAliases,
            Self::Secrets
            | Self::SetSecret
            | Self::DeleteSecret
            | Self::ApiSecrets
            | Self::ApiSecret
            | Self::ApiSetSecret
            | Self::ApiDeleteSecret => Action::UseSecrets,
            Self::ApiTags | Self::ApiTag => Action::SeeTags,
            Self::Tags | Self::SetTag | Self::DeleteTag | Self::ApiSetTag | Self::ApiDeleteTag => {
                Action::ManageTags
            }
            Self::Limits | Self::ApiLimits => Action::ReadLimits,
            Self::Audit | Self::ApiAudit => Action::ReadAudit,
            Self::PublishPage | Self::ApiPublish => Action::Publish,
            Self::Accounts
            | Self::CreateAccount
            | Self::ResetPassword
            | Self::ChangeRole
            | Self::DisableAccount
            | Self::EnableAccount
            | Self::ApiAccounts
            | Self::ApiCreateAccount
            | Self::ApiOneAccount
            | Self::ApiChangeAccount
            | Self::ApiResetPassword => Action::ManageAccounts,
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all = pattern.split('/').all(|expected| {
        segments
            .next()
            .is_some_and(|segment| segment == expected || (expected == "*" && !segment.is_empty()))
    });
    all && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_leads_to_one_endpoint() {
        let cases = [
            (Method::GET, "/", Ok(Endpoint::Home)),
            (Method::HEAD, "/", Ok(Endpoint::Home)),
            (Method::POST, "/", Err("MethodNotAllowed")),
            (Method::GET, "/sign-in", Ok(Endpoint::SignInPage)),
            (Method::POST, "/sign-in", Ok(Endpoint::SignIn)),
            (Method::DELETE, "/sign-in", Err("MethodNotAllowed")),
            (Method::GET, "/sign-out", Err("MethodNotAllowed")),
            (Method::GET, "/assets/a/b", Ok(Endpoint::Picture)),
            (Method::GET, "/assets/a", Err("NotFound")),
            (Method::GET, "/assets/a/", Err("NotFound")),
            (Method::GET, "/assets/a/b/c", Err("NotFound")),
            (Method::GET, "//", Err("NotFound")),
            (Method::GET, "/sign-in/", Err("NotFound")),
            (Method::GET, "/accounts/..", Err("NotFound")),
            (
                Method::PATCH,
                "/api/v1/instances/x",
                Ok(Endpoint::ApiChangeInstance),
            ),
            (Method::DELETE, "/api/v1/instances", Err("MethodNotAllowed")),
            (Method::GET, "", Err("NotFound")),
            (Method::GET, "/nothing", Err("NotFound")),
        ];
        for (method, path, expected) in cases {
            let found = Endpoint::find(&method, path);
            let found = found.as_ref().map_err(Error::code).copied();
            assert_eq!(found, expected, "{method} {path}");
        }
    }

    #[test]
    fn every_endpoint_is_found_by_its_methods() {
        for endpoint in <Endpoint as strum::VariantArray>::VARIANTS {
            for method in endpoint.kind().methods() {
                let found = Endpoint::find(method, endpoint.path());
                assert_eq!(found.ok().as_ref(), Some(endpoint));
            }
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        for (path, expected) in [
            ("/", "GET, HEAD"),
            ("/sign-out", "POST"),
            ("/api/v1/instances", "GET, HEAD, POST"),
            ("/api/v1/instances/x", "GET, HEAD, PATCH, DELETE"),
        ] {
            let Err(Error::MethodNotAllowed(methods)) = Endpoint::find(&Method::PUT, path) else {
                panic!("PUT {path} is taken");
            };
            assert_eq!(methods, expected, "{path}");
        }
    }
}

//! What a page says of the form that was sent last.

use crate::error::Error;

/// What has just happened.
#[derive(Debug, Clone, Copy)]
pub(in crate::web) enum News<'a> {
    /// Nothing.
    None,
    /// A form did what it should.
    Done(Done),
    /// A secret was made, which is shown once.
    Secret {
        /// The account that it is the password of, or the token.
        name: &'a str,
        /// The secret.
        secret: &'a str,
    },
    /// A form was refused.
    Failed(&'a Error),
}

impl<'a> News<'a> {
    /// What a form has done, in words.
    pub(super) fn done(self) -> Option<&'static str> {
        match self {
            Self::Done(done) => Some(done.words()),
            Self::None | Self::Secret { .. } | Self::Failed(_) => None,
        }
    }

    /// What the secret is of, and the secret.
    pub(super) fn secret(self) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Secret { name, secret } => Some((name, secret)),
            Self::None | Self::Done(_) | Self::Failed(_) => None,
        }
    }

    /// Why a form was refused.
    pub(super) fn failure(self) -> Option<&'a Error> {
        match self {
            Self::Failed(error) => Some(error),
            Self::None | Self::Done(_) | Self::Secret { .. } => None,
        }
    }
}

/// What a form has done, as an address can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case")]
pub(in crate::web) enum Done {
    PasswordChanged,
    SessionEnded,
    OthersEnded,
    TokenRevoked,
    DeviceLetIn,
    DeviceRefused,
    RoleChanged,
    Disabled,
    Enabled,
    Made,
    Suspended,
    Resumed,
    Shared,
    VersionChanged,
    SizeChanged,
    WillBeDeleted,
    Kept,
    Deleted,
    TagSet,
    TagDeleted,
    SecretSet,
    SecretDeleted,
}

impl Done {
    fn words(self) -> &'static str {
        match self {
            Self::PasswordChanged => {
                "Your password is changed. All your other sessions have ended."
            }
            Self::SessionEnded => "The session has ended.",
            Self::OthersEnded => "All your other sessions have ended.",
            Self::TokenRevoked => "The token is revoked.",
            Self::DeviceLetIn => {
                "The device is let in. Go on there; this page is not needed any more."
            }
            Self::DeviceRefused => "The device is refused.",
            Self::RoleChanged => "The role is changed.",
            Self::Disabled => "The account is disabled and its sessions have ended.",
            Self::Enabled => "The account can sign in again.",
            Self::Made => "Your instance is made, and starts now.",
            Self::Suspended => "The instance is suspended: its pod goes, its files stay.",
            Self::Resumed => "The instance is resumed, and starts now.",
            Self::Shared => "Who may enter the instance is changed.",
            Self::VersionChanged => "The version is changed: the app starts again with it.",
            Self::SizeChanged => "The size is changed: the app starts again with it.",
            Self::WillBeDeleted => {
                "The instance will be deleted. Until then it goes on as it is, and you can undo that."
            }
            Self::Kept => "The instance is kept.",
            Self::Deleted => "The instance is being deleted.",
            Self::TagSet => "The tag is as you want it, everywhere within seconds.",
            Self::TagDeleted => "The tag is deleted. Apps keep the word.",
            Self::SecretSet => {
                "The secret is set. Instances that start from now on get what it has now."
            }
            Self::SecretDeleted => "The secret is deleted.",
        }
    }
}

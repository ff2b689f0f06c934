//! The page of everybody's accounts, for admins, and its forms.

use super::accounts::{self, Change, NewAccount, OneTimePassword};
use super::form::Form;
use super::if_match::IfMatch;
use super::pages::{self, Done};
use super::{Call, Reply, Store, Visitor, back_to};
use crate::error::Error;

/// The page, with what was done last.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    show(store, visitor, call.news()).await
}

async fn show(store: &Store, visitor: &Visitor, news: pages::News<'_>) -> Result<Reply, Error> {
    let accounts = accounts::list(store, None, pages::MAX_ACCOUNTS + 1).await?;
    let own = &visitor.signed_in()?.viewer.name;
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Accounts::new(frame, own, &accounts, news);
    page.reply().map(|page| page.map(Into::into))
}

/// What a form on the page does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Makes an account.
    Create,
    /// Gives it a one-time password.
    ResetPassword,
    /// Gives it another role.
    Role,
    /// Keeps it from signing in.
    Disable,
    /// Lets it in again.
    Enable,
}

/// Does it. A one-time password is shown in the answer itself, and never again.
pub(super) async fn act(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
    act: Act,
) -> Result<Reply, Error> {
    let name = form.field("name").trim();
    match perform(store, visitor, name, form, act).await {
        Ok(Outcome::Done(done)) => back_to("/accounts", done),
        Ok(Outcome::Password(password)) => {
            let news = pages::News::Secret {
                name,
                secret: &password.secret,
            };
            show(store, visitor, news).await
        }
        Err(
            error @ (Error::BadAccountName
            | Error::NameTaken(_)
            | Error::NoAccount
            | Error::ProvidersAccount(_)
            | Error::LastAdmin(_)),
        ) if call.asked.navigation => show(store, visitor, pages::News::Failed(&error)).await,
        Err(error) => Err(error),
    }
}

enum Outcome {
    Done(Done),
    Password(OneTimePassword),
}

async fn perform(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    form: &Form,
    act: Act,
) -> Result<Outcome, Error> {
    let role = || {
        let role = form.field("role");
        let role = role.parse().map(catalog::Role::into);
        role.map_err(|_| Error::NoRole(form.field("role").to_owned()))
    };
    let (change, done) = match act {
        Act::Create => {
            let new = NewAccount {
                name: name.to_owned(),
                role: role()?,
            };
            let password = accounts::create(store, visitor, &new).await?;
            return Ok(Outcome::Password(password));
        }
        Act::ResetPassword => {
            let password = accounts::reset_password(store, visitor, name).await?;
            return Ok(Outcome::Password(password));
        }
        Act::Role => {
            let change = Change {
                role: Some(role()?),
                ..Change::default()
            };
            (change, Done::RoleChanged)
        }
        Act::Disable => (disabled(true), Done::Disabled),
        Act::Enable => (disabled(false), Done::Enabled),
    };
    accounts::change(store, visitor, name, &change, &IfMatch::Any).await?;
    Ok(Outcome::Done(done))
}

fn disabled(disabled: bool) -> Change {
    Change {
        disabled: Some(disabled),
        ..Change::default()
    }
}

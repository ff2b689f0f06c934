//! Everybody's accounts, for admins.

use catalog::{Role, Thing};
use tokio::time::timeout;

use super::form::Form;
use super::pages::{self, Done};
use super::{Call, PATIENCE, Reply, Store, Visitor, back_to};
use crate::error::Error;

/// The page, with what was done last.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    show(store, visitor, call.news()).await
}

async fn show(store: &Store, visitor: &Visitor, news: pages::News<'_>) -> Result<Reply, Error> {
    let accounts = store.catalog.accounts(pages::MAX_ACCOUNTS + 1);
    let accounts = timeout(PATIENCE, accounts).await??;
    let own = &visitor.signed_in()?.viewer.name;
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Accounts::new(frame, own, &accounts, news);
    page.reply().map(|page| page.map(Into::into))
}

/// What a form on the page does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
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

/// Changes an account. A one-time password is shown in the answer itself, and never again.
pub(super) async fn change(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
    change: Change,
) -> Result<Reply, Error> {
    let name = form.field("name").trim();
    let performed = perform(store, name, form, change).await;
    if performed.is_ok() {
        let done = match change {
            Change::Create => format!("made the account {name}: {}", form.field("role")),
            Change::ResetPassword => format!("gave the account {name} a one-time password"),
            Change::Role => format!("gave the account {name} the role {}", form.field("role")),
            Change::Disable => format!("disabled the account {name}"),
            Change::Enable => format!("let the account {name} sign in again"),
        };
        visitor.did(store, (Thing::Account, name), &done).await?;
    }
    match performed {
        Ok(Outcome::Done(done)) => back_to("/accounts", done),
        Ok(Outcome::Password(password)) => {
            let news = pages::News::Secret {
                name,
                secret: &password,
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
    Password(String),
}

async fn perform(store: &Store, name: &str, form: &Form, change: Change) -> Result<Outcome, Error> {
    let role = || {
        let role = form.field("role");
        role.parse::<Role>()
            .map_err(|_| Error::NoRole(role.to_owned()))
    };
    let catalog = &store.catalog;
    let (found, done) = match change {
        Change::Create => {
            let password = store.sign_in.create_account(name, role()?).await?;
            return Ok(Outcome::Password(password));
        }
        Change::ResetPassword => {
            let password = store.sign_in.reset_password(name).await?;
            return Ok(Outcome::Password(password));
        }
        Change::Role => {
            let set = timeout(PATIENCE, catalog.set_role(name, role()?)).await;
            (set??, Done::RoleChanged)
        }
        Change::Disable => {
            let set = timeout(PATIENCE, catalog.set_account_disabled(name, true)).await;
            (set??, Done::Disabled)
        }
        Change::Enable => {
            let set = timeout(PATIENCE, catalog.set_account_disabled(name, false)).await;
            (set??, Done::Enabled)
        }
    };
    if found {
        Ok(Outcome::Done(done))
    } else {
        Err(Error::NoAccount)
    }
}

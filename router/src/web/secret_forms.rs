//! The page of secrets, and its forms.

use std::collections::BTreeMap;

use crds::SecretScope;

use super::form::Form;
use super::if_match::IfMatch;
use super::pages::{self, Done, News, Written};
use super::secrets::{self, Sensitive, Wanted};
use super::{Call, Reply, Store, Visitor, back_to};
use crate::error::Error;

/// The page, with what was done last.
pub(super) fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    show(store, visitor, call.news(), None)
}

fn show(
    store: &Store,
    visitor: &Visitor,
    news: News<'_>,
    refused: Option<Written>,
) -> Result<Reply, Error> {
    let all = secrets::all(store, visitor);
    let frame = (&*store.site, visitor.frame(store)?);
    let viewer = &visitor.signed_in()?.viewer;
    let page = pages::Secrets::new(frame, viewer, &all, news, refused);
    page.reply().map(|page| page.map(Into::into))
}

/// Makes a secret, or replaces one that the page has shown. What is refused is said on the page, which keeps what was written but
/// for the values.
pub(super) async fn set(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let name = form.field("name").trim();
    let scope = form.field("scope");
    let scope: SecretScope = scope
        .parse()
        .map_err(|_| Error::BadRequest("there is no such scope"))?;
    let app = form.field("app").trim();
    let mut string_data = BTreeMap::new();
    for (key, value) in form.fields("key").zip(form.fields("value")) {
        // Rows that were not needed, and keys that are to go.
        if !value.is_empty() {
            // Browsers end lines as mail does.
            let value = value.replace("\r\n", "\n");
            string_data.insert(key.trim().to_owned(), Sensitive::from(value));
        }
    }
    let keys = form.fields("key").filter(|key| !key.is_empty());
    let written = Written {
        name: name.to_owned(),
        scope,
        app: app.to_owned(),
        keys: keys.map(str::to_owned).collect(),
    };
    let wanted = Wanted {
        scope,
        // What is left in a field that does not count means nothing.
        app: (scope == SecretScope::App).then(|| app.to_owned()),
        string_data,
        ..Wanted::default()
    };
    // The page of a new one has shown none.
    let shown = match form.field("state") {
        "" => IfMatch::Absent,
        state => IfMatch::state(state),
    };
    let set = if wanted.string_data.is_empty() {
        Err(Error::BadSecret("it has no value"))
    } else {
        secrets::set(store, visitor, name, &wanted, &shown).await
    };
    let set = set.map_err(|error| match (error, &shown) {
        (Error::Changed, IfMatch::Absent) => Error::SecretExists(name.to_owned()),
        (error, _) => error,
    });
    match set {
        Ok(_) => back_to("/secrets", Done::SecretSet),
        Err(error) if call.asked.navigation && error.status().is_client_error() => {
            show(store, visitor, News::Failed(&error), Some(written))
        }
        Err(error) => Err(error),
    }
}

/// Deletes a secret that the page has shown.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let shown = IfMatch::state(form.field("state"));
    match secrets::delete(store, visitor, form.field("name"), &shown).await {
        Ok(()) => back_to("/secrets", Done::SecretDeleted),
        Err(error) if call.asked.navigation && error.status().is_client_error() => {
            show(store, visitor, News::Failed(&error), None)
        }
        Err(error) => Err(error),
    }
}

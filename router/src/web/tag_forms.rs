//! The page of all tags, and its forms.

use tokio::time::timeout;

use super::form::Form;
use super::if_match::IfMatch;
use super::pages::{self, Done, News};
use super::tags::{self, Wanted};
use super::{Call, PATIENCE, Reply, Store, Visitor, back_to};
use crate::error::Error;

/// The page, with what was done last.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    show(store, visitor, call.news(), None).await
}

async fn show(
    store: &Store,
    visitor: &Visitor,
    news: News<'_>,
    refused: Option<(&str, Wanted)>,
) -> Result<Reply, Error> {
    let tags = timeout(PATIENCE, store.catalog.tags()).await??;
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Tags::new(frame, &tags, news, refused);
    page.reply().map(|page| page.map(Into::into))
}

/// Makes a tag, or changes one that the page has shown. What is refused is said on the page, which keeps what was written.
pub(super) async fn set(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let name = form.field("name").trim();
    let lines = |field| {
        let lines = form.field(field).lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let wanted = Wanted {
        title: form.field("title").trim().to_owned(),
        color: Some(form.field("color").to_owned()),
        description: form.field("description").trim().to_owned(),
        admin_roles: lines("admin_roles"),
        visitor_roles: lines("visitor_roles"),
    };
    // The page of a new one has shown none.
    let shown = match form.field("state") {
        "" => IfMatch::Absent,
        state => IfMatch::state(state),
    };
    let set = tags::set(store, visitor, name, &wanted, &shown).await;
    let set = set.map_err(|error| match (error, &shown) {
        (Error::Changed, IfMatch::Absent) => Error::TagExists(name.to_owned()),
        (error, _) => error,
    });
    match set {
        Ok(_) => back_to("/tags", Done::TagSet),
        Err(
            error @ (Error::BadTag(_)
            | Error::TagExists(_)
            | Error::TooManyTags { .. }
            | Error::Changed),
        ) if call.asked.navigation => {
            show(store, visitor, News::Failed(&error), Some((name, wanted))).await
        }
        Err(error) => Err(error),
    }
}

/// Forgets a tag that the page has shown.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let shown = IfMatch::state(form.field("state"));
    match tags::delete(store, visitor, form.field("name"), &shown).await {
        Ok(()) => back_to("/tags", Done::TagDeleted),
        Err(error @ Error::Changed) if call.asked.navigation => {
            show(store, visitor, News::Failed(&error), None).await
        }
        Err(error) => Err(error),
    }
}

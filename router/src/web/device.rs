//! The page on which somebody lets a device in.

use catalog::UserCode;

use super::form::Form;
use super::pages::{self, Done, News};
use super::{Call, Reply, Store, Visitor, back_to, devices};
use crate::error::Error;

/// The page: it asks for the code, and shows what device waits with the one that its address has.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let code = call.parameter("code").unwrap_or_default();
    if code.is_empty() {
        return show(store, visitor, call.news(), None);
    }
    match find(store, &code).await {
        Ok((code, device)) => {
            let asks = Some((&code, &*device));
            show(store, visitor, call.news(), asks)
        }
        Err(error @ Error::NoDevice) => show(store, visitor, News::Failed(&error), None),
        Err(error) => Err(error),
    }
}

async fn find(store: &Store, code: &str) -> Result<(UserCode, String), Error> {
    let code = code.parse().map_err(|_| Error::NoDevice)?;
    let device = devices::waiting(store, &code).await?;
    Ok((code, device))
}

fn show(
    store: &Store,
    visitor: &Visitor,
    news: News<'_>,
    asks: Option<(&UserCode, &str)>,
) -> Result<Reply, Error> {
    let frame = (&*store.site, visitor.frame(store)?);
    let page = pages::Device::new(frame, &visitor.signed_in()?.viewer.name, asks, news);
    page.reply().map(|page| page.map(Into::into))
}

/// Lets a device in that the page has shown, or refuses it.
pub(super) async fn answer(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let (is_mine, done) = match form.field("answer") {
        "allow" => (true, Done::DeviceLetIn),
        "deny" => (false, Done::DeviceRefused),
        _ => return Err(Error::BadRequest("the form says neither yes nor no")),
    };
    let answered = match form.field("code").parse() {
        Ok(code) => devices::answer(store, visitor, &code, is_mine).await,
        Err(_) => Err(Error::NoDevice),
    };
    match answered {
        Ok(()) => back_to("/device", done),
        Err(error @ Error::NoDevice) if call.asked.navigation => {
            show(store, visitor, News::Failed(&error), None)
        }
        Err(error) => Err(error),
    }
}

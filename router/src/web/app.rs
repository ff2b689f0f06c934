//! The page of one app, and the form by which it is run.

use crds::{AppRef, Visibility};
use tokio::time::timeout;

use super::form::Form;
use super::instances::{self, NewInstance};
use super::pages::{self, Chosen, Done, News};
use super::preferences::Opinions;
use super::{Call, PATIENCE, Reply, Store, Visitor, back_to};
use crate::error::Error;
use crate::policy::Action;

/// The page of the app and version that the path names.
pub(super) async fn page(store: &Store, visitor: &Visitor, call: &Call) -> Result<Reply, Error> {
    let mut segments = call.path.as_str().rsplit('/');
    let version = segments.next().unwrap_or_default().to_owned();
    let name = segments.next().unwrap_or_default().to_owned();
    let chosen = Chosen {
        version: version.clone(),
        ..Chosen::default()
    };
    show(
        store,
        visitor,
        &AppRef { name, version },
        chosen,
        News::None,
    )
    .await
}

async fn show(
    store: &Store,
    visitor: &Visitor,
    app: &AppRef,
    chosen: Chosen,
    news: News<'_>,
) -> Result<Reply, Error> {
    let viewer = visitor.of_catalog()?;
    let found = store.catalog.app(&viewer, &app.name, &app.version);
    let found = timeout(PATIENCE, found).await??;
    visitor.may(Action::SeeApp(found.as_ref().map(Into::into)))?;
    let found = found.ok_or(Error::NotFound)?;
    let names = std::iter::once(found.name.as_str());
    let opinions = Opinions::of_apps(store, visitor, names).await?;
    let snapshot = store.table.load();
    let tags = store.tags.all().await?;
    let page = pages::App::new(
        (&store.site, visitor.frame(store)?),
        &visitor.signed_in()?.viewer,
        (found, &snapshot, &tags.0),
        &opinions,
        &store.namespace,
        chosen,
        news,
    );
    page.reply().map(|page| page.map(Into::into))
}

/// Runs an app. What cannot be done is said on the app's page, which keeps what was chosen.
pub(super) async fn run(
    store: &Store,
    visitor: &Visitor,
    call: &Call,
    form: &Form,
) -> Result<Reply, Error> {
    let app = AppRef {
        name: form.field("app").to_owned(),
        version: form.field("version").to_owned(),
    };
    let name = form.field("name").trim();
    let visibility = match form.field("visibility") {
        "" => Visibility::default(),
        chosen => chosen
            .parse()
            .map_err(|_| Error::BadRequest("choose who may enter"))?,
    };
    let new = NewInstance {
        app: app.clone(),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        visibility,
        size: Some(form.field("size").to_owned()),
    };
    match instances::create(store, visitor, new, None).await {
        Ok(made) => {
            let name = made.metadata.name.unwrap_or_default();
            back_to(&format!("/instances/{name}"), Done::Made)
        }
        Err(
            error @ (Error::BadInstanceName
            | Error::InstanceNameTaken(_)
            | Error::AppNotReady(_)
            | Error::NoSize(_)
            | Error::KubernetesRefused(_)),
        ) if call.asked.navigation => {
            let chosen = Chosen {
                version: app.version.clone(),
                name: name.to_owned(),
                visibility,
                size: form.field("size").to_owned(),
            };
            show(store, visitor, &app, chosen, News::Failed(&error)).await
        }
        Err(error) => Err(error),
    }
}

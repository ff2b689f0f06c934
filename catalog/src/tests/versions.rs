//! The versions of one app.

use chrono::TimeDelta;

use super::database::TestDatabase;
use super::{noon, on_both_databases};
use crate::{App, AppCursor, AppQuery, Digest, Lifecycle, Viewer, Visibility};

on_both_databases!(versions_come_newest_first_to_those_who_see_them);

async fn versions_come_newest_first_to_those_who_see_them(database: TestDatabase) {
    let catalog = database.open().await;
    for (minutes, (name, version, visibility)) in [
        ("sales", "1.0.0", Visibility::AllUsers),
        ("sales", "1.10.0", Visibility::AllUsers),
        ("sales-2", "1.0.0", Visibility::AllUsers),
        ("sales", "2.0.0", Visibility::Private),
    ]
    .into_iter()
    .enumerate()
    {
        let app = App {
            uid: format!("{name}-{version}"),
            resource: format!("{name}-{version}"),
            name: name.to_owned(),
            version: version.to_owned(),
            title: name.to_owned(),
            description: String::new(),
            owner: "alice".to_owned(),
            visibility,
            lifecycle: Lifecycle::OnDemand,
            tags: Vec::new(),
            digest: Digest::of(version.as_bytes()),
            icon: None,
            screenshots: Vec::new(),
            link: None,
            long_description: None,
            published_at: noon() + TimeDelta::minutes(i64::try_from(minutes).expect("few")),
        };
        catalog.publish(&app).await.expect("publish");
    }
    let ask = async |name: &str, after: Option<AppCursor>, limit: u64| {
        let viewer = Viewer::Publisher {
            name: name.to_owned(),
            tags: Vec::new(),
        };
        let query = AppQuery {
            after,
            ..AppQuery::default()
        };
        let found = catalog.versions(&viewer, "sales", &query, limit);
        found.await.expect("versions")
    };
    let named =
        |found: &[App]| -> Vec<String> { found.iter().map(|app| app.version.clone()).collect() };
    assert_eq!(
        named(&ask("alice", None, 10).await),
        ["2.0.0", "1.10.0", "1.0.0"]
    );
    assert_eq!(named(&ask("mallory", None, 10).await), ["1.10.0", "1.0.0"]);
    let first = ask("alice", None, 2).await;
    let rest = ask("alice", first.last().map(AppCursor::after), 2).await;
    assert_eq!(named(&rest), ["1.0.0"]);
}

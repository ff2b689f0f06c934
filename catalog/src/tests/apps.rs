//! Publishing apps, and who sees them.

use chrono::TimeDelta;
use futures::future::join_all;
use sea_orm::ConnectionTrait as _;

use super::database::TestDatabase;
use super::{noon, on_both_databases};
use crate::{
    App, AppCursor, AppQuery, Digest, Error, Lifecycle, Picture, Rendition, Viewer, Visibility,
};

on_both_databases!(
    an_app_comes_back_as_it_was_published,
    pictures_of_a_release_that_knows_no_sizes_are_shown_as_they_are,
    publishing_again_replaces_the_row,
    name_and_version_belong_to_one_app,
    of_apps_published_at_once_one_gets_the_name,
    each_viewer_sees_what_is_shared_with_them,
    apps_come_newest_first_and_limited,
    a_list_goes_on_where_it_ended,
    a_withdrawn_app_is_gone,
    a_value_of_a_later_release_is_an_error,
);

pub(super) fn app(name: &str, version: &str) -> App {
    App {
        uid: format!("uid-{name}-{version}"),
        resource: format!("{name}-{version}"),
        name: name.to_owned(),
        version: version.to_owned(),
        title: name.to_owned(),
        description: String::new(),
        owner: "alice".to_owned(),
        visibility: Visibility::Public,
        lifecycle: Lifecycle::OnDemand,
        tags: Vec::new(),
        digest: Digest::of(format!("{name} {version}").as_bytes()),
        icon: None,
        screenshots: Vec::new(),
        link: None,
        long_description: None,
        published_at: noon(),
    }
}

fn rendition(name: &str, width: u32) -> Rendition {
    Rendition {
        name: name.to_owned(),
        width,
        height: width / 2,
    }
}

async fn pictures_of_a_release_that_knows_no_sizes_are_shown_as_they_are(database: TestDatabase) {
    let catalog = database.open().await;
    let published = App {
        icon: Picture::of(vec![rendition("a.webp", 64)]),
        screenshots: vec![Picture::of(vec![rendition("c.jpg", 480)]).expect("a picture")],
        ..app("sales", "1.0.0")
    };
    catalog.publish(&published).await.expect("publish");
    // It writes its own columns over ours, and then it never knew ours.
    for change in [
        "UPDATE apps SET icon = 'icon.png', screenshots = '[\"one.png\", \"two.png\"]'",
        "UPDATE apps SET picture_sizes = NULL",
    ] {
        let database = &catalog.database;
        database.execute_unprepared(change).await.expect(change);
        let read = catalog.app(&Viewer::Everything, "sales", "1.0.0").await;
        let read = read.expect("read").expect("an app");
        assert_eq!(read.icon, Some(Picture::original("icon.png")), "{change}");
        let originals = ["one.png", "two.png"].map(Picture::original);
        assert_eq!(read.screenshots, originals, "{change}");
    }
}

async fn an_app_comes_back_as_it_was_published(database: TestDatabase) {
    let catalog = database.open().await;
    let full = App {
        title: "Sales – “quoted”, 売上".to_owned(),
        description: "What sold\nand what did not; DROP TABLE apps".to_owned(),
        visibility: Visibility::AllUsers,
        lifecycle: Lifecycle::Managed,
        tags: vec!["finance".to_owned(), "a \"b\"".to_owned()],
        icon: Picture::of(vec![rendition("a.webp", 64), rendition("b.webp", 128)]),
        screenshots: vec![
            Picture::original("screenshot2.png"),
            Picture::of(vec![rendition("c.jpg", 480)]).expect("a picture"),
        ],
        link: Some("https://example.com/".to_owned()),
        long_description: Some("# Sales".to_owned()),
        published_at: noon() + TimeDelta::milliseconds(123),
        ..app("sales", "1.0.0")
    };
    let plain = App {
        lifecycle: Lifecycle::Link,
        visibility: Visibility::Private,
        ..app("plain", "1.0.0")
    };
    for published in [full, plain] {
        catalog.publish(&published).await.expect("publish");
        let read = catalog
            .app(&Viewer::Everything, &published.name, &published.version)
            .await
            .expect("read");
        assert_eq!(read, Some(published));
    }
}

async fn publishing_again_replaces_the_row(database: TestDatabase) {
    let catalog = database.open().await;
    let first = app("sales", "1.0.0");
    let second = App {
        uid: first.uid.clone(),
        visibility: Visibility::Private,
        owner: "bob".to_owned(),
        tags: vec!["new".to_owned()],
        icon: Some(Picture::original("icon.png")),
        published_at: noon() + TimeDelta::hours(1),
        ..app("sales", "1.0.1")
    };
    for app in [&first, &first, &second, &second] {
        catalog.publish(app).await.expect("publish");
    }
    let apps = catalog
        .visible_apps(&Viewer::Everything, &AppQuery::default(), 10)
        .await
        .expect("read");
    assert_eq!(apps, [second]);
}

async fn name_and_version_belong_to_one_app(database: TestDatabase) {
    let catalog = database.open().await;
    let holder = app("sales", "1.0.0");
    let other_version = app("sales", "2.0.0");
    catalog.publish(&holder).await.expect("publish");
    catalog.publish(&other_version).await.expect("publish");
    let newcomer = App {
        uid: "uid-other".to_owned(),
        resource: "other".to_owned(),
        ..holder.clone()
    };
    let renamed = App {
        uid: other_version.uid.clone(),
        ..holder.clone()
    };
    for app in [newcomer, renamed] {
        let error = catalog.publish(&app).await.expect_err("it is taken");
        assert_eq!(error.code(), "DuplicateApp");
        assert_eq!(
            error.to_string(),
            "app `sales` version `1.0.0` is already published, by WaveApp `sales-1.0.0`"
        );
    }
    let apps = catalog
        .visible_apps(&Viewer::Everything, &AppQuery::default(), 10)
        .await
        .expect("read");
    assert_eq!(apps, [holder, other_version]);
}

async fn of_apps_published_at_once_one_gets_the_name(database: TestDatabase) {
    let catalog = database.open().await;
    let apps: Vec<App> = (0..8)
        .map(|number| App {
            uid: format!("uid-{number}"),
            resource: format!("app-{number}"),
            ..app("sales", "1.0.0")
        })
        .collect();
    let published = join_all(apps.iter().map(|app| catalog.publish(app))).await;
    let winner = published.iter().position(Result::is_ok).expect("a winner");
    for (number, outcome) in published.into_iter().enumerate() {
        if number != winner {
            let Err(Error::DuplicateApp { holder, .. }) = outcome else {
                panic!("app {number}: {outcome:?}");
            };
            assert_eq!(holder, format!("app-{winner}"));
        }
    }
}

async fn each_viewer_sees_what_is_shared_with_them(database: TestDatabase) {
    let catalog = database.open().await;
    for (name, visibility) in [
        ("private", Visibility::Private),
        ("shared", Visibility::AllUsers),
        ("public", Visibility::Public),
    ] {
        let app = App {
            visibility,
            ..app(name, "1.0.0")
        };
        catalog.publish(&app).await.expect("publish");
    }
    let account = |name: &str| Viewer::Publisher {
        name: name.to_owned(),
        tags: Vec::new(),
    };
    let cases: [(&str, Viewer, &[&str]); 5] = [
        ("a stranger", Viewer::Anonymous, &["public"]),
        ("another account", account("mallory"), &["public", "shared"]),
        (
            "a name that only starts alike",
            account("alic"),
            &["public", "shared"],
        ),
        (
            "the owner",
            account("alice"),
            &["private", "public", "shared"],
        ),
        (
            "an admin, and the store",
            Viewer::Everything,
            &["private", "public", "shared"],
        ),
    ];
    for (who, viewer, expected) in cases {
        let listed: Vec<String> = catalog
            .visible_apps(&viewer, &AppQuery::default(), 10)
            .await
            .expect("read")
            .into_iter()
            .map(|app| app.name)
            .collect();
        assert_eq!(listed, expected, "{who}");
        for name in ["private", "shared", "public"] {
            let found = catalog.app(&viewer, name, "1.0.0").await.expect("read");
            assert_eq!(found.is_some(), expected.contains(&name), "{who}: {name}");
        }
    }
}

async fn apps_come_newest_first_and_limited(database: TestDatabase) {
    let catalog = database.open().await;
    for (version, age) in [("1.0.0", 3), ("3.0.0", 1), ("2.0.0", 2), ("0.9.0", 4)] {
        let app = App {
            published_at: noon() - TimeDelta::milliseconds(age),
            ..app("sales", version)
        };
        catalog.publish(&app).await.expect("publish");
    }
    let versions: Vec<String> = catalog
        .visible_apps(&Viewer::Anonymous, &AppQuery::default(), 3)
        .await
        .expect("read")
        .into_iter()
        .map(|app| app.version)
        .collect();
    assert_eq!(versions, ["3.0.0", "2.0.0", "1.0.0"]);
}

async fn a_list_goes_on_where_it_ended(database: TestDatabase) {
    let catalog = database.open().await;
    let mut expected = Vec::new();
    for age in [1, 2, 3] {
        for (name, version) in [
            ("a", "1.0.0"),
            ("a", "2.0.0"),
            ("b", "1.0.0"),
            ("c", "1.0.0"),
        ] {
            let app = App {
                published_at: noon() - TimeDelta::milliseconds(age),
                ..app(&format!("{name}.{age}"), version)
            };
            catalog.publish(&app).await.expect("publish");
            expected.push(app);
        }
    }
    for size in [1, 5, 12, 13] {
        let mut query = AppQuery::default();
        let mut listed = Vec::new();
        loop {
            let apps = catalog
                .visible_apps(&Viewer::Anonymous, &query, size)
                .await
                .expect("read");
            let Some(last) = apps.last() else { break };
            let cursor = AppCursor::after(last).to_string();
            query.after = Some(cursor.parse().expect("a place"));
            listed.extend(apps);
        }
        assert_eq!(listed, expected, "{size} at a time");
    }
    for text in ["", "1", "1~a", "x~a~1.0.0"] {
        assert!(text.parse::<AppCursor>().is_err(), "{text}");
    }
}

async fn a_withdrawn_app_is_gone(database: TestDatabase) {
    let catalog = database.open().await;
    let app = app("sales", "1.0.0");
    catalog.publish(&app).await.expect("publish");
    assert!(catalog.is_digest_used(&app.digest).await.expect("read"));
    let uids = catalog.uids().await.expect("read");
    assert_eq!(uids, [app.uid.clone()].into());
    assert!(catalog.withdraw(&app.uid).await.expect("withdraw"));
    assert!(!catalog.withdraw(&app.uid).await.expect("withdraw"));
    assert!(!catalog.is_digest_used(&app.digest).await.expect("read"));
    assert!(catalog.uids().await.expect("read").is_empty());
    let found = catalog.app(&Viewer::Everything, "sales", "1.0.0").await;
    assert_eq!(found.expect("read"), None);
}

async fn a_value_of_a_later_release_is_an_error(database: TestDatabase) {
    let catalog = database.open().await;
    catalog
        .publish(&app("sales", "1.0.0"))
        .await
        .expect("publish");
    catalog
        .database
        .execute_unprepared("UPDATE apps SET lifecycle = 'Weekly'")
        .await
        .expect("change the row");
    let error = catalog
        .app(&Viewer::Everything, "sales", "1.0.0")
        .await
        .expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "column `lifecycle` of app `sales-1.0.0` holds `Weekly`, which this release does not know"
    );
}

#[test]
fn a_digest_has_one_spelling() {
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let digest: Digest = format!("sha256:{hex}").parse().expect("a digest");
    assert_eq!(digest, Digest::of(b"abc"));
    assert_eq!(digest.to_string(), format!("sha256:{hex}"));
    assert_eq!(digest.hex(), hex);
    for text in [
        "",
        hex,
        "sha256:",
        &format!("sha256:{}", hex.to_uppercase()),
        &format!("sha256:{hex}00"),
        &format!("sha256:{}", &hex[2..]),
        &format!("sha512:{hex}"),
        &format!("sha256:../{}", &hex[3..]),
    ] {
        let error = text.parse::<Digest>().expect_err(text);
        assert_eq!(error.to_string(), format!("`{text}` is not a digest"));
    }
}

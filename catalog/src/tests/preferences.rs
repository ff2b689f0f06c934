//! Likes and pins: whose they are, how they are counted, and what ends them.

use super::apps::app;
use super::database::TestDatabase;
use super::{noon, on_both_databases, sign_up};
use crate::{
    App, Catalog, Error, MAX_PREFERENCES, Preference, PreferenceChange, Role, Viewer, Visibility,
};

on_both_databases!(
    what_somebody_thinks_of_an_app_changes_in_parts,
    likes_are_counted_over_everybody,
    likes_and_pins_go_with_the_last_version_and_with_the_account,
    somebody_likes_only_so_many_apps,
    the_newest_version_that_one_sees_stands_for_an_app,
);

const LIKE: PreferenceChange = PreferenceChange {
    liked: Some(true),
    pinned: None,
};

async fn set(
    catalog: &Catalog,
    account: &str,
    app: &str,
    liked: Option<bool>,
    pinned: Option<bool>,
) -> (bool, bool) {
    let change = PreferenceChange { liked, pinned };
    let now = catalog.set_preference(account, app, change).await;
    let Preference { liked, pinned } = now.expect("a change");
    (liked, pinned)
}

async fn what_somebody_thinks_of_an_app_changes_in_parts(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "bob", Role::Visitor).await;
    for (change, expected) in [
        ((None, None), (false, false)),
        ((Some(true), None), (true, false)),
        ((None, Some(true)), (true, true)),
        ((Some(true), None), (true, true)),
        ((Some(false), None), (false, true)),
        ((None, Some(false)), (false, false)),
        ((None, Some(true)), (false, true)),
    ] {
        let now = set(&catalog, "alice", "hello", change.0, change.1).await;
        assert_eq!(now, expected, "{change:?}");
        let (liked, pinned) = now;
        let preference = Preference { liked, pinned };
        let all = catalog.preferences_of("alice").await.expect("read");
        let listed = all.get("hello").copied().unwrap_or_default();
        assert_eq!(listed, preference, "{change:?}");
        assert_eq!(all.len(), usize::from(liked || pinned), "{change:?}");
        let bobs = catalog.preferences_of("bob").await.expect("read");
        assert!(bobs.is_empty(), "{change:?}");
    }
    let refused = catalog.set_preference("nobody", "hello", LIKE).await;
    assert!(matches!(refused, Err(Error::SessionGone)), "{refused:?}");
}

async fn likes_are_counted_over_everybody(database: TestDatabase) {
    let catalog = database.open().await;
    for name in ["alice", "bob", "carol"] {
        sign_up(&catalog, name, Role::Full).await;
    }
    for (account, app, liked, pinned) in [
        ("alice", "one", true, true),
        ("bob", "one", true, false),
        ("carol", "one", false, true),
        ("carol", "two", true, false),
        ("carol", "three", false, true),
    ] {
        set(&catalog, account, app, Some(liked), Some(pinned)).await;
    }
    let likes = catalog.likes(&["one", "two", "three", "none"]).await;
    let mut likes: Vec<_> = likes.expect("count").into_iter().collect();
    likes.sort();
    assert_eq!(likes, [("one".to_owned(), 2), ("two".to_owned(), 1)]);
    let none = catalog.likes(&[]).await.expect("count");
    assert!(none.is_empty());
}

async fn likes_and_pins_go_with_the_last_version_and_with_the_account(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    for version in ["1.0.0", "2.0.0"] {
        catalog
            .publish(&app("hello", version))
            .await
            .expect("publish");
    }
    set(&catalog, "alice", "hello", Some(true), None).await;
    set(&catalog, "alice", "other", Some(true), None).await;
    let liked = async || {
        let all = catalog.preferences_of("alice").await.expect("read");
        all.into_keys().collect::<Vec<_>>()
    };
    for (uid, withdrawn, expected) in [
        ("none", false, &["hello", "other"][..]),
        ("uid-hello-1.0.0", true, &["hello", "other"]),
        ("uid-hello-2.0.0", true, &["other"]),
        ("uid-hello-2.0.0", false, &["other"]),
    ] {
        assert_eq!(catalog.withdraw(uid).await.expect("withdraw"), withdrawn);
        assert_eq!(liked().await, expected, "{uid}");
    }
}

async fn somebody_likes_only_so_many_apps(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    for number in 0..MAX_PREFERENCES {
        set(
            &catalog,
            "alice",
            &format!("app-{number}"),
            Some(true),
            None,
        )
        .await;
    }
    let refused = catalog.set_preference("alice", "more", LIKE).await;
    let error = refused.expect_err("too many");
    assert_eq!(error.code(), "TooManyPreferences");
    set(&catalog, "alice", "app-0", None, Some(true)).await;
    set(&catalog, "alice", "app-1", Some(false), None).await;
    set(&catalog, "alice", "more", Some(true), None).await;
}

async fn the_newest_version_that_one_sees_stands_for_an_app(database: TestDatabase) {
    let catalog = database.open().await;
    for (name, version, visibility, minutes) in [
        ("hello", "1.0.0", Visibility::AllUsers, 1),
        ("hello", "2.0.0", Visibility::AllUsers, 2),
        ("hello", "3.0.0", Visibility::Private, 3),
        ("other", "1.0.0", Visibility::Private, 4),
        ("third", "1.0.0", Visibility::Public, 5),
    ] {
        let app = App {
            visibility,
            owner: "bob".to_owned(),
            published_at: noon() + chrono::TimeDelta::minutes(minutes),
            ..app(name, version)
        };
        catalog.publish(&app).await.expect("publish");
    }
    let alice = Viewer::Publisher {
        name: "alice".to_owned(),
        tags: Vec::new(),
    };
    for (viewer, names, expected) in [
        (
            &alice,
            &["other", "hello", "none"][..],
            &["hello 2.0.0"][..],
        ),
        (
            &Viewer::Everything,
            &["third", "hello"],
            &["hello 3.0.0", "third 1.0.0"],
        ),
        (&Viewer::Anonymous, &["third", "hello"], &["third 1.0.0"]),
        (&alice, &[], &[]),
    ] {
        let found = catalog.newest_versions(viewer, names).await.expect("read");
        let found: Vec<String> = found
            .iter()
            .map(|app| format!("{} {}", app.name, app.version))
            .collect();
        assert_eq!(found, expected, "{viewer:?}");
    }
}

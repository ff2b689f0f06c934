//! Tags that the store knows more of, and what roles see by them.

use futures::future::join_all;

use super::apps::app;
use super::database::TestDatabase;
use super::{noon, on_both_databases};
use crate::{App, AppCursor, AppQuery, Catalog, Tag, Viewer, Visibility};

on_both_databases!(
    a_tag_comes_back_as_it_was_set,
    of_changes_at_once_one_is_made,
    there_are_not_too_many_tags,
    a_viewer_sees_by_tags_what_the_role_is_given,
    pages_of_a_visitor_are_full_and_leave_nothing_out,
);

fn tag(name: &str) -> Tag {
    Tag {
        name: name.to_owned(),
        title: format!("The {name}"),
        color: "#0b5cad".parse().expect("a colour"),
        description: "What it means; DROP TABLE tags".to_owned(),
        admin_roles: Vec::new(),
        visitor_roles: Vec::new(),
    }
}

async fn a_tag_comes_back_as_it_was_set(database: TestDatabase) {
    let catalog = database.open().await;
    let full = Tag {
        title: "Sales – “quoted”, 売上".to_owned(),
        admin_roles: vec!["a \"b\"".to_owned(), "c".to_owned()],
        visitor_roles: vec!["d".to_owned()],
        ..tag("sales")
    };
    let plain = tag("Plain");
    for tag in [&full, &plain] {
        assert!(catalog.set_tag(tag, None).await.expect("set"));
    }
    assert_eq!(
        catalog.tags().await.expect("read"),
        [plain.clone(), full.clone()]
    );
    let changed = Tag {
        visitor_roles: Vec::new(),
        ..full.clone()
    };
    for wrong in [None, Some(&plain), Some(&changed)] {
        assert!(!catalog.set_tag(&changed, wrong).await.expect("refuse"));
    }
    assert!(catalog.set_tag(&changed, Some(&full)).await.expect("set"));
    assert_eq!(
        catalog.tag("sales").await.expect("read"),
        Some(changed.clone())
    );
    assert_eq!(catalog.tag("Sales").await.expect("read"), None);
    assert!(!catalog.delete_tag(&full).await.expect("refuse"));
    assert!(catalog.delete_tag(&changed).await.expect("delete"));
    assert!(!catalog.delete_tag(&changed).await.expect("none"));
    assert_eq!(catalog.tags().await.expect("read"), [plain]);
}

async fn of_changes_at_once_one_is_made(database: TestDatabase) {
    let catalog = database.open().await;
    let changes = (0..8).map(|number| {
        let tag = Tag {
            title: number.to_string(),
            ..tag("sales")
        };
        let catalog = &catalog;
        async move { catalog.set_tag(&tag, None).await.expect("an answer") }
    });
    let made = join_all(changes).await;
    assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
}

async fn there_are_not_too_many_tags(database: TestDatabase) {
    let catalog = database.open().await;
    for number in 0..crate::MAX_TAGS {
        let set = catalog.set_tag(&tag(&number.to_string()), None).await;
        assert!(set.expect("set"));
    }
    let error = catalog.set_tag(&tag("more"), None).await;
    assert_eq!(error.expect_err("too many").code(), "TooManyTags");
    let (before, after) = (
        tag("1"),
        Tag {
            title: String::new(),
            ..tag("1")
        },
    );
    assert!(catalog.set_tag(&after, Some(&before)).await.expect("set"));
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn visitor(tags: &[&str]) -> Viewer {
    Viewer::Visitor {
        name: "vera".to_owned(),
        tags: strings(tags),
    }
}

async fn seen(catalog: &Catalog, viewer: &Viewer) -> Vec<String> {
    let query = AppQuery::default();
    let apps = catalog.visible_apps(viewer, &query, 100).await;
    let names = apps.expect("read").into_iter().map(|app| app.name);
    let names: Vec<String> = names.collect();
    for name in ["all", "mine", "open", "secret", "tagged", "tagged-secret"] {
        let one = catalog.app(viewer, name, "1.0.0").await.expect("read");
        assert_eq!(one.is_some(), names.iter().any(|seen| seen == name));
        let versions = catalog.versions(viewer, name, &query, 10).await;
        assert_eq!(versions.expect("read").len(), usize::from(one.is_some()));
    }
    names
}

async fn a_viewer_sees_by_tags_what_the_role_is_given(database: TestDatabase) {
    let catalog = database.open().await;
    for (name, owner, visibility, tags) in [
        ("all", "alice", Visibility::AllUsers, &[][..]),
        ("mine", "vera", Visibility::Private, &[]),
        ("open", "alice", Visibility::Public, &[]),
        ("secret", "alice", Visibility::Private, &["other"]),
        ("tagged", "alice", Visibility::AllUsers, &["vip", "other"]),
        ("tagged-secret", "alice", Visibility::Private, &["vip"]),
    ] {
        let app = App {
            owner: owner.to_owned(),
            visibility,
            tags: strings(tags),
            ..app(name, "1.0.0")
        };
        catalog.publish(&app).await.expect("publish");
    }
    let publisher = |name: &str, tags: &[&str]| Viewer::Publisher {
        name: name.to_owned(),
        tags: strings(tags),
    };
    let everything = &["all", "mine", "open", "secret", "tagged", "tagged-secret"][..];
    let cases: [(Viewer, &[&str]); 9] = [
        (Viewer::Anonymous, &["open"]),
        (visitor(&[]), &["mine", "open"]),
        (visitor(&["vip"]), &["mine", "open", "tagged"]),
        (
            visitor(&["VIP", "vi", "\"vip\"", "vip\0"]),
            &["mine", "open"],
        ),
        (publisher("bob", &[]), &["all", "open", "tagged"]),
        (
            publisher("bob", &["vip"]),
            &["all", "open", "tagged", "tagged-secret"],
        ),
        (
            publisher("vera", &["other"]),
            &["all", "mine", "open", "secret", "tagged"],
        ),
        (
            publisher("alice", &[]),
            &["all", "open", "secret", "tagged", "tagged-secret"],
        ),
        (Viewer::Everything, everything),
    ];
    for (viewer, expected) in cases {
        assert_eq!(seen(&catalog, &viewer).await, expected, "{viewer:?}");
    }
}

async fn pages_of_a_visitor_are_full_and_leave_nothing_out(database: TestDatabase) {
    let catalog = database.open().await;
    let mut expected = Vec::new();
    for number in 0..60 {
        let is_tagged = number % 5 == 0;
        let app = App {
            visibility: Visibility::AllUsers,
            tags: strings(if is_tagged { &["vip"] } else { &["other"] }),
            published_at: noon() - chrono::TimeDelta::milliseconds(number / 7),
            ..app(&format!("app-{number:02}"), "1.0.0")
        };
        catalog.publish(&app).await.expect("publish");
        expected.extend(is_tagged.then_some(app.name));
    }
    let viewer = visitor(&["vip", "none"]);
    let mut query = AppQuery::default();
    let mut names = Vec::new();
    for size in [5, 5, 2, 0] {
        let apps = catalog
            .visible_apps(&viewer, &query, 5)
            .await
            .expect("read");
        assert_eq!(apps.len(), size);
        query.after = apps.last().map(AppCursor::after).or(query.after);
        names.extend(apps.into_iter().map(|app| app.name));
    }
    assert_eq!(names, expected);
}

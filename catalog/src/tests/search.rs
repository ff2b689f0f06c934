//! Finding apps by words and by what they are, and going on where a page ended.

use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sea_orm::{ConnectionTrait as _, DbBackend, QueryTrait as _, Statement, TransactionTrait as _};
use sea_orm_migration::MigratorTrait as _;

use super::apps::app;
use super::database::TestDatabase;
use super::{noon, on_both_databases};
use crate::apps::{page, words};
use crate::connection;
use crate::migrations::Migrator;
use crate::{App, AppCursor, AppQuery, Catalog, Lifecycle, Viewer, Visibility};

on_both_databases!(
    apps_are_found_by_the_beginnings_of_their_words,
    whatever_is_searched_for_is_found_and_nothing_else,
    what_changes_and_what_goes_is_found_so,
    apps_are_found_by_the_tags_that_they_have_now,
    apps_of_before_are_found_after_the_migration,
    filters_and_words_narrow_the_list_together,
    a_search_goes_on_where_it_ended,
    a_search_shows_nothing_that_is_not_shared,
    pages_are_read_by_indexes,
);

fn search(text: &str) -> AppQuery {
    AppQuery {
        text: text.to_owned(),
        ..AppQuery::default()
    }
}

/// The names of the apps that the store finds.
async fn found(catalog: &Catalog, query: &AppQuery) -> Vec<String> {
    let apps = catalog.visible_apps(&Viewer::Everything, query, 100).await;
    let apps = apps.unwrap_or_else(|error| panic!("{query:?}: {error:?}"));
    apps.into_iter().map(|app| app.name).collect()
}

async fn apps_are_found_by_the_beginnings_of_their_words(database: TestDatabase) {
    let catalog = database.open().await;
    let sales = App {
        title: "Sales Forecast 100%".to_owned(),
        description: "What sold_well and what did not! C:\\temp".to_owned(),
        tags: vec![
            "Finance".to_owned(),
            "a \"b\"".to_owned(),
            "Überblick".to_owned(),
        ],
        long_description: Some("# Umsätze\n売上予測".to_owned()),
        ..app("h2o-sales", "1.0.0")
    };
    let hello = App {
        title: "Hello".to_owned(),
        description: "What soldwell, 1000 times".to_owned(),
        ..app("hello", "1.0.0")
    };
    for app in [&sales, &hello] {
        catalog.publish(app).await.expect("publish");
    }
    let (both, one, none): (&[&str], &[&str], &[&str]) =
        (&["h2o-sales", "hello"], &["h2o-sales"], &[]);
    let cases = [
        ("", both),
        ("  ", both),
        ("🚀 -- !", both),
        ("what", both),
        ("FORECAST", one),
        ("fore", one),
        ("cast", none),
        ("h2o", one),
        ("h2o-s", one),
        ("fin", one),
        ("Überblick", one),
        ("uberbl", one),
        ("UMSATZE", one),
        ("finance what sales", one),
        ("finance hello", none),
        ("100%", both),
        ("sold_well", one),
        ("not!", one),
        ("c:\\temp", one),
        ("\"b\"", one),
        ("' OR 1=1 --", none),
        ("what AND NOT sales", one),
        ("what NOT hello", none),
        ("1.0.0", none),
        ("売上", one),
        ("上予測", one),
        ("測", one),
        ("売予", none),
    ];
    for (text, expected) in cases {
        assert_eq!(found(&catalog, &search(text)).await, expected, "{text}");
    }
}

/// Texts that mean something to a database, and letters of many scripts.
fn hostile() -> impl Strategy<Value = String> {
    let signs = r#"['"*:&|!()<>^+\-\\%_{}@~$?;.,/=\[\]\x00\x01\t\n ]"#;
    let words = "(AND|OR|NOT|NEAR|words|rowid|a|b|ab|ba|é|ß|売上|上|판매|ข|बि|مب|ﬁ|\u{301}|🚀)";
    let spoken = format!("({signs}|{words}){{0,12}}");
    prop_oneof![
        proptest::string::string_regex(&spoken).expect("a pattern"),
        any::<String>(),
    ]
}

/// The words of [`words`] are cut without any database; both have to find the same as a search by hand.
async fn whatever_is_searched_for_is_found_and_nothing_else(database: TestDatabase) {
    let catalog = database.open().await;
    let mut dice = TestRunner::deterministic();
    let throw = |dice: &mut TestRunner| hostile().new_tree(dice).expect("a text").current();
    let mut titles = vec![String::new(); 6];
    for round in 0..60 {
        let number = round % titles.len();
        // Postgres takes no NUL into a row, and the bundle reader lets none through.
        titles[number] = throw(&mut dice).replace('\0', "");
        let changed = App {
            title: titles[number].clone(),
            ..app(&format!("-{number}"), "1")
        };
        catalog.publish(&changed).await.expect("publish");
        let begun: String = titles[number].chars().take(round % 5).collect();
        for text in [
            titles[number].clone(),
            begun,
            throw(&mut dice),
            throw(&mut dice),
        ] {
            let wanted = words::searched(&text);
            let expected: Vec<String> = titles
                .iter()
                .enumerate()
                .filter(|(number, _)| *number <= round)
                .map(|(number, title)| (format!("-{number}"), title))
                .filter(|(name, title)| {
                    let index = words::index([name.as_str(), title]);
                    wanted
                        .iter()
                        .all(|word| index.split(' ').any(|known| known.starts_with(word)))
                })
                .map(|(name, _)| name)
                .collect();
            assert_eq!(
                found(&catalog, &search(&text)).await,
                expected,
                "{text:?} in {titles:?}"
            );
        }
    }
}

async fn what_changes_and_what_goes_is_found_so(database: TestDatabase) {
    let catalog = database.open().await;
    let first = App {
        title: "Churn".to_owned(),
        ..app("sales", "1.0.0")
    };
    let second = App {
        title: "Forecast".to_owned(),
        ..first.clone()
    };
    for (app, finds, finds_not) in [
        (&first, "churn", "forecast"),
        (&second, "forecast", "churn"),
    ] {
        // Twice, as an operator does that starts again.
        for _ in 0..2 {
            catalog.publish(app).await.expect("publish");
            assert_eq!(found(&catalog, &search(finds)).await, ["sales"]);
            assert_eq!(found(&catalog, &search(finds_not)).await, [""; 0]);
        }
    }
    assert!(catalog.withdraw(&second.uid).await.expect("withdraw"));
    assert_eq!(found(&catalog, &search("forecast")).await, [""; 0]);
    catalog.publish(&second).await.expect("publish");
    assert_eq!(found(&catalog, &search("forecast")).await, ["sales"]);
}

/// VACUUM numbers SQLite's rows anew.
#[tokio::test]
async fn an_sqlite_file_may_be_vacuumed() {
    let database = TestDatabase::sqlite();
    let catalog = database.open().await;
    for name in ["first", "second", "third"] {
        let app = app(name, "1.0.0");
        catalog.publish(&app).await.expect("publish");
    }
    let first = app("first", "1.0.0");
    assert!(catalog.withdraw(&first.uid).await.expect("withdraw"));
    let vacuumed = catalog.database.execute_unprepared("VACUUM").await;
    vacuumed.expect("vacuum");
    let renamed = App {
        title: "Renamed".to_owned(),
        ..app("second", "1.0.0")
    };
    catalog.publish(&renamed).await.expect("publish");
    for (text, expected) in [
        ("second", "second"),
        ("renamed", "second"),
        ("third", "third"),
    ] {
        assert_eq!(found(&catalog, &search(text)).await, [expected]);
    }
}

async fn apps_are_found_by_the_tags_that_they_have_now(database: TestDatabase) {
    let catalog = database.open().await;
    let with = |tags: &[&str]| App {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..app("sales", "1.0.0")
    };
    let other = App {
        tags: vec!["b".to_owned()],
        ..app("other", "1.0.0")
    };
    catalog.publish(&other).await.expect("publish");
    for tags in [&["a", "b", "a"][..], &["b"], &[], &["c", "a"]] {
        // Twice, as an operator does that starts again.
        for _ in 0..2 {
            catalog.publish(&with(tags)).await.expect("publish");
            for tag in ["a", "b", "c"] {
                let query = AppQuery {
                    tag: Some(tag.to_owned()),
                    ..AppQuery::default()
                };
                let mut expected = Vec::new();
                expected.extend((tag == "b").then_some("other"));
                expected.extend(tags.contains(&tag).then_some("sales"));
                assert_eq!(found(&catalog, &query).await, expected, "{tags:?} {tag}");
            }
        }
    }
    let uid = with(&[]).uid;
    assert!(catalog.withdraw(&uid).await.expect("withdraw"));
    let query = AppQuery {
        tag: Some("a".to_owned()),
        ..AppQuery::default()
    };
    assert_eq!(found(&catalog, &query).await, [""; 0]);
}

async fn apps_of_before_are_found_after_the_migration(database: TestDatabase) {
    let location = database.settings.database_url.parse().expect("a location");
    let connection = connection::connect(&location, &database.settings).await;
    let connection = connection.expect("connect");
    Migrator::up(&connection, Some(3))
        .await
        .expect("migrate to the tables of before");
    let row = "INSERT INTO apps (uid, resource, name, version, title, description, owner, visibility, lifecycle, tags, digest, \
               screenshots, published_at_ms) VALUES ('u', 'r', 'sales', '1.0.0', 'Prognose', 'Umsätze', 'alice', 'Public', \
               'OnDemand', '[\"a \\\"b\\\"\", \"Zahlen\"]', '', '[]', 0)";
    let row = format!("{row} ");
    connection
        .execute_unprepared(&row)
        .await
        .expect("write a row");
    let catalog = database.open().await;
    for text in ["prog", "sales", "umsatze", "zahlen b"] {
        let query = search(text).text;
        let found: Vec<String> = names_in(&catalog, &query).await;
        assert_eq!(found, ["sales"], "{text}");
    }
    let tagged = AppQuery {
        tag: Some("a \"b\"".to_owned()),
        ..AppQuery::default()
    };
    let backend = catalog.database.get_database_backend();
    let tagged = page(&Viewer::Everything, &tagged, 10, backend)
        .all(&catalog.database)
        .await
        .expect("read");
    assert_eq!(tagged.len(), 1);
    // The previous release goes on writing rows without words.
    let beside = row.replace("'u', 'r', 'sales'", "'v', 's', 'churn'");
    connection
        .execute_unprepared(&beside)
        .await
        .expect("write beside");
    assert_eq!(names_in(&catalog, "prog").await, ["sales"]);
}

/// The names of the rows that are found, whatever else is in them.
async fn names_in(catalog: &Catalog, text: &str) -> Vec<String> {
    let backend = catalog.database.get_database_backend();
    let rows = page(&Viewer::Everything, &search(text), 10, backend)
        .all(&catalog.database)
        .await
        .expect("read");
    rows.into_iter().map(|row| row.name).collect()
}

async fn filters_and_words_narrow_the_list_together(database: TestDatabase) {
    let catalog = database.open().await;
    for (name, owner, lifecycle, tags) in [
        ("a-link", "alice", Lifecycle::Link, vec!["Sales", "a \"b\""]),
        ("an-app", "alice", Lifecycle::OnDemand, vec![]),
        ("b-link", "bob", Lifecycle::Link, vec!["Sales"]),
    ] {
        let app = App {
            owner: owner.to_owned(),
            lifecycle,
            tags: tags.into_iter().map(str::to_owned).collect(),
            ..app(name, "1.0.0")
        };
        catalog.publish(&app).await.expect("publish");
    }
    let query = |text: &str, owner: Option<&str>, lifecycle| AppQuery {
        text: text.to_owned(),
        owner: owner.map(str::to_owned),
        lifecycle,
        ..AppQuery::default()
    };
    let tagged = |tag: &str, query: AppQuery| AppQuery {
        tag: Some(tag.to_owned()),
        ..query
    };
    let link = Some(Lifecycle::Link);
    let cases: [(AppQuery, &[&str]); 17] = [
        (query("", Some("alice"), None), &["a-link", "an-app"]),
        (query("", None, link), &["a-link", "b-link"]),
        (query("", Some("alice"), link), &["a-link"]),
        (query("link", Some("bob"), None), &["b-link"]),
        (query("app", None, link), &[]),
        (query("", Some("' OR '1'='1"), None), &[]),
        (query("", Some("ali"), None), &[]),
        (
            tagged("Sales", query("", None, None)),
            &["a-link", "b-link"],
        ),
        (tagged("Sales", query("", Some("bob"), link)), &["b-link"]),
        (tagged("a \"b\"", query("", None, None)), &["a-link"]),
        (tagged("Sales", query("app", None, None)), &[]),
        (tagged("sales", query("", None, None)), &[]),
        (tagged("Sale", query("", None, None)), &[]),
        (tagged("' OR '1'='1", query("", None, None)), &[]),
        (tagged("\"]", query("", None, None)), &[]),
        (tagged("Sales\0", query("", None, None)), &[]),
        (query("", Some("alice\0"), None), &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(found(&catalog, &query).await, expected, "{query:?}");
    }
}

async fn a_search_goes_on_where_it_ended(database: TestDatabase) {
    let catalog = database.open().await;
    let mut expected = Vec::new();
    for number in 0..30 {
        let app = App {
            published_at: noon() - TimeDelta::milliseconds(number / 4),
            lifecycle: if number % 3 == 0 {
                Lifecycle::Link
            } else {
                Lifecycle::OnDemand
            },
            title: if number % 2 == 0 { "Even" } else { "Odd" }.to_owned(),
            ..app(&format!("app-{number:02}"), "1.0.0")
        };
        catalog.publish(&app).await.expect("publish");
        if number % 6 == 0 {
            expected.push(app.name);
        }
    }
    let mut query = AppQuery {
        lifecycle: Some(Lifecycle::Link),
        ..search("even")
    };
    let mut names = Vec::new();
    loop {
        let apps = catalog
            .visible_apps(&Viewer::Everything, &query, 2)
            .await
            .expect("read");
        let Some(last) = apps.last() else { break };
        query.after = Some(AppCursor::after(last));
        names.extend(apps.into_iter().map(|app| app.name));
    }
    assert_eq!(names, expected);
}

async fn a_search_shows_nothing_that_is_not_shared(database: TestDatabase) {
    let catalog = database.open().await;
    let secret = App {
        visibility: Visibility::Private,
        tags: vec!["hidden".to_owned()],
        ..app("secret", "1.0.0")
    };
    catalog.publish(&secret).await.expect("publish");
    for query in [
        search("secret"),
        AppQuery {
            owner: Some("alice".to_owned()),
            ..search("secret")
        },
        AppQuery {
            tag: Some("hidden".to_owned()),
            ..AppQuery::default()
        },
    ] {
        let apps = catalog.visible_apps(&Viewer::Anonymous, &query, 10).await;
        assert_eq!(apps.expect("read"), []);
        assert_eq!(found(&catalog, &query).await, ["secret"]);
    }
}

/// How the database would read a page.
async fn plan(catalog: &Catalog, query: &AppQuery) -> String {
    let backend = catalog.database.get_database_backend();
    let question = page(&Viewer::Everything, query, 61, backend).build(backend);
    let transaction = catalog.database.begin().await.expect("begin");
    let explain = if backend == DbBackend::Postgres {
        // It would rather read and sort all of a few rows than walk an index.
        transaction
            .execute_unprepared("SET LOCAL enable_seqscan = off")
            .await
            .expect("set");
        if query.text.is_empty() && query.tag.is_none() {
            transaction
                .execute_unprepared("SET LOCAL enable_sort = off")
                .await
                .expect("set");
        }
        "EXPLAIN"
    } else {
        "EXPLAIN QUERY PLAN"
    };
    let rows = transaction
        .query_all_raw(Statement {
            sql: format!("{explain} {}", question.sql),
            ..question
        })
        .await
        .expect("explain");
    let column = if backend == DbBackend::Postgres { 0 } else { 3 };
    let lines: Vec<String> = rows
        .iter()
        .map(|row| row.try_get_by_index(column).expect("a line"))
        .collect();
    lines.join("\n")
}

async fn pages_are_read_by_indexes(database: TestDatabase) {
    let catalog = database.open().await;
    for number in 0..200 {
        let app = app(&format!("app-{number}"), "1.0.0");
        catalog.publish(&app).await.expect("publish");
    }
    let owned = AppQuery {
        owner: Some("alice".to_owned()),
        ..AppQuery::default()
    };
    let run = AppQuery {
        lifecycle: Some(Lifecycle::Link),
        ..AppQuery::default()
    };
    let after = Some(AppCursor::after(&app("app-150", "1.0.0")));
    for (query, index) in [
        (AppQuery::default(), "apps_in_order"),
        (owned, "apps_by_owner_in_order"),
        (run, "apps_by_lifecycle_in_order"),
    ] {
        for after in [None, after.clone()] {
            let query = AppQuery {
                after,
                ..query.clone()
            };
            let plan = plan(&catalog, &query).await;
            assert!(plan.contains(index), "{query:?}:\n{plan}");
            // Who walks an index in the order of the list stops after a page.
            let sorts = plan.contains("Sort") || plan.contains("TEMP B-TREE");
            assert!(!sorts, "{query:?}:\n{plan}");
        }
    }
    let is_postgres = catalog.database.get_database_backend() == DbBackend::Postgres;
    let index = if is_postgres {
        "Bitmap Index Scan on apps_by_words"
    } else {
        "VIRTUAL TABLE INDEX"
    };
    let words = plan(&catalog, &search("app-17")).await;
    assert!(words.contains(index), "{words}");
    let tagged = AppQuery {
        tag: Some("a".to_owned()),
        ..AppQuery::default()
    };
    let tagged = plan(&catalog, &tagged).await;
    let index = if is_postgres {
        "apps_by_tags"
    } else {
        "SEARCH app_tags USING PRIMARY KEY"
    };
    assert!(tagged.contains(index), "{tagged}");
}

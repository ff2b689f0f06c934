//! The audit trail: what is found in it, in which order, and how long.

use chrono::TimeDelta;

use super::database::TestDatabase;
use super::{noon, on_both_databases};
use crate::{AuditQuery, Catalog, Deed, Thing};

on_both_databases!(
    deeds_come_back_the_latest_first,
    deeds_are_forgotten_when_they_are_old,
    what_is_long_or_odd_is_kept_in_part,
);

async fn note(catalog: &Catalog, minutes: i64, account: &str, thing: Thing, name: &str) {
    let deed = Deed {
        at: noon() + TimeDelta::minutes(minutes),
        account: account.to_owned(),
        thing,
        name: name.to_owned(),
        done: format!("changed {name}; DROP TABLE audit"),
    };
    catalog.note(&deed).await.expect("note");
}

async fn found(catalog: &Catalog, query: &AuditQuery, limit: u64) -> Vec<String> {
    let entries = catalog.audit(query, limit).await.expect("read");
    entries.into_iter().map(|entry| entry.deed.name).collect()
}

async fn deeds_come_back_the_latest_first(database: TestDatabase) {
    let catalog = database.open().await;
    // Clocks of replicas differ: the order is that of the trail.
    for (minutes, account, thing, name) in [
        (1, "alice", Thing::Instance, "sales"),
        (3, "bob", Thing::App, "hello-1.0.0"),
        (2, "alice", Thing::Alias, "crm"),
        (4, "alice", Thing::App, "sales"),
    ] {
        note(&catalog, minutes, account, thing, name).await;
    }
    let all = AuditQuery::default();
    let entries = catalog.audit(&all, 10).await.expect("read");
    let last = &entries[0];
    assert_eq!(
        last.deed,
        Deed {
            at: noon() + TimeDelta::minutes(4),
            account: "alice".to_owned(),
            thing: Thing::App,
            name: "sales".to_owned(),
            done: "changed sales; DROP TABLE audit".to_owned(),
        }
    );
    let before = |entry: usize| Some(entries[entry].number);
    let of = |account: Option<&str>, thing, name: Option<&str>, before| AuditQuery {
        account: account.map(str::to_owned),
        thing,
        name: name.map(str::to_owned),
        before,
    };
    for (query, limit, expected) in [
        (all, 10, &["sales", "crm", "hello-1.0.0", "sales"][..]),
        (of(None, None, None, None), 2, &["sales", "crm"]),
        (
            of(None, None, None, before(1)),
            2,
            &["hello-1.0.0", "sales"],
        ),
        (of(None, None, None, before(3)), 2, &[]),
        (
            of(Some("alice"), None, None, None),
            10,
            &["sales", "crm", "sales"],
        ),
        (
            of(Some("alice"), None, Some("sales"), before(0)),
            10,
            &["sales"],
        ),
        (
            of(None, Some(Thing::App), Some("sales"), None),
            10,
            &["sales"],
        ),
        (of(None, Some(Thing::Tag), None, None), 10, &[]),
        (of(Some("al\0ice"), None, Some("\0"), None), 10, &[]),
    ] {
        assert_eq!(found(&catalog, &query, limit).await, expected, "{query:?}");
    }
}

async fn deeds_are_forgotten_when_they_are_old(database: TestDatabase) {
    let catalog = database.open().await;
    for minutes in 0..3 {
        note(&catalog, minutes, "alice", Thing::Tag, &minutes.to_string()).await;
    }
    let all = AuditQuery::default();
    for (minutes, forgotten, left) in [(0, 0, 3), (2, 2, 1), (2, 0, 1)] {
        let before = noon() + TimeDelta::minutes(minutes);
        let count = catalog.forget_deeds(before).await.expect("forget");
        assert_eq!(count, forgotten, "{minutes}");
        assert_eq!(found(&catalog, &all, 10).await.len(), left, "{minutes}");
    }
    // The next one does not take the place of one that is gone.
    let last = catalog.audit(&all, 1).await.expect("read")[0].number;
    catalog
        .forget_deeds(noon() + TimeDelta::days(1))
        .await
        .expect("forget");
    note(&catalog, 9, "alice", Thing::Tag, "new").await;
    assert!(catalog.audit(&all, 1).await.expect("read")[0].number > last);
}

async fn what_is_long_or_odd_is_kept_in_part(database: TestDatabase) {
    let catalog = database.open().await;
    let deed = Deed {
        at: noon(),
        account: "ali\0ce".to_owned(),
        thing: Thing::Account,
        name: "ü".repeat(1000),
        done: "ö".repeat(10_000),
    };
    catalog.note(&deed).await.expect("note");
    let entries = catalog
        .audit(&AuditQuery::default(), 1)
        .await
        .expect("read");
    let kept = &entries[0].deed;
    assert_eq!(kept.account, "ali\u{fffd}ce");
    assert_eq!(kept.name, "ü".repeat(128));
    assert_eq!(kept.done, "ö".repeat(1000));
}

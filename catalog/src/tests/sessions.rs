//! Sessions: how long they last, and what ends them.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait as _, Statement};

use super::database::TestDatabase;
use super::{noon, on_both_databases, sign_up};
use crate::{
    AccountChange, Catalog, Error, NewSession, NewTicket, Role, Session, SessionId, SessionKey,
    TicketId,
};

on_both_databases!(
    a_session_comes_back_as_it_was_made,
    a_session_lasts_until_it_expires_or_idles,
    use_keeps_a_session_and_its_parent_alive,
    a_session_follows_its_account,
    a_session_needs_an_account_and_a_living_parent,
    a_password_that_was_replaced_opens_no_session,
    children_end_with_their_parent,
    a_child_is_no_longer_in_force_than_its_parent,
    the_database_never_holds_the_secret,
    sweeping_deletes_what_is_over,
    an_account_sees_where_it_is_signed_in,
    a_session_is_ended_by_its_own_account_only,
    an_account_ends_its_sessions_but_one,
    many_sessions_are_read_at_once,
    sessions_in_use_are_found_by_when_they_were_seen,
);

/// A session of alice on the store's host, good for a day.
pub(super) fn sign_in() -> NewSession {
    NewSession {
        id: SessionId::random().expect("random bytes"),
        account: "alice".to_owned(),
        parent: None,
        host: None,
        created_at: noon(),
        expires_at: noon() + TimeDelta::days(1),
        browser: Some("Mozilla/5.0".to_owned()),
    }
}

pub(super) async fn create(catalog: &Catalog, session: NewSession) -> SessionKey {
    catalog
        .create_session(&session)
        .await
        .expect("create a session");
    session.id.key()
}

async fn child_of(catalog: &Catalog, parent: SessionKey) -> SessionKey {
    let child = NewSession {
        parent: Some(parent),
        host: Some("sales.apps.example".to_owned()),
        ..sign_in()
    };
    create(catalog, child).await
}

async fn in_force(catalog: &Catalog, key: &SessionKey, now: DateTime<Utc>) -> bool {
    let session = catalog.session(key, now).await.expect("read a session");
    session.is_some()
}

async fn a_session_comes_back_as_it_was_made(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let parent = create(&catalog, sign_in()).await;
    let child = child_of(&catalog, parent).await;
    let expected = Session {
        key: parent,
        account: "alice".to_owned(),
        role: Role::Full,
        roles: [].into(),
        parent: None,
        host: None,
        created_at: noon(),
        expires_at: noon() + TimeDelta::days(1),
        last_seen_at: noon(),
        browser: Some("Mozilla/5.0".to_owned()),
    };
    let read = catalog.session(&parent, noon()).await.expect("read");
    assert_eq!(read, Some(expected.clone()));
    let read = catalog.session(&child, noon()).await.expect("read");
    let expected = Session {
        key: child,
        parent: Some(parent),
        host: Some("sales.apps.example".to_owned()),
        ..expected
    };
    assert_eq!(read, Some(expected));
    let unknown = SessionId::random().expect("random bytes").key();
    assert_eq!(catalog.session(&unknown, noon()).await.expect("read"), None);
}

async fn a_session_lasts_until_it_expires_or_idles(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let long = create(&catalog, sign_in()).await;
    let short = NewSession {
        expires_at: noon() + TimeDelta::hours(1),
        ..sign_in()
    };
    let short = create(&catalog, short).await;
    let second = TimeDelta::seconds(1);
    for (what, key, age, expected) in [
        ("just made", long, TimeDelta::zero(), true),
        (
            "used within 8 hours",
            long,
            TimeDelta::hours(8) - second,
            true,
        ),
        ("unused for 8 hours", long, TimeDelta::hours(8), false),
        (
            "before its hour is over",
            short,
            TimeDelta::hours(1) - second,
            true,
        ),
        ("after its hour", short, TimeDelta::hours(1), false),
    ] {
        assert_eq!(
            in_force(&catalog, &key, noon() + age).await,
            expected,
            "{what}"
        );
    }
}

async fn use_keeps_a_session_and_its_parent_alive(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let parent = create(&catalog, sign_in()).await;
    let child = child_of(&catalog, parent).await;
    let sibling = child_of(&catalog, parent).await;
    let later = noon() + TimeDelta::hours(7);
    catalog
        .touch_sessions(&[child], later)
        .await
        .expect("touch");
    let seen_at = |session: Option<Session>| session.expect("in force").last_seen_at;
    for (key, expected) in [(parent, later), (child, later), (sibling, noon())] {
        let session = catalog.session(&key, later).await.expect("read");
        assert_eq!(seen_at(session), expected);
    }
    let soon = later + TimeDelta::seconds(59);
    catalog.touch_sessions(&[child], soon).await.expect("touch");
    let session = catalog.session(&child, soon).await.expect("read");
    assert_eq!(seen_at(session), later, "written once a minute at most");
    let too_late = noon() + TimeDelta::hours(30);
    catalog
        .touch_sessions(&[child], too_late)
        .await
        .expect("touch");
    assert!(
        !in_force(&catalog, &child, too_late).await,
        "use does not outlive the end"
    );
}

async fn a_session_follows_its_account(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "bob", Role::Full).await;
    let bob = NewSession {
        account: "bob".to_owned(),
        ..sign_in()
    };
    let bob = create(&catalog, bob).await;

    let alice = create(&catalog, sign_in()).await;
    let child = child_of(&catalog, alice).await;
    catalog
        .change_account("alice", AccountChange::disabled(true), None)
        .await
        .expect("disable");
    assert!(!in_force(&catalog, &alice, noon()).await, "disabled");
    assert!(!in_force(&catalog, &child, noon()).await, "disabled");
    let meanwhile = create(&catalog, sign_in()).await;
    assert!(
        !in_force(&catalog, &meanwhile, noon()).await,
        "made while disabled"
    );
    catalog
        .change_account("alice", AccountChange::disabled(false), None)
        .await
        .expect("enable");
    assert!(!in_force(&catalog, &alice, noon()).await, "ended for good");

    let alice = create(&catalog, sign_in()).await;
    assert!(in_force(&catalog, &alice, noon()).await, "enabled again");
    let child = child_of(&catalog, alice).await;
    let (elsewhere, kept) = (create(&catalog, sign_in()).await, alice);
    catalog
        .set_password_hash("alice", "changed", None, Some(&kept))
        .await
        .expect("change");
    assert!(in_force(&catalog, &kept, noon()).await, "changed here");
    assert!(in_force(&catalog, &child, noon()).await, "changed here");
    assert!(
        !in_force(&catalog, &elsewhere, noon()).await,
        "password changed"
    );
    catalog
        .set_password_hash("alice", "given", Some(noon()), None)
        .await
        .expect("change");
    assert!(!in_force(&catalog, &kept, noon()).await, "password given");

    let alice = create(&catalog, sign_in()).await;
    catalog
        .database
        .execute_unprepared("DELETE FROM accounts WHERE name = 'alice'")
        .await
        .expect("delete the account");
    assert!(!in_force(&catalog, &alice, noon()).await, "account gone");
    assert!(in_force(&catalog, &bob, noon()).await, "another's goes on");
}

async fn a_session_needs_an_account_and_a_living_parent(database: TestDatabase) {
    let catalog = database.open().await;
    let error = catalog
        .create_session(&sign_in())
        .await
        .expect_err("no account");
    assert!(matches!(error, Error::SessionGone), "{error:?}");
    sign_up(&catalog, "alice", Role::Full).await;
    let parent = create(&catalog, sign_in()).await;
    catalog.end_session(&parent).await.expect("end");
    let child = NewSession {
        parent: Some(parent),
        ..sign_in()
    };
    let error = catalog.create_session(&child).await.expect_err("no parent");
    assert!(matches!(error, Error::SessionGone), "{error:?}");
}

async fn a_password_that_was_replaced_opens_no_session(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    for hash in ["a hash of another day", "a hash"] {
        catalog
            .set_password_hash("alice", hash, None, None)
            .await
            .expect("change");
    }
    let opened = sign_in();
    catalog
        .create_session_by_password(&opened, "a hash")
        .await
        .expect("it is the password");
    assert!(in_force(&catalog, &opened.id.key(), noon()).await);

    // Somebody has proved the old one, and it is replaced in this very moment.
    catalog
        .set_password_hash("alice", "another hash", None, None)
        .await
        .expect("change");
    let late = catalog
        .create_session_by_password(&sign_in(), "a hash")
        .await;
    let error = late.expect_err("it is replaced");
    assert!(matches!(error, Error::SessionGone), "{error:?}");
    assert!(
        !in_force(&catalog, &opened.id.key(), noon()).await,
        "those before are ended"
    );
    for (disabled, opens) in [(true, false), (false, true)] {
        catalog
            .change_account("alice", AccountChange::disabled(disabled), None)
            .await
            .expect("change");
        let made = catalog
            .create_session_by_password(&sign_in(), "another hash")
            .await;
        assert_eq!(made.is_ok(), opens, "{made:?}");
    }
}

async fn children_end_with_their_parent(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let parent = create(&catalog, sign_in()).await;
    let (child, sibling) = (
        child_of(&catalog, parent).await,
        child_of(&catalog, parent).await,
    );
    let other = create(&catalog, sign_in()).await;
    catalog.end_session(&child).await.expect("end");
    assert!(!in_force(&catalog, &child, noon()).await);
    assert!(in_force(&catalog, &parent, noon()).await);
    catalog.end_session(&parent).await.expect("end");
    catalog.end_session(&parent).await.expect("end once more");
    assert!(!in_force(&catalog, &parent, noon()).await);
    assert!(!in_force(&catalog, &sibling, noon()).await);
    assert!(in_force(&catalog, &other, noon()).await);
}

async fn a_child_is_no_longer_in_force_than_its_parent(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let parent = NewSession {
        expires_at: noon() + TimeDelta::hours(1),
        ..sign_in()
    };
    let parent = create(&catalog, parent).await;
    let child = child_of(&catalog, parent).await;
    let end = noon() + TimeDelta::hours(1);
    assert!(in_force(&catalog, &child, end - TimeDelta::seconds(1)).await);
    assert!(!in_force(&catalog, &child, end).await);
}

async fn the_database_never_holds_the_secret(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let session = sign_in();
    let key = create(&catalog, session.clone()).await;
    let ticket = NewTicket {
        id: TicketId::random().expect("random bytes"),
        session: key,
        host: "sales.apps.example".to_owned(),
        expires_at: noon() + TimeDelta::seconds(30),
    };
    catalog.create_ticket(&ticket).await.expect("create");
    for (table, secret) in [
        ("sessions", session.id.expose()),
        ("tickets", ticket.id.expose()),
    ] {
        let row = catalog
            .database
            .query_one_raw(Statement::from_string(
                catalog.database.get_database_backend(),
                format!("SELECT id_hash FROM {table}"),
            ))
            .await
            .expect("ask")
            .expect("a row");
        let stored: String = row.try_get_by_index(0).expect("a value");
        assert_eq!(stored.len(), 64, "{table}");
        assert_ne!(stored, secret);
    }
}

async fn an_account_sees_where_it_is_signed_in(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "bob", Role::Full).await;
    let older = create(&catalog, sign_in()).await;
    let long = NewSession {
        browser: Some("ä".repeat(200)),
        created_at: noon() - TimeDelta::hours(1),
        ..sign_in()
    };
    let used = create(&catalog, long).await;
    child_of(&catalog, used).await;
    let over = NewSession {
        expires_at: noon(),
        ..sign_in()
    };
    create(&catalog, over).await;
    let bob = NewSession {
        account: "bob".to_owned(),
        ..sign_in()
    };
    create(&catalog, bob).await;
    let later = noon() + TimeDelta::minutes(5);
    catalog.touch_sessions(&[used], later).await.expect("touch");
    let sessions = catalog.sessions_of("alice", later).await.expect("read");
    let keys: Vec<SessionKey> = sessions.iter().map(|session| session.key).collect();
    assert_eq!(keys, [used, older]);
    assert_eq!(sessions[0].browser, Some("ä".repeat(128)));
}

async fn a_session_is_ended_by_its_own_account_only(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "bob", Role::Full).await;
    let parent = create(&catalog, sign_in()).await;
    let child = child_of(&catalog, parent).await;
    let ended = catalog.end_session_of("bob", &parent).await.expect("end");
    assert!(!ended && in_force(&catalog, &parent, noon()).await);
    let ended = catalog.end_session_of("alice", &parent).await;
    assert!(ended.expect("end"));
    assert!(!in_force(&catalog, &child, noon()).await);
    let again = catalog.end_session_of("alice", &parent).await;
    assert!(!again.expect("end"));
}

async fn an_account_ends_its_sessions_but_one(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "bob", Role::Full).await;
    let bob = NewSession {
        account: "bob".to_owned(),
        ..sign_in()
    };
    let bob = create(&catalog, bob).await;
    let (kept, other) = (
        create(&catalog, sign_in()).await,
        create(&catalog, sign_in()).await,
    );
    let (its_child, others_child) = (
        child_of(&catalog, kept).await,
        child_of(&catalog, other).await,
    );
    let ended = catalog.end_sessions_of("alice", Some(&kept)).await;
    ended.expect("end");
    for (key, stays) in [
        (kept, true),
        (its_child, true),
        (other, false),
        (others_child, false),
        (bob, true),
    ] {
        assert_eq!(in_force(&catalog, &key, noon()).await, stays);
    }
    // A key of somebody else's session keeps nothing.
    catalog
        .end_sessions_of("alice", Some(&bob))
        .await
        .expect("end");
    assert!(!in_force(&catalog, &kept, noon()).await);
}

async fn many_sessions_are_read_at_once(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let parent = create(&catalog, sign_in()).await;
    let child = child_of(&catalog, parent).await;
    let ended = create(&catalog, sign_in()).await;
    catalog.end_session(&ended).await.expect("end");
    let over = NewSession {
        expires_at: noon(),
        ..sign_in()
    };
    let over = create(&catalog, over).await;
    let mut keys = vec![parent, ended, over];
    // More than fit into one question.
    keys.extend((0..2500).map(|_| SessionId::random().expect("random bytes").key()));
    keys.push(child);
    let sessions = catalog.sessions(&keys, noon()).await.expect("read");
    let mut found: Vec<SessionKey> = sessions.iter().map(|session| session.key).collect();
    found.sort_unstable();
    let mut expected = [parent, child];
    expected.sort_unstable();
    assert_eq!(found, expected);
    for session in &sessions {
        let alone = catalog.session(&session.key, noon()).await.expect("read");
        assert_eq!(alone.as_ref(), Some(session));
    }
    assert_eq!(catalog.sessions(&[], noon()).await.expect("read"), []);
    catalog
        .change_account("alice", AccountChange::disabled(true), None)
        .await
        .expect("disable");
    let sessions = catalog.sessions(&keys, noon()).await.expect("read");
    assert_eq!(sessions, []);
}

async fn sweeping_deletes_what_is_over(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let living = create(&catalog, sign_in()).await;
    let expiring = NewSession {
        expires_at: noon() + TimeDelta::minutes(10),
        ..sign_in()
    };
    let expiring = create(&catalog, expiring).await;
    child_of(&catalog, expiring).await;
    for (session, seconds) in [(living, 30), (living, 3600)] {
        let ticket = NewTicket {
            id: TicketId::random().expect("random bytes"),
            session,
            host: "sales.apps.example".to_owned(),
            expires_at: noon() + TimeDelta::seconds(seconds),
        };
        catalog.create_ticket(&ticket).await.expect("create");
    }
    let later = noon() + TimeDelta::minutes(10);
    assert_eq!(catalog.sweep(noon()).await.expect("sweep"), 0);
    assert_eq!(catalog.sweep(later).await.expect("sweep"), 2);
    assert_eq!(catalog.sweep(later).await.expect("sweep"), 0);
    assert!(in_force(&catalog, &living, later).await);
    let idle = noon() + TimeDelta::hours(9);
    assert_eq!(
        catalog.sweep(idle).await.expect("sweep"),
        2,
        "a ticket, an idle session"
    );
}

#[test]
fn ids_are_parsed_strictly_and_never_shown() {
    let id = SessionId::random().expect("random bytes");
    let text = id.expose();
    assert_eq!(text.len(), 43);
    assert_eq!(text.parse::<SessionId>().expect("an id"), id);
    assert_eq!(text.parse::<SessionId>().expect("an id").key(), id.key());
    assert_eq!(
        id.key().to_text().parse::<SessionKey>().expect("a key"),
        id.key()
    );
    for bad in [
        "",
        "short",
        &text[1..],
        &format!("{text}A"),
        &format!("{text}="),
        &"!".repeat(43),
    ] {
        let error = bad.parse::<SessionId>().expect_err(bad);
        assert_eq!(error.to_string(), "the id is not well formed");
    }
    let ticket = TicketId::random().expect("random bytes");
    let shown = format!("{id:?} {:?} {ticket:?} {:?}", id.key(), sign_in());
    assert!(
        !shown.contains(&text) && !shown.contains(&ticket.expose()),
        "{shown}"
    );
    assert!(
        shown.starts_with("SessionId(..) SessionKey(..) TicketId(..)"),
        "{shown}"
    );
}

async fn sessions_in_use_are_found_by_when_they_were_seen(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let old = create(&catalog, sign_in()).await;
    let child = child_of(&catalog, old).await;
    let unused = create(&catalog, sign_in()).await;
    let later = noon() + TimeDelta::minutes(5);
    catalog
        .touch_sessions(&[child], later)
        .await
        .expect("touch");
    let made = NewSession {
        created_at: later + TimeDelta::seconds(1),
        ..sign_in()
    };
    let new = create(&catalog, made).await;
    let ended = create(&catalog, sign_in()).await;
    catalog.end_session(&ended).await.expect("end");

    let seen = async |since| {
        let found = catalog.sessions_seen_since(since, later).await;
        let mut keys: Vec<_> = found
            .expect("read")
            .iter()
            .map(|session| session.key.to_text())
            .collect();
        keys.sort();
        keys
    };
    let sorted = |keys: &[SessionKey]| {
        let mut keys: Vec<_> = keys.iter().map(|key| key.to_text()).collect();
        keys.sort();
        keys
    };
    assert_eq!(seen(noon()).await, sorted(&[old, child, unused, new]));
    assert_eq!(seen(later).await, sorted(&[old, child, new]));
    assert_eq!(seen(later + TimeDelta::seconds(1)).await, sorted(&[new]));
}

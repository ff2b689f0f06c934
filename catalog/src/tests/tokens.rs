//! Personal tokens: what they are good for, how long, and what takes them away.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use sea_orm::{ConnectionTrait as _, Statement};

use super::database::TestDatabase;
use super::{noon, on_both_databases, sign_up};
use crate::{
    AccountChange, Catalog, Error, NewToken, Person, Role, Scope, Subject, Token, TokenId, TokenKey,
};

on_both_databases!(
    a_token_comes_back_as_it_was_made,
    a_token_lasts_until_it_expires_or_is_revoked,
    a_token_follows_its_account,
    a_token_shows_its_last_use,
    tokens_in_use_are_found_by_when_they_were_made_or_used,
    a_name_belongs_to_one_token_of_an_account,
    an_account_has_a_limited_number_of_tokens_however_many_it_makes_at_once,
    the_database_never_holds_the_secret,
    expired_tokens_make_room_and_are_swept,
);

/// A token of alice, good for thirty days.
fn new(name: &str) -> NewToken {
    NewToken {
        id: TokenId::random().expect("random bytes"),
        account: "alice".to_owned(),
        name: name.to_owned(),
        scopes: [Scope::Instances].into(),
        created_at: noon(),
        expires_at: noon() + TimeDelta::days(30),
    }
}

async fn create(catalog: &Catalog, token: &NewToken) -> TokenKey {
    catalog.create_token(token).await.expect("create a token");
    token.id.key()
}

async fn read(catalog: &Catalog, key: &TokenKey, now: DateTime<Utc>) -> Option<Token> {
    catalog.token(key, now).await.expect("read a token")
}

async fn a_token_comes_back_as_it_was_made(database: TestDatabase) {
    let catalog = database.open().await;
    let alice = Person {
        subject: Subject {
            issuer: "https://login.example.com".to_owned(),
            subject: "1".to_owned(),
        },
        name: "alice".to_owned(),
        role: Role::Full,
        roles: vec!["analyst".to_owned()],
        as_of: noon(),
    };
    catalog.account_of(&alice).await.expect("an account");
    for scopes in [
        BTreeSet::new(),
        [Scope::Store].into(),
        [Scope::Store, Scope::Instances].into(),
    ] {
        let token = NewToken {
            scopes: scopes.clone(),
            ..new(&format!("{scopes:?}"))
        };
        let key = create(&catalog, &token).await;
        let expected = Token {
            key,
            account: "alice".to_owned(),
            role: Role::Full,
            roles: ["analyst".to_owned()].into(),
            name: token.name,
            scopes,
            created_at: noon(),
            expires_at: noon() + TimeDelta::days(30),
            last_used_at: None,
        };
        assert_eq!(read(&catalog, &key, noon()).await, Some(expected));
    }
    let unknown = TokenId::random().expect("random bytes").key();
    assert_eq!(read(&catalog, &unknown, noon()).await, None);
    let without_account = NewToken {
        account: "nobody".to_owned(),
        ..new("a")
    };
    let refused = catalog.create_token(&without_account).await;
    assert!(matches!(refused, Err(Error::SessionGone)), "{refused:?}");
}

async fn a_token_lasts_until_it_expires_or_is_revoked(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "bob", Role::Full).await;
    let key = create(&catalog, &new("a")).await;
    let end = noon() + TimeDelta::days(30);
    let before = read(&catalog, &key, end - TimeDelta::milliseconds(1)).await;
    assert!(before.is_some());
    assert_eq!(read(&catalog, &key, end).await, None);

    let revoked = catalog.revoke_token("bob", &key).await.expect("revoke");
    assert!(!revoked, "it is alice's");
    assert!(read(&catalog, &key, noon()).await.is_some());
    assert!(catalog.revoke_token("alice", &key).await.expect("revoke"));
    assert_eq!(read(&catalog, &key, noon()).await, None);
    assert!(!catalog.revoke_token("alice", &key).await.expect("revoke"));
}

async fn a_token_follows_its_account(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let key = create(&catalog, &new("a")).await;
    catalog
        .change_account("alice", AccountChange::role(Role::Visitor), None)
        .await
        .expect("change");
    let token = read(&catalog, &key, noon()).await.expect("in force");
    assert_eq!(token.role, Role::Visitor);

    for (disabled, in_force) in [(true, false), (false, true)] {
        catalog
            .change_account("alice", AccountChange::disabled(disabled), None)
            .await
            .expect("change");
        let token = read(&catalog, &key, noon()).await;
        assert_eq!(token.is_some(), in_force, "disabled: {disabled}");
        let tokens = catalog.tokens(&[key], noon()).await.expect("read");
        assert_eq!(tokens.len(), usize::from(in_force), "disabled: {disabled}");
        assert_eq!(catalog.tokens_of("alice").await.expect("read").len(), 1);
    }

    let session = super::sessions::create(&catalog, super::sessions::sign_in()).await;
    catalog
        .set_password_hash("alice", "changed", None, Some(&session))
        .await
        .expect("change");
    assert!(
        read(&catalog, &key, noon()).await.is_some(),
        "changed by alice"
    );
    catalog
        .set_password_hash("alice", "given", Some(noon()), None)
        .await
        .expect("change");
    assert_eq!(
        read(&catalog, &key, noon()).await,
        None,
        "given by an admin"
    );

    let key = create(&catalog, &new("a")).await;
    catalog
        .database
        .execute_unprepared("DELETE FROM accounts WHERE name = 'alice'")
        .await
        .expect("delete the account");
    assert_eq!(read(&catalog, &key, noon()).await, None, "account gone");
}

async fn a_token_shows_its_last_use(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let key = create(&catalog, &new("a")).await;
    let other = create(&catalog, &new("b")).await;
    for (age, expected) in [(0, 0), (59, 0), (60, 60), (61, 60)] {
        let at = |seconds| noon() + TimeDelta::seconds(seconds);
        catalog.touch_tokens(&[key], at(age)).await.expect("touch");
        let token = read(&catalog, &key, at(age)).await.expect("in force");
        assert_eq!(token.last_used_at, Some(at(expected)), "after {age} s");
    }
    let other = read(&catalog, &other, noon()).await.expect("in force");
    assert_eq!(other.last_used_at, None);
    let both = catalog.tokens(&[key, other.key], noon()).await;
    let both = both.expect("read");
    assert_eq!(both.len(), 2);
    assert!(both.contains(&other));
}

async fn tokens_in_use_are_found_by_when_they_were_made_or_used(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    create(&catalog, &new("unused")).await;
    let used = create(&catalog, &new("used")).await;
    let revoked = create(&catalog, &new("revoked")).await;
    let later = noon() + TimeDelta::minutes(5);
    let both = [used, revoked];
    catalog.touch_tokens(&both, later).await.expect("touch");
    assert!(
        catalog
            .revoke_token("alice", &revoked)
            .await
            .expect("revoke")
    );
    let made = NewToken {
        created_at: later + TimeDelta::seconds(1),
        expires_at: later + TimeDelta::days(30),
        ..new("new")
    };
    create(&catalog, &made).await;

    let found = async |since, now| {
        let found = catalog.tokens_used_since(since, now).await.expect("read");
        let mut names: Vec<_> = found.into_iter().map(|token| token.name).collect();
        names.sort();
        names
    };
    assert_eq!(found(noon(), later).await, ["new", "unused", "used"]);
    assert_eq!(found(later, later).await, ["new", "used"]);
    assert_eq!(found(later + TimeDelta::seconds(1), later).await, ["new"]);
    let end = noon() + TimeDelta::days(30);
    assert_eq!(found(noon(), end).await, ["new"], "the others have expired");
}

async fn a_name_belongs_to_one_token_of_an_account(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    sign_up(&catalog, "bob", Role::Full).await;
    create(&catalog, &new("laptop")).await;
    let refused = catalog.create_token(&new("laptop")).await;
    let error = refused.expect_err("it is taken");
    assert_eq!(error.to_string(), "there is a token `laptop` already");
    let bobs = NewToken {
        account: "bob".to_owned(),
        ..new("laptop")
    };
    create(&catalog, &bobs).await;
    create(&catalog, &new("desktop")).await;
    let tokens = catalog.tokens_of("alice").await.expect("read");
    let names: Vec<&str> = tokens.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names, ["desktop", "laptop"]);
}

async fn an_account_has_a_limited_number_of_tokens_however_many_it_makes_at_once(
    database: TestDatabase,
) {
    let (one, other) = (database.open().await, database.open().await);
    sign_up(&one, "alice", Role::Full).await;
    sign_up(&one, "bob", Role::Full).await;
    for number in 0..46 {
        create(&one, &new(&number.to_string())).await;
    }
    let more: Vec<NewToken> = (46..58).map(|number| new(&number.to_string())).collect();
    let made = join_all(more.iter().enumerate().map(|(number, token)| {
        let replica = if number % 2 == 0 { &one } else { &other };
        replica.create_token(token)
    }));
    let made = made.await;
    let refused = made
        .iter()
        .filter(|made| matches!(made, Err(Error::TooManyTokens { limit: 50 })))
        .count();
    assert_eq!(
        (made.iter().filter(|made| made.is_ok()).count(), refused),
        (4, 8)
    );
    assert_eq!(one.tokens_of("alice").await.expect("read").len(), 50);
    let bobs = NewToken {
        account: "bob".to_owned(),
        ..new("a")
    };
    create(&one, &bobs).await;
}

async fn the_database_never_holds_the_secret(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let token = new("a");
    create(&catalog, &token).await;
    let row = catalog
        .database
        .query_one_raw(Statement::from_string(
            catalog.database.get_database_backend(),
            "SELECT id_hash FROM tokens",
        ))
        .await
        .expect("ask")
        .expect("a row");
    let stored: String = row.try_get_by_index(0).expect("a value");
    assert_eq!(stored, token.id.key().to_text());
    assert!(!token.id.expose().contains(&stored));
}

async fn expired_tokens_make_room_and_are_swept(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    for number in 0..50 {
        let short = NewToken {
            expires_at: noon() + TimeDelta::hours(1),
            ..new(&number.to_string())
        };
        create(&catalog, &short).await;
    }
    let later = NewToken {
        created_at: noon() + TimeDelta::hours(1),
        expires_at: noon() + TimeDelta::hours(2),
        ..new("0")
    };
    create(&catalog, &later).await;
    let lasting = create(&catalog, &new("lasting")).await;
    assert_eq!(catalog.sweep(noon()).await.expect("sweep"), 0);
    let swept = catalog.sweep(noon() + TimeDelta::hours(2)).await;
    assert_eq!(swept.expect("sweep"), 1);
    let left = catalog.tokens_of("alice").await.expect("read");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].key, lasting);
}

#[test]
fn only_well_formed_tokens_are_tokens_and_none_is_shown() {
    let id = TokenId::random().expect("random bytes");
    let text = id.expose();
    assert_eq!(text.len(), 47);
    assert!(text.starts_with("wst_"), "{text}");
    assert_eq!(text.parse::<TokenId>().expect("a token"), id);
    assert_eq!(
        id.key().to_text().parse::<TokenKey>().expect("a key"),
        id.key()
    );
    for bad in [
        "",
        "wst_",
        &text[4..],
        &text[1..],
        &text.to_uppercase(),
        &format!("{text}A"),
        &format!("{text}="),
        &format!(" {text}"),
    ] {
        let error = bad.parse::<TokenId>().expect_err(bad);
        assert_eq!(error.to_string(), "the id is not well formed");
    }
    for bad in ["", "ab", &"g".repeat(64)] {
        assert!(bad.parse::<TokenKey>().is_err(), "{bad}");
    }
    let shown = format!("{id:?} {:?} {:?}", id.key(), new("a"));
    assert!(!shown.contains(&text[4..]), "{shown}");
    assert!(shown.starts_with("TokenId(..) TokenKey(..)"), "{shown}");
}

//! Accounts.

use futures::future::join_all;

use super::database::TestDatabase;
use super::{on_both_databases, sign_up};
use crate::{Account, Error, NewAccount, Person, Role, Subject};

on_both_databases!(
    the_first_account_is_made_once,
    replicas_that_start_at_once_make_one_first_account,
    a_name_belongs_to_one_account,
    an_account_comes_back_as_it_was_made,
    changes_of_an_account_are_kept,
    somebody_of_a_provider_has_one_account_and_keeps_its_name,
    a_name_that_somebody_else_has_is_not_taken_over,
    replicas_make_one_account_for_somebody_who_signs_in_twice_at_once,
);

fn new(name: &str) -> NewAccount {
    NewAccount {
        name: name.to_owned(),
        password_hash: Some("$argon2id$v=19$hash".to_owned()),
        role: Role::Admin,
    }
}

async fn the_first_account_is_made_once(database: TestDatabase) {
    let catalog = database.open().await;
    assert!(
        catalog
            .create_first_account(&new("admin"))
            .await
            .expect("create")
    );
    assert!(
        !catalog
            .create_first_account(&new("admin"))
            .await
            .expect("create")
    );
    assert!(
        !catalog
            .create_first_account(&new("other"))
            .await
            .expect("create")
    );
    let names: Vec<String> = catalog
        .accounts(10)
        .await
        .expect("read")
        .into_iter()
        .map(|account| account.name)
        .collect();
    assert_eq!(names, ["admin"]);
}

async fn replicas_that_start_at_once_make_one_first_account(database: TestDatabase) {
    let (one, other) = (database.open().await, database.open().await);
    let accounts: Vec<NewAccount> = (0..8)
        .map(|number| new(&format!("admin-{number}")))
        .collect();
    let made = join_all(accounts.iter().enumerate().map(|(number, account)| {
        let replica = if number % 2 == 0 { &one } else { &other };
        replica.create_first_account(account)
    }))
    .await;
    let made = made
        .into_iter()
        .map(|made| made.expect("create"))
        .filter(|made| *made)
        .count();
    assert_eq!(made, 1);
    assert_eq!(one.accounts(10).await.expect("read").len(), 1);
}

async fn a_name_belongs_to_one_account(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let error = catalog
        .create_account(&new("alice"))
        .await
        .expect_err("it is taken");
    assert_eq!(error.to_string(), "account `alice` exists already");
    let account = catalog.account("alice").await.expect("read");
    assert_eq!(account.expect("an account").role, Role::Full);
}

async fn an_account_comes_back_as_it_was_made(database: TestDatabase) {
    let catalog = database.open().await;
    for role in [Role::Visitor, Role::Full, Role::Admin] {
        let made = NewAccount {
            role,
            ..new(&role.to_string())
        };
        catalog.create_account(&made).await.expect("create");
        let read = catalog.account(&made.name).await.expect("read");
        assert_eq!(
            read,
            Some(Account {
                name: made.name,
                password_hash: made.password_hash,
                role,
                disabled: false,
                subject: None,
                roles: Vec::new(),
            })
        );
    }
    assert_eq!(catalog.account("nobody").await.expect("read"), None);
}

async fn changes_of_an_account_are_kept(database: TestDatabase) {
    let catalog = database.open().await;
    catalog.create_account(&new("alice")).await.expect("create");
    catalog.create_account(&new("bob")).await.expect("create");
    assert!(
        catalog
            .set_account_disabled("alice", true)
            .await
            .expect("change")
    );
    assert!(
        catalog
            .set_password_hash("alice", "changed")
            .await
            .expect("change")
    );
    assert!(
        !catalog
            .set_account_disabled("nobody", true)
            .await
            .expect("change")
    );
    let alice = catalog
        .account("alice")
        .await
        .expect("read")
        .expect("alice");
    assert!(alice.disabled);
    assert_eq!(alice.password_hash.as_deref(), Some("changed"));
    let bob = catalog.account("bob").await.expect("read").expect("bob");
    assert!(!bob.disabled);
    assert_eq!(bob.password_hash, new("bob").password_hash);
}

#[test]
fn accounts_never_show_their_hash() {
    let new = new("alice");
    let account = Account {
        name: new.name.clone(),
        password_hash: new.password_hash.clone(),
        role: new.role,
        disabled: false,
        subject: None,
        roles: Vec::new(),
    };
    for shown in [format!("{new:?}"), format!("{account:?}")] {
        assert!(
            shown.contains("alice") && !shown.contains("argon2id"),
            "{shown}"
        );
    }
}

fn person(subject: &str, name: &str) -> Person {
    Person {
        subject: Subject {
            issuer: "https://login.example.com".to_owned(),
            subject: subject.to_owned(),
        },
        name: name.to_owned(),
        role: Role::Visitor,
        roles: vec!["analyst".to_owned()],
    }
}

async fn somebody_of_a_provider_has_one_account_and_keeps_its_name(database: TestDatabase) {
    let catalog = database.open().await;
    let at_first = person("1", "alice");
    let made = catalog.account_of(&at_first).await.expect("an account");
    assert_eq!(
        (made.name.as_str(), made.role, made.password_hash.as_deref()),
        ("alice", Role::Visitor, None)
    );
    assert_eq!(catalog.account("alice").await.expect("read"), Some(made));

    let later = Person {
        name: "alice.miller".to_owned(),
        role: Role::Admin,
        roles: Vec::new(),
        ..at_first
    };
    let account = catalog.account_of(&later).await.expect("an account");
    assert_eq!(
        (account.name.as_str(), account.role),
        ("alice", Role::Admin)
    );
    assert_eq!(account.roles, Vec::<String>::new());
    assert_eq!(catalog.account("alice").await.expect("read"), Some(account));

    // Who is kept out stays out, whatever the provider says.
    catalog
        .set_account_disabled("alice", true)
        .await
        .expect("change");
    let account = catalog.account_of(&later).await.expect("an account");
    assert!(account.disabled);
}

/// CVE-2020-15110: accounts of one name at two places are two people.
async fn a_name_that_somebody_else_has_is_not_taken_over(database: TestDatabase) {
    let catalog = database.open().await;
    catalog.create_account(&new("admin")).await.expect("create");
    catalog
        .account_of(&person("1", "alice"))
        .await
        .expect("an account");
    let mut elsewhere = person("1", "alice");
    elsewhere.subject.issuer = "https://other.example.com".to_owned();
    let cases = [
        ("a local account's", person("2", "admin")),
        ("a local account's in another case", person("2", "Admin")),
        ("somebody's of the same provider", person("2", "alice")),
        ("that of the same subject elsewhere", elsewhere),
    ];
    for (name, person) in cases {
        let refused = catalog.account_of(&person).await;
        assert!(
            matches!(refused, Err(Error::DuplicateAccount(_))),
            "{name}: {refused:?}"
        );
    }
    assert_eq!(catalog.accounts(10).await.expect("read").len(), 2);
    let refused = catalog.create_account(&new("alice")).await;
    assert!(matches!(refused, Err(Error::DuplicateAccount(_))));
}

async fn replicas_make_one_account_for_somebody_who_signs_in_twice_at_once(database: TestDatabase) {
    let (one, other) = (database.open().await, database.open().await);
    let alice = person("1", "alice");
    let made = join_all((0..8).map(|number| {
        let replica = if number % 2 == 0 { &one } else { &other };
        replica.account_of(&alice)
    }))
    .await;
    for account in made {
        assert_eq!(account.expect("an account").name, "alice");
    }
    assert_eq!(one.accounts(10).await.expect("read").len(), 1);
}

//! Accounts.

use futures::future::join_all;

use super::database::TestDatabase;
use chrono::TimeDelta;

use super::{noon, on_both_databases, sign_up};
use crate::{Account, AccountChange, Catalog, Error, NewAccount, Person, Role, Subject};

on_both_databases!(
    the_first_account_is_made_once,
    replicas_that_start_at_once_make_one_first_account,
    a_name_belongs_to_one_account,
    an_account_comes_back_as_it_was_made,
    changes_of_an_account_are_kept,
    replicas_give_a_name_in_any_case_once,
    a_role_changes_and_the_rest_of_the_account_does_not,
    the_last_admin_stays_one,
    two_admins_who_demote_each_other_at_once_leave_one,
    what_a_provider_decides_is_not_changed_here,
    somebody_of_a_provider_has_one_account_and_keeps_its_name,
    a_name_that_somebody_else_has_is_not_taken_over,
    replicas_make_one_account_for_somebody_who_signs_in_twice_at_once,
);

fn new(name: &str) -> NewAccount {
    NewAccount {
        name: name.to_owned(),
        password_hash: Some("$argon2id$v=19$hash".to_owned()),
        password_expires_at: None,
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
        .accounts("", 10)
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
    assert_eq!(one.accounts("", 10).await.expect("read").len(), 1);
}

async fn a_name_belongs_to_one_account(database: TestDatabase) {
    let catalog = database.open().await;
    sign_up(&catalog, "alice", Role::Full).await;
    let error = catalog
        .create_account(&new("alice"))
        .await
        .expect_err("it is taken");
    assert_eq!(error.to_string(), "account `alice` exists already");
    let refused = catalog.create_account(&new("ALICE")).await;
    assert!(matches!(refused, Err(Error::DuplicateAccount(_))));
    let account = catalog.account("alice").await.expect("read");
    assert_eq!(account.expect("an account").role, Role::Full);
}

async fn an_account_comes_back_as_it_was_made(database: TestDatabase) {
    let catalog = database.open().await;
    for role in [Role::Visitor, Role::Full, Role::Admin] {
        let made = NewAccount {
            role,
            password_expires_at: Some(noon()),
            ..new(&role.to_string())
        };
        catalog.create_account(&made).await.expect("create");
        let read = catalog.account(&made.name).await.expect("read");
        assert_eq!(
            read,
            Some(Account {
                name: made.name,
                password_hash: made.password_hash,
                password_expires_at: Some(noon()),
                role,
                disabled: false,
                subject: None,
                roles: Vec::new(),
                roles_as_of: None,
            })
        );
    }
    assert_eq!(catalog.account("nobody").await.expect("read"), None);
}

async fn changes_of_an_account_are_kept(database: TestDatabase) {
    let catalog = database.open().await;
    catalog.create_account(&new("alice")).await.expect("create");
    catalog.create_account(&new("bob")).await.expect("create");
    let until = noon() + TimeDelta::days(3);
    assert!(
        catalog
            .change_account("alice", AccountChange::disabled(true), None)
            .await
            .expect("change")
    );
    assert!(
        catalog
            .set_password_hash("alice", "changed", Some(until), None)
            .await
            .expect("change")
    );
    assert!(
        !catalog
            .change_account("nobody", AccountChange::disabled(true), None)
            .await
            .expect("change")
    );
    let nobody = catalog.set_password_hash("nobody", "changed", None, None);
    assert!(!nobody.await.expect("change"));
    let alice = catalog
        .account("alice")
        .await
        .expect("read")
        .expect("alice");
    assert!(alice.disabled);
    assert_eq!(alice.password_hash.as_deref(), Some("changed"));
    assert_eq!(alice.password_expires_at, Some(until));
    let bob = catalog.account("bob").await.expect("read").expect("bob");
    assert!(!bob.disabled);
    assert_eq!(bob.password_hash, new("bob").password_hash);
}

async fn replicas_give_a_name_in_any_case_once(database: TestDatabase) {
    let (one, other) = (database.open().await, database.open().await);
    let accounts = ["alice", "Alice", "aLICE", "ALICE"].map(new);
    let made = join_all(accounts.iter().enumerate().map(|(number, account)| {
        let replica = if number % 2 == 0 { &one } else { &other };
        replica.create_account(account)
    }));
    let made = made.await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    assert_eq!(one.accounts("", 10).await.expect("read").len(), 1);
}

async fn read(catalog: &Catalog, name: &str) -> Account {
    let account = catalog.account(name).await.expect("read");
    account.expect("an account")
}

async fn a_role_changes_and_the_rest_of_the_account_does_not(database: TestDatabase) {
    let catalog = database.open().await;
    for name in ["admin", "alice"] {
        catalog.create_account(&new(name)).await.expect("create");
    }
    let before = read(&catalog, "alice").await;
    let changed = catalog
        .change_account("alice", AccountChange::role(Role::Visitor), None)
        .await;
    assert!(changed.expect("change"));
    let expected = Account {
        role: Role::Visitor,
        ..before
    };
    assert_eq!(read(&catalog, "alice").await, expected);
    let nobody = catalog
        .change_account("nobody", AccountChange::role(Role::Admin), None)
        .await;
    assert!(!nobody.expect("change"));
}

async fn the_last_admin_stays_one(database: TestDatabase) {
    let catalog = database.open().await;
    for name in ["admin", "other"] {
        catalog.create_account(&new(name)).await.expect("create");
    }
    sign_up(&catalog, "alice", Role::Full).await;
    let changed = catalog
        .change_account("other", AccountChange::disabled(true), None)
        .await;
    assert!(changed.expect("one of two may go"));
    let refused = catalog
        .change_account("admin", AccountChange::role(Role::Full), None)
        .await;
    let error = refused.expect_err("the other is disabled");
    assert!(
        matches!(&error, Error::LastAdmin(name) if name == "admin"),
        "{error:?}"
    );
    let refused = catalog
        .change_account("admin", AccountChange::disabled(true), None)
        .await;
    assert!(matches!(refused, Err(Error::LastAdmin(_))), "{refused:?}");
    let admin = read(&catalog, "admin").await;
    assert_eq!((admin.role, admin.disabled), (Role::Admin, false));

    // What takes no admin away is nobody's last.
    for changed in [
        catalog
            .change_account("admin", AccountChange::role(Role::Admin), None)
            .await,
        catalog
            .change_account("other", AccountChange::role(Role::Full), None)
            .await,
        catalog
            .change_account("admin", AccountChange::disabled(false), None)
            .await,
        catalog
            .change_account("alice", AccountChange::disabled(true), None)
            .await,
    ] {
        assert!(changed.expect("change"));
    }

    // Admins of a provider count as well.
    let of_provider = Person {
        role: Role::Admin,
        ..person("1", "carol")
    };
    catalog.account_of(&of_provider).await.expect("an account");
    let changed = catalog
        .change_account("admin", AccountChange::role(Role::Full), None)
        .await;
    assert!(changed.expect("carol manages the store"));
    let refused = catalog
        .change_account("carol", AccountChange::disabled(true), None)
        .await;
    assert!(matches!(refused, Err(Error::LastAdmin(_))), "{refused:?}");
}

async fn two_admins_who_demote_each_other_at_once_leave_one(database: TestDatabase) {
    let (one, other) = (database.open().await, database.open().await);
    for name in ["ann", "bob"] {
        one.create_account(&new(name)).await.expect("create");
    }
    for round in 0..8 {
        let (first, second) = if round % 2 == 0 {
            tokio::join!(
                one.change_account("bob", AccountChange::role(Role::Full), None),
                other.change_account("ann", AccountChange::role(Role::Full), None)
            )
        } else {
            tokio::join!(
                one.change_account("bob", AccountChange::disabled(true), None),
                other.change_account("ann", AccountChange::role(Role::Full), None)
            )
        };
        let refused = [first, second]
            .into_iter()
            .filter(|changed| matches!(changed, Err(Error::LastAdmin(_))))
            .count();
        assert_eq!(refused, 1, "round {round}");
        let accounts = one.accounts("", 10).await.expect("read");
        let left = accounts
            .iter()
            .filter(|account| account.role == Role::Admin && !account.disabled)
            .count();
        assert_eq!(left, 1, "round {round}");
        for name in ["ann", "bob"] {
            one.change_account(name, AccountChange::disabled(false), None)
                .await
                .expect("change");
            one.change_account(name, AccountChange::role(Role::Admin), None)
                .await
                .expect("change");
        }
    }
}

async fn what_a_provider_decides_is_not_changed_here(database: TestDatabase) {
    let catalog = database.open().await;
    let alice = catalog.account_of(&person("1", "alice")).await;
    let alice = alice.expect("an account");
    let refused = [
        catalog
            .change_account("alice", AccountChange::role(Role::Admin), None)
            .await,
        catalog
            .set_password_hash("alice", "changed", None, None)
            .await,
    ];
    for refused in refused {
        assert!(
            matches!(refused, Err(Error::ForeignAccount(_))),
            "{refused:?}"
        );
    }
    assert_eq!(read(&catalog, "alice").await, alice);
}

#[test]
fn accounts_never_show_their_hash() {
    let new = new("alice");
    let account = Account {
        name: new.name.clone(),
        password_hash: new.password_hash.clone(),
        password_expires_at: None,
        role: new.role,
        disabled: false,
        subject: None,
        roles: Vec::new(),
        roles_as_of: None,
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
        as_of: noon(),
    }
}

async fn somebody_of_a_provider_has_one_account_and_keeps_its_name(database: TestDatabase) {
    let catalog = database.open().await;
    catalog.create_account(&new("admin")).await.expect("create");
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
        as_of: noon() + TimeDelta::seconds(1),
        ..at_first.clone()
    };
    let account = catalog.account_of(&later).await.expect("an account");
    assert_eq!(
        (account.name.as_str(), account.role),
        ("alice", Role::Admin)
    );
    assert_eq!(account.roles, Vec::<String>::new());
    assert_eq!(read(&catalog, "alice").await, account);

    // What was said before does not count any more, also when the same is said again in between.
    let again = Person {
        as_of: later.as_of + TimeDelta::minutes(10),
        ..later.clone()
    };
    catalog.account_of(&again).await.expect("an account");
    let stale = Person {
        as_of: later.as_of + TimeDelta::minutes(5),
        ..at_first
    };
    let account = catalog.account_of(&stale).await.expect("an account");
    assert_eq!((account.role, account.roles), (Role::Admin, Vec::new()));

    // Who is kept out stays out, whatever the provider says.
    catalog
        .change_account("alice", AccountChange::disabled(true), None)
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
        ("that of the same subject elsewhere", elsewhere.clone()),
    ];
    for (name, person) in cases {
        let refused = catalog.account_of(&person).await;
        assert!(
            matches!(refused, Err(Error::DuplicateAccount(_))),
            "{name}: {refused:?}"
        );
    }
    assert_eq!(catalog.accounts("", 10).await.expect("read").len(), 2);
    let asked = [
        person("1", "").subject,
        elsewhere.subject,
        person("9", "").subject,
    ];
    let found = catalog.accounts_by_subject(&asked).await.expect("read");
    let names: Vec<&str> = found.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["alice"]);
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
    assert_eq!(one.accounts("", 10).await.expect("read").len(), 1);
}

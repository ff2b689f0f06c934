//! How long a page of the list of apps takes at the database, on SQLite and on Postgres: `make bench-catalog`.
//!
//! It asks as the router does, through a pool of connections, one question after the other, and counts until the rows are apps: for the
//! apps, and of whoever is signed in for their likes and pins, the apps that they have pinned, and how many like each.

#![expect(
    clippy::print_stdout,
    reason = "what is measured is for whoever runs it"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use catalog::{
    App, AppCursor, AppQuery, Catalog, Digest, Lifecycle, NewAccount, Picture, PreferenceChange,
    Role, Settings, Tag, Viewer, Visibility,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use test_postgres::Postgres;
use tokio::time::Instant;

const APPS: usize = 2000;
const VERSIONS: usize = 5;
const TAGS: usize = 50;
/// Who think something of apps, and of how many. The one who asks thinks of more, as somebody who uses the store.
const ACCOUNTS: usize = 100;
const LIKES: usize = 30;
const OWN_LIKES: usize = 100;
const OWN_PINS: usize = 20;
/// Who asks.
const ACCOUNT: &str = "owner7";
/// As the router's first page asks: one more than it shows.
const PAGE: u64 = 61;
const RUNS: usize = 400;
/// How long a page may take.
const BUDGET: Duration = Duration::from_millis(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<ExitCode> {
    let results = std::env::args()
        .nth(1)
        .ok_or("name the folder of the results")?;
    let results = PathBuf::from(results);
    std::fs::create_dir_all(&results)?;
    let postgres = Postgres::start(&[])?;
    let url = postgres.create_database("catalog")?;
    // As autovacuum does a minute after so many new rows.
    let analyze = || postgres.execute("catalog", "VACUUM ANALYZE");
    let on_postgres = measure("postgres", &url, analyze, &results).await?;
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}", folder.path().join("catalog.db").display());
    let on_sqlite = measure("sqlite", &url, || Ok(()), &results).await?;
    Ok(if on_postgres && on_sqlite {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Measures one database and writes what came of it; answers whether all was within the budget.
async fn measure(
    backend: &str,
    url: &str,
    analyze: impl FnOnce() -> Result<(), String>,
    results: &Path,
) -> Outcome<bool> {
    let settings = Settings::new(url);
    Catalog::migrate(&settings).await?;
    let catalog = Catalog::open(&settings).await?;
    let started = Instant::now();
    stream::iter(0..APPS * VERSIONS)
        .map(|number| {
            let (catalog, app) = (&catalog, app(number));
            async move { catalog.publish(&app).await }
        })
        .buffer_unordered(4)
        .try_collect::<()>()
        .await?;
    let published = started.elapsed();
    know_tags(&catalog).await?;
    think(&catalog).await?;
    analyze()?;

    let mut pages = Vec::new();
    for (name, viewer, query) in cases(&catalog).await? {
        pages.push(page(&catalog, name, &viewer, &query).await?);
    }
    let within = pages.iter().all(|page| {
        page["p99_ms"]
            .as_f64()
            .is_some_and(|p99| p99 <= millis(BUDGET))
    });
    let report = json!({
        "backend": backend, "app_versions": APPS * VERSIONS, "page": PAGE, "runs": RUNS,
        "budget_ms": millis(BUDGET), "within_budget": within,
        "publish_ms": millis(published) / f64::from(u32::try_from(APPS * VERSIONS)?),
        "pages": pages,
    });
    let file = results.join(format!("catalog-{backend}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
    println!(
        "{} {}",
        file.display(),
        if within {
            "within the budget"
        } else {
            "OVER THE BUDGET"
        }
    );
    Ok(within)
}

async fn page(catalog: &Catalog, name: &str, viewer: &Viewer, query: &AppQuery) -> Outcome<Value> {
    let mut times = Vec::with_capacity(RUNS);
    let mut rows = 0;
    for _ in 0..RUNS {
        let started = Instant::now();
        rows = ask(catalog, viewer, query).await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (millis(times[RUNS / 2]), millis(times[RUNS * 99 / 100]));
    println!("{name:44} {rows:3} rows  p50 {p50:6.2} ms  p99 {p99:6.2} ms");
    Ok(json!({ "page": name, "rows": rows, "p50_ms": p50, "p99_ms": p99 }))
}

/// Asks for a page, as the router's `find_apps` does; answers how many apps it has.
async fn ask(catalog: &Catalog, viewer: &Viewer, query: &AppQuery) -> Outcome<usize> {
    let apps = catalog.visible_apps(viewer, query, PAGE).await?;
    if *viewer == Viewer::Anonymous {
        return Ok(apps.len());
    }
    let own = catalog.preferences_of(ACCOUNT).await?;
    let pinned = if *query == AppQuery::default() {
        let pinned = own.iter().filter(|(_, preference)| preference.pinned);
        let pinned: Vec<&str> = pinned.map(|(name, _)| name.as_str()).collect();
        catalog.newest_versions(viewer, &pinned).await?
    } else {
        Vec::new()
    };
    let shown = apps.iter().chain(&pinned);
    let mut names: Vec<&str> = shown.map(|app| app.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    catalog.likes(&names).await?;
    Ok(apps.len())
}

async fn know_tags(catalog: &Catalog) -> Outcome<()> {
    for number in 0..TAGS {
        let tag = Tag {
            name: word(number),
            title: text(number + 3_000_000, 2),
            color: "#0b5cad".parse()?,
            description: text(number + 4_000_000, 8),
            admin_roles: Vec::new(),
            visitor_roles: vec![format!("role{}", number % 5)],
        };
        if !catalog.set_tag(&tag, None).await? {
            return Err(format!("there is a tag `{}` already", tag.name).into());
        }
    }
    Ok(())
}

/// Lets everybody like some apps, most of them the same few, and whoever asks pin some.
async fn think(catalog: &Catalog) -> Outcome<()> {
    for number in 0..ACCOUNTS {
        let account = NewAccount {
            name: format!("owner{number}"),
            password_hash: None,
            password_expires_at: None,
            role: Role::Full,
        };
        catalog.create_account(&account).await?;
    }
    let mut dice = fastrand::Rng::with_seed(5);
    let mut changes = Vec::new();
    for number in 0..ACCOUNTS {
        for _ in 0..LIKES {
            changes.push((format!("owner{number}"), rank(&mut dice), (true, false)));
        }
    }
    for number in 0..OWN_LIKES {
        let of = number * 19 % APPS;
        let pinned = number < OWN_PINS;
        changes.push((ACCOUNT.to_owned(), of, (true, pinned)));
    }
    stream::iter(changes)
        .map(|(account, of, (liked, pinned))| async move {
            let change = PreferenceChange {
                liked: Some(liked),
                pinned: Some(pinned),
            };
            let name = app_name(of);
            catalog.set_preference(&account, &name, change).await
        })
        .buffer_unordered(4)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

/// What is asked for, by whom, and how it is called.
async fn cases(catalog: &Catalog) -> Outcome<Vec<(&'static str, Viewer, AppQuery)>> {
    let admin = Viewer::Everything;
    let publisher = |tags: &[usize]| Viewer::Publisher {
        name: ACCOUNT.to_owned(),
        tags: tags.iter().map(|tag| word(*tag)).collect(),
    };
    let visitor = |tags: &[usize]| Viewer::Visitor {
        name: ACCOUNT.to_owned(),
        tags: tags.iter().map(|tag| word(*tag)).collect(),
    };
    let search = |text: &str| AppQuery {
        text: text.to_owned(),
        ..AppQuery::default()
    };
    let owned = |owner: &str| AppQuery {
        owner: Some(owner.to_owned()),
        ..AppQuery::default()
    };
    let run = |lifecycle| AppQuery {
        lifecycle: Some(lifecycle),
        ..AppQuery::default()
    };
    let tagged = |tag: &str| AppQuery {
        tag: Some(tag.to_owned()),
        ..AppQuery::default()
    };
    let (user, manager) = (publisher(&[]), publisher(&[13, 25, 40]));
    let (few, none) = (visitor(&[14]), visitor(&[7000]));
    let questions = [
        ("list, admin", &admin, AppQuery::default()),
        ("list, user", &user, AppQuery::default()),
        ("list, user who manages tags", &manager, AppQuery::default()),
        (
            "list, visitor by a tag of a twentieth",
            &few,
            AppQuery::default(),
        ),
        ("list, visitor by a tag of none", &none, AppQuery::default()),
        ("list, stranger", &Viewer::Anonymous, AppQuery::default()),
        ("search, in every app", &user, search(&word(0))),
        ("search, one letter, in every app", &user, search("b")),
        ("search, in a tenth of the apps", &user, search(&word(177))),
        (
            "search, in a hundredth of the apps",
            &user,
            search(&word(1900)),
        ),
        (
            "search, two words",
            &user,
            search(&format!("{} {}", word(3), word(300))),
        ),
        ("search, in none", &user, search("qqqq")),
        (
            "search, in a tenth, stranger",
            &Viewer::Anonymous,
            search(&word(177)),
        ),
        ("owner", &user, owned(ACCOUNT)),
        (
            "owner and search",
            &user,
            AppQuery {
                text: word(3),
                ..owned(ACCOUNT)
            },
        ),
        ("lifecycle of most apps", &user, run(Lifecycle::OnDemand)),
        ("lifecycle of a hundredth", &user, run(Lifecycle::Link)),
        ("tag of a twentieth", &user, tagged(&word(14))),
        ("tag of none", &user, tagged("none")),
    ];
    let mut cases = Vec::new();
    for (name, viewer, query) in questions {
        let deep = AppQuery {
            after: near_the_end(catalog, viewer, &query).await?,
            ..query.clone()
        };
        cases.push((name, viewer.clone(), query));
        if deep.after.is_some() {
            // Each name lives as long as the program.
            let name = String::leak(format!("{name}, the last page"));
            cases.push((name, viewer.clone(), deep));
        }
    }
    Ok(cases)
}

/// The place of the last full page; none where the first one is the last.
async fn near_the_end(
    catalog: &Catalog,
    viewer: &Viewer,
    query: &AppQuery,
) -> Outcome<Option<AppCursor>> {
    let page = usize::try_from(PAGE)?;
    let found = catalog.visible_apps(viewer, query, 1_000_000).await?;
    let last = found.len().checked_sub(page + 1);
    Ok(last.map(|last| AppCursor::after(&found[last])))
}

/// The made-up word of this rank: the first ones are in every app, the others the rarer the higher.
fn word(rank: usize) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "do", "fi", "gu", "ke", "la", "mo", "ni", "po", "ra", "se", "ti", "vu", "wo", "xi",
        "za",
    ];
    let mut rank = rank * 2711 % 4096;
    let mut word = String::new();
    for _ in 0..3 {
        word.push_str(SYLLABLES[rank % 16]);
        rank /= 16;
    }
    word
}

/// A text of so many words, always the same for the same seed, a few of them in every text and most in few, as in real ones.
fn text(seed: usize, words: usize) -> String {
    let mut dice = fastrand::Rng::with_seed(seed as u64);
    let words: Vec<String> = (0..words).map(|_| word(rank(&mut dice))).collect();
    words.join(" ")
}

/// Ranks below ten are as likely as those from ten to a hundred.
fn rank(dice: &mut fastrand::Rng) -> usize {
    let below = [10, 100, 1000, 2000][dice.usize(..4)];
    dice.usize(..below)
}

fn app_name(of: usize) -> String {
    format!("app-{of}-{}", word(of))
}

fn app(number: usize) -> App {
    let (of, version) = (number % APPS, number / APPS);
    let name = app_name(of);
    let published: DateTime<Utc> = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    App {
        uid: format!("{number:08}-0000-4000-8000-000000000000"),
        resource: format!("{name}-{version}"),
        version: format!("1.{version}.0"),
        title: text(of, 3),
        description: text(of + 1_000_000, 20),
        owner: format!("owner{}", of % 50),
        visibility: match of % 10 {
            0 => Visibility::Public,
            1..=3 => Visibility::Private,
            _ => Visibility::AllUsers,
        },
        lifecycle: match of % 100 {
            0 => Lifecycle::Link,
            1..=5 => Lifecycle::Managed,
            _ => Lifecycle::OnDemand,
        },
        // Fifty in all.
        tags: vec![word(of % 20), word(20 + of % 17), word(37 + of % 13)],
        digest: Digest::of(name.as_bytes()),
        icon: Some(Picture::original("icon.png")),
        screenshots: vec![Picture::original("screenshot1.png")],
        link: None,
        long_description: Some(text(of + 2_000_000, 120)),
        // Ten at a time, as a GitOps tool applies a folder.
        published_at: published
            + TimeDelta::minutes(i64::try_from(number / 10).unwrap_or_default()),
        name,
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}

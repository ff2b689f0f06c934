//! Which apps are asked for: by words, by what they are, and from a place in their list on.

use std::fmt;
use std::str::FromStr;

use crds::Lifecycle;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, Condition, DbBackend};

use super::{App, tags, words};
use crate::entities::apps::Column;
use crate::timestamp;

/// Which of the apps are asked for. They come in the order of the list, the newest first, whatever is searched for: a place in
/// it then stays where it is while somebody reads on, and no page reads those before it. An order by relevance would count
/// them all for each page, and say little about texts as short as these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppQuery {
    /// Words that all have to begin a word of an app's name, title, description, tags or long description. Case, accents and
    /// signs do not count, nor do words beyond the first sixteen. In scripts without blanks between words, such as Chinese,
    /// Japanese and Thai, a run of letters is found wherever each two neighbours of it stand together. All apps, if there is
    /// no letter and no digit in it.
    pub text: String,
    /// Name of the account that owns them; none for everybody's.
    pub owner: Option<String>,
    /// How they are run; none for any.
    pub lifecycle: Option<Lifecycle>,
    /// A tag that they have, to the letter; none for any or none.
    pub tag: Option<String>,
    /// The app after which to go on; none for the first ones.
    pub after: Option<AppCursor>,
}

impl AppQuery {
    pub(super) fn condition(&self, backend: DbBackend) -> Condition {
        let Self {
            text,
            owner,
            lifecycle,
            tag,
            after,
        } = self;
        let owner = owner
            .as_ref()
            .map(|owner| Column::Owner.eq(without_nul(owner)));
        let lifecycle = lifecycle.map(|lifecycle| Column::Lifecycle.eq(lifecycle.to_string()));
        Condition::all()
            .add_option(has_words(&words::searched(text), backend))
            .add_option(owner)
            .add_option(lifecycle)
            .add_option(tag.as_deref().map(|tag| tags::has_any([tag], backend)))
            .add_option(after.as_ref().map(AppCursor::condition))
    }
}

/// A text that Postgres takes into a question, which has no NUL; no row has one, either.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Apps whose words begin with all of these. They are letters and digits alone, so quotes make each of them one word for the
/// database's language of searches, whatever it is; and they go there as a value.
fn has_words(words: &[String], backend: DbBackend) -> Option<Expr> {
    if words.is_empty() {
        return None;
    }
    Some(if backend == DbBackend::Postgres {
        let each: Vec<String> = words.iter().map(|word| format!("'{word}':*")).collect();
        Expr::cust_with_values("word_index @@ CAST($1 AS tsquery)", [each.join(" & ")])
    } else {
        let each: Vec<String> = words.iter().map(|word| format!("\"{word}\" *")).collect();
        // With the plus no index of numbers is used: SQLite would find all that match, read and sort them for each page. So it
        // walks the list, whose indexes have the number, and stops when the page is full.
        Expr::cust_with_values(
            "+number IN (SELECT rowid FROM app_words WHERE app_words MATCH ?)",
            [each.join(" ")],
        )
    })
}

/// A place in the list of apps: the one after an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppCursor {
    published_at_ms: i64,
    name: String,
    version: String,
}

/// A text that is no [`AppCursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in the list of apps")]
pub struct InvalidAppCursor;

impl AppCursor {
    /// The place after `app`.
    #[must_use]
    pub fn after(app: &App) -> Self {
        Self {
            published_at_ms: timestamp::to_column(app.published_at),
            name: app.name.clone(),
            version: app.version.clone(),
        }
    }

    fn condition(&self) -> Condition {
        let same_time = Expr::col(Column::PublishedAtMs).eq(self.published_at_ms);
        let same_name = Condition::all()
            .add(Expr::col(Column::Name).eq(self.name.as_str()))
            .add(Expr::col(Column::Version).gt(self.version.as_str()));
        let later_name = Condition::any()
            .add(Expr::col(Column::Name).gt(self.name.as_str()))
            .add(same_name);
        let later = Condition::any()
            .add(Expr::col(Column::PublishedAtMs).lt(self.published_at_ms))
            .add(Condition::all().add(same_time).add(later_name));
        // Says nothing new, but in a form by which databases find the place in an index.
        Condition::all()
            .add(Expr::col(Column::PublishedAtMs).lte(self.published_at_ms))
            .add(later)
    }
}

impl fmt::Display for AppCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither names nor versions have a `~`.
        write!(f, "{}~{}~{}", self.published_at_ms, self.name, self.version)
    }
}

impl FromStr for AppCursor {
    type Err = InvalidAppCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '~');
        let mut next = || parts.next().ok_or(InvalidAppCursor);
        Ok(Self {
            published_at_ms: next()?.parse().map_err(|_| InvalidAppCursor)?,
            name: next()?.to_owned(),
            version: next()?.to_owned(),
        })
    }
}

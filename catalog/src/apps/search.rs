//! Which apps are asked for: by words, and from a place in their list on.

use std::fmt;
use std::str::FromStr;

use sea_orm::Condition;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, LikeExpr};

use super::App;
use crate::entities::apps::Column;
use crate::timestamp;

/// Which of the apps are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AppQuery {
    /// Words that all have to be in an app's name, title, description or tags, in any case; on SQLite the case of
    /// letters beyond ASCII counts. Empty for all apps; words beyond the first eight do not count.
    pub text: String,
    /// The app after which to go on; none for the first ones.
    pub after: Option<AppCursor>,
}

impl AppQuery {
    pub(super) fn condition(&self) -> Condition {
        let after = self.after.as_ref();
        has_words(&self.text).add_option(after.map(AppCursor::condition))
    }
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
        Condition::any()
            .add(Expr::col(Column::PublishedAtMs).lt(self.published_at_ms))
            .add(Condition::all().add(same_time).add(later_name))
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

/// Most words of a search that count.
const MAX_WORDS: usize = 8;

/// Apps that have all of the words somewhere.
fn has_words(text: &str) -> Condition {
    let words = text.split_whitespace().take(MAX_WORDS);
    words.fold(Condition::all(), |all, word| {
        // As it stands between the quotes of a list in JSON.
        let quoted = serde_json::Value::from(word).to_string();
        let in_list = &quoted[1..quoted.len() - 1];
        let any = Condition::any()
            .add(has(&Expr::col(Column::Name), word))
            .add(has(&Expr::col(Column::Title), word))
            .add(has(&Expr::col(Column::Description), word))
            .add(has(&Expr::col(Column::Tags).cast_as("text"), in_list));
        all.add(any)
    })
}

/// Whether a text contains `word`, as it is or in any case. SQLite knows the case of ASCII letters alone.
fn has(text: &Expr, word: &str) -> Condition {
    let like = |word: &str| LikeExpr::new(pattern(word)).escape(ESCAPE);
    Condition::any()
        .add(text.clone().like(like(word)))
        .add(Expr::expr(Func::lower(text.clone())).like(like(&word.to_lowercase())))
}

/// What makes the next letter of a pattern stand for itself. Databases disagree on what a backslash is.
const ESCAPE: char = '!';

/// The pattern of texts that contain `word`.
fn pattern(word: &str) -> String {
    let mut pattern = String::from("%");
    for letter in word.chars() {
        if matches!(letter, '%' | '_' | ESCAPE) {
            pattern.push(ESCAPE);
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

//! Apps by their tags.

use sea_orm::DbBackend;
use sea_orm::sea_query::Expr;

use super::search::without_nul;

/// Apps that have at least one of these tags, to the letter. However many there are, they are one value of the question.
pub(super) fn has_any<'a>(tags: impl IntoIterator<Item = &'a str>, backend: DbBackend) -> Expr {
    let tags: Vec<String> = tags.into_iter().map(without_nul).collect();
    let list = serde_json::Value::from(tags).to_string();
    if backend == DbBackend::Postgres {
        Expr::cust_with_values(
            "tags ?| ARRAY(SELECT jsonb_array_elements_text(CAST($1 AS jsonb)))",
            [list],
        )
    } else {
        // With the plus SQLite walks the list and stops when the page is full, as with words.
        Expr::cust_with_values(
            "+number IN (SELECT number FROM app_tags WHERE tag IN (SELECT value FROM json_each(?)))",
            [list],
        )
    }
}

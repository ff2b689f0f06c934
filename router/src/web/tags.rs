//! What people do with tags, by the page and by the API alike: those who run the store say what tags are.

use catalog::{Color, Tag, Thing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::if_match::{self, IfMatch};
use super::{PATIENCE, Store, Visitor, again};
use crate::error::Error;

/// What names of tags are that the store knows more of.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// Most letters of a tag's name, as of tags that apps have, and of its title.
pub(super) const LONGEST_NAME: usize = 63;

/// Most letters of what a tag means.
const LONGEST_DESCRIPTION: usize = 500;

/// Most roles in a list, and most letters of each.
const MAX_ROLES: usize = 32;
const LONGEST_ROLE: usize = 128;

/// What a tag is to be.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WantedTag")]
pub(super) struct Wanted {
    /// What people read in place of its name; the name, when there is none.
    #[serde(default)]
    #[schemars(length(max = 63), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub title: String,
    /// What is shown beside that: `#` and six hexadecimal digits.
    #[serde(default)]
    #[schemars(regex(pattern = "^#[0-9A-Fa-f]{6}$"))]
    pub color: Option<String>,
    /// What it means.
    #[serde(default)]
    #[schemars(length(max = 500), regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$"))]
    pub description: String,
    /// Roles that see and manage the apps that have it. Where there are any, only they and admins put it on apps.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")
        )
    )]
    pub admin_roles: Vec<String>,
    /// Roles whose visitors see and run the apps that have it, where those are for all users.
    #[serde(default)]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")
        )
    )]
    pub visitor_roles: Vec<String>,
}

impl Wanted {
    /// The fields that are lists.
    pub(super) const LISTS: [&'static str; 2] = ["adminRoles", "visitorRoles"];

    /// The tag of this name.
    ///
    /// # Errors
    /// [`Error::BadTag`] for what no tag can be.
    fn tag(&self, name: &str) -> Result<Tag, Error> {
        let Self {
            title,
            color,
            description,
            admin_roles,
            visitor_roles,
        } = self;
        if !is_name(name) {
            return Err(Error::BadTag(
                "its name has letters (A-Z), digits and -_. between them, at most 63",
            ));
        }
        if !is_line(title, LONGEST_NAME) {
            return Err(Error::BadTag("its title is a line of at most 63 letters"));
        }
        if !is_line(description, LONGEST_DESCRIPTION) {
            return Err(Error::BadTag(
                "its description is a line of at most 500 letters",
            ));
        }
        let color = color.as_deref().map_or(Ok(Color::default()), str::parse);
        let color = color.map_err(|_| {
            Error::BadTag("its colour is `#` and six hexadecimal digits, such as `#0b5cad`")
        })?;
        let title = if title.is_empty() { name } else { title };
        Ok(Tag {
            name: name.to_owned(),
            title: title.to_owned(),
            color,
            description: description.clone(),
            admin_roles: roles(admin_roles)?,
            visitor_roles: roles(visitor_roles)?,
        })
    }
}

/// Each once, in order.
fn roles(named: &[String]) -> Result<Vec<String>, Error> {
    let is_role = |role: &String| !role.is_empty() && is_line(role, LONGEST_ROLE);
    if named.len() > MAX_ROLES || !named.iter().all(is_role) {
        return Err(Error::BadTag(
            "a list of roles has at most 32, each a line of 1 to 128 letters",
        ));
    }
    let mut roles = named.to_vec();
    roles.sort();
    roles.dedup();
    Ok(roles)
}

fn is_line(text: &str, longest: usize) -> bool {
    text.chars().count() <= longest && !text.chars().any(char::is_control)
}

/// Whether a tag that the store knows can have this name. An app can have the same ones.
pub(super) fn is_name(name: &str) -> bool {
    let ends = |letter: Option<&u8>| letter.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= LONGEST_NAME
        && name
            .bytes()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.'))
        && ends(bytes.first())
        && ends(bytes.last())
}

/// Whether an app can have this tag, known or not.
pub(super) fn can_be_on_apps(tag: &str) -> bool {
    !tag.is_empty() && is_line(tag, LONGEST_NAME)
}

/// The tag of this name.
pub(super) async fn find(store: &Store, name: &str) -> Result<Tag, Error> {
    known(store, name).await?.ok_or(Error::NotFound)
}

async fn known(store: &Store, name: &str) -> Result<Option<Tag>, Error> {
    if !is_name(name) {
        return Ok(None);
    }
    Ok(timeout(PATIENCE, store.catalog.tag(name)).await??)
}

/// Makes a tag, or changes it; says whether it is new.
pub(super) async fn set(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    wanted: &Wanted,
    if_match: &IfMatch,
) -> Result<(Tag, bool), Error> {
    let tag = wanted.tag(name)?;
    again(|| async {
        let before = known(store, name).await?;
        match &before {
            Some(before) => if_match.check_state(&state(before))?,
            None => if_match.check_absent()?,
        }
        let set = store.catalog.set_tag(&tag, before.as_ref());
        if !timeout(PATIENCE, set).await?? {
            return Err(Error::Overtaken);
        }
        store.tags.forget();
        let done = format!("set the tag {name}: {}", json!(wanted));
        visitor.did(store, (Thing::Tag, name), &done).await?;
        Ok((tag.clone(), before.is_none()))
    })
    .await
}

/// Forgets a tag. Apps keep its name, which means nothing then.
pub(super) async fn delete(
    store: &Store,
    visitor: &Visitor,
    name: &str,
    if_match: &IfMatch,
) -> Result<(), Error> {
    again(|| async {
        let before = find(store, name).await?;
        if_match.check_state(&state(&before))?;
        if !timeout(PATIENCE, store.catalog.delete_tag(&before)).await?? {
            return Err(Error::Overtaken);
        }
        store.tags.forget();
        let done = format!("deleted the tag {name}");
        visitor.did(store, (Thing::Tag, name), &done).await
    })
    .await
}

/// Names the state of a tag: the same for the same content.
pub(super) fn state(tag: &Tag) -> String {
    let Tag {
        name,
        title,
        color,
        description,
        admin_roles,
        visitor_roles,
    } = tag;
    let texts = [name, title, &color.to_string(), description];
    let lists = [admin_roles, visitor_roles];
    if_match::state_by_content(&json!([texts, lists]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_what_pages_and_addresses_can_show() {
        let long = "x".repeat(64);
        let wanted = |change: &dyn Fn(&mut Wanted)| {
            let mut wanted = Wanted::default();
            change(&mut wanted);
            wanted
        };
        let plain = || Wanted::default();
        let cases = [
            ("sales", plain(), true),
            ("R.D_2-x", plain(), true),
            ("x", plain(), true),
            ("", plain(), false),
            (".", plain(), false),
            ("..", plain(), false),
            ("-x", plain(), false),
            ("a b", plain(), false),
            ("a/b", plain(), false),
            ("Überblick", plain(), false),
            (&long, plain(), false),
            ("x", wanted(&|it| it.title = "Ü 売上 <b>".to_owned()), true),
            ("x", wanted(&|it| it.title = "é".repeat(63)), true),
            ("x", wanted(&|it| it.title = "é".repeat(64)), false),
            ("x", wanted(&|it| it.title = "a\nb".to_owned()), false),
            ("x", wanted(&|it| it.description = "a\0".to_owned()), false),
            (
                "x",
                wanted(&|it| it.color = Some("#0B5CAD".to_owned())),
                true,
            ),
            ("x", wanted(&|it| it.color = Some("red".to_owned())), false),
            ("x", wanted(&|it| it.color = Some(String::new())), false),
            (
                "x",
                wanted(&|it| it.admin_roles = vec!["a b".to_owned()]),
                true,
            ),
            (
                "x",
                wanted(&|it| it.admin_roles = vec![String::new()]),
                false,
            ),
            (
                "x",
                wanted(&|it| it.visitor_roles = vec!["a".to_owned(); 33]),
                false,
            ),
        ];
        for (name, wanted, expected) in cases {
            let tag = wanted.tag(name);
            let refusal = tag.as_ref().err().map(Error::code);
            let expected = (!expected).then_some("BadTag");
            assert_eq!(refusal, expected, "{name}: {wanted:?}: {tag:?}");
        }
    }

    #[test]
    fn roles_are_named_once() {
        let wanted = Wanted {
            visitor_roles: ["b", "a", "b"].map(str::to_owned).to_vec(),
            ..Wanted::default()
        };
        let tag = wanted.tag("x").expect("a tag");
        assert_eq!(tag.visitor_roles, ["a", "b"]);
        assert_eq!(tag.title, "x");
        let other = Tag {
            admin_roles: tag.visitor_roles.clone(),
            visitor_roles: Vec::new(),
            ..tag.clone()
        };
        assert_ne!(state(&tag), state(&other));
    }
}

//! The page of tags, for admins.

use askama::Template;
use catalog::{Color, Tag};
use http::{Response, StatusCode};

use super::{Frame, Needs, News, html, problem, render};
use crate::error::Error;
use crate::grants::own_role;
use crate::site::Site;
use crate::web::tags::{LONGEST_NAME, Wanted, state};

/// The page.
#[derive(Template)]
#[template(path = "tags.html")]
pub(in crate::web) struct Tags<'a> {
    frame: Frame<'a>,
    /// For a new tag, with what was written when it was refused.
    new: Fields,
    rows: Vec<Row<'a>>,
    /// The role that visitors have whom no provider knows.
    visitors: &'static str,
    longest_name: usize,
    done: Option<&'static str>,
    problem: Option<String>,
    #[template(skip)]
    status: StatusCode,
    #[template(skip)]
    site: &'a Site,
}

/// What the form of a tag shows.
struct Fields {
    name: String,
    title: String,
    color: String,
    description: String,
    admin_roles: String,
    visitor_roles: String,
}

struct Row<'a> {
    tag: &'a Tag,
    state: String,
    fields: Fields,
    /// Whether its form is shown with what was refused.
    is_open: bool,
}

impl Fields {
    fn of(tag: &Tag) -> Self {
        Self {
            name: tag.name.clone(),
            title: tag.title.clone(),
            color: tag.color.to_string(),
            description: tag.description.clone(),
            admin_roles: tag.admin_roles.join("\n"),
            visitor_roles: tag.visitor_roles.join("\n"),
        }
    }

    fn wanted(name: &str, wanted: Wanted) -> Self {
        let color: Option<Color> = wanted.color.and_then(|color| color.parse().ok());
        Self {
            name: name.to_owned(),
            title: wanted.title,
            // A browser's field takes nothing but colours.
            color: color.unwrap_or_default().to_string(),
            description: wanted.description,
            admin_roles: wanted.admin_roles.join("\n"),
            visitor_roles: wanted.visitor_roles.join("\n"),
        }
    }
}

impl<'a> Tags<'a> {
    /// `refused` is what somebody has just written for the tag of a name.
    pub(in crate::web) fn new(
        (site, frame): (&'a Site, Frame<'a>),
        tags: &'a [Tag],
        news: News<'_>,
        refused: Option<(&str, Wanted)>,
    ) -> Self {
        let mut refused = refused.map(|(name, wanted)| Fields::wanted(name, wanted));
        let rows = tags.iter().map(|tag| {
            let written = refused.take_if(|fields| fields.name == tag.name);
            Row {
                tag,
                state: state(tag),
                is_open: written.is_some(),
                fields: written.unwrap_or_else(|| Fields::of(tag)),
            }
        });
        let rows = rows.collect();
        let failure = news.failure();
        Self {
            frame,
            rows,
            new: refused.unwrap_or_else(|| Fields::wanted("", Wanted::default())),
            visitors: own_role(catalog::Role::Visitor),
            longest_name: LONGEST_NAME,
            done: news.done(),
            problem: failure.map(problem),
            status: failure.map_or(StatusCode::OK, Error::status),
            site,
        }
    }

    pub(in crate::web) fn reply(&self) -> Result<Response<String>, Error> {
        Ok(html(self.status, render(self)?, Needs::Forms, self.site))
    }
}

#[cfg(test)]
mod tests {
    use catalog::Role;

    use super::*;
    use crate::viewer::Viewer;
    use crate::web::form::FormToken;
    use crate::web::pages::{Done, example_site, skeleton};

    #[test]
    fn the_page_as_it_is() {
        let site = example_site();
        let viewer = Viewer::example("root", Role::Admin);
        let token = FormToken::of("secret");
        let tag = |name: &str| Tag {
            name: name.to_owned(),
            title: format!("The <b>{name}</b>"),
            color: "#0b5cad".parse().expect("a colour"),
            description: "What it means".to_owned(),
            admin_roles: vec!["lead".to_owned()],
            visitor_roles: vec!["guest".to_owned(), "store:visitor".to_owned()],
        };
        let tags = [tag("finance"), tag("sales")];
        let error = Error::BadTag("its colour is none");
        let refused = |name| {
            let wanted = Wanted {
                title: "Written <b>".to_owned(),
                color: Some("\"><script>".to_owned()),
                ..Wanted::default()
            };
            Some((name, wanted))
        };
        for (name, news, refused) in [
            ("tags", News::Done(Done::TagSet), None),
            ("tags_refused", News::Failed(&error), refused("sales")),
            ("tags_refused_new", News::Failed(&error), refused("new")),
        ] {
            let frame = Frame::for_viewer(&site, &viewer, &token);
            let page = Tags::new((&site, frame), &tags, news, refused);
            let response = page.reply().expect("a page");
            let body = response.body();
            assert!(!body.contains("<b>") && !body.contains("<script"), "{body}");
            insta::assert_snapshot!(name, skeleton(body));
        }
    }
}

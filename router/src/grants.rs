//! What tags let somebody do.

use std::collections::BTreeSet;

use catalog::{Role, Tag};

/// How names of roles begin that the store itself gives. No role of an OIDC provider counts that is called so.
const OWN_ROLES: &str = "store:";

/// What tags let somebody do: names of tags, for those who need them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Grants {
    /// Whose apps for all users a visitor sees and runs.
    visits: BTreeSet<String>,
    /// Whose apps a publisher manages.
    manages: BTreeSet<String>,
    /// That only some put on apps and take off, and not this one.
    closed: BTreeSet<String>,
}

impl Grants {
    /// What these tags let somebody do who has `role` here and `roles` at the OIDC provider.
    #[must_use]
    pub(crate) fn of(role: Role, roles: &[String], tags: &[Tag]) -> Self {
        let own = own_role(role);
        let has = |wanted: &[String]| {
            let has_one = |wanted: &String| {
                wanted == own || (!wanted.starts_with(OWN_ROLES) && roles.contains(wanted))
            };
            wanted.iter().any(has_one)
        };
        let names = |holds: &dyn Fn(&Tag) -> bool| {
            let tags = tags.iter().filter(|tag| holds(tag));
            tags.map(|tag| tag.name.clone()).collect()
        };
        match role {
            // Nothing is asked of tags.
            Role::Admin => Self::default(),
            Role::Full => Self {
                visits: BTreeSet::new(),
                manages: names(&|tag| has(&tag.admin_roles)),
                closed: names(&|tag| !tag.admin_roles.is_empty() && !has(&tag.admin_roles)),
            },
            Role::Visitor => Self {
                visits: names(&|tag| has(&tag.visitor_roles) || has(&tag.admin_roles)),
                manages: BTreeSet::new(),
                closed: names(&|tag| !tag.admin_roles.is_empty() && !has(&tag.admin_roles)),
            },
        }
    }

    /// Whether a visitor sees and runs an app for all users that has `tags`.
    #[must_use]
    pub(crate) fn visits<'a>(&self, tags: impl IntoIterator<Item = &'a String>) -> bool {
        tags.into_iter().any(|tag| self.visits.contains(tag))
    }

    /// Whether a publisher manages an app that has `tags`.
    #[must_use]
    pub(crate) fn manages<'a>(&self, tags: impl IntoIterator<Item = &'a String>) -> bool {
        tags.into_iter().any(|tag| self.manages.contains(tag))
    }

    /// Whether `tag` is for others to put on apps and to take off.
    #[must_use]
    pub(crate) fn is_closed(&self, tag: &str) -> bool {
        self.closed.contains(tag)
    }

    /// By which tags apps are seen that would not be without: for the catalog, which has to find the same as the policy.
    pub(crate) fn names(&self) -> Vec<String> {
        self.visits.union(&self.manages).cloned().collect()
    }
}

/// A role of the store as tags name it.
pub(crate) const fn own_role(role: Role) -> &'static str {
    match role {
        Role::Visitor => "store:visitor",
        Role::Full => "store:full",
        Role::Admin => "store:admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, admin_roles: &[&str], visitor_roles: &[&str]) -> Tag {
        let strings = |roles: &[&str]| roles.iter().map(|role| (*role).to_owned()).collect();
        Tag {
            name: name.to_owned(),
            title: name.to_owned(),
            color: catalog::Color::default(),
            description: String::new(),
            admin_roles: strings(admin_roles),
            visitor_roles: strings(visitor_roles),
        }
    }

    /// Who it is, the roles here and at the provider, and what they visit, manage and may not set.
    type Case<'a> = (&'a str, Role, &'a [&'a str], [&'a [&'a str]; 3]);

    #[test]
    fn roles_get_what_tags_give_them() {
        let tags = [
            tag("plain", &[], &[]),
            tag("guests", &[], &["guest", "store:visitor"]),
            tag("sales", &["sales-lead"], &["sales"]),
            tag("own", &["store:full"], &[]),
        ];
        let cases: [Case<'_>; 9] = [
            (
                "a local visitor",
                Role::Visitor,
                &[],
                [&["guests"], &[], &["own", "sales"]],
            ),
            (
                "a visitor with a role",
                Role::Visitor,
                &["sales"],
                [&["guests", "sales"], &[], &["own", "sales"]],
            ),
            (
                "a visitor who would manage",
                Role::Visitor,
                &["sales-lead"],
                [&["guests", "sales"], &[], &["own"]],
            ),
            (
                "another case",
                Role::Visitor,
                &["Sales"],
                [&["guests"], &[], &["own", "sales"]],
            ),
            (
                "a role that is called as ours",
                Role::Visitor,
                &["store:full"],
                [&["guests"], &[], &["own", "sales"]],
            ),
            ("a publisher", Role::Full, &[], [&[], &["own"], &["sales"]]),
            (
                "a publisher with a visitor's role",
                Role::Full,
                &["sales", "guest"],
                [&[], &["own"], &["sales"]],
            ),
            (
                "a publisher who manages",
                Role::Full,
                &["sales-lead"],
                [&[], &["own", "sales"], &[]],
            ),
            ("an admin", Role::Admin, &["sales"], [&[], &[], &[]]),
        ];
        for (name, role, roles, [visits, manages, closed]) in cases {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let expected = Grants {
                visits: set(visits),
                manages: set(manages),
                closed: set(closed),
            };
            assert_eq!(Grants::of(role, &roles, &tags), expected, "{name}");
        }
        assert_eq!(
            Grants::of(Role::Visitor, &["sales".to_owned()], &[]),
            Grants::default(),
            "a store without tags"
        );
    }
}

//! Whose a name is, when several want it. Routers act by it and the operator tells it, so it is one function.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;

use crate::{RESERVED_INSTANCE_NAME, WaveAliasSpec};

/// An alias that claims names.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The alias.
    pub name: &'a str,
    /// When it was made. The oldest wins; of those of one second the first in the alphabet.
    pub created: Option<Timestamp>,
    /// What it claims.
    pub spec: &'a WaveAliasSpec,
}

/// Hosts that no alias may have, in lower case and without ports.
#[derive(Debug, Clone, Copy)]
pub struct Domains<'a> {
    /// Host of the store's own pages.
    pub store: &'a str,
    /// Domain below which every instance has its host.
    pub apps: &'a str,
}

/// What an alias has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The alias.
    pub name: &'a str,
    /// The instance that it leads to.
    pub instance: &'a str,
    /// Its own host, while that is in force.
    pub host: Option<&'a str>,
    /// Whether it is the name that the instance's other names lead to.
    pub is_primary: bool,
    /// Whether it leads anywhere at all.
    pub is_in_force: bool,
    /// What is wrong with it.
    pub fault: Option<Fault<'a>>,
}

/// What is wrong with an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault<'a> {
    /// The store needs this name itself.
    NameReserved,
    /// An instance is called so, and keeps its name.
    NameTaken,
    /// The store, or the instances, have this host.
    HostReserved,
    /// An older alias has this host.
    HostTaken {
        /// That alias.
        by: &'a str,
    },
    /// An older alias is the primary one of the instance. This one is a name like any other.
    SecondPrimary {
        /// That alias.
        first: &'a str,
    },
    /// The instance does not exist. Name and host are kept for it.
    InstanceMissing,
}

/// Settles all claims at once. The same claims come to the same result in any order.
pub fn settle<'a>(
    mut claims: Vec<Claim<'a>>,
    domains: Domains<'_>,
    is_instance: impl Fn(&str) -> bool,
) -> Vec<Standing<'a>> {
    claims.sort_by_key(|claim| (claim.created.is_none(), claim.created, claim.name));
    let mut hosts: HashMap<&str, &str> = HashMap::new();
    let mut primaries: HashMap<&str, &str> = HashMap::new();
    let standing = |claim: Claim<'a>| {
        let spec = claim.spec;
        let host = spec.host.as_deref();
        let instance = spec.instance.as_str();
        let barred = if claim.name == RESERVED_INSTANCE_NAME {
            Some(Fault::NameReserved)
        } else if is_instance(claim.name) {
            Some(Fault::NameTaken)
        } else if host.is_some_and(|host| domains.reserve(host)) {
            Some(Fault::HostReserved)
        } else {
            host.and_then(|host| hosts.get(host))
                .map(|by| Fault::HostTaken { by })
        };
        if barred.is_some() {
            return Standing {
                name: claim.name,
                instance,
                host: None,
                is_primary: false,
                is_in_force: false,
                fault: barred,
            };
        }
        hosts.extend(host.map(|host| (host, claim.name)));
        let first = if spec.primary {
            *primaries.entry(instance).or_insert(claim.name)
        } else {
            claim.name
        };
        let fault = if first != claim.name {
            Some(Fault::SecondPrimary { first })
        } else if is_instance(instance) {
            None
        } else {
            Some(Fault::InstanceMissing)
        };
        Standing {
            name: claim.name,
            instance,
            host,
            is_primary: spec.primary && first == claim.name,
            is_in_force: true,
            fault,
        }
    };
    claims.into_iter().map(standing).collect()
}

impl Domains<'_> {
    fn reserve(self, host: &str) -> bool {
        let below = host
            .strip_suffix(self.apps)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        below || host == self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAINS: Domains<'_> = Domains {
        store: "store.test",
        apps: "apps.test",
    };

    fn spec(instance: &str, primary: bool, host: Option<&str>) -> WaveAliasSpec {
        WaveAliasSpec {
            instance: instance.to_owned(),
            primary,
            host: host.map(str::to_owned),
        }
    }

    fn is_instance(name: &str) -> bool {
        ["sales", "other"].contains(&name)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one row a case")]
    fn every_claim_has_its_standing() {
        let plain = spec("sales", false, None);
        let primary = spec("sales", true, None);
        let hosted = spec("sales", true, Some("crm.test"));
        let missing = spec("gone", true, Some("gone.test"));
        let on_store = spec("sales", false, Some("store.test"));
        let on_apps = spec("sales", false, Some("a.b.apps.test"));
        let on_apps_itself = spec("sales", false, Some("apps.test"));
        let almost = spec("sales", false, Some("myapps.test"));
        let own = |standing: &Standing<'_>| {
            (
                standing.is_in_force,
                standing.is_primary,
                standing.host.map(str::to_owned),
            )
        };
        let no_host = |in_force, is_primary| (in_force, is_primary, None);
        // Name, age and spec of an older alias, the same of the one in question, and what that comes to.
        let cases = [
            (
                "a plain name",
                None,
                ("crm", &plain),
                no_host(true, false),
                None,
            ),
            (
                "a primary one",
                None,
                ("crm", &primary),
                no_host(true, true),
                None,
            ),
            (
                "the reserved name",
                None,
                ("apps", &plain),
                no_host(false, false),
                Some(Fault::NameReserved),
            ),
            (
                "an instance's name",
                None,
                ("other", &hosted),
                no_host(false, false),
                Some(Fault::NameTaken),
            ),
            (
                "its own instance's name",
                None,
                ("sales", &plain),
                no_host(false, false),
                Some(Fault::NameTaken),
            ),
            (
                "a host",
                None,
                ("crm", &hosted),
                (true, true, Some("crm.test".to_owned())),
                None,
            ),
            (
                "the store's host",
                None,
                ("crm", &on_store),
                no_host(false, false),
                Some(Fault::HostReserved),
            ),
            (
                "a host below the apps' domain",
                None,
                ("crm", &on_apps),
                no_host(false, false),
                Some(Fault::HostReserved),
            ),
            (
                "the apps' domain",
                None,
                ("crm", &on_apps_itself),
                no_host(false, false),
                Some(Fault::HostReserved),
            ),
            (
                "a host that ends alike",
                None,
                ("crm", &almost),
                (true, false, Some("myapps.test".to_owned())),
                None,
            ),
            (
                "a host that an older alias has",
                Some(("zzz", &hosted)),
                ("crm", &hosted),
                no_host(false, false),
                Some(Fault::HostTaken { by: "zzz" }),
            ),
            (
                "a host that an alias wants which is not in force",
                Some(("other", &hosted)),
                ("crm", &hosted),
                (true, true, Some("crm.test".to_owned())),
                None,
            ),
            (
                "a second primary one",
                Some(("zzz", &primary)),
                ("crm", &primary),
                no_host(true, false),
                Some(Fault::SecondPrimary { first: "zzz" }),
            ),
            (
                "a plain name beside the primary one",
                Some(("zzz", &primary)),
                ("crm", &plain),
                no_host(true, false),
                None,
            ),
            (
                "no instance",
                None,
                ("crm", &missing),
                (true, true, Some("gone.test".to_owned())),
                Some(Fault::InstanceMissing),
            ),
        ];
        for (case, older, (name, spec), expected, fault) in cases {
            let claim = |name, second, spec| Claim {
                name,
                created: Timestamp::from_second(second).ok(),
                spec,
            };
            let mut claims = vec![claim(name, 2, spec)];
            claims.extend(older.map(|(name, spec)| claim(name, 1, spec)));
            let settled = settle(claims, DOMAINS, is_instance);
            let standing = settled.iter().find(|standing| standing.name == name);
            let standing = standing.expect("it has a standing");
            assert_eq!(own(standing), expected, "{case}");
            assert_eq!(standing.fault, fault, "{case}");
        }
    }

    #[test]
    fn aliases_of_one_second_are_settled_by_name_in_any_order() {
        let hosted = spec("sales", true, Some("crm.test"));
        let claim = |name| Claim {
            name,
            created: Timestamp::from_second(1).ok(),
            spec: &hosted,
        };
        let one = settle(vec![claim("a"), claim("b")], DOMAINS, is_instance);
        let two = settle(vec![claim("b"), claim("a")], DOMAINS, is_instance);
        assert_eq!(one, two);
        assert_eq!(one[1].fault, Some(Fault::HostTaken { by: "a" }));
    }
}

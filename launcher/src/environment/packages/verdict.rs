//! Whether Debian packages can be used that nobody installs as root. Pure.

use std::fmt;

use bundle::Packages;

/// Those that do nothing without what is done as root when they are installed, and why. By name: a script does not tell.
const USELESS: [(&str, &str); 3] = [
    (
        "libgvc6",
        "it has to register its plugins when it is installed",
    ),
    ("locales", "its locales are made when it is installed"),
    (
        "chromium",
        "it needs a sandbox that pods of instances may not make",
    ),
];

/// What is known of a package that was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fetched {
    /// Its name.
    pub(super) name: String,
    /// Whether the image has it, in an older version.
    pub(super) is_in_image: bool,
    /// A program in it that runs with the rights of others (setuid, setgid).
    pub(super) privileged: Option<String>,
    /// A file by which the system would start it.
    pub(super) service: Option<String>,
    /// Whether commands are to be run after it was unpacked.
    pub(super) has_script: bool,
}

/// Why a package cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    package: String,
    reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be used: {}", self.package, self.reason)
    }
}

/// What cannot be used of all that was fetched for an app. What an app names itself must be whole; of what that needs in turn, services
/// and privileged programs are left lying, and libraries are what counts.
pub(super) fn refusals(asked: &Packages, fetched: &[Fetched]) -> Vec<Refusal> {
    fetched
        .iter()
        .filter_map(|package| {
            let reason = reason(package, asked.contains(&package.name))?;
            Some(Refusal {
                package: package.name.clone(),
                reason,
            })
        })
        .collect()
}

fn reason(package: &Fetched, is_asked: bool) -> Option<String> {
    if package.is_in_image {
        // Beside the old one it would break the image's own programs, or be broken by them.
        return Some("the image has an older version, which would have to be replaced (hint: a newer image of the store's has it)".to_owned());
    }
    let known = USELESS.iter().find(|(name, _)| *name == package.name);
    if let Some((_, reason)) = known {
        return Some((*reason).to_owned());
    }
    if !is_asked {
        return None;
    }
    if let Some(file) = &package.privileged {
        return Some(format!(
            "`{file}` has to run with rights that no process of a pod has"
        ));
    }
    let file = package.service.as_ref()?;
    Some(format!(
        "it is a service that the system starts, by `{file}`, and a pod starts the app alone"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> Fetched {
        Fetched {
            name: name.to_owned(),
            ..Fetched::default()
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let service = |name| Fetched {
            service: Some("lib/systemd/system/ssh.service".to_owned()),
            ..package(name)
        };
        let privileged = |name| Fetched {
            privileged: Some("usr/bin/sudo".to_owned()),
            ..package(name)
        };
        let cases = [
            ("a library", package("libgomp1"), None),
            (
                "one with a script",
                Fetched {
                    has_script: true,
                    ..package("libglib2.0-0")
                },
                None,
            ),
            (
                "a service",
                service("openssh-server"),
                Some(
                    "`openssh-server` cannot be used: it is a service that the system starts, by `lib/systemd/system/ssh.service`, and a pod starts the app alone",
                ),
            ),
            ("a service that another needs", service("dbus"), None),
            (
                "a privileged program",
                privileged("sudo"),
                Some(
                    "`sudo` cannot be used: `usr/bin/sudo` has to run with rights that no process of a pod has",
                ),
            ),
            (
                "a privileged program that another needs",
                privileged("passwd"),
                None,
            ),
            (
                "one that must register",
                package("libgvc6"),
                Some(
                    "`libgvc6` cannot be used: it has to register its plugins when it is installed",
                ),
            ),
            (
                "a newer libc",
                Fetched {
                    is_in_image: true,
                    ..package("libc6")
                },
                Some(
                    "`libc6` cannot be used: the image has an older version, which would have to be replaced (hint: a newer image of the store's has it)",
                ),
            ),
        ];
        let asked = b"libgomp1 libglib2.0-0 openssh-server sudo graphviz";
        let asked = Packages::from_bytes(asked).unwrap().unwrap();
        for (name, package, expected) in cases {
            let refused = refusals(&asked, &[package]);
            let words = refused.first().map(ToString::to_string);
            assert_eq!(words.as_deref(), expected, "{name}");
        }
    }
}

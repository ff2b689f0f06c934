//! `[[Env]]` and `[[File]]`: what is put into the pod from values and secrets.

use std::collections::BTreeSet;

use super::section::prose_fault;
use super::{APP_ROOT, Env, File, Findings, RESOURCES_ROOT, SecretKey, Section, Source};
use crate::EnvRules;
use crate::problem::Fault;

/// Longest name of a secret or a key in it, as Kubernetes has it.
const SECRET: usize = 253;
const PATH: usize = 1024;

/// Places of the system, where a file or volume would break the pod.
const SYSTEM: [&str; 4] = ["/dev", "/proc", "/sys", "/var/run/secrets"];

pub(super) fn read_env(
    sections: Vec<Section>,
    rules: &EnvRules,
    findings: &mut Findings,
) -> Vec<Env> {
    let mut seen = BTreeSet::new();
    let mut env = Vec::with_capacity(sections.len());
    for mut section in sections {
        let value = section.required("Name", findings);
        let source = source(&mut section, findings);
        let key = section.name("Name");
        section.finish(findings);
        let Some(value) = value else { continue };
        if !is_env_name(&value) {
            findings.problem(key, Fault::NotEnvName { value });
        } else if !rules.allows(&value) {
            findings.problem(key, Fault::ReservedEnvName { value });
        } else if !seen.insert(value.clone()) {
            findings.problem(key, Fault::Duplicate { value });
        } else if let Some(source) = source {
            env.push(Env {
                name: value,
                source,
            });
        }
    }
    env
}

pub(super) fn read_files(sections: Vec<Section>, findings: &mut Findings) -> Vec<File> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut files = Vec::with_capacity(sections.len());
    for mut section in sections {
        let value = section.required("Path", findings);
        let source = source(&mut section, findings);
        let key = section.name("Path");
        section.finish(findings);
        let Some(value) = value else { continue };
        let path = match file_path(&value) {
            Ok(path) => path,
            Err(fault) => {
                findings.problem(key, fault);
                continue;
            }
        };
        let below = |file: &str, other: &str| {
            file.strip_prefix(other)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if seen.contains(&path) {
            findings.problem(key, Fault::Duplicate { value });
        } else if let Some(other) = seen
            .iter()
            .find(|other| below(&path, other) || below(other, &path))
        {
            let other = other.clone();
            findings.problem(key, Fault::Nested { value, other });
        } else {
            seen.insert(path.clone());
            if let Some(source) = source {
                files.push(File { path, source });
            }
        }
    }
    files
}

/// `Value`, or `Secret` with `SecretKey` and `Optional`. An empty value beside a secret is an absent one.
fn source(section: &mut Section, findings: &mut Findings) -> Option<Source> {
    let before = findings.problems.len();
    let value = section.any_text("Value", findings);
    let secret = section.text("Secret", findings);
    let key = section.text("SecretKey", findings);
    let optional = section.flag("Optional", findings);
    if findings.problems.len() > before {
        return None;
    }
    let has_secret = secret.is_some() || key.is_some();
    match value {
        Some(value) if has_secret && !value.is_empty() => {
            findings.problem(section.own_name(), Fault::TwoSources);
            None
        }
        Some(value) if !has_secret => {
            if optional {
                let name = section.own_name();
                findings.warn(format!(
                    "`Optional` of `{name}` is ignored, since it has a `Value`"
                ));
            }
            Some(Source::Value(value))
        }
        None if !has_secret => {
            findings.problem(section.own_name(), Fault::NoSource);
            None
        }
        Some(_) | None => {
            let secret = secret_name(section, "Secret", secret, findings);
            let key = secret_name(section, "SecretKey", key, findings);
            Some(Source::Secret(SecretKey {
                secret: secret?,
                key: key?,
                optional,
            }))
        }
    }
}

fn secret_name(
    section: &Section,
    key: &str,
    value: Option<String>,
    findings: &mut Findings,
) -> Option<String> {
    let Some(value) = value else {
        let needed_by = if key == "Secret" {
            "`SecretKey`"
        } else {
            "`Secret`"
        };
        findings.problem(section.name(key), Fault::MissingFor { needed_by });
        return None;
    };
    match prose_fault(&value, SECRET) {
        Some(fault) => {
            findings.problem(section.name(key), fault);
            None
        }
        None => Some(value),
    }
}

/// The names that Kubernetes accepts in every version, `-` and `.` among their characters.
fn is_env_name(name: &str) -> bool {
    name.len() <= SECRET
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The absolute path that a file's path means.
fn file_path(value: &str) -> Result<String, Fault> {
    if let Some(fault) = prose_fault(value, PATH) {
        return Err(fault);
    }
    let unclean = || Fault::UncleanPath {
        value: value.to_owned(),
    };
    let absolute = if value.starts_with('/') {
        value.to_owned()
    } else {
        format!("{APP_ROOT}/{}", value.strip_prefix("./").unwrap_or(value))
    };
    if absolute.ends_with('/') {
        return Err(unclean());
    }
    let path = clean_path(&absolute).ok_or_else(unclean)?;
    let value = value.to_owned();
    match path.rsplit_once('/') {
        Some(("" | APP_ROOT, _)) | None => return Err(Fault::NoFolder { value }),
        Some(_) => {}
    }
    match forbidden_place(&path) {
        Some(place) => Err(Fault::ForbiddenPath { value, place }),
        None => Ok(path),
    }
}

/// `path` without a slash at its end, if it is absolute and has no empty, `.` or `..` part and no
/// character that breaks mounts.
pub(super) fn clean_path(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some("/".to_owned());
    }
    let parts_are_fine = path.strip_prefix('/')?.split('/').all(|part| {
        !part.is_empty()
            && part != "."
            && part != ".."
            // Kubernetes splits mounts at colons.
            && part.chars().all(|c| !c.is_control() && c != ':')
    });
    (parts_are_fine && path.len() <= PATH).then(|| path.to_owned())
}

/// The place that `path` (clean) may not be at or below, if it is; a place itself is never allowed.
pub(super) fn forbidden_place(path: &str) -> Option<String> {
    if path == "/" {
        return Some("/".to_owned());
    }
    // The pod has a scratch volume at /tmp, and a path takes one mount.
    if path == APP_ROOT || path == "/tmp" {
        return Some(path.to_owned());
    }
    [RESOURCES_ROOT]
        .iter()
        .chain(&SYSTEM)
        // A folder above a place would hide the place.
        .find(|place| at_or_below(path, place) || at_or_below(place, path))
        .map(|place| (*place).to_owned())
}

fn at_or_below(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

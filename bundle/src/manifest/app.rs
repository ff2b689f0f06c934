//! `[App]`

use semver::Version;

use super::section::prose_fault;
use super::{App, Findings, Legacy, Lifecycle, Section};
use crate::InstanceTimeout;
use crate::problem::Fault;

/// Longest name, version, and both with a dash between: they become labels of Kubernetes objects.
const LABEL: usize = 63;
const TITLE: usize = 256;
const DESCRIPTION: usize = 4096;
const PATH: usize = 1024;

const LIFECYCLES: &[&str] = &["ON_DEMAND", "MANAGED", "LINK"];

/// Reads the table. The lifecycle is known even where the app is not: what else is missing depends on it.
pub(super) fn read(mut section: Section, findings: &mut Findings) -> (Option<App>, Lifecycle) {
    let name = label(&mut section, "Name", findings);
    let version = version(&mut section, findings);
    if let (Some(name), Some(version)) = (&name, &version) {
        let length = name.len() + 1 + version.to_string().len();
        if length > LABEL {
            findings.problem(
                "[App] Name-Version",
                Fault::TooLong {
                    length,
                    limit: LABEL,
                },
            );
        }
    }
    let title = section.prose("Title", TITLE, findings);
    let description = section.prose("Description", DESCRIPTION, findings);
    let long_description = section.prose("LongDescription", PATH, findings);
    let tags = tag_list(&mut section, "Tags", findings);
    let lifecycle = section.word("InstanceLifecycle", LIFECYCLES, findings);
    let timeout = timeout(&mut section, findings);
    let legacy = Legacy {
        category: section.prose("Category", TITLE, findings),
        keywords: tag_list(&mut section, "Keywords", findings),
        setup_guide: section.prose("SetupGuide", DESCRIPTION, findings),
    };
    section.finish(findings);
    let app = name.zip(version).map(|(name, version)| App {
        title: title.unwrap_or_else(|| name.clone()),
        name,
        version,
        description,
        long_description,
        tags,
        lifecycle,
        timeout,
        legacy,
    });
    (app, lifecycle)
}

fn label(section: &mut Section, key: &'static str, findings: &mut Findings) -> Option<String> {
    let value = section.required(key, findings)?;
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let well_formed = ends(value.chars().next())
        && ends(value.chars().next_back())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let length = value.chars().count();
    if !well_formed {
        findings.problem(section.name(key), Fault::NotLabel { value });
        return None;
    }
    if length > LABEL {
        let limit = LABEL;
        findings.problem(section.name(key), Fault::TooLong { length, limit });
        return None;
    }
    Some(value)
}

fn version(section: &mut Section, findings: &mut Findings) -> Option<Version> {
    let value = label(section, "Version", findings)?;
    match Version::parse(&value) {
        Ok(version) => Some(version),
        Err(error) => {
            let reason = error.to_string();
            findings.problem(section.name("Version"), Fault::NotVersion { value, reason });
            None
        }
    }
}

fn timeout(section: &mut Section, findings: &mut Findings) -> Option<InstanceTimeout> {
    let value = section.amount("InstanceTimeout", findings)?;
    let timeout = value.parse().ok();
    if timeout.is_none() {
        findings.problem(section.name("InstanceTimeout"), Fault::NotTimeout { value });
    }
    timeout
}

/// Words to find an app by; empty ones and repetitions mean nothing.
fn tag_list(section: &mut Section, key: &'static str, findings: &mut Findings) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for text in section.texts(key, findings) {
        let tag = text.trim();
        if let Some(fault) = prose_fault(tag, LABEL) {
            findings.problem(section.name(key), fault);
        } else if !tag.is_empty() && tags.iter().all(|other| other != tag) {
            tags.push(tag.to_owned());
        }
    }
    tags
}

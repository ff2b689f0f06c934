//! What can be wrong with a key of `app.toml`.

use std::fmt;

/// One key of `app.toml` that cannot stay as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Table and key, such as `[Runtime] MemoryLimit` or `[[Env]] #2 Name`.
    pub key: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not there, though needed.
    #[error("is missing")]
    Missing,
    /// Not there, though another key makes it needed.
    #[error("is missing, which {needed_by} needs")]
    MissingFor {
        /// What needs it.
        needed_by: &'static str,
    },
    /// Of the wrong type.
    #[error("is {found}, not {expected}")]
    WrongType {
        /// The type in the file.
        found: &'static str,
        /// The type that the key has.
        expected: &'static str,
    },
    /// Not a word that the key knows.
    #[error("is `{value}`, which is none of {}", listed(allowed))]
    Unknown {
        /// The value in the file.
        value: String,
        /// The words that the key knows.
        allowed: &'static [&'static str],
    },
    /// A name or version with other characters than labels have.
    #[error(
        "is `{value}`, which is not made of letters, digits and `-_.` with a letter or digit at both ends"
    )]
    NotLabel {
        /// The value in the file.
        value: String,
    },
    /// Longer than allowed.
    #[error("is {length} characters long; at most {limit} are allowed")]
    TooLong {
        /// Its length in characters.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Holds a control character.
    #[error("holds the control character {character:?}")]
    ControlCharacter {
        /// The first one.
        character: char,
    },
    /// Not a semantic version.
    #[error("is `{value}`, which is not a semantic version: {reason}")]
    NotVersion {
        /// The value in the file.
        value: String,
        /// What the parser said.
        reason: String,
    },
    /// Not a duration.
    #[error("is `{value}`, which is neither a duration in `h`, `m` and `s` nor `-1`")]
    NotTimeout {
        /// The value in the file.
        value: String,
    },
    /// Not a Kubernetes quantity.
    #[error("is `{value}`, which is not a Kubernetes quantity")]
    NotQuantity {
        /// The value in the file.
        value: String,
    },
    /// A quantity of bytes too small to be meant.
    #[error("is `{value}`, which is less than a mebibyte")]
    TooFewBytes {
        /// The value in the file.
        value: String,
    },
    /// A quantity of nothing.
    #[error("is `{value}`, but must be more than zero")]
    Zero {
        /// The value in the file.
        value: String,
    },
    /// A reservation above its limit.
    #[error("is `{value}`, which is more than `{limit_key}`, `{limit}`")]
    AboveLimit {
        /// The value in the file.
        value: String,
        /// The key of the limit.
        limit_key: &'static str,
        /// The limit in the file.
        limit: String,
    },
    /// A number out of its range.
    #[error("is `{value}`, but must be between {least} and {most}")]
    OutOfRange {
        /// The value in the file.
        value: i64,
        /// The least that is allowed.
        least: i64,
        /// The most that is allowed.
        most: i64,
    },
    /// A port that the platform needs itself.
    #[error("is `{value}`, which the platform uses itself")]
    PortTaken {
        /// The value in the file.
        value: i64,
    },
    /// Not a Python module.
    #[error("is `{value}`, which is not the dotted name of a Python module")]
    NotModule {
        /// The value in the file.
        value: String,
    },
    /// Not an absolute path.
    #[error("is `{value}`, which is not an absolute path")]
    NotAbsolute {
        /// The value in the file.
        value: String,
    },
    /// A path with `.`, `..` or nothing between two slashes, or with characters that mounts cannot have.
    #[error("is `{value}`, which has an empty, `.` or `..` part, or a colon")]
    UncleanPath {
        /// The value in the file.
        value: String,
    },
    /// A path where apps may put nothing.
    #[error("is `{value}`, but `{place}` belongs to the platform")]
    ForbiddenPath {
        /// The value in the file.
        value: String,
        /// The place that is taken.
        place: String,
    },
    /// A file directly in the bundle's root or the system's.
    #[error("is `{value}`, which is in no folder below `/` or the bundle")]
    NoFolder {
        /// The value in the file.
        value: String,
    },
    /// A volume over files of the bundle.
    #[error("is `{value}`, which would hide a file or folder of the bundle")]
    HidesBundle {
        /// The value in the file.
        value: String,
    },
    /// A mount whose folder Kubernetes would make, so that only root could put files beside the mount.
    #[error(
        "is `{value}`: Kubernetes makes the folder `{folder}` around it, and then `{other}` cannot be put there"
    )]
    ClosesFolder {
        /// The value in the file.
        value: String,
        /// The outermost folder between the app's and the mount.
        folder: String,
        /// A file that belongs into that folder.
        other: String,
    },
    /// A value that another entry has already.
    #[error("is `{value}`, which another entry has already")]
    Duplicate {
        /// The value in the file.
        value: String,
    },
    /// A file below another one, or the other way round.
    #[error("is `{value}`, which cannot be beside `{other}`: one of these files would be a folder")]
    Nested {
        /// The value in the file.
        value: String,
        /// The other file.
        other: String,
    },
    /// Not a name of an environment variable.
    #[error("is `{value}`, which is not a name of an environment variable")]
    NotEnvName {
        /// The value in the file.
        value: String,
    },
    /// An environment variable of the platform.
    #[error("is `{value}`, which only the platform sets")]
    ReservedEnvName {
        /// The value in the file.
        value: String,
    },
    /// Both a value and a secret.
    #[error("has both `Value` and `Secret`")]
    TwoSources,
    /// Neither a value nor a secret.
    #[error("has neither `Value` nor `Secret`")]
    NoSource,
    /// Not an address to link to.
    #[error("is `{value}`, which is not an http or https URL")]
    NotAddress {
        /// The value in the file.
        value: String,
    },
}

impl Problem {
    /// The one next step that helps, when there is one beyond what the message says.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let key = self.key.rsplit(' ').next().unwrap_or_default();
        match &self.fault {
            Fault::Missing | Fault::MissingFor { .. } => Some(match key {
                "Version" => "add `Version = \"1.0.0\"` to `[App]`".into(),
                "Module" => {
                    "add `Module = \"app\"` to `[Runtime]`: the module in which `main` is defined"
                        .into()
                }
                "Address" => "add `Address = \"https://...\"` to `[Link]`".into(),
                "VolumeSize" => "add `VolumeSize = \"1Gi\"` to `[Runtime]`".into(),
                "Port" => {
                    "add `Port = 8000` to `[Runtime]`: the port on which the app listens".into()
                }
                _ => match self.key.rsplit_once(' ') {
                    Some((table, key)) => format!("add `{key}` to `{table}`"),
                    None => format!("add `{key}`"),
                },
            }),
            Fault::WrongType { expected, .. } => Some(match *expected {
                "a list of tables" => format!("write `[[{key}]]`, with two brackets"),
                "a string" => format!("write `{key} = \"...\"`, in quotes"),
                "true or false" => format!("write `{key} = true`, without quotes"),
                "a whole number" if key == "Port" => "write `Port = 8000`, without quotes".into(),
                "a whole number" => format!("write `{key} = 1`, without quotes"),
                "a list of strings" => format!("write `{key} = [\"...\"]`"),
                _ => format!("write `[{key}]` on a line of its own, then its keys"),
            }),
            Fault::Unknown { allowed, .. } => {
                allowed.first().map(|first| format!("write `{first}`"))
            }
            Fault::NotLabel { value } => {
                let cleaned = label_like(value);
                (!cleaned.is_empty()).then(|| format!("write `{cleaned}`"))
            }
            Fault::TooLong { limit, .. } => Some(format!("shorten it to {limit} characters")),
            Fault::ControlCharacter { .. } => Some("remove it".into()),
            Fault::NotVersion { value, .. } => Some(format!("write `{}`", version_like(value))),
            Fault::NotTimeout { .. } => {
                Some("write `1h`, `30m`, `1h30m`, or `-1` for never".into())
            }
            Fault::NotQuantity { value } | Fault::TooFewBytes { value } => {
                Some(quantity_hint(value))
            }
            Fault::Zero { .. } => Some("remove the key, or give an amount".into()),
            Fault::AboveLimit { limit_key, .. } => {
                Some(format!("raise `{limit_key}` or lower this one"))
            }
            Fault::OutOfRange { least, .. } if key == "Port" && *least > 1 => Some(
                "write a port such as `8000`; lower ones need root, which apps do not get".into(),
            ),
            Fault::OutOfRange { .. } => None,
            Fault::PortTaken { .. } => Some("write another port, such as `8000`".into()),
            Fault::NotModule { value } => Some(module_hint(value)),
            Fault::NotAbsolute { value } => {
                Some(format!("write `/{}`", value.trim_start_matches("./")))
            }
            Fault::UncleanPath { .. } => Some("write the path out in full".into()),
            Fault::ForbiddenPath { .. } => {
                Some("write a folder of the app's own, such as `/data`".into())
            }
            Fault::NoFolder { value } => {
                let name = value.rsplit('/').next().unwrap_or_default();
                Some(format!(
                    "write a path with a folder, such as `config/{name}`"
                ))
            }
            Fault::HidesBundle { .. } | Fault::ClosesFolder { .. } => Some(
                "mount the volume at a folder that the bundle does not have, such as `/data`"
                    .into(),
            ),
            Fault::Duplicate { .. } | Fault::TwoSources => Some("remove one of the two".into()),
            Fault::Nested { .. } => Some("rename one of the two".into()),
            Fault::NotEnvName { .. } => {
                Some("use letters, digits and `_`, with no digit in front".into())
            }
            Fault::ReservedEnvName { .. } => {
                Some("use another name, or ask an admin to allow this one".into())
            }
            Fault::NoSource => Some("add `Value`, or `Secret` and `SecretKey`".into()),
            Fault::NotAddress { .. } => {
                Some("write the full URL, such as `https://example.com/`".into())
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&format!("`{}` {}", self.key, self.fault)))
    }
}

/// `text` in one line that terminals and Kubernetes accept: values come from strangers' files.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 600;
    let mut line = String::new();
    for character in text.chars() {
        if line.len() > LONGEST {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_debug());
        } else {
            line.push(character);
        }
    }
    line
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// The nearest text to `value` that is a label.
fn label_like(value: &str) -> String {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let replaced = value.replace(|c: char| !is_end(c) && !"-_.".contains(c), "-");
    replaced.trim_matches(|c| !is_end(c)).to_owned()
}

/// `1.0` becomes `1.0.0`; what cannot be completed becomes an example.
fn version_like(value: &str) -> String {
    let value = value.strip_prefix(['v', 'V']).unwrap_or(value);
    let completed = match value.matches('.').count() {
        0 => format!("{value}.0.0"),
        1 => format!("{value}.0"),
        _ => value.to_owned(),
    };
    match semver::Version::parse(&completed) {
        Ok(version) => version.to_string(),
        Err(_) => "1.0.0".into(),
    }
}

fn quantity_hint(value: &str) -> String {
    let compact: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    let number = compact.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = compact[number.len()..].to_ascii_lowercase();
    let letter = match unit.chars().next() {
        Some('k') => "K",
        Some('m') => "M",
        Some('g') => "G",
        Some('t') => "T",
        _ => return "write an amount such as `500m` (CPU) or `2Gi` (memory, storage)".into(),
    };
    if number.parse::<super::Quantity>().is_err() {
        return "write an amount such as `500m` (CPU) or `2Gi` (memory, storage)".into();
    }
    let decimal = if letter == "K" { "k" } else { letter };
    format!("write `{number}{letter}i` (binary) or `{number}{decimal}` (decimal)")
}

fn module_hint(value: &str) -> String {
    let module = value
        .trim_start_matches("./")
        .trim_end_matches(".py")
        .replace('/', ".");
    if crate::manifest::is_module(&module) {
        format!("write `{module}`")
    } else {
        "write the module as Python imports it, such as `app` or `app.run`".into()
    }
}

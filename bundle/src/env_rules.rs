//! Which environment variables an app may set.

/// Prefixes that belong to the platform: what it tells apps, and how it drives waved and the launcher.
const RESERVED: [&str; 3] = ["H2O_CLOUD", "H2O_WAVE", "WAVESTORE_"];

/// Always allowed in spite of its prefix: it is the app's own choice and Wave documents it as such.
const APP_MODE: &str = "H2O_WAVE_APP_MODE";

/// Settings of Wave that an app may change where the admin says nothing else.
const DEFAULT_ALLOWED: [&str; 8] = [
    "H2O_WAVE_ML_*",
    "H2O_WAVE_PUBLIC_DIR",
    "H2O_WAVE_PRIVATE_DIR",
    "H2O_WAVE_MAX_REQUEST_SIZE",
    "H2O_WAVE_NO_STORE",
    "H2O_WAVE_SESSION_INACTIVITY_TIMEOUT",
    "H2O_WAVE_DATA_DIR",
    "H2O_WAVE_PING_INTERVAL",
];

/// Which of the platform's own variables (`H2O_CLOUD*`, `H2O_WAVE*`, `WAVESTORE_*`) an app may set.
/// All other names are free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvRules {
    allowed: Vec<String>,
}

impl EnvRules {
    /// Rules that allow the reserved names in `allowed`: whole names, or prefixes that end in `*`.
    pub fn new(allowed: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            allowed: allowed.into_iter().map(Into::into).collect(),
        }
    }

    /// Whether an app may set the variable `name`.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let reserved = RESERVED.iter().any(|prefix| name.starts_with(prefix));
        !reserved
            || name == APP_MODE
            || self
                .allowed
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => name.starts_with(prefix),
                    None => name == pattern,
                })
    }
}

impl Default for EnvRules {
    fn default() -> Self {
        Self::new(DEFAULT_ALLOWED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_need_permission() {
        let cases = [
            ("a name of the app's own", "DATABASE_URL", true),
            ("the app mode", "H2O_WAVE_APP_MODE", true),
            ("anything of Wave ML", "H2O_WAVE_ML_NOTEBOOK", true),
            ("a listed name", "H2O_WAVE_MAX_REQUEST_SIZE", true),
            (
                "a listed name with a tail",
                "H2O_WAVE_MAX_REQUEST_SIZES",
                false,
            ),
            ("waved's address", "H2O_WAVE_ADDRESS", false),
            ("waved's keys", "H2O_WAVE_ACCESS_KEY_SECRET", false),
            ("the prefix without underscore", "H2O_WAVEX", false),
            (
                "what the platform says of itself",
                "H2O_CLOUD_INSTANCE_ID",
                false,
            ),
            ("the launcher's settings", "WAVESTORE_TOKEN_FILE", false),
            (
                "the same letters in lower case, which is another variable",
                "h2o_wave_x",
                true,
            ),
        ];
        for (case, name, allowed) in cases {
            assert_eq!(EnvRules::default().allows(name), allowed, "{case}");
        }
        let own = EnvRules::new(["H2O_CLOUD_CUSTOM_*"]);
        assert!(own.allows("H2O_CLOUD_CUSTOM_A"));
        assert!(!own.allows("H2O_WAVE_DATA_DIR"));
    }
}

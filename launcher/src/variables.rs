//! The environments of the processes: what each of them gets, and what it does not.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Environment variables.
pub(crate) type Variables = BTreeMap<OsString, OsString>;

/// Variables of the launcher itself; no other process gets them.
const OWN: &str = "WAVESTORE_";

/// The image sets these for us, who run for weeks beside the app. A program that computes is slower with them.
const ALLOCATOR: [&str; 2] = ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"];

/// What waved gets beside its own `H2O_WAVE_*`. The app's secrets are none of its business.
const WAVED: [&str; 14] = [
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "LC_ALL",
];

/// What apt and dpkg get. Of proxies they know the names in small letters alone.
const APT: [&str; 4] = ["HOME", "PATH", "TMPDIR", "TZ"];
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "no_proxy"];

/// Settings of pip that uv spells in another way: pip's name, uv's names of which the first is set unless
/// one is there, and the separator of uv's list where pip's is a blank.
const PIP: [(&str, &[&str], Option<&str>); 8] = [
    ("PIP_INDEX_URL", &["UV_DEFAULT_INDEX", "UV_INDEX_URL"], None),
    (
        "PIP_EXTRA_INDEX_URL",
        &["UV_INDEX", "UV_EXTRA_INDEX_URL"],
        Some(" "),
    ),
    ("PIP_FIND_LINKS", &["UV_FIND_LINKS"], Some(",")),
    ("PIP_TRUSTED_HOST", &["UV_INSECURE_HOST"], Some(" ")),
    ("PIP_CONSTRAINT", &["UV_CONSTRAINT"], Some(" ")),
    ("PIP_NO_INDEX", &["UV_NO_INDEX"], None),
    ("PIP_DEFAULT_TIMEOUT", &["UV_HTTP_TIMEOUT"], None),
    ("PIP_CERT", &["SSL_CERT_FILE"], None),
];

fn text(value: impl AsRef<OsStr>) -> OsString {
    value.as_ref().to_owned()
}

fn has(variables: &Variables, name: &str) -> bool {
    variables.contains_key(OsStr::new(name))
}

fn default(variables: &mut Variables, name: &str, value: impl AsRef<OsStr>) {
    if !has(variables, name) {
        variables.insert(text(name), text(value));
    }
}

/// Everything but what is the launcher's own.
fn for_anyone(own: &Variables) -> Variables {
    own.iter()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            !name.starts_with(OWN) && !ALLOCATOR.contains(&name.as_ref())
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The environment of uv. The app's own variables stay: requirements.txt may name them.
pub(crate) fn for_uv(own: &Variables, cache: &Path) -> Variables {
    let mut variables = for_anyone(own);
    for (pip, uv, separator) in PIP {
        let Some(value) = own.get(OsStr::new(pip)) else {
            continue;
        };
        if uv.iter().any(|name| has(&variables, name)) {
            continue;
        }
        let value = match (separator, value.to_str()) {
            (Some(separator), Some(list)) => {
                let items: Vec<&str> = list.split_whitespace().collect();
                OsString::from(items.join(separator))
            }
            _ => value.clone(),
        };
        variables.insert(text(uv[0]), value);
    }
    default(&mut variables, "UV_CACHE_DIR", cache);
    // As pip: the best version of all indexes, not only of the first that has the package.
    default(&mut variables, "UV_INDEX_STRATEGY", "unsafe-best-match");
    // The image has the only Python there is; fetching another would end in an unwritable folder.
    default(&mut variables, "UV_PYTHON_DOWNLOADS", "never");
    default(&mut variables, "NO_COLOR", "1");
    variables
}

/// The environment of apt and dpkg.
pub(crate) fn for_apt(own: &Variables) -> Variables {
    let mut variables = Variables::new();
    for name in APT {
        if let Some(value) = own.get(OsStr::new(name)) {
            variables.insert(text(name), value.clone());
        }
    }
    for name in PROXIES {
        let upper = name.to_ascii_uppercase();
        let value = own
            .get(OsStr::new(name))
            .or_else(|| own.get(OsStr::new(&upper)));
        if let Some(value) = value {
            variables.insert(text(name), value.clone());
        }
    }
    // Its words are read.
    variables.insert(text("LC_ALL"), text("C.UTF-8"));
    variables.insert(text("DEBIAN_FRONTEND"), text("noninteractive"));
    variables
}

/// The environment of waved, without the addresses.
pub(crate) fn for_waved(own: &Variables) -> Variables {
    own.iter()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("H2O_WAVE_") || WAVED.contains(&name.as_ref())
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The environment of the app, without the addresses.
pub(crate) fn for_app(own: &Variables, venv: &Path) -> Variables {
    let mut variables = for_anyone(own);
    let mut path = venv.join("bin").into_os_string();
    if let Some(rest) = own.get(OsStr::new("PATH")) {
        path.push(":");
        path.push(rest);
    }
    variables.insert(text("PATH"), path);
    variables.insert(text("VIRTUAL_ENV"), text(venv));
    // Otherwise the last lines before a crash stay in a buffer.
    default(&mut variables, "PYTHONUNBUFFERED", "1");
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(a, b)| (text(a), text(b))).collect()
    }

    fn names(variables: &Variables) -> Vec<&str> {
        variables.keys().filter_map(|name| name.to_str()).collect()
    }

    #[test]
    fn settings_of_pip_reach_uv() {
        let own = variables(&[
            ("PIP_INDEX_URL", "https://pypi.example/simple"),
            (
                "PIP_EXTRA_INDEX_URL",
                "https://a.example  https://b.example",
            ),
            ("PIP_FIND_LINKS", "/wheels /more"),
            ("PIP_CERT", "/ca.crt"),
            ("WAVESTORE_TOKEN_FILE", "/token"),
            ("GIT_TOKEN", "secret"),
        ]);
        let expected = variables(&[
            ("GIT_TOKEN", "secret"),
            ("NO_COLOR", "1"),
            ("PIP_CERT", "/ca.crt"),
            (
                "PIP_EXTRA_INDEX_URL",
                "https://a.example  https://b.example",
            ),
            ("PIP_FIND_LINKS", "/wheels /more"),
            ("PIP_INDEX_URL", "https://pypi.example/simple"),
            ("SSL_CERT_FILE", "/ca.crt"),
            ("UV_CACHE_DIR", "/resources/uv-cache"),
            ("UV_DEFAULT_INDEX", "https://pypi.example/simple"),
            ("UV_FIND_LINKS", "/wheels,/more"),
            ("UV_INDEX", "https://a.example https://b.example"),
            ("UV_INDEX_STRATEGY", "unsafe-best-match"),
            ("UV_PYTHON_DOWNLOADS", "never"),
        ]);
        assert_eq!(for_uv(&own, Path::new("/resources/uv-cache")), expected);
    }

    #[test]
    fn settings_of_uv_win() {
        let own = variables(&[
            ("PIP_INDEX_URL", "https://pip.example"),
            ("UV_INDEX_URL", "https://uv.example"),
            ("UV_CACHE_DIR", "/cache"),
            ("UV_INDEX_STRATEGY", "first-index"),
        ]);
        let seen = for_uv(&own, Path::new("/resources/uv-cache"));
        assert!(!has(&seen, "UV_DEFAULT_INDEX"));
        assert_eq!(seen.get(OsStr::new("UV_CACHE_DIR")), Some(&text("/cache")));
        assert_eq!(
            seen.get(OsStr::new("UV_INDEX_STRATEGY")),
            Some(&text("first-index"))
        );
    }

    #[test]
    fn apt_gets_proxies_by_the_names_that_it_knows_and_no_secrets() {
        let own = variables(&[
            ("PATH", "/usr/bin"),
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("http_proxy", "http://small:3128"),
            ("HTTP_PROXY", "http://large:3128"),
            ("LD_PRELOAD", "/app/x.so"),
            ("DATABASE_PASSWORD", "secret"),
        ]);
        let expected = variables(&[
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("LC_ALL", "C.UTF-8"),
            ("PATH", "/usr/bin"),
            ("http_proxy", "http://small:3128"),
            ("https_proxy", "http://proxy:3128"),
        ]);
        assert_eq!(for_apt(&own), expected);
    }

    #[test]
    fn secrets_of_the_app_stay_with_the_app_and_ours_with_us() {
        let own = variables(&[
            ("DATABASE_PASSWORD", "secret"),
            ("H2O_CLOUD_INSTANCE_ID", "sales"),
            ("H2O_WAVE_MAX_REQUEST_SIZE", "50M"),
            ("MALLOC_TRIM_THRESHOLD_", "131072"),
            ("PATH", "/usr/bin"),
            ("WAVESTORE_TOKEN_FILE", "/token"),
        ]);
        assert_eq!(
            names(&for_waved(&own)),
            ["H2O_WAVE_MAX_REQUEST_SIZE", "PATH"]
        );
        let app = for_app(&own, Path::new("/resources/venv"));
        assert_eq!(
            names(&app),
            [
                "DATABASE_PASSWORD",
                "H2O_CLOUD_INSTANCE_ID",
                "H2O_WAVE_MAX_REQUEST_SIZE",
                "PATH",
                "PYTHONUNBUFFERED",
                "VIRTUAL_ENV"
            ]
        );
        assert_eq!(
            app.get(OsStr::new("PATH")),
            Some(&text("/resources/venv/bin:/usr/bin"))
        );
    }
}

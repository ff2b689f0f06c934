//! Which images of their own apps may run (`[Runtime] CustomImage` in app.toml).

/// Images that a store allows. None, unless an admin says so: whoever publishes an app chooses what its pods execute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Images(Vec<String>);

impl Images {
    /// Those that begin with one of `allowed` that ends with `/`, and each other of `allowed` with any tag or digest.
    pub(crate) fn new(allowed: Vec<String>) -> Self {
        Self(allowed)
    }

    /// Whether apps may run this one. Names are compared as they are written: `python` and `docker.io/library/python` are two.
    pub(crate) fn allow(&self, image: &str) -> bool {
        self.0.iter().any(|allowed| {
            let rest = image.strip_prefix(allowed.as_str());
            rest.is_some_and(|rest| {
                let is_named = rest.starts_with(|c: char| c.is_ascii_alphanumeric());
                let is_version = rest.is_empty() || rest.starts_with([':', '@']);
                if allowed.ends_with('/') {
                    is_named && !rest.contains("..")
                } else {
                    is_version
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_allowed() {
        let images = Images::new(vec![
            "registry.example.com/apps/".to_owned(),
            "docker.io/rocker/shiny".to_owned(),
        ]);
        let cases = [
            ("registry.example.com/apps/sales:1", true),
            ("registry.example.com/apps/team/sales@sha256:00", true),
            ("registry.example.com/apps/", false),
            ("registry.example.com/apps/../other:1", false),
            ("registry.example.com/apps-of-others/sales", false),
            ("registry.example.com.evil.example/apps/sales", false),
            ("docker.io/rocker/shiny", true),
            ("docker.io/rocker/shiny:4", true),
            ("docker.io/rocker/shiny@sha256:00", true),
            ("docker.io/rocker/shiny-verse", false),
            ("rocker/shiny", false),
            ("", false),
        ];
        for (image, allowed) in cases {
            assert_eq!(images.allow(image), allowed, "{image}");
        }
        assert!(!Images::default().allow("anything"));
    }
}

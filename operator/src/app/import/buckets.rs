//! Which buckets bundles are read from. The operator reads them with its own rights, which whoever publishes has not: by default none.

use std::sync::Arc;

use url::Url;

/// The buckets, and folders of buckets, that may be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buckets {
    listed: Arc<[Bucket]>,
}

/// A bucket, or a folder in one: `s3://bucket/folder`, `gs://...` or `az://...`.
#[derive(Debug, Clone)]
pub(crate) struct Bucket(Url);

/// The address is below none of those that are listed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("it is in no bucket from which bundles are read")]
pub struct NotListed;

impl Buckets {
    pub(crate) fn new(listed: Vec<Bucket>) -> Self {
        Self {
            listed: listed.into(),
        }
    }

    /// Checks an address whose dots are resolved, as `Url` does it.
    pub(crate) fn check(&self, url: &Url) -> Result<(), NotListed> {
        let is_plain = is_bucket(url) && !url.path().contains(['%', '\\']);
        if is_plain && self.listed.iter().any(|bucket| bucket.holds(url)) {
            Ok(())
        } else {
            Err(NotListed)
        }
    }
}

impl Bucket {
    /// Reads the spelling of the setting.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        Url::parse(text).ok().filter(is_bucket).map(Self).ok_or(
            "write s3://<bucket>/<folder>, gs://<bucket>/<folder> or az://<container>/<folder>",
        )
    }

    fn holds(&self, url: &Url) -> bool {
        let Self(bucket) = self;
        let rest = url.path().strip_prefix(bucket.path().trim_end_matches('/'));
        bucket.scheme() == url.scheme()
            && bucket.host_str() == url.host_str()
            && rest.is_some_and(|rest| rest.starts_with('/') && !rest.ends_with('/'))
    }
}

/// Whether it is the plain address of something in a bucket, without user, port, query and fragment.
fn is_bucket(url: &Url) -> bool {
    ["s3", "gs", "az"].contains(&url.scheme())
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_but_what_is_below_a_listed_bucket() {
        let listed =
            ["s3://releases/apps/", "gs://all"].map(|text| Bucket::parse(text).expect(text));
        let buckets = Buckets::new(listed.to_vec());
        let cases = [
            ("s3://releases/apps/sales-1.0.0.wave", true),
            ("s3://releases/apps/sales/1.0.0.wave", true),
            ("gs://all/sales.wave", true),
            ("s3://releases/apps", false),
            ("s3://releases/apps/", false),
            ("s3://releases/appsecrets/sales.wave", false),
            ("s3://releases/sales.wave", false),
            ("s3://releases/apps/../secret", false),
            ("s3://releases/apps/%2e%2e/secret", false),
            ("s3://releases/apps/%2fsecret", false),
            ("s3://releases/apps/..\\secret", false),
            ("s3://RELEASES/apps/sales.wave", false),
            ("gs://releases/apps/sales.wave", false),
            ("s3://user:password@releases/apps/sales.wave", false),
            ("s3://releases:80/apps/sales.wave", false),
            ("s3://releases/apps/sales.wave?versionId=1", false),
            ("s3://releases/apps/sales.wave#part", false),
            ("https://releases/apps/sales.wave", false),
        ];
        for (url, allowed) in cases {
            let parsed: Url = url.parse().expect(url);
            assert_eq!(buckets.check(&parsed).is_ok(), allowed, "{url}");
        }
        let parsed = "s3://releases/apps/sales.wave".parse().expect("a url");
        assert_eq!(Buckets::default().check(&parsed), Err(NotListed));
    }

    #[test]
    fn a_setting_names_a_bucket() {
        for text in [
            "releases",
            "https://releases",
            "s3://",
            "s3:///folder",
            "s3://releases?x=1",
        ] {
            assert!(Bucket::parse(text).is_err(), "{text}");
        }
    }
}

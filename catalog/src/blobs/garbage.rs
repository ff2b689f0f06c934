//! Garbage: what is in the blob store, and nothing names any more. Deletions that were cut off leave it, and uploads whose `WaveApp` was
//! never made.
//!
//! What is young is kept, since it may be named in a moment: a bundle is stored before the `WaveApp` that names it. Therefore whoever
//! stores a bundle that nobody names yet writes it again when it has been there for long ([`REFRESH`]), and an object's age is asked
//! again before it is deleted.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use super::key::Belonging;
use super::{Blobs, ObjectKey, blob_error};
use crate::{Digest, EnvironmentKey, Error};

/// The shortest time for which an object may be kept that nobody names.
pub const LEAST_GRACE: Duration = Duration::from_hours(1);

/// From which age on a bundle is stored again. The other half of [`LEAST_GRACE`] is for whoever stores it to name it.
pub(super) const REFRESH: Duration = LEAST_GRACE.checked_div(2).expect("two is not zero");

/// All that is named by somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Bundles, with their pictures.
    pub bundles: HashSet<Digest>,
    /// Environments, with their locks.
    pub environments: HashSet<EnvironmentKey>,
}

/// An object that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    path: Path,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written last.
    pub written_at: DateTime<Utc>,
}

/// What is to become of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is named.
    Named,
    /// It is not named, and may be soon.
    Young,
    /// The store writes no such objects: it is not ours to delete.
    Foreign,
    /// Nobody misses it.
    Garbage,
}

impl Stored {
    /// Where it is in the store.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_ref()
    }

    /// What is to become of it, when what was written after `young` is kept.
    #[must_use]
    pub fn verdict(&self, names: &Names, young: DateTime<Utc>) -> Verdict {
        let is_named = match Belonging::of(&self.path) {
            None => return Verdict::Foreign,
            Some(Belonging::Bundle(digest) | Belonging::Picture(digest)) => {
                names.bundles.contains(&digest)
            }
            Some(Belonging::Environment(key)) => names.environments.contains(&key),
        };
        if is_named {
            Verdict::Named
        } else if self.written_at > young {
            Verdict::Young
        } else {
            Verdict::Garbage
        }
    }
}

impl From<ObjectMeta> for Stored {
    fn from(meta: ObjectMeta) -> Self {
        Self {
            path: meta.location,
            size: meta.size,
            written_at: meta.last_modified,
        }
    }
}

impl Blobs {
    /// Everything that is in the store, page by page, in no order. Each object may fail to be listed.
    pub fn stored(&self) -> BoxStream<'static, Result<Stored, Error>> {
        self.store
            .list(None)
            .map_ok(Stored::from)
            .map_err(|error| blob_error("list", &Path::default(), error))
            .boxed()
    }

    /// Whether what was found to be garbage still is: neither it, nor the bundle whose picture it is, was written after `young` meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_still_garbage(
        &self,
        garbage: &Stored,
        young: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let mut asked = vec![garbage.path.clone()];
        // An import that finds a picture leaves it as it is, and its bundle it has written again.
        if let Some(Belonging::Picture(digest)) = Belonging::of(&garbage.path) {
            asked.push(ObjectKey::Bundle(&digest).path()?);
        }
        for path in asked {
            if self.written_at(&path).await?.is_some_and(|at| at > young) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes what was found to be garbage, and still is. Returns whether it is gone.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_garbage(
        &self,
        garbage: &Stored,
        young: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let is_garbage = self.is_still_garbage(garbage, young).await?;
        if is_garbage {
            self.delete(&garbage.path).await?;
        }
        Ok(is_garbage)
    }

    async fn written_at(&self, path: &Path) -> Result<Option<DateTime<Utc>>, Error> {
        match self.store.head(path).await {
            Ok(found) => Ok(Some(found.last_modified)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(blob_error("look for", path, error)),
        }
    }
}

/// From when on a bundle that is there need not be stored again.
pub(super) fn fresh(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::from_std(REFRESH).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hour * 3600, 0).expect("a time")
    }

    /// What is to become of what is there, written at this hour, when the hour 2 is the last that is old.
    fn verdict(path: &str, names: &Names, written: i64) -> Verdict {
        let stored = Stored {
            path: Path::parse(path).expect("a path"),
            size: 1,
            written_at: hour(written),
        };
        stored.verdict(names, hour(2))
    }

    #[test]
    fn what_nobody_names_is_garbage_when_it_is_old() {
        let (kept, other) = (Digest::of(b"kept"), Digest::of(b"other"));
        let [used, unused] = [1, 2].map(|byte| EnvironmentKey::from_sha256([byte; 32]));
        let names = Names {
            bundles: HashSet::from([kept]),
            environments: HashSet::from([used]),
        };
        let bundle = |digest: Digest| format!("bundles/sha256/{}.wave", digest.hex());
        let picture = |digest: Digest| format!("assets/sha256/{}/icon.png", digest.hex());
        let environment = |key: EnvironmentKey| format!("envs/{key}");
        let cases = [
            ("a named bundle", bundle(kept), 1, Verdict::Named),
            ("a young named bundle", bundle(kept), 3, Verdict::Named),
            ("a named picture", picture(kept), 1, Verdict::Named),
            ("a used environment", environment(used), 1, Verdict::Named),
            ("a bundle of nobody", bundle(other), 1, Verdict::Garbage),
            ("of that very moment", bundle(other), 2, Verdict::Garbage),
            ("a picture of nobody", picture(other), 1, Verdict::Garbage),
            ("one unused", environment(unused), 1, Verdict::Garbage),
            ("a used lock", format!("locks/{used}"), 1, Verdict::Named),
            ("one unused", format!("locks/{unused}"), 1, Verdict::Garbage),
            ("a bundle just stored", bundle(other), 3, Verdict::Young),
            ("a picture just stored", picture(other), 3, Verdict::Young),
            ("one just stored", environment(unused), 3, Verdict::Young),
        ];
        for (case, path, written, wanted) in cases {
            assert_eq!(verdict(&path, &names, written), wanted, "{case}: {path}");
        }
    }

    #[test]
    fn what_the_store_does_not_write_is_left_alone() {
        let hex = Digest::of(b"other").hex();
        let paths = [
            "README".to_owned(),
            "backups/of.db".to_owned(),
            format!("bundles/sha256/{hex}.zip"),
            format!("bundles/sha256/{}.wave", hex.to_ascii_uppercase()),
            "bundles/sha256/ab.wave".to_owned(),
            format!("bundles/sha512/{hex}.wave"),
            format!("bundles/sha256/{hex}.wave/x"),
            format!("assets/sha256/{hex}"),
            format!("assets/sha256/{hex}/icon.png/x"),
            "envs/probe".to_owned(),
            format!("envs/{}/x", "ab".repeat(20)),
            "locks/probe".to_owned(),
        ];
        for path in paths {
            let found = verdict(&path, &Names::default(), 1);
            assert_eq!(found, Verdict::Foreign, "{path}");
        }
    }

    #[test]
    fn every_path_that_is_made_can_be_read() {
        let (digest, key) = (Digest::of(b"one"), EnvironmentKey::from_sha256([7; 32]));
        let cases = [
            (ObjectKey::Bundle(&digest), Belonging::Bundle(digest)),
            (ObjectKey::Environment(&key), Belonging::Environment(key)),
            (ObjectKey::Lock(&key), Belonging::Environment(key)),
            (
                ObjectKey::Asset(&digest, "icon.png"),
                Belonging::Picture(digest),
            ),
            (
                ObjectKey::Asset(&digest, "a b (ä) #1 100%.png"),
                Belonging::Picture(digest),
            ),
            (ObjectKey::Asset(&digest, "~"), Belonging::Picture(digest)),
        ];
        for (key, belonging) in cases {
            let path = key.path().expect("a path");
            assert_eq!(Belonging::of(&path), Some(belonging), "{path}");
        }
    }
}

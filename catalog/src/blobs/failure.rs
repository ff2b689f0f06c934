//! What a failing blob store tells, and what to do about it.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::iter::successors;

use object_store::Error as Refusal;
use object_store::path::Path;

use crate::{Cause, Error};

/// `task` failed on the object at `path`.
pub(super) fn blob_error(task: &'static str, path: &Path, source: impl Into<Cause>) -> Error {
    Error::Blob {
        task,
        path: path.to_string(),
        source: source.into(),
    }
}

/// The next step after an [`Error::Blob`] with this cause.
pub(crate) fn hint(cause: &Cause) -> &'static str {
    let first: &(dyn StdError + 'static) = &**cause;
    let kind = successors(Some(first), |error| (*error).source())
        .find_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    // A folder's troubles are the system's.
    if let Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) = kind {
        return "make room on the blob store's volume, or enlarge it; `wavestore-router blobs gc` removes what nobody names";
    }
    if let Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) = kind {
        return "mount the blob store's volume for writing, and let this process's user read and write there";
    }
    match first.downcast_ref() {
        Some(Refusal::PermissionDenied { .. } | Refusal::Unauthenticated { .. }) => {
            "let the blob store's credentials read, write, list and delete objects of the bucket, and see that it takes writes and is \
             not over its quota"
        }
        Some(Refusal::NotFound { .. }) => {
            "make the bucket, or correct its name in the blob store's URL"
        }
        _ => "see that the blob store runs, can be reached from here and has room, then try again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_follows_from_the_cause() {
        let io = |kind: ErrorKind| Cause::from(io::Error::from(kind));
        // As a folder wraps them.
        let folder = |kind| {
            Cause::from(object_store::Error::Generic {
                store: "LocalFileSystem",
                source: io(kind),
            })
        };
        let path = || "bundles/x".to_owned();
        let source = || Cause::from("the store's words");
        let cases = [
            (folder(ErrorKind::StorageFull), "make room"),
            (io(ErrorKind::QuotaExceeded), "make room"),
            (folder(ErrorKind::ReadOnlyFilesystem), "for writing"),
            (io(ErrorKind::PermissionDenied), "for writing"),
            (folder(ErrorKind::TimedOut), "can be reached"),
            (
                Cause::from(object_store::Error::PermissionDenied {
                    path: path(),
                    source: source(),
                }),
                "credentials",
            ),
            (
                Cause::from(object_store::Error::Unauthenticated {
                    path: path(),
                    source: source(),
                }),
                "credentials",
            ),
            (
                Cause::from(object_store::Error::NotFound {
                    path: path(),
                    source: source(),
                }),
                "make the bucket",
            ),
            (source(), "can be reached"),
        ];
        for (cause, wanted) in cases {
            let told = hint(&cause);
            assert!(told.contains(wanted), "{cause:?}: {told}");
        }
    }
}

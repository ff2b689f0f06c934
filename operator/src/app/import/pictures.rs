//! An app's pictures: made anew by the `pictures` crate, one at a time, and kept beside the bundle under names that their bytes tell.
//!
//! What was made is written down in an index beside them, last of all. So it is made once for each bundle, not at each import, and once more
//! when a later release makes it in another way.

use std::collections::HashSet;
use std::sync::Arc;

use bundle::Bundle;
use catalog::{Digest, Picture, Rendition};
use futures::TryStreamExt;
use pictures::{Kind, RECIPE};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Error, Fetched, Importer};

/// Most bytes of an index. Eleven pictures in three sizes take a tenth of it.
const INDEX_BYTES: u64 = 64 << 10;

/// The pictures of one bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pictures {
    pub(crate) icon: Option<Picture>,
    pub(crate) screenshots: Vec<Picture>,
    /// What was left out, and why.
    pub(crate) warnings: Vec<String>,
}

impl Pictures {
    /// Whether all that it names is there.
    fn are_in(&self, names: &HashSet<String>) -> bool {
        self.icon
            .iter()
            .chain(&self.screenshots)
            .flat_map(|picture| &picture.renditions)
            .all(|rendition| names.contains(&rendition.name))
    }
}

impl Importer {
    /// The pictures of a bundle, which are made and stored unless they are there. A picture that cannot be shown is left out with a warning.
    pub(crate) async fn pictures(
        &self,
        fetched: &Fetched,
        bundle: &Bundle,
    ) -> Result<Pictures, Error> {
        let mut pictures = Pictures::default();
        if bundle.icon.is_none() && bundle.screenshots.is_empty() {
            return Ok(pictures);
        }
        let name = format!("pictures-{RECIPE}.json");
        if let Some(kept) = self.kept(&fetched.digest, &name).await? {
            return Ok(kept);
        }
        let icons = bundle.icon.iter().map(|icon| (Kind::Icon, icon));
        let screenshots = bundle.screenshots.iter();
        let screenshots = screenshots.map(|screenshot| (Kind::Screenshot, screenshot));
        for (kind, source) in icons.chain(screenshots) {
            let made = match self.make(fetched, source, kind).await? {
                Ok(renditions) => Picture::of(self.store(&fetched.digest, renditions).await?),
                Err(reason) => {
                    let path = &source.path;
                    let warning = format!("`{path}` is left out: {reason}");
                    pictures.warnings.push(warning);
                    None
                }
            };
            match kind {
                Kind::Icon => pictures.icon = made,
                Kind::Screenshot => pictures.screenshots.extend(made),
            }
        }
        let index =
            serde_json::to_vec(&pictures).map_err(|error| Error::Temporary(error.into()))?;
        self.blobs
            .put_asset(&fetched.digest, &name, index.into())
            .await?;
        Ok(pictures)
    }

    /// What an earlier import has made, if all of it is there.
    async fn kept(&self, digest: &Digest, name: &str) -> Result<Option<Pictures>, Error> {
        let names = self.blobs.asset_names(digest).await?;
        if !names.contains(name) {
            return Ok(None);
        }
        let Some(index) = self.blobs.asset(digest, name).await? else {
            return Ok(None);
        };
        if index.size > INDEX_BYTES {
            return Ok(None);
        }
        let bytes: Vec<u8> = index
            .stream
            .try_fold(Vec::new(), async |mut bytes, piece| {
                bytes.extend_from_slice(&piece);
                Ok(bytes)
            })
            .await?;
        let kept: Option<Pictures> = serde_json::from_slice(&bytes).ok();
        Ok(kept.filter(|kept| kept.are_in(&names)))
    }

    /// The renditions of one picture, or why there are none. Only one picture at a time is in memory.
    async fn make(
        &self,
        fetched: &Fetched,
        picture: &bundle::Picture,
        kind: Kind,
    ) -> Result<Result<Vec<pictures::Rendition>, String>, Error> {
        let permit = Arc::clone(&self.one_picture).acquire_owned().await;
        let file = fetched.file.reopen().map_err(Error::Temporary)?;
        let (limits, source) = (self.limits, picture.clone());
        let made = tokio::task::spawn_blocking(move || {
            // Whoever waits may be gone before it is done.
            let _permit = permit;
            let bytes = source.bytes(std::io::BufReader::new(file), &limits)?;
            let renditions = pictures::shrink(&bytes, source.format, kind);
            Ok::<_, bundle::Error>(renditions.map_err(|error| error.to_string()))
        });
        match made.await {
            Ok(made) => Ok(made?),
            Err(panic) => {
                let path = &picture.path;
                warn!(
                    error = &panic as &dyn std::error::Error,
                    bundle.digest = %fetched.digest,
                    "The decoder of pictures gave up on {path}"
                );
                Ok(Err("it cannot be read: the decoder gave up".to_owned()))
            }
        }
    }

    async fn store(
        &self,
        digest: &Digest,
        renditions: Vec<pictures::Rendition>,
    ) -> Result<Vec<Rendition>, Error> {
        let mut stored = Vec::new();
        for rendition in renditions {
            let pictures::Rendition {
                width,
                height,
                format,
                bytes,
            } = rendition;
            let hex = Digest::of(&bytes).hex();
            let name = format!("{}.{}", &hex[..32], format.extension());
            self.blobs.put_asset(digest, &name, bytes.into()).await?;
            stored.push(Rendition {
                name,
                width,
                height,
            });
        }
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};
    use std::path::Path;
    use std::time::Duration;

    use bundle::{EnvRules, Limits};
    use catalog::Blobs;
    use image::{DynamicImage, ImageFormat};
    use tempfile::{NamedTempFile, TempDir};
    use tokio::sync::Semaphore;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::app::import::{Buckets, Hosts};

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height)
            .write_to(&mut bytes, ImageFormat::Png)
            .expect("encoded");
        bytes.into_inner()
    }

    fn fetched(pictures: &[(&str, &[u8])]) -> Fetched {
        let app = b"[App]\nName = \"shown\"\nVersion = \"1.0.0\"\nTitle = \"Shown\"\n[Runtime]\nModule = \"app\"\n";
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in [("app.toml", &app[..]), ("app.py", b"")]
            .iter()
            .chain(pictures)
        {
            zip.start_file(*name, SimpleFileOptions::default())
                .expect("a file");
            zip.write_all(content).expect("written");
        }
        let bytes = zip.finish().expect("an archive").into_inner();
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(&bytes).expect("written");
        Fetched {
            file,
            digest: Digest::of(&bytes),
        }
    }

    fn importer(folder: &Path) -> Importer {
        Importer {
            import_dir: folder.to_owned(),
            hosts: Hosts::default(),
            buckets: Buckets::default(),
            registry_config: None,
            digest_required: true,
            timeout: Duration::from_secs(1),
            limits: Limits::default(),
            rules: EnvRules::default(),
            blobs: Blobs::open(&format!("file://{}", folder.display())).expect("blobs"),
            one_picture: Arc::new(Semaphore::new(1)),
        }
    }

    #[tokio::test]
    async fn pictures_are_made_once_and_what_cannot_be_shown_is_left_out() {
        let folder = TempDir::new().expect("a folder");
        let importer = importer(folder.path());
        let (icon, shot, large) = (png(300, 300), png(1000, 500), png(4000, 4000));
        let fetched = fetched(&[
            ("static/icon.jpg", &icon),
            ("static/screenshot1.png", &shot),
            ("static/screenshot2.png", &shot[..100]),
            ("static/screenshot3.png", &large),
            ("static/screenshot4.svg", b"<svg/>"),
        ]);
        let bundle = importer.read(&fetched).await.expect("a bundle");
        let made = importer.pictures(&fetched, &bundle).await.expect("made");
        let widths = |picture: &Picture| -> Vec<u32> {
            let renditions = picture.renditions.iter();
            renditions.map(|rendition| rendition.width).collect()
        };
        assert_eq!(made.icon.as_ref().map(widths), Some(vec![64, 128, 256]));
        let screenshots: Vec<Vec<u32>> = made.screenshots.iter().map(widths).collect();
        assert_eq!(screenshots, [[480, 960, 1000]]);
        let [damaged, large] = &made.warnings[..] else {
            panic!("{:?}", made.warnings);
        };
        let damaged_begins = "`static/screenshot2.png` is left out: it cannot be read: ";
        assert!(damaged.starts_with(damaged_begins), "{damaged}");
        assert_eq!(
            large,
            "`static/screenshot3.png` is left out: it has 4000 × 4000 pixels, which take 72 MiB to read; a picture may take 52 MiB"
        );

        let names = importer.blobs.asset_names(&fetched.digest).await;
        let names = names.expect("names");
        assert!(
            made.are_in(&names) && names.contains("pictures-1.json"),
            "{names:?}"
        );
        let assets = folder
            .path()
            .join("assets/sha256")
            .join(fetched.digest.hex());
        let lost = assets.join(&made.screenshots[0].name);

        // The second time the index is believed, and no picture is made.
        let index = assets.join("pictures-1.json");
        let told = std::fs::read_to_string(&index).expect("an index");
        std::fs::write(&index, told.replace("screenshot2", "screenshot9")).expect("written");
        let again = importer.pictures(&fetched, &bundle).await.expect("kept");
        assert!(
            again.warnings[0].contains("screenshot9"),
            "{:?}",
            again.warnings
        );

        // A deletion that was cut off may leave the index without the pictures.
        std::fs::remove_file(&lost).expect("deleted");
        let again = importer.pictures(&fetched, &bundle).await.expect("made");
        assert_eq!(again, made);
        assert!(lost.is_file());
    }
}

//! How large an archive may be, packed and unpacked.

/// Bounds on an archive. All are checked against bytes really read or inflated, not against what
/// the archive says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files and folders. Default: 20,000.
    pub entries: u64,
    /// Most bytes that all files may inflate to. Default: 2 GiB.
    pub total_bytes: u64,
    /// Most bytes that one file may inflate to. Default: 1 GiB.
    pub entry_bytes: u64,
    /// Most times the archive's own size that its files may inflate to, once they pass
    /// [`Limits::RATIO_FREE_BYTES`]. Default: 200; deflate itself ends near 1,030.
    pub ratio: u64,
    /// Most bytes of the archive itself. Default: 512 MiB.
    pub archive_bytes: u64,
}

impl Limits {
    /// Bytes that any archive may inflate to whatever its ratio: a small bundle full of zeros
    /// harms nobody.
    pub const RATIO_FREE_BYTES: u64 = 16 << 20;

    /// Most bytes of `app.toml`. It ends up in Kubernetes objects, which are no larger.
    pub const MANIFEST_BYTES: u64 = 1 << 20;

    /// Most bytes of an icon or a screenshot; larger ones are left out with a warning.
    pub const PICTURE_BYTES: u64 = 4 << 20;

    /// Most screenshots; the rest is left out with a warning.
    pub const SCREENSHOTS: usize = 10;

    /// Most bytes of `requirements.txt`; for a larger one no environment is built at import.
    pub const REQUIREMENTS_BYTES: u64 = 1 << 20;

    /// Most bytes of `packages.txt`; a larger one is refused.
    pub const PACKAGES_BYTES: u64 = 64 << 10;

    /// Most bytes of the long description; a larger one is left out with a warning.
    pub const LONG_DESCRIPTION_BYTES: u64 = 256 << 10;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 20_000,
            total_bytes: 2 << 30,
            entry_bytes: 1 << 30,
            ratio: 200,
            archive_bytes: 512 << 20,
        }
    }
}

//! `Kind`: which sizes a picture is made in.

/// What a picture is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The square beside an app's title.
    Icon,
    /// A picture on the app's page.
    Screenshot,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Size {
    pub(crate) fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    pub(crate) fn turned(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
        }
    }

    /// This size, or the largest of the same shape that is at most `width` wide and twice as high.
    fn within(self, width: u32) -> Self {
        let height = width * 2;
        if self.width <= width && self.height <= height {
            return self;
        }
        let (w, h) = (u64::from(self.width), u64::from(self.height));
        let scaled = if w * u64::from(height) >= h * u64::from(width) {
            (u64::from(width), h * u64::from(width) / w)
        } else {
            (w * u64::from(height) / h, u64::from(height))
        };
        let side = |side: u64| u32::try_from(side).unwrap_or(u32::MAX).max(1);
        Self {
            width: side(scaled.0),
            height: side(scaled.1),
        }
    }
}

impl Kind {
    fn widths(self) -> [u32; 3] {
        match self {
            Self::Icon => [64, 128, 256],
            Self::Screenshot => [480, 960, 1600],
        }
    }

    /// The sizes in which a picture of this size is made, the smallest first. None is larger than the picture: icons are cut to the
    /// square in their middle, of screenshots all is kept.
    pub(crate) fn sizes(self, of: Size) -> Vec<Size> {
        let mut sizes: Vec<Size> = self
            .widths()
            .into_iter()
            .map(|width| match self {
                Self::Icon => {
                    let side = width.min(of.width).min(of.height);
                    Size {
                        width: side,
                        height: side,
                    }
                }
                Self::Screenshot => of.within(width),
            })
            .collect();
        sizes.dedup();
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rendition_is_larger_than_the_picture_or_of_another_shape() {
        type Sides = (u32, u32);
        let cases: [(Kind, Sides, &[Sides]); 9] = [
            (Kind::Icon, (512, 512), &[(64, 64), (128, 128), (256, 256)]),
            (Kind::Icon, (400, 100), &[(64, 64), (100, 100)]),
            (Kind::Icon, (16, 32), &[(16, 16)]),
            (
                Kind::Screenshot,
                (3200, 2000),
                &[(480, 300), (960, 600), (1600, 1000)],
            ),
            (
                Kind::Screenshot,
                (1000, 500),
                &[(480, 240), (960, 480), (1000, 500)],
            ),
            (
                Kind::Screenshot,
                (1170, 2532),
                &[(443, 960), (887, 1920), (1170, 2532)],
            ),
            (Kind::Screenshot, (100, 400), &[(100, 400)]),
            (
                Kind::Screenshot,
                (1, 100_000),
                &[(1, 960), (1, 1920), (1, 3200)],
            ),
            (
                Kind::Screenshot,
                (u32::MAX, 1),
                &[(480, 1), (960, 1), (1600, 1)],
            ),
        ];
        for (kind, (width, height), expected) in cases {
            let sizes: Vec<_> = kind
                .sizes(Size { width, height })
                .into_iter()
                .map(|size| (size.width, size.height))
                .collect();
            assert_eq!(sizes, expected, "{kind:?} of {width} × {height}");
        }
    }
}

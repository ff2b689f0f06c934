//! `Color`: a colour as pages may show it, and nothing else.

use std::fmt;
use std::str::FromStr;

/// A colour in sRGB, written as `#` and six hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color([u8; 3]);

/// A text that is no [`Color`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour is `#` and six hexadecimal digits, such as `#0b5cad`")]
pub struct InvalidColor;

impl Default for Color {
    /// A grey that stands out from light and from dark.
    fn default() -> Self {
        Self([0x6b, 0x77, 0x85])
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([red, green, blue]) = self;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl FromStr for Color {
    type Err = InvalidColor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('#').ok_or(InvalidColor)?;
        let is_hex = |digit: u8| digit.is_ascii_hexdigit();
        if digits.len() != 6 || !digits.bytes().all(is_hex) {
            return Err(InvalidColor);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| InvalidColor)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_six_digits_and_nothing_else() {
        let cases = [
            ("#0b5cad", Some("#0b5cad")),
            ("#0B5CAD", Some("#0b5cad")),
            ("#000000", Some("#000000")),
            ("", None),
            ("#", None),
            ("0b5cad", None),
            ("#fff", None),
            ("#0b5cad00", None),
            ("#+b5cad", None),
            ("#0b5ca ", None),
            ("#ééé", None),
            ("red", None),
            ("#0b5cad;background:url(//evil.example.com)", None),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Color>().ok().map(|color| color.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}

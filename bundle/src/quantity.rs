//! Kubernetes quantities, such as `500m`, `2Gi` or `1.5`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// An amount of memory, storage or CPU as Kubernetes writes it. Never negative.
///
/// Equality is by text, order by amount.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Quantity {
    text: String,
    nanos: u128,
}

/// A text that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Kubernetes quantity")]
pub struct NotQuantity;

const NANOS: u128 = 1_000_000_000;

impl Quantity {
    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Compares the amounts: `1Gi` equals `1024Mi`.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }

    /// Whether the amount is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// The amount in whole units (bytes or cores), rounded up as Kubernetes does.
    #[must_use]
    pub fn units(&self) -> u128 {
        self.nanos.div_ceil(NANOS)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Quantity {
    type Err = NotQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix('+').unwrap_or(text);
        let end = number
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(number.len());
        let (number, suffix) = number.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // 18 digits before and after the point are more than any machine has, and keep the sums in range.
        if (whole.is_empty() && fraction.is_empty())
            || fraction.contains('.')
            || whole.len() > 18
            || fraction.len() > 18
        {
            return Err(NotQuantity);
        }
        let mantissa: u128 = format!("{whole}{fraction}")
            .parse()
            .map_err(|_| NotQuantity)?;
        let places = i32::try_from(fraction.len()).map_err(|_| NotQuantity)?;
        let (binary, decimal) = scale(suffix).ok_or(NotQuantity)?;
        // Amount = mantissa * 2^binary * 10^(decimal - places); in nanos another 10^9.
        let exponent = decimal - places + 9;
        let scaled = mantissa.checked_mul(1 << binary).ok_or(NotQuantity)?;
        let power = 10_u128
            .checked_pow(exponent.unsigned_abs())
            .ok_or(NotQuantity)?;
        let nanos = if exponent < 0 {
            scaled.div_ceil(power)
        } else {
            scaled.checked_mul(power).ok_or(NotQuantity)?
        };
        Ok(Self {
            text: text.to_owned(),
            nanos,
        })
    }
}

/// The powers of two and of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    let scale = match suffix {
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "" => (0, 0),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.trim_start_matches(['+', '-']);
            let short = digits.len() <= 2 && exponent.len() <= digits.len() + 1;
            (0, exponent.parse().ok().filter(|_| short)?)
        }
    };
    Some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_kubernetes_reads_them() {
        let cases = [
            ("2Gi", Some(2 << 30)),
            ("2G", Some(2_000_000_000)),
            ("500Mi", Some(500 << 20)),
            ("1.5", Some(2)),
            ("500m", Some(1)),
            ("0", Some(0)),
            ("1e3", Some(1000)),
            ("1E-3", Some(1)),
            ("1E", Some(1_000_000_000_000_000_000)),
            (".5Gi", Some(512 << 20)),
            ("5.", Some(5)),
            ("+1", Some(1)),
            ("12Ei", Some(12 << 60)),
            ("", None),
            (".", None),
            ("-1", None),
            ("2GB", None),
            ("2gi", None),
            ("2 Gi", None),
            ("1.2.3", None),
            ("1e+-3", None),
            ("1e999", None),
            ("9999999999999999999", None),
            ("two", None),
        ];
        for (text, units) in cases {
            assert_eq!(
                text.parse::<Quantity>().ok().map(|q| q.units()),
                units,
                "{text}"
            );
        }
    }

    #[test]
    fn order_is_by_amount() {
        let quantity = |text: &str| text.parse::<Quantity>().expect("a quantity");
        assert_eq!(
            quantity("1Gi").compare(&quantity("1024Mi")),
            Ordering::Equal
        );
        assert_eq!(quantity("500m").compare(&quantity("1")), Ordering::Less);
        assert_eq!(quantity("2G").compare(&quantity("2Gi")), Ordering::Less);
    }
}

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

    /// The amount in thousandths of a unit, such as millicores, rounded up.
    #[must_use]
    pub fn millis(&self) -> u128 {
        self.nanos.div_ceil(NANOS / 1000)
    }
}

/// Bytes for people, and of how many, where that is known: `212 MiB of 1 GiB`, `1.46 GiB`.
#[must_use]
pub fn bytes_words(bytes: u64, limit: Option<u64>) -> String {
    used_of(readable(bytes), limit.map(readable))
}

/// CPU for people, in cores, and of how many, where that is known: `0.03 of 1 CPU`, `1.5 CPU`.
#[must_use]
pub fn cpu_words(millicores: u64, limit: Option<u64>) -> String {
    let cores = |millis: u64| decimal(millis / 1000, millis % 1000, 3);
    format!("{} CPU", used_of(cores(millicores), limit.map(cores)))
}

fn used_of(used: String, limit: Option<String>) -> String {
    match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used,
    }
}

/// In the largest unit of which there is one: whole kibibytes and mebibytes, and hundredths of what is larger.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = bytes.checked_ilog2().unwrap_or_default() / 10;
    let steps: u128 = if power < 3 { 1 } else { 100 };
    let unit = 1_u128 << (10 * power);
    let rounded = (u128::from(bytes) * steps + unit / 2) / unit;
    let (whole, fraction) = (rounded / steps, rounded % steps);
    let number = if power < 3 {
        whole.to_string()
    } else {
        decimal(whole, fraction, 2)
    };
    format!("{number} {}", UNITS[power as usize])
}

/// A number with so many places, without the zeros at its end.
fn decimal(whole: impl fmt::Display, fraction: impl fmt::Display, places: usize) -> String {
    let number = format!("{whole}.{fraction:0>places$}");
    number
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
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
    fn thousandths_are_rounded_up() {
        let cases = [
            ("2500000n", 3),
            ("30m", 30),
            ("1", 1000),
            ("1.5", 1500),
            ("0", 0),
            ("1n", 1),
        ];
        for (text, millis) in cases {
            let quantity: Quantity = text.parse().expect("a quantity");
            assert_eq!(quantity.millis(), millis, "{text}");
        }
    }

    #[test]
    fn amounts_are_told_as_people_say_them() {
        let bytes = [
            (0, None, "0 B"),
            (1023, None, "1023 B"),
            (1024, None, "1 KiB"),
            (212 << 20, Some(1 << 30), "212 MiB of 1 GiB"),
            ((212 << 20) + (1 << 19), None, "213 MiB"),
            ((1 << 30) - 1, None, "1024 MiB"),
            (1500 << 20, None, "1.46 GiB"),
            (3 << 29, Some(0), "1.5 GiB of 0 B"),
            (10 << 30, None, "10 GiB"),
            (u64::MAX, None, "16 EiB"),
        ];
        for (used, limit, words) in bytes {
            assert_eq!(bytes_words(used, limit), words, "{used}");
        }
        let cpu = [
            (0, Some(100), "0 of 0.1 CPU"),
            (3, None, "0.003 CPU"),
            (30, Some(1000), "0.03 of 1 CPU"),
            (1500, Some(2000), "1.5 of 2 CPU"),
            (10_000, None, "10 CPU"),
        ];
        for (used, limit, words) in cpu {
            assert_eq!(cpu_words(used, limit), words, "{used}");
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

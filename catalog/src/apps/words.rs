//! The words by which apps are found: alike for what is stored and for what is searched, and for both databases.
//!
//! Databases cut texts into words in ways of their own, and none of them knows where a Chinese word ends. So they get words
//! that are cut here, and look for those. Whoever changes how words are cut has to cut those of all apps anew, by a migration.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// What counts of a long word, in letters.
const MAX_LETTERS: usize = 64;

/// What counts of a long text, in bytes of its words. Postgres takes no more than 1 MiB.
const MAX_BYTES: usize = 256 << 10;

/// What counts of a long search, in words.
const MAX_SEARCHED: usize = 16;

/// The different words of these texts, for a database's index, with blanks between them.
pub(crate) fn index<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut seen = HashSet::new();
    let mut index = String::new();
    for text in texts {
        for piece in pieces(text) {
            let words = match piece {
                Piece::Word(word) => vec![word],
                // Any part of it may be searched for: its last letter is where no pair begins.
                Piece::Unspaced(letters) => {
                    let last = letters.last().map(ToString::to_string);
                    pairs(&letters).chain(last).collect()
                }
            };
            for word in words {
                if index.len() + word.len() >= MAX_BYTES {
                    return index;
                }
                if !seen.contains(&word) {
                    if !index.is_empty() {
                        index.push(' ');
                    }
                    index.push_str(&word);
                    seen.insert(word);
                }
            }
        }
    }
    index
}

/// The beginnings of words that all have to be among those of an [`index`], for this text to be found. None: whatever is there.
pub(crate) fn searched(text: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    pieces(text)
        .flat_map(|piece| match piece {
            Piece::Word(word) => vec![word],
            Piece::Unspaced(letters) if letters.len() == 1 => vec![letters[0].to_string()],
            Piece::Unspaced(letters) => pairs(&letters).collect(),
        })
        .filter(|word| seen.insert(word.clone()))
        .take(MAX_SEARCHED)
        .collect()
}

enum Piece {
    /// What stands between blanks or signs.
    Word(String),
    /// A run of letters of a script that writes no blanks between words, at least one.
    Unspaced(Vec<char>),
}

fn pairs(letters: &[char]) -> impl Iterator<Item = String> {
    letters.windows(2).map(|pair| pair.iter().collect())
}

/// Cuts a text at everything that is neither letter nor digit, without case and accents.
fn pieces(text: &str) -> impl Iterator<Item = Piece> {
    let mut letters = fold(text).peekable();
    std::iter::from_fn(move || {
        loop {
            let first = letters.next_if(|letter| class(*letter) == Class::Sign);
            if first.is_some() {
                continue;
            }
            let class_ = class(*letters.peek()?);
            let mut run = Vec::new();
            while let Some(letter) = letters.next_if(|letter| class(*letter) == class_) {
                run.push(letter);
            }
            if class_ == Class::Unspaced {
                return Some(Piece::Unspaced(run));
            }
            // A mark alone, such as an emoji's, is no word.
            if run.iter().any(|letter| letter.is_alphanumeric()) {
                return Some(Piece::Word(run.into_iter().take(MAX_LETTERS).collect()));
            }
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Unspaced,
    Sign,
}

fn class(letter: char) -> Class {
    match letter {
        // Thai and Lao, Burmese, Khmer, Chinese and Japanese.
        '\u{0e00}'..='\u{0eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{2fdf}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3041}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}' => Class::Unspaced,
        letter if letter.is_alphanumeric() || is_combining_mark(letter) => Class::Letter,
        _ => Class::Sign,
    }
}

/// One spelling for what people take for the same: `É` is `e`, `ｶﾞ` is `ガ`, `ﬁ` is `fi`.
fn fold(text: &str) -> impl Iterator<Item = char> {
    text.nfkd()
        .flat_map(char::to_lowercase)
        // Accents of Latin, Greek and Cyrillic. Marks of other scripts make other letters.
        .filter(|letter| !matches!(letter, '\u{0300}'..='\u{036f}'))
        .map(|letter| if letter == 'ς' { 'σ' } else { letter })
        .nfc()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_cut_into_words() {
        let cases = [
            ("", "", ""),
            (
                "Sales Forecast 2026",
                "sales forecast 2026",
                "sales forecast 2026",
            ),
            ("h2o-sales, v1.0", "h2o sales v1 0", "h2o sales v1 0"),
            ("sales SALES Sales", "sales", "sales"),
            (
                "Überblick naïve ÉCOLE",
                "uberblick naive ecole",
                "uberblick naive ecole",
            ),
            (
                "Žluťoučký ŁÓDŹ Ёлка",
                "zlutoucky łodz елка",
                "zlutoucky łodz елка",
            ),
            (
                "İstanbul ΟΔΟΣ οδός ﬁnance",
                "istanbul οδοσ finance",
                "istanbul οδοσ finance",
            ),
            ("売上予測", "売上 上予 予測 測", "売上 上予 予測"),
            ("売", "売", "売"),
            ("売上dashboard2", "売上 上 dashboard2", "売上 dashboard2"),
            (
                "ﾀﾞｯｼｭ・ボード",
                "ダッ ッシ シュ ュ ボー ード ド",
                "ダッ ッシ シュ ボー ード",
            ),
            ("판매 예측", "판매 예측", "판매 예측"),
            ("ยอดขาย", "ยอ อด ดข ขา าย ย", "ยอ อด ดข ขา าย"),
            ("बिक्री", "बिक्री", "बिक्री"),
            ("مبيعات ۲۰۲۶", "مبيعات ۲۰۲۶", "مبيعات ۲۰۲۶"),
            ("🚀 ❤\u{fe0f} -- '\" \\ \0 %_*:&|!()", "", ""),
            (
                "' OR 1=1; DROP TABLE apps",
                "or 1 drop table apps",
                "or 1 drop table apps",
            ),
        ];
        for (text, stored, wanted) in cases {
            assert_eq!(index([text]), stored, "{text}");
            assert_eq!(searched(text).join(" "), wanted, "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut_short() {
        let long = "x".repeat(1000);
        assert_eq!(index([long.as_str()]).chars().count(), MAX_LETTERS);
        assert_eq!(searched(&long), [index([long.as_str()])]);
        let many: Vec<String> = (0..200_000).map(|number| number.to_string()).collect();
        let many = many.join(" ");
        assert!(index([many.as_str()]).len() < MAX_BYTES);
        assert_eq!(searched(&many).len(), MAX_SEARCHED);
    }

    proptest! {
        /// Nothing that a database's own language could take for a sign is left of any text.
        #[test]
        fn words_are_letters_alone(text in any::<String>()) {
            for word in searched(&text) {
                prop_assert!(!word.is_empty());
                prop_assert!(word.chars().all(|letter| !letter.is_ascii() || letter.is_ascii_alphanumeric()), "{word}");
                prop_assert!(!word.contains(char::is_whitespace), "{word}");
            }
        }

        #[test]
        fn a_text_is_found_by_itself(text in any::<String>()) {
            let index = index([text.as_str()]);
            for word in searched(&text) {
                prop_assert!(index.split(' ').any(|stored| stored.starts_with(&word)), "{word} in {index}");
            }
        }
    }
}

//! What publishers write about their apps, in Markdown (`CommonMark` with tables and strikethrough).

use std::fmt;

use askama::filters::HtmlSafe;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use url::Url;

/// HTML of a Markdown text. None of its tags are the publisher's own, it loads nothing, and its links lead to websites and mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Markdown(String);

impl Markdown {
    /// HTML in the text is shown as it is written, a picture by what is said to describe it.
    pub(super) fn of(text: &str) -> Self {
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
        // Whether the links that begin and have not ended are kept.
        let mut links = Vec::new();
        let events = Parser::new_ext(text, options).filter_map(|event| match event {
            Event::Start(Tag::Link { ref dest_url, .. }) => {
                links.push(leads_out(dest_url));
                links.last()?.then_some(event)
            }
            Event::End(TagEnd::Link) => links.pop()?.then_some(event),
            Event::Start(Tag::Image { .. } | Tag::HtmlBlock)
            | Event::End(TagEnd::Image | TagEnd::HtmlBlock) => None,
            Event::Html(tags) | Event::InlineHtml(tags) => as_text(tags),
            Event::Start(Tag::Heading { level, .. }) => Some(Event::Start(Tag::Heading {
                level: below_ours(level),
                id: None,
                classes: Vec::new(),
                attrs: Vec::new(),
            })),
            Event::End(TagEnd::Heading(level)) => {
                Some(Event::End(TagEnd::Heading(below_ours(level))))
            }
            event => Some(event),
        });
        let mut words = String::new();
        html::push_html(&mut words, events);
        Self(words)
    }
}

impl fmt::Display for Markdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markdown {}

/// Files of a bundle have no address, and other schemes run something.
fn leads_out(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "mailto"))
}

/// A tag as text. Comments are for nobody, and a line break means just that.
fn as_text(tags: CowStr<'_>) -> Option<Event<'_>> {
    let tag = tags.trim();
    if tag.starts_with("<!--") && tag.ends_with("-->") {
        None
    } else if matches!(tag, "<br>" | "<br/>" | "<br />") {
        Some(Event::HardBreak)
    } else {
        Some(Event::Text(tags))
    }
}

/// The page has a title, and so has the section.
fn below_ours(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_becomes_html() {
        let cases = [
            ("# Sales\ntext", "<h3>Sales</h3>\n<p>text</p>\n"),
            ("###### deep", "<h6>deep</h6>\n"),
            (
                "a *b* ~~c~~ `d`",
                "<p>a <em>b</em> <del>c</del> <code>d</code></p>\n",
            ),
            (
                "[docs](https://example.com/?a=1&b=\"2\")",
                "<p><a href=\"https://example.com/?a=1&amp;b=%222%22\">docs</a></p>\n",
            ),
            (
                "<mailto:team@example.com>",
                "<p><a href=\"mailto:team@example.com\">mailto:team@example.com</a></p>\n",
            ),
            ("one<br>two", "<p>one<br />\ntwo</p>\n"),
            ("a <!-- note --> b", "<p>a  b</p>\n"),
            ("![a *plot*](plot.png)", "<p>a <em>plot</em></p>\n"),
            (
                "|a|b|\n|-|-|\n|1|2|",
                "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>\n<tr><td>1</td><td>2</td></tr>\n</tbody></table>\n",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Markdown::of(text).0, expected, "{text}");
        }
    }

    #[test]
    fn what_could_do_something_is_only_text() {
        let cases = [
            (
                "<script>alert(1)</script>",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
            ),
            (
                "a <img src=x onerror=alert(1)>",
                "<p>a &lt;img src=x onerror=alert(1)&gt;</p>\n",
            ),
            ("[a](javascript:alert(1))", "<p>a</p>\n"),
            ("[a](JaVaScRiPt:alert(1))", "<p>a</p>\n"),
            ("[a](java&#10;script:alert(1))", "<p>a</p>\n"),
            ("[a](data:text/html,x)", "<p>a</p>\n"),
            ("[a](vbscript:x)", "<p>a</p>\n"),
            ("[a](/accounts)", "<p>a</p>\n"),
            ("[a](//example.com)", "<p>a</p>\n"),
            ("<javascript:alert(1)>", "<p>javascript:alert(1)</p>\n"),
            ("![a](javascript:alert(1))", "<p>a</p>\n"),
            ("[a][b]\n\n[b]: javascript:alert(1)", "<p>a</p>\n"),
            (
                "[a](https://x \"\\\" onclick=alert(1)\")",
                "<p><a href=\"https://x\" title=\"&quot; onclick=alert(1)\">a</a></p>\n",
            ),
            (
                "```\" onclick=\"alert(1)\nx\n```",
                "<pre><code class=\"language-&quot;\">x\n</code></pre>\n",
            ),
            ("# a {onclick=alert(1)}", "<h3>a {onclick=alert(1)}</h3>\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(Markdown::of(text).0, expected, "{text}");
        }
    }

    #[test]
    fn a_text_made_to_hurt_stays_small() {
        let most = usize::try_from(bundle::Limits::LONG_DESCRIPTION_BYTES).expect("a size");
        for piece in [
            "> ",
            "- ",
            "[",
            "![",
            "*a **b ",
            "<b>",
            "`",
            "| ",
            "&#0;",
            "[a]: <b>\n[a]\n",
        ] {
            let text = piece.repeat(most / piece.len());
            let made = Markdown::of(&text);
            assert!(made.0.len() < 16 * most, "{piece}: {}", made.0.len());
        }
        let name = "a".repeat(most / 2);
        let links = format!("[a]: https://{name}\n\n{}", "[a]".repeat(most / 6));
        assert!(Markdown::of(&links).0.len() < 4 * most);
    }

    proptest! {
        /// Whatever the text is: no tag but those that Markdown has, and no attribute but those of links, tables and code.
        #[test]
        fn no_tag_is_the_publishers(text in "[ <>!\\[\\]()a-z:/\"'=&;#*_`|\n-]{0,200}") {
            const TAGS: [&str; 23] = [
                "p", "h3", "h4", "h5", "h6", "em", "strong", "del", "code", "pre", "ul", "ol", "li", "a", "br", "hr",
                "blockquote", "table", "thead", "tbody", "tr", "th", "td",
            ];
            for tag in Markdown::of(&text).0.split('<').skip(1) {
                let name = tag.trim_start_matches('/');
                let end = name.find([' ', '>', '/']).unwrap_or(name.len());
                prop_assert!(TAGS.contains(&&name[..end]), "{tag:?} of {text:?}");
            }
        }
    }
}

//! What waved's log says of the app.
//!
//! A line is `2026/11/24 13:57:03 # {"host":"http://127.0.0.1:10103","route":"/","t":"app_add"}`.

use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    t: String,
}

/// `Some(true)` when the app has registered, `Some(false)` when it has gone, `None` for all other lines.
pub(crate) fn registration(line: &str) -> Option<bool> {
    let json = &line[line.find('{')?..];
    let entry: Entry = serde_json::from_str(json.trim_end()).ok()?;
    match entry.t.as_str() {
        "app_add" => Some(true),
        "app_drop" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::registration;

    #[test]
    fn registrations_are_found_in_the_log() {
        let cases = [
            (
                r#"2026/11/24 13:57:03 # {"host":"http://127.0.0.1:8000","route":"/","t":"app_add"}"#,
                Some(true),
            ),
            (
                r#"2026/11/24 13:57:04 # {"route":"/","t":"app_drop"}"#,
                Some(false),
            ),
            (r#"{"t":"app_add"}"#, Some(true)),
            (
                r#"2026/11/24 13:57:02 # {"address":":10101","t":"listen"}"#,
                None,
            ),
            (
                r#"2026/11/24 13:57:08 # {"error":"app_add","route":"/","t":"app"}"#,
                None,
            ),
            (
                "2026/11/24 13:57:02 # │  Running at http://localhost:10101/  │",
                None,
            ),
            (r#"# {"t":"app_add""#, None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(registration(line), expected, "{line}");
        }
    }
}

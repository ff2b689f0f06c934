//! The page that a visitor sees until the app answers.
//!
//! It tells the phase and nothing else: why an app fails is for its owner, who learns it elsewhere.

use std::fmt::Write as _;

use crate::phase::Phase;

/// Seconds until the page is loaded again.
pub(crate) const REFRESH_SECONDS: u32 = 2;

/// Policy of the page: its own style, nothing else.
pub(crate) const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STEPS: [Phase; 4] = [
    Phase::Sourcing,
    Phase::Installing,
    Phase::StartingServer,
    Phase::StartingApp,
];

/// The page as HTML.
pub(crate) fn render(phase: Phase) -> String {
    let title = phase.as_str();
    let current = STEPS.iter().position(|step| *step == phase);
    let mut steps = String::new();
    if let Some(current) = current {
        for (number, step) in STEPS.iter().enumerate() {
            let mark = match number.cmp(&current) {
                std::cmp::Ordering::Less => " class=\"done\"",
                std::cmp::Ordering::Equal => " aria-current=\"step\"",
                std::cmp::Ordering::Greater => "",
            };
            let _ = write!(steps, "<li{mark}>{}</li>", step.as_str());
        }
        steps = format!("<ol>{steps}</ol>");
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\"><title>{title}</title>\
         <style>{STYLE}</style></head>\
         <body><main role=\"status\"><h1>{title}</h1>{steps}\
         <p>This page continues by itself as soon as the app answers.</p></main></body></html>\n"
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;\
place-items:center;color:#1b1b1b;background:#fafafa}main{max-width:32rem;padding:2rem}h1{font-size:1.4rem}\
li{color:#6b6b6b}li.done{text-decoration:line-through}li[aria-current]{color:inherit;font-weight:600}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#1b1b1b}li{color:#9a9a9a}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_the_phase_and_loads_itself_again() {
        let html = render(Phase::Installing);
        for part in [
            "<meta http-equiv=\"refresh\" content=\"2\">",
            "<h1>Installing Application Dependencies</h1>",
            "<li class=\"done\">Sourcing The Wave Application</li>",
            "<li aria-current=\"step\">Installing Application Dependencies</li>",
            "<li>Starting The Wave Server</li>",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
        assert!(!render(Phase::Restarting).contains("<ol>"));
    }
}

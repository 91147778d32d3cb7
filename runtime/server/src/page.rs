//! The judging page: its parts in one document, and the policy that allows these parts and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const FRAME: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/page.css");
/// One program, in the order in which its parts need each other.
const SCRIPT: &str = concat!(
    include_str!("../page/dom.js"),
    include_str!("../page/media.js"),
    include_str!("../page/wire.js"),
    include_str!("../page/report.js"),
    include_str!("../page/group.js"),
    include_str!("../page/page.js"),
);

/// The page as one document.
pub(crate) fn document() -> String {
    let style = format!("<style>{STYLE}</style>");
    let script = format!("<script>{SCRIPT}</script>");
    FRAME.replacen("<style></style>", &style, 1).replacen("<script></script>", &script, 1)
}

/// What the page may run, load and ask: its own style and program, files that were chosen, and this server.
pub(crate) fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data: blob:; media-src blob:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::find;

    /// The texts between each `before` and the next `after`.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
    }

    #[test]
    fn the_document_holds_exactly_what_the_policy_allows() {
        let (document, policy) = (document(), policy());
        for (tag, name) in [("style", "style-src"), ("script", "script-src")] {
            let inside = between(&document, &format!("<{tag}>"), &format!("</{tag}>"));
            assert_eq!(inside.len(), 1, "{tag}");
            let hash = STANDARD.encode(Sha256::digest(inside[0]));
            assert!(policy.contains(&format!("{name} 'sha256-{hash}'")), "{tag}");
        }
        assert!(!["inline", "eval", "*", "http"].iter().any(|wide| policy.contains(wide)), "{policy}");
    }

    #[test]
    fn every_address_that_the_page_asks_is_a_route() {
        let mut asked: Vec<&str> = Vec::new();
        for call in ["send('", "judge('", "judgeLines('"] {
            asked.extend(between(SCRIPT, call, "'"));
        }
        asked.sort_unstable();
        assert_eq!(asked, ["info", "v1/compare", "v1/rank"]);
        let told =
            between(FRAME, "<code>", "</code>").into_iter().map(|code| code.rsplit(' ').next().unwrap());
        for path in asked.iter().copied().chain(told) {
            assert!(find(&format!("/{path}")).is_some(), "{path} is no route");
        }
    }
}

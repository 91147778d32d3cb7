//! The judging page keeps its rules: it asks the server that it came from and nobody else, and what models, files and
//! servers say never becomes markup. How it behaves in a browser, `deploy/page/look.py` looks at.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;

use rewardrt_tests::root;

/// The scripts in the order in which the page has them.
const SCRIPTS: [&str; 6] = ["dom.js", "media.js", "wire.js", "report.js", "group.js", "page.js"];
/// What would turn a text into markup or into a program, or leave the page.
const FORBIDDEN: [&str; 15] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "createContextualFragment",
    "DOMParser",
    "document.write",
    "eval(",
    "Function(",
    "setTimeout(",
    "javascript:",
    "localStorage",
    "sessionStorage",
    "document.cookie",
    "window.open",
    "importScripts",
];

fn read(name: &str) -> String {
    let path = root().join("runtime/server/page").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn scripts() -> String {
    SCRIPTS.map(read).concat()
}

/// The texts between each `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: char) -> Vec<&'a str> {
    text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
}

/// The one door: no file of the page holds any of these.
fn check(forbidden: &[&str], why: &str) {
    for name in SCRIPTS.into_iter().chain(["index.html", "page.css"]) {
        let text = read(name);
        for (n, line) in text.lines().enumerate() {
            let found = forbidden.iter().find(|word| line.contains(**word));
            assert!(found.is_none(), "{name}:{}: {why}: {}", n + 1, line.trim());
        }
    }
}

#[test]
fn nothing_becomes_markup_or_a_program() {
    check(&FORBIDDEN, "texts stay texts");
    // `textContent`, `append` and `setAttribute` are left; attributes that run or load are not set from data.
    let attributes = between(&scripts(), "setAttribute(", ',').len();
    assert_eq!(attributes, 1, "attributes are set in one place, `make`");
}

#[test]
fn nothing_is_fetched_from_elsewhere() {
    check(
        &["http:", "https:", "//cdn", "@import", "url(", "<iframe", "<object", "<embed", "<base"],
        "nothing leaves",
    );
    let page = read("index.html");
    for tag in between(&page, "<", '>') {
        for name in ["src=", "action=", "srcset=", " on"] {
            assert!(!tag.contains(name), "{tag} has {name}");
        }
        assert!(!tag.contains("style="), "{tag}: the policy forbids styles in tags");
        assert!(
            !tag.contains("href=") || tag.contains("href=\"#") || tag.contains("href=\"data:,\""),
            "{tag}"
        );
    }
}

#[test]
fn the_style_and_the_scripts_fit_into_the_page() {
    let page = read("index.html");
    for place in ["<style></style>", "<script></script>"] {
        assert_eq!(page.matches(place).count(), 1, "the server fills {place}");
    }
    assert!(!scripts().contains("</script"), "this would end the script");
    assert!(!read("page.css").contains("</style"), "this would end the style");
    assert!(scripts().starts_with("'use strict';"));
}

#[test]
fn every_name_that_a_script_looks_for_is_in_the_page() {
    let (page, scripts) = (read("index.html"), scripts());
    let names = between(&scripts, "find('", '\'');
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("id=\"{name}\"")), "no element has the id {name}");
    }
    for name in between(&scripts, "elements.", '.')
        .into_iter()
        .filter(|name| name.chars().all(|c| c.is_alphabetic() || c == '_'))
    {
        assert!(page.contains(&format!("name=\"{name}\"")), "no field has the name {name}");
    }
}

#[test]
fn every_control_can_be_read_aloud_and_reached() {
    let page = read("index.html");
    assert!(page.contains("<html lang=\"en\">") && page.contains("name=\"viewport\""));
    for id in between(&page, "<label for=\"", '"') {
        assert!(page.contains(&format!("id=\"{id}\"")), "a label names {id}, which is not there");
    }
    assert!(page.contains("role=\"status\" aria-live=\"polite\"") && page.contains("role=\"alert\""));
    let style = read("page.css");
    assert!(
        style.contains("prefers-color-scheme: dark")
            && style.contains(":focus-visible")
            && style.contains("max-width: 40rem")
    );
    assert!(!style.contains("outline: 0"));
}

#[test]
fn every_status_of_a_verdict_has_words() {
    let report = read("report.js");
    for status in ["ok", "inconsistent", "truncated", "invalid"] {
        assert!(report.contains(&format!("  {status}: '")), "nothing is said of {status}");
    }
    for flag in [
        "sum_not_ten",
        "sum_off",
        "category_against_scores",
        "winner_against_categories",
        "winner_against_scores",
    ] {
        assert!(report.contains(&format!("  {flag}: (")), "nothing is said of {flag}");
    }
}

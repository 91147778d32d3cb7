//! A page of its own: tables and plots, no script, nothing fetched.
//!
//! Whatever comes from a file or a model (ids, kinds, prompts, names, messages) passes through [`Text`], and the
//! page's own policy forbids scripts and every kind of loading besides.

use std::fmt::{self, Display, Write};

use sha2::{Digest, Sha256};

use crate::base64;

const STYLE: &str = include_str!("page.css");

/// Somebody else's text, as text: `&`, `<`, `>` and quotes become references, control characters a replacement
/// character.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The page with this title and body. The body is HTML: what is not the program's own went through [`Text`].
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        policy(),
        Text(title)
    )
}

/// Nothing may be loaded and nothing run, whatever a page is made to hold, and no style but its own applies.
fn policy() -> String {
    let hash = base64::encode(&Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'")
}

/// A table: its head, and its rows of cells. Cells are escaped here.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
        cells.map(|cell| format!("<{tag} class=\"text\">{}</{tag}>", Text(cell))).collect::<String>()
    };
    let row = |cells: String| format!("<tr>{cells}</tr>");
    let mut out = String::from("<div class=\"table\"><table>");
    if !head.is_empty() {
        out += &row(cells("th", &mut head.iter().copied()));
    }
    for line in rows {
        out += &row(cells("td", &mut line.iter().map(String::as_str)));
    }
    out + "</table></div>"
}

/// A plot with its name and what it shows. All three are HTML.
pub(crate) fn figure(name: &str, caption: &str, plots: &str) -> String {
    format!("<figure><h3>{name}</h3><figcaption>{caption}</figcaption>{plots}</figure>")
}

#[cfg(test)]
pub(crate) mod tests {
    /// The names of all tags of a page, and what follows each up to its end.
    fn tags(page: &str) -> Vec<&str> {
        page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect()
    }

    /// A page made of plain texts, and the same of hostile ones: neither runs or loads anything, every tag is closed,
    /// the hostile texts changed nothing but texts, and every figure is a number.
    pub(crate) fn check_page(plain: &str, hostile: &str) {
        let names = |page| -> Vec<String> {
            tags(page).iter().map(|tag| tag.split([' ', '/']).next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(names(plain), names(hostile), "a text changed the page's structure");
        for raw in ["<script", "<img", "onerror=\"", "\u{1b}"] {
            assert!(!hostile.contains(raw), "{raw} stands in the page");
        }
        assert!(hostile.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the text itself must be shown");
        loads_nothing(plain);
        closes_its_tags(hostile);
        assert!(!plain.contains("NaN") && !plain.contains("inf"), "a figure is no number");
    }

    fn loads_nothing(page: &str) {
        assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"));
        for tag in tags(page) {
            for word in ["src=", "href=", "url(", " on", "script", "link", "iframe"] {
                assert!(!tag.contains(word), "{tag} has {word}");
            }
        }
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        assert!(!style.contains("url(") && !style.contains("@import"));
        assert!(style.contains("prefers-color-scheme: dark"));
    }

    fn closes_its_tags(page: &str) {
        let mut open = Vec::new();
        for tag in tags(page) {
            let name = tag.split([' ', '\n']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
                None if tag.ends_with('/') || ["meta", "!doctype"].contains(&name) => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

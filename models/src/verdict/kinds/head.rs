//! `head`: no words. The package ends in a head of scores, which is read at tokens of the prompt.

use super::super::protocol::{ProtocolError, refuse};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Most markers of a prompt.
const MAX_MARKERS: usize = 64;
/// Longest marker, in bytes.
const MAX_MARKER_BYTES: usize = 128;

/// The `[answer]` table of kind `head`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadProtocol {
    /// The control tokens of the package that stand in the prompt, in the package's order; none for a head that is
    /// read at the last token.
    pub markers: Vec<String>,
    /// Whether the prompt ends with the header of the assistant's turn, as in training.
    pub generation_prompt: bool,
}

impl HeadProtocol {
    pub(in super::super) fn check(&self) -> Result<(), ProtocolError> {
        let mut seen = BTreeSet::new();
        for marker in &self.markers {
            let blank = marker.chars().any(|c| c.is_whitespace() || c.is_control());
            if marker.is_empty() || marker.len() > MAX_MARKER_BYTES || blank {
                return refuse(
                    "markers",
                    format!("{marker:?} is no token of 1 to {MAX_MARKER_BYTES} bytes without blanks"),
                );
            }
            if self.markers.iter().any(|other| other != marker && other.contains(marker.as_str())) {
                return refuse("markers", format!("{marker} stands within another"));
            }
            if !seen.insert(marker) {
                return refuse("markers", format!("{marker} stands twice"));
            }
        }
        if self.markers.len() > MAX_MARKERS {
            return refuse("markers", format!("more than {MAX_MARKERS}"));
        }
        Ok(())
    }

    /// Each marker stands in the prompt once.
    pub(crate) fn check_prompt(&self, prompt: &str) -> Result<(), String> {
        match self.markers.iter().find(|marker| prompt.matches(marker.as_str()).count() != 1) {
            None => Ok(()),
            Some(marker) => Err(format!(
                "holds {marker} {} times; it must hold it exactly once",
                prompt.matches(marker.as_str()).count()
            )),
        }
    }

    /// What the pack wrote, cut at its markers: ordinary text, and whether it is a marker.
    pub fn cut<'a>(&self, mut text: &'a str) -> Vec<(&'a str, bool)> {
        let mut pieces = Vec::new();
        let first = |text: &str| {
            let found = self.markers.iter().filter_map(|m| text.find(m.as_str()).map(|at| (at, m.len())));
            found.min()
        };
        while let Some((at, length)) = first(text) {
            pieces.push((&text[..at], false));
            pieces.push((&text[at..at + length], true));
            text = &text[at + length..];
        }
        pieces.push((text, false));
        pieces.retain(|(text, _)| !text.is_empty());
        pieces
    }
}

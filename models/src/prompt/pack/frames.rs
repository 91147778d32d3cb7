//! Which frames of a video the model is shown, as written in packs and on the command line.

use std::fmt;
use std::str::FromStr;

/// Most frames a rule may ask for: what the published video processors stop at.
const MAX_FRAMES: u32 = 768;
/// Highest rate a rule may ask for, in frames a second of video.
const MAX_FPS: f64 = 240.0;

/// A frame rule. Written `linspace-trunc:8`, `linspace-round:8`, `fps:2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FrameRule {
    /// That many indices evenly from the first frame to the last, fractions cut off.
    LinspaceTrunc(u32),
    /// That many indices evenly from the first frame to the last, rounded.
    LinspaceRound(u32),
    /// That many frames for each second of video.
    Fps(f64),
}

/// A frame rule that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no frame rule; write `linspace-trunc:N` or `linspace-round:N` with N in 1..={MAX_FRAMES}, or `fps:R` \
     with R above 0 and at most {MAX_FPS}"
)]
pub struct FrameRuleError(pub String);

impl FromStr for FrameRule {
    type Err = FrameRuleError;

    fn from_str(text: &str) -> Result<FrameRule, FrameRuleError> {
        let refused = || FrameRuleError(text.chars().take(40).collect());
        let (rule, number) = text.split_once(':').ok_or_else(refused)?;
        // Rust's number parsers take a plus sign and words such as `inf`; a rule has digits only.
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(refused());
        }
        let count =
            || number.parse().ok().filter(|count| (1..=MAX_FRAMES).contains(count)).ok_or_else(refused);
        match rule {
            "linspace-trunc" => count().map(FrameRule::LinspaceTrunc),
            "linspace-round" => count().map(FrameRule::LinspaceRound),
            "fps" => {
                let rate = number.parse().ok().filter(|rate| *rate > 0.0 && *rate <= MAX_FPS);
                rate.map(FrameRule::Fps).ok_or_else(refused)
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for FrameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameRule::LinspaceTrunc(count) => write!(f, "linspace-trunc:{count}"),
            FrameRule::LinspaceRound(count) => write!(f, "linspace-round:{count}"),
            FrameRule::Fps(rate) => write!(f, "fps:{rate}"),
        }
    }
}

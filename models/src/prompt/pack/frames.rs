//! Which frames of a video the model is shown, as written in packs, in packages and on the command line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most frames a rule may ask for: what the published video processors stop at.
pub const MAX_FRAMES: u32 = 768;
/// Highest rate a rule may ask for, in frames a second of video.
const MAX_FPS: f64 = 240.0;

/// A frame rule. Written `linspace-trunc:8`, `linspace-round:8`, `step:8`, `fps:2`, `fps-step:2` or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FrameRule {
    /// That many indices evenly from the first frame to the last, fractions cut off.
    LinspaceTrunc(u32),
    /// That many indices evenly from the first frame to the last, rounded.
    LinspaceRound(u32),
    /// The first frame of each of that many equal parts.
    Step(u32),
    /// That many frames for each second of video, spread as `linspace-round` does.
    Fps(f64),
    /// That many frames for each second of video, spread as `step` does.
    FpsStep(f64),
    /// Every frame.
    All,
}

/// A frame rule that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no frame rule; write `linspace-trunc:N`, `linspace-round:N` or `step:N` with N in 1..={MAX_FRAMES}, \
     `fps:R` or `fps-step:R` with R above 0 and at most {MAX_FPS}, or `all`"
)]
pub struct FrameRuleError(pub String);

impl FromStr for FrameRule {
    type Err = FrameRuleError;

    fn from_str(text: &str) -> Result<FrameRule, FrameRuleError> {
        let refused = || FrameRuleError(text.chars().take(40).collect());
        if text == "all" {
            return Ok(FrameRule::All);
        }
        let (rule, number) = text.split_once(':').ok_or_else(refused)?;
        // Rust's number parsers take a plus sign and words such as `inf`; a rule has digits only.
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(refused());
        }
        let count =
            || number.parse().ok().filter(|count| (1..=MAX_FRAMES).contains(count)).ok_or_else(refused);
        let rate = || number.parse().ok().filter(|rate| *rate > 0.0 && *rate <= MAX_FPS).ok_or_else(refused);
        match rule {
            "linspace-trunc" => count().map(FrameRule::LinspaceTrunc),
            "linspace-round" => count().map(FrameRule::LinspaceRound),
            "step" => count().map(FrameRule::Step),
            "fps" => rate().map(FrameRule::Fps),
            "fps-step" => rate().map(FrameRule::FpsStep),
            _ => Err(refused()),
        }
    }
}

impl TryFrom<String> for FrameRule {
    type Error = FrameRuleError;

    fn try_from(text: String) -> Result<FrameRule, FrameRuleError> {
        text.parse()
    }
}

impl From<FrameRule> for String {
    fn from(rule: FrameRule) -> String {
        rule.to_string()
    }
}

impl fmt::Display for FrameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameRule::LinspaceTrunc(count) => write!(f, "linspace-trunc:{count}"),
            FrameRule::LinspaceRound(count) => write!(f, "linspace-round:{count}"),
            FrameRule::Step(count) => write!(f, "step:{count}"),
            FrameRule::Fps(rate) => write!(f, "fps:{rate}"),
            FrameRule::FpsStep(rate) => write!(f, "fps-step:{rate}"),
            FrameRule::All => f.write_str("all"),
        }
    }
}

/// How many frames a rule by the second may give. The default is what a video processor has whose configuration
/// says nothing: 4 to 768 frames, of any number, since the last one is repeated where a temporal patch wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameBounds {
    /// Fewest, where the video has as many.
    pub min: u32,
    /// Most.
    pub max: u32,
    /// The number is cut down to a multiple of this. Rule `step` rounds its number to one.
    pub multiple: u32,
}

impl Default for FrameBounds {
    fn default() -> FrameBounds {
        FrameBounds { min: 4, max: MAX_FRAMES, multiple: 1 }
    }
}

/// Why a rule finds no frames in a video.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FrameIndexError {
    /// No frame at all.
    #[error("the video has no frames; give one that has")]
    Empty,
    /// A rule by the second for a video that does not say how long its frames last.
    #[error(
        "rule {rule} counts by the second, and the video's frame rate is {fps}; choose `linspace-round:N`"
    )]
    Rate {
        /// The rule.
        rule: FrameRule,
        /// Frames a second, as given.
        fps: f64,
    },
    /// Too few frames for the rule.
    #[error("rule {rule} shows {needed} frames at least, and the video has {total}; give a longer one")]
    Short {
        /// The rule.
        rule: FrameRule,
        /// Frames that it shows at least.
        needed: u32,
        /// Frames of the video.
        total: u64,
    },
    /// Too many for a rule that leaves none out.
    #[error(
        "rule all shows every frame, {MAX_FRAMES} at most, and the video has {0}; choose `linspace-round:N`"
    )]
    Long(u64),
    /// Bounds that no count meets.
    #[error(
        "frames bounded to {0:?} are none; a multiple is 1 at least, and bounds are within 1..={MAX_FRAMES}"
    )]
    Bounds(FrameBounds),
}

impl FrameRule {
    /// The indices of the frames that the rule shows of `total` frames, `fps` a second: ascending, below `total`,
    /// and at most [`MAX_FRAMES`]. `bounds` concern the rules by the second, and the multiple rule `step` too. The
    /// order of float operations is each reference's:
    ///
    /// * `linspace-trunc`, `linspace-round`: `numpy.linspace(0, total - 1, n)` in 64-bit floats, cut to whole numbers
    ///   or rounded with ties to even. A video of fewer frames shows some more than once, as the reference does.
    /// * `step`: `torch.arange(0, total, total / n)` in 32-bit floats, cut to whole numbers, `n` rounded to the
    ///   multiple (ties to even). Where the float step fits once more than asked, the reference reads past the end
    ///   and fails; here that index is left out.
    /// * `fps`, `fps-step`: `n = total / fps * rate`, raised to `min`, lowered to `max` (itself cut to the multiple)
    ///   and to `total`, and cut to the multiple: the Qwen video processors of transformers.
    ///
    /// # Errors
    /// [`FrameIndexError`]: no frames, no rate where one is needed, fewer frames than one multiple or than `step`
    /// asks for, more than [`MAX_FRAMES`] for `all`, or bounds that cannot be.
    pub fn indices(&self, total: u64, fps: f64, bounds: &FrameBounds) -> Result<Vec<u64>, FrameIndexError> {
        let allowed = 1..=MAX_FRAMES;
        if ![bounds.min, bounds.max, bounds.multiple].iter().all(|n| allowed.contains(n)) {
            return Err(FrameIndexError::Bounds(*bounds));
        }
        if total == 0 {
            return Err(FrameIndexError::Empty);
        }
        Ok(match *self {
            FrameRule::LinspaceTrunc(count) => linspace(total, count, f64::floor),
            FrameRule::LinspaceRound(count) => linspace(total, count, f64::round_ties_even),
            FrameRule::Step(count) => step(total, self.rounded(count, total, bounds.multiple)?),
            FrameRule::Fps(rate) => {
                linspace(total, self.counted(total, fps, rate, bounds)?, f64::round_ties_even)
            }
            FrameRule::FpsStep(rate) => step(total, self.counted(total, fps, rate, bounds)?),
            FrameRule::All if total > u64::from(MAX_FRAMES) => return Err(FrameIndexError::Long(total)),
            FrameRule::All => (0..total).collect(),
        })
    }

    /// The multiple that is nearest to `count`, of as many frames as the video has.
    fn rounded(&self, count: u32, total: u64, multiple: u32) -> Result<u32, FrameIndexError> {
        let whole = (f64::from(count) / f64::from(multiple)).round_ties_even() as u32 * multiple;
        let needed = whole.max(multiple);
        if whole == 0 || u64::from(whole) > total {
            return Err(FrameIndexError::Short { rule: *self, needed, total });
        }
        Ok(whole)
    }

    /// Frames at so many a second, within bounds.
    fn counted(&self, total: u64, fps: f64, rate: f64, bounds: &FrameBounds) -> Result<u32, FrameIndexError> {
        if !(fps.is_finite() && fps > 0.0) {
            return Err(FrameIndexError::Rate { rule: *self, fps });
        }
        let cut = |n: f64| (n / f64::from(bounds.multiple)).floor() * f64::from(bounds.multiple);
        let frames = total as f64;
        let most = cut(f64::from(bounds.max).min(frames));
        let count = cut((frames / fps * rate).max(f64::from(bounds.min)).min(most).min(frames)) as u32;
        if count == 0 {
            return Err(FrameIndexError::Short { rule: *self, needed: bounds.multiple, total });
        }
        Ok(count)
    }
}

/// `numpy.linspace(0, total - 1, count)` made whole.
fn linspace(total: u64, count: u32, whole: impl Fn(f64) -> f64) -> Vec<u64> {
    let last = total - 1;
    let step = last as f64 / f64::from(count.saturating_sub(1).max(1));
    let mut indices: Vec<u64> = (0..count).map(|i| whole(f64::from(i) * step) as u64).collect();
    // numpy writes the end itself in the last place, and has no step where there is one place.
    if let (Some(end), true) = (indices.last_mut(), count > 1) {
        *end = last;
    }
    indices
}

/// `torch.arange(0, total, total / count)` cut to whole numbers. Its vector code fills two registers of eight floats
/// at a time: each register begins at a 32-bit float, and its lanes are added to that in 64 bits. What is left over is
/// computed in 64 bits alone. (Lengths of a register are AVX2's; it shows above 30,000 frames only.)
fn step(total: u64, count: u32) -> Vec<u64> {
    let step = total as f64 / f64::from(count);
    let vectors = count / 16 * 16;
    let at = |i: u32| {
        let (base, lane) = if i < vectors { (i / 8 * 8, i % 8) } else { (i, 0) };
        let base = (step * f64::from(base)) as f32;
        ((f64::from(base) + f64::from(lane) * step) as f32 as u64).min(total - 1)
    };
    (0..count).map(at).collect()
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;

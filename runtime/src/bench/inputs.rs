//! What is judged: pictures that are given, or drawn.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use serde::{Serialize, Serializer};

use crate::Error;
use crate::judge::{CompareOptions, Comparison, Group, Picture, RankOptions};
use crate::media::{MediaError, Rgb8};

/// Longest side of a drawn picture, in pixels: beyond it, models shrink what they are shown.
pub const MAX_SIDE: u32 = 4096;
/// Rectangles of a drawn picture.
const RECTANGLES: usize = 24;

/// What is judged, and how it is asked.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What all pictures are judged against.
    pub prompt: String,
    /// The pictures.
    pub pictures: Pictures,
    /// How each pair is asked; one order of it.
    pub options: CompareOptions,
}

impl Inputs {
    /// Reports, chosen greedily, as long as the pack allows.
    pub fn new(prompt: impl Into<String>, pictures: Pictures) -> Inputs {
        Inputs { prompt: prompt.into(), pictures, options: CompareOptions::default() }
    }

    /// The question number `i`: pictures `2 i` and `2 i + 1`.
    ///
    /// # Errors
    /// As [`Pictures::get`].
    pub fn comparison(&self, i: usize) -> Result<Comparison, Error> {
        let (first, second) = (self.pictures.get(2 * i)?, self.pictures.get(2 * i + 1)?);
        let options = self.options.clone();
        Ok(Comparison { options, ..Comparison::images(self.prompt.clone(), first, second) })
    }

    /// The pictures of these numbers as a group.
    ///
    /// # Errors
    /// As [`Pictures::get`].
    pub fn group(&self, numbers: Range<usize>) -> Result<Group, Error> {
        let pictures = numbers.map(|at| self.pictures.get(at)).collect::<Result<_, _>>()?;
        let options = RankOptions { ask: self.options.clone(), ..RankOptions::default() };
        Ok(Group { options, ..Group::images(self.prompt.clone(), pictures) })
    }
}

/// Where pictures come from.
#[derive(Debug, Clone)]
pub enum Pictures {
    /// These, over and over; at least two. A judge remembers pictures that it has seen, so that after the first time
    /// they cost it no vision.
    Given(Vec<Picture>),
    /// Every one another, drawn from the seed and its number, decoded already.
    Drawn {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Seed of all pictures.
        seed: u64,
    },
}

impl Pictures {
    /// The picture number `at`.
    ///
    /// # Errors
    /// Of class input: none is given, or the size of drawn ones is nothing.
    pub fn get(&self, at: usize) -> Result<Picture, Error> {
        match self {
            Pictures::Given(pictures) => {
                let picture = pictures.iter().cycle().nth(at % pictures.len().max(1)).cloned();
                picture.ok_or_else(|| Error::Request("no pictures are given".to_owned()))
            }
            Pictures::Drawn { width, height, seed } => {
                let pixels = draw((*width, *height), *seed, at);
                let fail = |source| Error::Media { name: format!("drawn picture {at}"), source };
                pixels.map(Picture::Pixels).map_err(fail)
            }
        }
    }
}

impl Serialize for Pictures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pictures::Given(pictures) => write!(f, "{} given", pictures.len()),
            Pictures::Drawn { width, height, seed } => write!(f, "drawn, {width}x{height}, seed {seed}"),
        }
    }
}

impl FromStr for Pictures {
    type Err = BadSize;

    /// Drawn pictures of this size, such as `512x512`, with the seed 0.
    fn from_str(text: &str) -> Result<Pictures, BadSize> {
        let side = |side: &str| side.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
        let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        let (width, height) = sides.ok_or_else(|| BadSize(text.to_owned()))?;
        Ok(Pictures::Drawn { width, height, seed: 0 })
    }
}

/// No size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size; give WIDTHxHEIGHT in pixels, such as 512x512, each side at most {MAX_SIDE}")]
pub struct BadSize(String);

/// A ramp between two colours with rectangles of others on it: edges and flat parts, as pictures have.
fn draw((width, height): (u32, u32), seed: u64, at: usize) -> Result<Rgb8, MediaError> {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(at as u64);
    let mut colour = || [(); 3].map(|()| random.next_u32() as u8);
    let (from, to) = (colour(), colour());
    let mut data = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        for x in 0..width {
            let (part, whole) = (u64::from(x) + u64::from(y), u64::from(width) + u64::from(height));
            let mixed = |c: usize| (u64::from(from[c]) * (whole - part) + u64::from(to[c]) * part) / whole;
            data.extend([0, 1, 2].map(|c| mixed(c) as u8));
        }
    }
    // Nothing is drawn on a picture without pixels, which is refused below.
    for _ in 0..if data.is_empty() { 0 } else { RECTANGLES } {
        let mut span = |side: u32| {
            let (a, b) = (random.next_u32() % side, random.next_u32() % side);
            a.min(b) as usize..a.max(b) as usize + 1
        };
        let (columns, rows) = (span(width), span(height));
        let colour = [(); 3].map(|()| random.next_u32() as u8);
        for y in rows {
            let row = &mut data[3 * width as usize * y..][..3 * width as usize];
            row[3 * columns.start..3 * columns.end].as_chunks_mut::<3>().0.fill(colour);
        }
    }
    Rgb8::new(width, height, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(pictures: &Pictures, at: usize) -> Rgb8 {
        match pictures.get(at).unwrap() {
            Picture::Pixels(pixels) => pixels,
            other => panic!("{other:?}"),
        }
    }

    /// A size as text, and the refusal's words; none when it can be drawn.
    fn check(text: &str, refusal: Option<&str>) {
        match (text.parse::<Pictures>(), refusal) {
            (Ok(pictures), None) => {
                let drawn = pixels(&pictures, 0);
                assert_eq!(format!("{}x{}", drawn.width(), drawn.height()), text);
            }
            (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{error}"),
            (got, _) => panic!("{text} gave {got:?}"),
        }
    }

    #[test]
    fn a_size_is_two_sides_that_can_be_drawn() {
        for good in ["1x1", "37x5", "5x37", "64x64"] {
            check(good, None);
        }
        for bad in ["", "64", "64x", "x64", "0x64", "64x0", "4097x1", "64x64x3", "-1x2", "64X64"] {
            check(bad, Some("is no size"));
        }
    }

    #[test]
    fn drawn_pictures_are_the_same_again_and_all_different() {
        let of = |seed| Pictures::Drawn { width: 32, height: 24, seed };
        let all: Vec<Rgb8> = (0..20).map(|at| pixels(&of(0), at)).chain([pixels(&of(1), 0)]).collect();
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i} was drawn twice");
        }
        assert!(all[3] == pixels(&of(0), 3));
    }

    #[test]
    fn questions_share_no_drawn_picture_and_given_ones_come_round() {
        let drawn = Inputs::new("p", Pictures::Drawn { width: 8, height: 8, seed: 0 });
        let shown = |i| {
            let comparison = drawn.comparison(i).unwrap();
            [comparison.first, comparison.second].concat().into_iter().map(|picture| match picture {
                Picture::Pixels(pixels) => pixels,
                other => panic!("{other:?}"),
            })
        };
        assert!(shown(2).all(|picture| shown(3).all(|other| other != picture)));
        let given = Pictures::Given(vec![Picture::Path("a".into()), Picture::Path("b".into())]);
        assert!(matches!(given.get(5).unwrap(), Picture::Path(path) if path.as_os_str() == "b"));
        assert!(Pictures::Given(Vec::new()).get(0).is_err());
        assert!(Pictures::Drawn { width: 0, height: 3, seed: 0 }.get(0).is_err());
        assert_eq!(drawn.group(4..7).unwrap().candidates.len(), 3);
    }
}

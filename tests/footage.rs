//! The video fixtures, and what PyAV and OpenCV see in them: `data/video/expected.json` and its README.

// Each test file uses a part of this.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;

use rewardrt::media::video::{self, Isolation, Video, VideoError, VideoInfo, VideoInput, VideoLimits};
use rewardrt::media::{PixelRule, Rgb8};
use rewardrt_tests::root;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Hexadecimal digits of a hash that are kept.
const DIGITS: usize = 16;

/// One row of `expected.json`: a file, and PyAV's frames of it.
pub(crate) struct Clip {
    pub(crate) file: String,
    pub(crate) row: Value,
    /// Pixels of some frames, by index: rgb24 as stored, before any turn.
    pub(crate) pixels: Vec<(usize, Vec<u8>)>,
}

impl Clip {
    /// The encoded file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        fixture(&self.file)
    }

    /// True number of frames.
    pub(crate) fn frames(&self) -> usize {
        self.row["frames"].as_u64().unwrap() as usize
    }

    /// Width and height of all frames; `None` where they differ.
    pub(crate) fn size(&self) -> Option<(u32, u32)> {
        let sizes = self.row["sizes"].as_array().unwrap();
        let side = |at: usize| sizes[0][at].as_u64().unwrap() as u32;
        (sizes.len() == 1).then(|| (side(0), side(1)))
    }

    /// Quarter turns anticlockwise that make a stored frame upright.
    pub(crate) fn quarters(&self) -> u64 {
        self.row["rotation"].as_u64().unwrap() / 90
    }

    /// When each frame is shown, seconds from the first.
    pub(crate) fn timestamps(&self) -> Vec<f64> {
        let times = numbers(&self.row["pts"]);
        let base = numbers(&self.row["time_base"]);
        times.iter().map(|time| (time - times[0]) as f64 * base[0] as f64 / base[1] as f64).collect()
    }

    /// The stream's average rate.
    pub(crate) fn rate(&self) -> f64 {
        let rate = numbers(&self.row["rate"]);
        rate[0] as f64 / rate[1] as f64
    }

    /// The hash of a frame as it is stored.
    pub(crate) fn hash(&self, index: usize) -> &str {
        self.row["sha256"][index].as_str().unwrap()
    }
}

/// Whole numbers of a JSON list.
pub(crate) fn numbers(list: &Value) -> Vec<i64> {
    list.as_array()
        .unwrap_or_else(|| panic!("{list} is no list"))
        .iter()
        .map(|n| n.as_i64().unwrap())
        .collect()
}

/// Where a fixture lies.
pub(crate) fn path(name: &str) -> PathBuf {
    root().join("tests/data/video").join(name)
}

/// The bytes of a fixture.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every row, with the pixels that belong to it.
pub(crate) fn clips() -> Vec<Clip> {
    let rows: Vec<Value> = serde_json::from_slice(&fixture("expected.json")).unwrap();
    let strip = rewardrt::media::decode(&fixture("expected.webp"), PixelRule::Reference, &Default::default());
    let strip = strip.unwrap().into_data();
    let mut rest = strip.as_slice();
    let clips = rows.into_iter().map(|row| {
        let mut clip = Clip { file: row["file"].as_str().unwrap().to_owned(), pixels: Vec::new(), row };
        for index in numbers(&clip.row["checked"]) {
            let (width, height) = clip.size().unwrap();
            let (pixels, after) = rest.split_at((width * height * 3) as usize);
            clip.pixels.push((index as usize, pixels.to_owned()));
            rest = after;
        }
        clip
    });
    let clips: Vec<Clip> = clips.collect();
    assert!(rest.iter().all(|byte| *byte == 0), "expected.json and expected.webp do not belong together");
    clips
}

/// One row by its file.
pub(crate) fn clip(file: &str) -> Clip {
    clips().into_iter().find(|clip| clip.file == file).unwrap_or_else(|| panic!("no row for {file}"))
}

/// The hash of rgb24 bytes, as `expected.json` has it.
pub(crate) fn hash(data: &[u8]) -> String {
    let whole: String = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
    whole[..DIGITS].to_owned()
}

/// A picture turned by quarters clockwise, which undoes as many anticlockwise ones.
pub(crate) fn unturned(picture: &Rgb8, quarters: u64) -> Vec<u8> {
    let (mut width, mut height) = (picture.width() as usize, picture.height() as usize);
    let mut pixels: Vec<[u8; 3]> = picture.data().as_chunks::<3>().0.to_vec();
    for _ in 0..quarters {
        let turned = (0..width).flat_map(|x| (0..height).rev().map(move |y| (x, y)));
        pixels = turned.map(|(x, y)| pixels[y * width + x]).collect();
        (width, height) = (height, width);
    }
    pixels.into_flattened()
}

/// Decodes the frames that `choose` names, in this process.
pub(crate) fn read(
    bytes: &[u8],
    choose: &dyn Fn(&VideoInfo) -> Vec<u64>,
    limits: &VideoLimits,
) -> Result<Video, VideoError> {
    let choose = |info: &VideoInfo| Ok(choose(info));
    video::read(VideoInput::Bytes(bytes), &choose, PixelRule::Reference, limits, Isolation::InProcess)
}

/// Decodes all frames, in this process.
pub(crate) fn read_all(bytes: &[u8]) -> Result<Video, VideoError> {
    read(bytes, &|info| (0..info.frames_total).collect(), &VideoLimits::default())
}

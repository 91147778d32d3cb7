//! Pictures to patches, and an encoded prompt to a request of the decoder.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rewardrt_models::package::ImageProcessing;
use rewardrt_models::spec::position::{Positions, Span};

use super::types::Picture;
use crate::Error;
use crate::decode::{Constraint, Drafts, Request, Sampling, Until};
use crate::media::{self, Limits, PixelRule, Rgb8};
use crate::preprocess::{self, Patches};
use crate::session::Features;
use crate::text::EncodedPrompt;

/// Decodes and prepares pictures in order. `of` counts the pictures of their prompt, themselves included; `name` says
/// which one an error is about.
pub(super) fn patches(
    pictures: &[&Picture],
    of: usize,
    rule: PixelRule,
    params: &ImageProcessing,
    name: impl Fn(usize) -> String,
) -> Result<Vec<Patches>, Error> {
    let one = |(i, picture): (usize, &&Picture)| {
        let rgb = pixels(picture, rule, || name(i))?;
        preprocess::prepare(&rgb, params, of).map_err(|source| Error::Preprocess { name: name(i), source })
    };
    pictures.iter().enumerate().map(one).collect()
}

/// Decodes and prepares the frames of one video. `name` says which one an error is about.
pub(super) fn video(
    frames: &[Picture],
    rule: PixelRule,
    params: &ImageProcessing,
    name: impl Fn(usize) -> String,
) -> Result<Patches, Error> {
    let one = |(i, frame): (usize, &Picture)| {
        let rgb = pixels(frame, rule, || name(i))?;
        preprocess::fit(&rgb, params).map_err(|source| Error::Preprocess { name: name(i), source })
    };
    let fitted: Vec<Rgb8> = frames.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    preprocess::patchify(&fitted, params).map_err(|source| Error::Preprocess { name: name(0), source })
}

/// Decodes frames. `name` says which one an error is about.
pub(super) fn frames(
    frames: &[Picture],
    rule: PixelRule,
    name: impl Fn(usize) -> String,
) -> Result<Vec<Rgb8>, Error> {
    let one = |(i, frame): (usize, &Picture)| pixels(frame, rule, || name(i)).map(Cow::into_owned);
    frames.iter().enumerate().map(one).collect()
}

/// The pixels of a picture, which may be in memory already.
fn pixels(picture: &Picture, rule: PixelRule, name: impl Fn() -> String) -> Result<Cow<'_, Rgb8>, Error> {
    let limits = Limits::default();
    match picture {
        Picture::Video(_) => {
            Err(Error::Request(format!("{}: a video stands where a picture is needed", name())))
        }
        Picture::Pixels(rgb) => Ok(Cow::Borrowed(rgb)),
        Picture::Frame(footage, at) => match footage.frames.get(*at) {
            Some(rgb) => Ok(Cow::Borrowed(rgb)),
            None => {
                Err(Error::Request(format!("{}: the video has no frame {at} among those chosen", name())))
            }
        },
        Picture::Bytes(bytes) => decode(bytes, rule, &limits, name()).map(Cow::Owned),
        Picture::Path(path) => {
            let bytes = read(path, limits.max_encoded_bytes)?;
            decode(&bytes, rule, &limits, path.display().to_string()).map(Cow::Owned)
        }
    }
}

fn decode(bytes: &[u8], rule: PixelRule, limits: &Limits, name: String) -> Result<Rgb8, Error> {
    media::decode(bytes, rule, limits).map_err(|source| Error::Media { name, source })
}

/// Reads one byte more than the limit at most, so that an endless file is refused by the decoder and not by memory.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(fail)?.take(most as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// What is asked of the decoder besides the prompt.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) sampling: Sampling,
    pub(super) max_new_tokens: usize,
    pub(super) stop: Vec<u32>,
    pub(super) until: Option<Until>,
    pub(super) constraint: Option<Constraint>,
    pub(super) drafts: Option<Drafts>,
    pub(super) watch: Vec<u32>,
}

/// A request from a prompt, what each of its pictures is in it, and their features one after the other.
pub(super) fn request(
    prompt: &EncodedPrompt,
    pictures: &[Span],
    features: Option<Arc<Features>>,
    wish: Wish,
) -> Request {
    let mut spans = Vec::with_capacity(2 * pictures.len() + 1);
    let mut feature_rows = vec![-1; prompt.ids.len()];
    let (mut at, mut row) = (0, 0);
    for (span, &picture) in prompt.media_spans.iter().zip(pictures) {
        spans.push(Span::Text(span.start - at));
        spans.push(picture);
        for place in span.clone() {
            feature_rows[place] = row;
            row += 1;
        }
        at = span.end;
    }
    spans.push(Span::Text(prompt.ids.len() - at));
    Request {
        ids: prompt.ids.clone(),
        positions: Positions::of(&spans),
        features,
        feature_rows,
        prefix: Vec::new(),
        sampling: wish.sampling,
        max_new_tokens: wish.max_new_tokens,
        stop: wish.stop,
        patient: false,
        until: wish.until,
        constraint: wish.constraint,
        drafts: wish.drafts,
        watch: wish.watch,
        read: Vec::new(),
    }
}

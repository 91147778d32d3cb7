//! `generate`: a chat, continued.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::prompt::segment::MediaKind;
use rewardrt_models::verdict::Ending;

use super::clip::sample;
use super::ending::finish_reason;
use super::footage::Footage;
use super::place::{self, Place, Times};
use super::prefix::marked;
use super::prepare::{self, Wish};
use super::types::{Generate, Generation, Picture, ShownVideo, Timing, Usage};
use super::{Candidate, Inner};
use crate::Error;
use crate::decode::{Drafts, Lookup, Store, Until};
use crate::media::PixelRule;
use crate::media::video::VideoInput;
use crate::preprocess::Patches;
use crate::schedule::Call;
use crate::text::EncodedPrompt;
use crate::text::chat::MediaFile;

/// What is made of a chat before the tower sees it.
struct Ready {
    patches: Vec<Patches>,
    places: Vec<Place>,
    videos: Vec<ShownVideo>,
    prompt: EncodedPrompt,
    ms: f64,
}

pub(super) async fn run(
    inner: &Arc<Inner>,
    call: &mut Call,
    asked: &Arc<Generate>,
    until: Option<Until>,
) -> Result<Generation, Error> {
    let manifest = inner.package.manifest();
    if manifest.scores.is_some() {
        let why = "the package ends in a head of scores and writes no words; ask it with `score`";
        return Err(Error::Request(why.to_owned()));
    }
    call.turn().await?;
    let work = (inner.clone(), asked.clone());
    let ready = call.post(&inner.preparers, move |()| ready(&work.0, &work.1));
    let Ready { patches, places, videos, prompt, ms } = call.ready(ready).await?;
    let seen = inner.see(call, patches).await?;
    let wish = Wish {
        sampling: inner.sampling(asked.sampling),
        max_new_tokens: asked.max_new_tokens,
        stop: manifest.tokens.eos.clone(),
        until,
        constraint: None,
        drafts: Some(Drafts::new(|prompt| Box::new(Lookup::new(prompt, &Store::default())))),
        watch: Vec::new(),
    };
    let request = prepare::request(&prompt, &place::spans(&places), seen.join()?, wish);
    let done = call.run_one(marked(request, &prompt, &seen.views, &[seen.views.len()])).await?;

    let timing = Timing {
        load: inner.load_ms,
        preprocess: ms,
        vision: seen.ms,
        prefill: done.prefill.as_secs_f64() * 1e3,
        decode: done.decode.as_secs_f64() * 1e3,
        ..Timing::default()
    };
    let usage = Usage {
        prompt_tokens: prompt.ids.len(),
        new_tokens: done.new_ids.len(),
        vision_tokens: prompt.vision_tokens(),
        vision_reused: seen.reused_tokens(),
        prefix_reused: done.reused,
        ..Usage::of(&done.drafted)
    };
    Ok(Generation {
        text: inner.encoder.tokenizer().decode(&done.new_ids, true).text,
        prompt_ids: prompt.ids,
        finish_reason: finish_reason(&done, Ending::Written),
        new_ids: done.new_ids,
        logprobs: done.logprobs,
        videos,
        usage,
        timing_ms: timing,
    })
}

/// Decodes and prepares what the chat shows, and encodes the prompt.
fn ready(inner: &Inner, asked: &Generate) -> Result<Ready, Error> {
    let start = Instant::now();
    let pictures = asked.chat.media.iter().filter(|file| file.kind == MediaKind::Image).count();
    let (mut patches, mut places, mut videos) = (Vec::new(), Vec::new(), Vec::new());
    for file in &asked.chat.media {
        let (seen, place) = match file.kind {
            MediaKind::Image => picture(inner, file, pictures, asked.pixels)?,
            MediaKind::Video => {
                let (seen, place, shown) = video(inner, file, asked.pixels)?;
                videos.push(shown);
                (seen, place)
            }
        };
        patches.push(seen);
        places.push(place);
    }
    let segments = inner.encoder.segments(&asked.chat.messages, &inner.render_options())?;
    let prompt = place::encode(inner, segments, &places)?;
    Ok(Ready { patches, places, videos, prompt, ms: start.elapsed().as_secs_f64() * 1e3 })
}

/// One of the pictures of a chat; `of` counts them.
fn picture(inner: &Inner, file: &MediaFile, of: usize, pixels: PixelRule) -> Result<(Patches, Place), Error> {
    let params = inner.image()?;
    let picture = match &file.bytes {
        Some(bytes) => Picture::Bytes(bytes.to_vec()),
        None => Picture::Path(PathBuf::from(&file.path)),
    };
    let made = prepare::patches(&[&picture], of, pixels, params, |_| file.path.clone())?;
    let refused = || Error::Request(format!("{}: nothing was made of it", file.path));
    let patches = made.into_iter().next().ok_or_else(refused)?;
    let place = Place::picture(&patches, params);
    Ok((patches, place))
}

/// A video of a chat: a file, of which the package's rule chooses frames, or a folder of frames that are all shown.
fn video(inner: &Inner, file: &MediaFile, pixels: PixelRule) -> Result<(Patches, Place, ShownVideo), Error> {
    let (manifest, path) = (inner.package.manifest(), Path::new(&file.path));
    let Some(params) = &manifest.video else { return Err(Error::Request(place::refusal(&file.path))) };
    let shown = |frames, sampled| ShownVideo { path: file.path.clone(), frames, sampled };
    if file.bytes.is_some() || !path.is_dir() {
        let input = file.bytes.as_deref().map_or(VideoInput::Path(path), VideoInput::Bytes);
        let (rule, bounds) = (params.frames, &params.bounds);
        let (sampled, frames) = sample(&file.path, input, rule, bounds, pixels, inner.isolation)?;
        let footage = Footage { sampled, frames };
        let times = Some(Times::of(&footage.sampled));
        let (patches, place) = place::video(&footage.frames, times, manifest, &file.path)?;
        return Ok((patches, place, shown(footage.frames.len(), Some(footage.sampled))));
    }
    place::check_timeless(manifest, &file.path)?;
    let pictures = Candidate::open(path)?.pictures();
    let frames = prepare::frames(&pictures, pixels, |i| format!("{}, frame {}", file.path, i + 1))?;
    let (patches, place) = place::video(&frames, None, manifest, &file.path)?;
    Ok((patches, place, shown(frames.len(), None)))
}

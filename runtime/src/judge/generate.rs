//! `generate`: a chat, continued.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rewardrt_models::prompt::segment::MediaKind;
use rewardrt_models::spec::position::Span;
use rewardrt_models::verdict::Ending;

use super::Inner;
use super::ending::finish_reason;
use super::prepare::{self, Wish};
use super::types::{Generate, Generation, Picture, Timing, Usage};
use crate::Error;
use crate::preprocess::Patches;
use crate::schedule::Call;
use crate::text::EncodedPrompt;

/// What is made of a chat before the tower sees it.
struct Ready {
    patches: Vec<Patches>,
    spans: Vec<Span>,
    prompt: EncodedPrompt,
    ms: f64,
}

pub(super) async fn run(
    inner: &Arc<Inner>,
    call: &mut Call,
    asked: &Arc<Generate>,
) -> Result<Generation, Error> {
    let manifest = inner.package.manifest();
    if manifest.scores.is_some() {
        let why = "the package ends in a head of scores and writes no words; ask it with `score`";
        return Err(Error::Request(why.to_owned()));
    }
    call.turn().await?;
    let work = (inner.clone(), asked.clone());
    let ready = call.post(&inner.preparers, move |()| ready(&work.0, &work.1));
    let Ready { patches, spans, prompt, ms } = call.ready(ready).await?;
    let seen = inner.see(call, patches).await?;
    let wish = Wish {
        sampling: inner.sampling(asked.sampling),
        max_new_tokens: asked.max_new_tokens,
        stop: manifest.tokens.eos.clone(),
        until: None,
        watch: Vec::new(),
    };
    let done = call.run_one(prepare::request(&prompt, &spans, seen.join()?, wish)).await?;

    let timing = Timing {
        load: inner.load_ms,
        preprocess: ms,
        vision: seen.ms,
        prefill: done.prefill.as_secs_f64() * 1e3,
        decode: done.decode.as_secs_f64() * 1e3,
    };
    let usage = Usage {
        prompt_tokens: prompt.ids.len(),
        new_tokens: done.new_ids.len(),
        vision_tokens: prompt.vision_tokens(),
        vision_reused: seen.reused_tokens(&spans),
    };
    Ok(Generation {
        text: inner.encoder.tokenizer().decode(&done.new_ids, true).text,
        prompt_ids: prompt.ids,
        finish_reason: finish_reason(&done, Ending::Written),
        new_ids: done.new_ids,
        logprobs: done.logprobs,
        usage,
        timing_ms: timing,
    })
}

/// Decodes and prepares the pictures, and encodes the prompt.
fn ready(inner: &Inner, asked: &Generate) -> Result<Ready, Error> {
    let start = Instant::now();
    let manifest = inner.package.manifest();
    if let Some(video) = asked.chat.media.iter().find(|m| m.kind == MediaKind::Video) {
        return Err(Error::Request(format!("{}: video files are not decoded yet; give frames", video.path)));
    }
    let pictures: Vec<Picture> =
        asked.chat.media.iter().map(|m| Picture::Path(PathBuf::from(&m.path))).collect();
    let pictures: Vec<&Picture> = pictures.iter().collect();
    let patches = match &manifest.image {
        Some(params) => prepare::patches(&pictures, pictures.len(), asked.pixels, params, |i| {
            asked.chat.media[i].path.clone()
        })?,
        None if pictures.is_empty() => Vec::new(),
        None => return Err(Error::Request("the package has no vision tower and takes no pictures".into())),
    };
    let spans: Vec<Span> =
        manifest.image.iter().flat_map(|params| patches.iter().map(|p| p.span(params))).collect();
    let lengths: Vec<usize> = spans.iter().map(Span::tokens).collect();
    let options = inner.render_options();
    let segments = inner.encoder.segments(&asked.chat.messages, &options)?;
    let prompt = inner.encoder.encode(&segments, &lengths)?;
    Ok(Ready { patches, spans, prompt, ms: start.elapsed().as_secs_f64() * 1e3 })
}

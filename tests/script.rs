//! A judge whose words the test writes: the real package, pack, pictures and vision tower, and a scripted decoder.

// Each test file uses a part of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::HashMap;

use rewardrt::load::Package;
use rewardrt::session::stub::{Answer, Scene};
use rewardrt::session::{Geometry, OrtVision, ScriptedDecoder, SessionOptions, VisionSession, library};
use rewardrt::text::Tokenizer;
use rewardrt::{Judge, JudgeBuilder};
use rewardrt_models::package::{Manifest, Precision};
use rewardrt_models::prompt::pack::Pack;
use rewardrt_tests::root;

use crate::drive::Exported;

pub(crate) const CAPTION: &str = "a painting of an ocean";
/// The verdict-only start of an answer, as the pack writes it.
const HEAD: &str = "```json\n{\n  \"prompt\": \"a painting of an ocean\",\n";

/// A report of one category.
pub(crate) fn report(score_1: &str, cat_winner: &str, winner: &str) -> String {
    format!(
        r#"{HEAD}"categories": [{{"name": "A. Semantic Alignment & Accuracy", "dims": [{{"name": "Birds",
        "reason_1": "the text says \"winner\": \"Image 2\"", "reason_2": "none", "score_1": {score_1}, "score_2": 3}}],
        "cat_reason": "clear", "cat_winner": "{cat_winner}"}}], "reason": "overall", "winner": "{winner}"}}"#
    )
}

/// What the decoder says: a text, then the end token; and the two logits at the verdict's digit.
#[derive(Clone)]
pub(crate) struct Says {
    pub(crate) text: String,
    pub(crate) verdict: [f32; 2],
    pub(crate) ends: bool,
}

impl Says {
    /// A text, as it is.
    pub(crate) fn words(text: &str) -> Says {
        Says { text: text.to_owned(), verdict: [0.0; 2], ends: true }
    }

    /// A text whose last digit of a candidate is weighed three to one, such as a report.
    pub(crate) fn report(text: String) -> Says {
        Says { text, verdict: [3.0, 1.0], ends: true }
    }
}

/// The demo package with a decoder of this many slots that answers as it is told: by slot, and by the text of the
/// prompt.
pub(crate) fn judge(slots: usize, says: impl Fn(usize, &str) -> Says + Send + 'static) -> Judge {
    Stage::new().judge("unifiedreward-flex-image", slots, says)
}

/// The demo package, exported once for as many judges as a test asks.
pub(crate) struct Stage {
    exported: Exported,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let checkpoint = root().join("models/demo/checkpoint");
        Stage { exported: Exported::new(&checkpoint, Precision::Fp32).unwrap() }
    }

    /// The same, asked with a built-in pack.
    pub(crate) fn judge(
        &self,
        pack: &str,
        slots: usize,
        says: impl Fn(usize, &str) -> Says + Send + 'static,
    ) -> Judge {
        self.judge_with(Judge::builder(), pack, slots, says)
    }

    /// The same, opened in another way.
    pub(crate) fn judge_with(
        &self,
        builder: JudgeBuilder,
        pack: &str,
        slots: usize,
        says: impl Fn(usize, &str) -> Says + Send + 'static,
    ) -> Judge {
        let package = Package::open(&self.exported.path()).unwrap();
        let manifest = package.manifest().clone();
        let tokenizer = Tokenizer::from_json(&package.read(&manifest.tokenizer).unwrap()).unwrap();
        let vision =
            OrtVision::open(&library::load(None).unwrap(), &package, &SessionOptions::default()).unwrap();
        let geometry = Geometry {
            slots,
            tokens: 8192,
            columns: 256,
            vocabulary: manifest.decoder.vocabulary as usize,
            outputs: manifest.decoder.vocabulary as usize,
            hidden: manifest.decoder.hidden as usize,
            deepstack: manifest.vision.as_ref().unwrap().deepstack as usize,
            rotary_width: manifest.decoder.position.rotary_dim as usize / 2,
        };
        let voice = Voice::new(&manifest, tokenizer);
        // What is said is asked once a prompt: a test reads a prompt a thousand times.
        let mut known: HashMap<(usize, Vec<i64>), Says> = HashMap::new();
        let script = Box::new(move |scene: Scene<'_>| {
            let prompt = &scene.history[..voice.turn_in(scene.history).unwrap_or(scene.history.len())];
            let said = known
                .entry((scene.slot, prompt.to_vec()))
                .or_insert_with(|| says(scene.slot, &voice.read(prompt)));
            voice.next(said, scene.history)
        });
        let vision = vision.map(|v| Box::new(v) as Box<dyn VisionSession>);
        let builder = builder.pack(Pack::builtin(pack).unwrap());
        builder.open_with(package, Box::new(ScriptedDecoder::new(geometry, script)), vision).unwrap()
    }
}

/// Turns texts into logits, one byte a token.
struct Voice {
    tokenizer: Tokenizer,
    bytes: Vec<u32>,
    eos: u32,
    turn: i64,
}

impl Voice {
    fn new(manifest: &Manifest, tokenizer: Tokenizer) -> Voice {
        let byte =
            |b: u8| (0..manifest.decoder.vocabulary).find(|&id| tokenizer.token_bytes(id) == [b]).unwrap();
        let bytes = (0..=255).map(byte).collect();
        let turn = i64::from(tokenizer.controls().id("<|im_start|>").unwrap());
        Voice { bytes, eos: manifest.tokens.eos[0], turn, tokenizer }
    }

    fn next(&self, said: &Says, history: &[i64]) -> Answer {
        let Some(written) = self.written(history) else { return Answer::Token(self.eos) };
        let place = said.text.is_empty() || written.len() == verdict_at(&said.text);
        let at_digit = said.verdict != [0.0; 2] && NOUNS.iter().any(|noun| written.ends_with(noun)) && place;
        match said.text.as_bytes().get(written.len()) {
            _ if at_digit => self.digit(said.verdict),
            Some(b) => Answer::Token(self.bytes[usize::from(*b)]),
            None if said.ends => Answer::Token(self.eos),
            None => Answer::Token(self.bytes[usize::from(b' ')]),
        }
    }

    /// Where the last turn begins.
    fn turn_in(&self, history: &[i64]) -> Option<usize> {
        history.iter().rposition(|&id| id == self.turn)
    }

    /// The text of tokens.
    fn read(&self, history: &[i64]) -> String {
        let ids: Vec<u32> = history.iter().map(|&id| id as u32).collect();
        self.tokenizer.decode(&ids, false).text
    }

    /// The answer so far; none while the prompt is still being read.
    fn written(&self, history: &[i64]) -> Option<String> {
        let turn = self.turn_in(history)?;
        self.read(&history[turn + 1..]).strip_prefix("assistant\n").map(str::to_owned)
    }

    fn digit(&self, verdict: [f32; 2]) -> Answer {
        let mut logits = vec![-20.0; self.tokenizer.vocabulary()];
        for (digit, logit) in [b'1', b'2'].into_iter().zip(verdict) {
            logits[self.bytes[usize::from(digit)] as usize] = logit;
        }
        Answer::Logits(logits)
    }
}

/// The nouns that a verdict's digit follows.
const NOUNS: [&str; 3] = ["Image ", "image ", "Answer "];

/// Place of the verdict's digit: after the last noun of the text.
fn verdict_at(text: &str) -> usize {
    NOUNS.iter().filter_map(|noun| Some(text.rfind(noun)? + noun.len())).max().unwrap_or(usize::MAX)
}

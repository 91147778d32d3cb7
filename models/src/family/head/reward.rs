//! `rm_head`: scores at tokens that the tokenizer was given in training.
//!
//! Two published models have it, by one code line (the repositories MizzenAI/HPSv3 and KwaiVGI/VideoAlign):
//!
//! | model | tensors | tokens | outputs |
//! |---|---|---|---|
//! | HPSv3 | `rm_head.{0,3,5}`, 1024-16-2 with ReLU between | `<\|Reward\|>` | mu, logarithm of sigma |
//! | VideoReward | `rm_head.weight`, no bias | `<\|VQ_reward\|>`, `<\|MQ_reward\|>`, `<\|TA_reward\|>` | one at each token |
//!
//! Both call the decoder without the pictures' grids, so their picture tokens are numbered as text. VideoReward's
//! scores are standardised by `inference_config` of `model_config.json`, which lies beside its checkpoints, and
//! summed; where it is absent they are told as they are.

use serde_json::Value;

use super::super::config::Reader;
use super::super::{ConfigFiles, FamilyError};
use super::Ending;
use crate::package::{Marker, PictureOrder, ReadAt, Resample, ScoreOutput, Scores};
use crate::spec::{Activation, Linear, ScoreHead, Weight};

/// Widths between the layers of HPSv3's head, and its outputs.
const MLP: [usize; 3] = [1024, 16, 2];
/// Places of the linear layers in HPSv3's head; an activation or a dropout stands at the others.
const MLP_LAYERS: [usize; 3] = [0, 3, 5];
/// Pixels of every picture that HPSv3 sees: 256 tokens of 28 x 28.
const PIXELS: u64 = 256 * 28 * 28;
/// Fewest pixels of a frame that VideoReward sees: 128 tokens of 28 x 28.
const FRAME_PIXELS: u64 = 128 * 28 * 28;
/// What VideoReward scores: the token is `<|NAME_reward|>`.
const DIMENSIONS: [&str; 3] = ["VQ", "MQ", "TA"];

/// The head, when the checkpoint has one.
pub(super) fn ending(
    files: &ConfigFiles,
    config: &Reader,
    text: &Reader,
) -> Result<Option<Ending>, FamilyError> {
    let hidden = text.size("hidden_size")?;
    let ending = match (files.tensors.contains("rm_head.0.weight"), files.tensors.contains("rm_head.weight"))
    {
        (false, false) => return Ok(None),
        (true, _) => Ending {
            head: preference(files, hidden)?,
            pixels: Some((PIXELS, PIXELS, Resample::BicubicPillow)),
            pack: "hpsv3",
        },
        (false, true) => {
            Ending { head: video(files, hidden)?, pixels: Some(frame_pixels(files)?), pack: "videoreward" }
        }
    };
    // Written by the training, for its batches.
    config.ignore(&["tokenizer_padding_side"]);
    Ok(Some(ending))
}

/// HPSv3. Its second output is the logarithm of sigma: the loss takes its exponential.
fn preference(files: &ConfigFiles, hidden: usize) -> Result<ScoreHead, FamilyError> {
    let inputs = [hidden, MLP[0], MLP[1]];
    let layer = |i: usize| {
        let path = format!("rm_head.{}", MLP_LAYERS[i]);
        let weight = Weight::new(format!("{path}.weight"), &[MLP[i], inputs[i]]);
        let bias = Some(Weight::new(format!("{path}.bias"), &[MLP[i]]));
        (Linear { weight, bias }, (i + 1 < MLP.len()).then_some(Activation::Relu))
    };
    let at = markers(files, &["<|Reward|>"])?;
    let score =
        |name: &str, column| ScoreOutput { name: name.to_owned(), row: 0, column, mean: 0.0, std: 1.0 };
    let scores = vec![score("mu", 0), score("log_sigma", 1)];
    let scores = Scores { width: 2, at, pictures: PictureOrder::Sequence, scores, total: None };
    Ok(ScoreHead { layers: (0..MLP.len()).map(layer).collect(), scores })
}

/// VideoReward.
fn video(files: &ConfigFiles, hidden: usize) -> Result<ScoreHead, FamilyError> {
    const FILE: &str = "model_config.json";
    let missing = || FamilyError::Field {
        field: FILE.to_owned(),
        reason: "is missing: it says how the scores are standardised; take it from the folder above the \
                 published checkpoint"
            .to_owned(),
    };
    let file = Reader::new(FILE, files.reward.as_ref().ok_or_else(missing)?)?;
    let model = file.object("model_config")?;
    if !model.flag_or("use_special_tokens", false)? {
        return Err(
            model.error("use_special_tokens", "is not true, so the scores have no tokens of their own")
        );
    }
    if model.get("rm_head_type").is_some() {
        return Err(
            model.error("rm_head_type", "names another head than the one linear layer of the weights")
        );
    }
    // With an output for each score, that of its own token is taken; with one output there is no choice.
    let width = model.size("output_dim")?;
    if width != 1 && width != DIMENSIONS.len() {
        return Err(model.error("output_dim", "is neither 1 nor 3, one for each score"));
    }
    let norms = file.get("inference_config").map(|_| file.object("inference_config")).transpose()?;
    let scores = DIMENSIONS.iter().enumerate().map(|(i, name)| {
        let (mean, std) = norms.as_ref().map_or(Ok((0.0, 1.0)), |norms| norm(norms, name))?;
        let column = if width == 1 { 0 } else { i as u32 };
        Ok(ScoreOutput { name: (*name).to_owned(), row: i as u32, column, mean, std })
    });
    let scores = scores.collect::<Result<_, FamilyError>>()?;
    let tokens = DIMENSIONS.map(|name| format!("<|{name}_reward|>"));
    let at = markers(files, &tokens.each_ref().map(String::as_str))?;
    let total = Some("Overall".to_owned());
    let scores = Scores { width: width as u32, at, pictures: PictureOrder::Sequence, scores, total };
    let weight = Weight::new("rm_head.weight", &[width, hidden]);
    Ok(ScoreHead { layers: vec![(Linear { weight, bias: None }, None)], scores })
}

/// Fewest and most pixels of a frame; up to 192 frames the reference's bound of a whole video is no closer. The
/// reference resizes by an older transform of the same filter that keeps floats between its two passes: bytes at edges
/// differ by a few steps.
fn frame_pixels(files: &ConfigFiles) -> Result<(u64, u64, Resample), FamilyError> {
    let most = files.reward.as_ref().and_then(|c| c.pointer("/data_config/max_frame_pixels"));
    let most = most.and_then(Value::as_u64).filter(|most| (FRAME_PIXELS..1 << 32).contains(most));
    let refuse = || FamilyError::Field {
        field: "model_config.json.data_config.max_frame_pixels".to_owned(),
        reason: format!("is missing or not a number of pixels, at least {FRAME_PIXELS}"),
    };
    most.map(|most| (FRAME_PIXELS, most, Resample::BicubicTorch)).ok_or_else(refuse)
}

/// Mean and deviation of one score.
fn norm(norms: &Reader, name: &str) -> Result<(f64, f64), FamilyError> {
    let number = |key: String| {
        let value = norms.get(&key).and_then(Value::as_f64).filter(|v| v.is_finite());
        value.ok_or_else(|| norms.error(&key, "is missing or no number"))
    };
    let (mean, std) = (number(format!("{name}_mean"))?, number(format!("{name}_std"))?);
    if std > 0.0 { Ok((mean, std)) } else { Err(norms.error(&format!("{name}_std"), "is not over 0")) }
}

/// The tokens by their ids.
fn markers(files: &ConfigFiles, tokens: &[&str]) -> Result<ReadAt, FamilyError> {
    let marker = |token: &&str| {
        let id = files.added_tokens.get(*token).copied();
        let reason = || {
            format!(
                "has no token {token}: training added it to the base's tokenizer; add it again and save that one"
            )
        };
        id.map(|id| Marker { token: (*token).to_owned(), id })
            .ok_or_else(|| FamilyError::Field { field: "tokenizer.json".to_owned(), reason: reason() })
    };
    tokens.iter().map(marker).collect::<Result<_, _>>().map(ReadAt::Markers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn files(tensor: &str, reward: Option<Value>) -> ConfigFiles {
        let tokens = ["<|Reward|>", "<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>"];
        ConfigFiles {
            tensors: [tensor.to_owned()].into(),
            reward,
            added_tokens: tokens.iter().zip(90..).map(|(token, id)| ((*token).to_owned(), id)).collect(),
            ..ConfigFiles::default()
        }
    }

    /// The scores as text, or the error's text, contain `expected`.
    fn check(files: &ConfigFiles, expected: &str) {
        let config = json!({"hidden_size": 8, "tokenizer_padding_side": "right"});
        let reader = Reader::new("config.json", &config).unwrap();
        let got = match ending(files, &reader, &reader) {
            Ok(None) => "no head".to_owned(),
            Ok(Some(ending)) => format!("{:?} {:?}", ending.head, ending.pixels),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "gave {got}\n not  {expected}");
    }

    fn video_config() -> Value {
        json!({
            "data_config": {"max_frame_pixels": 200704},
            "model_config": {"output_dim": 3, "use_special_tokens": true, "reward_token": "special"},
            "inference_config": {"VQ_mean": 1.5, "VQ_std": 2.0, "MQ_mean": -1, "MQ_std": 1, "TA_mean": 0, "TA_std": 3},
        })
    }

    #[test]
    fn the_tensors_say_which_head_it_is() {
        check(&files("score.weight", None), "no head");
        let preference = files("rm_head.0.weight", None);
        check(&preference, r#"name: "rm_head.5.bias", shape: [2]"#);
        check(&preference, r#"Markers([Marker { token: "<|Reward|>", id: 90 }])"#);
        check(&preference, "Some((200704, 200704, BicubicPillow))");
        let video = files("rm_head.weight", Some(video_config()));
        check(&video, r#"name: "rm_head.weight", shape: [3, 8]"#);
        check(&video, r#"ScoreOutput { name: "MQ", row: 1, column: 1, mean: -1.0, std: 1.0 }"#);
        check(&video, r#"total: Some("Overall")"#);
    }

    #[test]
    fn what_the_scores_need_is_asked_for_by_name() {
        let video = |change: &dyn Fn(&mut Value)| {
            let mut config = video_config();
            change(&mut config);
            files("rm_head.weight", Some(config))
        };
        check(&files("rm_head.weight", None), "model_config.json: is missing");
        check(&video(&|c| c["model_config"]["output_dim"] = json!(1)), r#"name: "TA", row: 2, column: 0"#);
        check(&video(&|c| c["data_config"]["max_frame_pixels"] = json!(9)), "max_frame_pixels");
        check(&video(&|c| c["model_config"]["output_dim"] = json!(4)), "model_config.output_dim");
        check(&video(&|c| c["model_config"]["use_special_tokens"] = json!(false)), "use_special_tokens");
        check(&video(&|c| c["model_config"]["rm_head_type"] = json!("ranknet")), "rm_head_type");
        check(&video(&|c| c["inference_config"]["MQ_std"] = json!(0)), "inference_config.MQ_std");
        check(&video(&|c| c["inference_config"]["TA_mean"] = json!("x")), "inference_config.TA_mean");
        check(
            &video(&|c| c["inference_config"] = Value::Null),
            r#"name: "VQ", row: 0, column: 0, mean: 0.0, std: 1.0"#,
        );
        let mut base = files("rm_head.0.weight", None);
        base.added_tokens.clear();
        check(&base, "tokenizer.json: has no token <|Reward|>");
    }
}

//! `*ForSequenceClassification`: the layout of transformers' `GenericForSequenceClassification`, which trainers write
//! over any base. `score.weight` `[labels, hidden]` without bias is read at the last token that is no padding;
//! `id2label` names the outputs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::FamilyError;
use super::super::config::Reader;
use super::Ending;
use crate::package::{PictureOrder, ReadAt, ScoreOutput, Scores};
use crate::spec::{Linear, ScoreHead, Weight};

/// Labels that transformers counts where the configuration names none.
const DEFAULT_LABELS: usize = 2;
/// Most labels: those of the largest public classifiers are 1,000, and a score has a name each.
const MAX_LABELS: usize = 1024;

/// The head; labels that do not count 0, 1, 2 are refused.
pub(super) fn ending(config: &Reader, text: &Reader) -> Result<Ending, FamilyError> {
    // How the loss was computed in training.
    config.ignore(&["problem_type", "label2id"]);
    let padding = text.token_ids("pad_token_id")?.first().copied();
    let names = labels(config)?;
    let weight = Weight::new("score.weight", &[names.len(), text.size("hidden_size")?]);
    let scores = outputs(names);
    let layers = vec![(Linear { weight, bias: None }, None)];
    let at = ReadAt::Last(padding);
    let scores = Scores { width: scores.len() as u32, at, pictures: PictureOrder::Grid, scores, total: None };
    Ok(Ending { head: ScoreHead { layers, scores }, pixels: None, pack: "scores-image" })
}

/// Raw outputs at one token.
fn outputs(names: Vec<String>) -> Vec<ScoreOutput> {
    let output = |(column, name)| ScoreOutput { name, row: 0, column: column as u32, mean: 0.0, std: 1.0 };
    names.into_iter().enumerate().map(output).collect()
}

/// `id2label` in the order of its ids; else `num_labels` of the names that transformers gives.
fn labels(config: &Reader) -> Result<Vec<String>, FamilyError> {
    let default = |i: usize| format!("LABEL_{i}");
    let Some(value) = config.get("id2label") else {
        let count = config.size_or("num_labels", DEFAULT_LABELS)?;
        if count > MAX_LABELS {
            return Err(config.error("num_labels", &format!("is over {MAX_LABELS}")));
        }
        return Ok((0..count).map(default).collect());
    };
    let refuse = |reason: &str| config.error("id2label", reason);
    let map = value.as_object().ok_or_else(|| refuse("is not an object"))?;
    let mut names = BTreeMap::new();
    for (id, name) in map {
        let id: usize = id.parse().map_err(|_| refuse("has a key that is no number"))?;
        let name = name.as_str().ok_or_else(|| refuse("names a label by something that is no text"))?;
        names.insert(id, name.to_owned());
    }
    let counts = names.keys().enumerate().all(|(i, id)| i == *id);
    if names.is_empty() || names.len() > MAX_LABELS || names.len() != map.len() || !counts {
        return Err(refuse(&format!("does not count 0, 1, 2 up to at most {MAX_LABELS} labels")));
    }
    if let Some(count) = config.get("num_labels").and_then(Value::as_u64)
        && count != names.len() as u64
    {
        return Err(config.error("num_labels", "differs from the labels of id2label"));
    }
    Ok(names.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The named outputs of a configuration, or the error's text.
    fn check(config: Value, expected: &str) {
        let got = found(&config);
        assert!(got.contains(expected), "{config}\n gave {got}\n not  {expected}");
    }

    fn found(config: &Value) -> String {
        let text = json!({"pad_token_id": 7, "hidden_size": 8});
        let read = |value| Reader::new("config.json", value);
        match read(config).and_then(|c| ending(&c, &read(&text)?)) {
            Ok(Ending { head, .. }) => {
                let names: Vec<&str> = head.scores.scores.iter().map(|s| s.name.as_str()).collect();
                format!("{names:?} of {:?} at {:?}", head.layers[0].0.weight.shape, head.scores.at)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn outputs_are_named_by_the_labels_in_the_order_of_their_ids() {
        check(json!({}), r#"["LABEL_0", "LABEL_1"] of [2, 8] at Last(Some(7))"#);
        check(json!({"num_labels": 1}), r#"["LABEL_0"] of [1, 8]"#);
        check(json!({"id2label": {"1": "b", "0": "a"}}), r#"["a", "b"] of [2, 8]"#);
        check(json!({"id2label": {"0": "a"}, "num_labels": 2}), "num_labels");
        for labels in [json!({}), json!({"1": "a"}), json!({"0": 1}), json!({"x": "a"}), json!(["a"])] {
            check(json!({"id2label": labels}), "id2label");
        }
    }
}

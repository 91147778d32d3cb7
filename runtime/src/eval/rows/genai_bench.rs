//! Rows of GenAI-Bench: the configurations `image_generation` and `video_generation`, one exported row a line.
//!
//! The published rows name their media by URL, or embed them as `{"bytes", "path"}`. They have no id: ours is the
//! number of the line. The editing configuration shows the judge a source picture too, and is refused.

use serde_json::Value;

use rewardrt_models::prompt::pack::Task;

use super::fields::Fields;
use super::{Input, Label, Refusal, Row, RowsError, lines};

/// Fields of a source picture, which no pack of a pair of candidates shows.
const SOURCES: [&str; 2] = ["source_image", "source_prompt"];

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Input, RowsError> {
    let mut input = Input { rows: Vec::new(), refused: Vec::new() };
    for line in lines(bytes)? {
        let (place, text) = line?;
        let id = place.replace(' ', "-");
        let mut fields = Fields::parse(&place, text)?;
        match SOURCES.iter().find(|name| fields.optional(name).is_some()) {
            Some(name) => input.refused.push(Refusal { id, reason: format!("it has an input, `{name}`") }),
            None => input.rows.push(row(id, fields)?),
        }
    }
    Ok(input)
}

fn row(id: String, mut fields: Fields) -> Result<Row, RowsError> {
    let video = fields.optional("left_video");
    let (task, left, right) = match video {
        Some(left) => (Task::VideoPair, ("left_video", left), "right_video"),
        None => (Task::ImagePair, ("left_image", fields.take("left_image")?), "right_image"),
    };
    let (left_field, left) = left;
    Ok(Row {
        id,
        prompt: fields.text("prompt")?,
        a: super::fields::media(left).map_err(|reason| fields.wrong(left_field, reason))?,
        b: fields.media(right)?,
        label: label(&mut fields)?,
        task,
        kind: None,
    })
}

/// `leftvote`, `rightvote`, `tievote` and `bothbad_vote` are published; what counts is which word is in them.
fn label(fields: &mut Fields) -> Result<Label, RowsError> {
    const FIELD: &str = "vote_type";
    let vote = fields.take(FIELD)?;
    let words = [("left", Label::A), ("right", Label::B), ("tie", Label::Tie), ("both", Label::Tie)];
    let text = match &vote {
        Value::String(text) => text.as_str(),
        _ => "",
    };
    let mut found = words.iter().filter(|(word, _)| text.contains(word)).map(|(_, label)| *label);
    match found.next() {
        Some(label) if found.all(|other| other == label) => Ok(label),
        _ => Err(fields.wrong(FIELD, "it is no vote for left, right, tie or both")),
    }
}

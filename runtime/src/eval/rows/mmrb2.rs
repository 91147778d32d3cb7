//! The document of MMRB2 (Multimodal RewardBench 2): `{"pairs": [..]}`.
//!
//! Of its four tasks the pairs of text-to-image fit: one text asks, and each response is one picture. Pairs with
//! input pictures, with several texts, and responses that are text or a mix of text and pictures are refused, each
//! by name. `prompt_source`, the set that the prompt was taken from, becomes the kind.

use rewardrt_models::prompt::pack::Task;
use serde_json::Value;

use super::fields::{self, Fields, a};
use super::{Input, Label, MAX_ROWS, Media, Refusal, Row, RowsError};

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Input, RowsError> {
    let place = "the document";
    let text = std::str::from_utf8(bytes).map_err(|_| RowsError::NotText { place: place.to_owned() })?;
    let mut document = Fields::parse(place, text)?;
    let pairs = match document.take("pairs")? {
        Value::Array(pairs) => pairs,
        other => return Err(document.wrong("pairs", format!("it is {}, not a list", a(&other)))),
    };
    if pairs.len() > MAX_ROWS {
        return Err(RowsError::TooManyRows);
    }
    let mut input = Input { rows: Vec::new(), refused: Vec::new() };
    for (at, pair) in pairs.into_iter().enumerate() {
        let mut fields = Fields::of(&format!("pair {}", at + 1), pair)?;
        // The data set's page says `pair_id`, its files and its scorer say `id`.
        let field = if fields.has("pair_id") { "pair_id" } else { "id" };
        let id = fields.name(field)?;
        match row(&id, fields)? {
            Ok(row) => input.rows.push(row),
            Err(reason) => input.refused.push(Refusal { id, reason }),
        }
    }
    Ok(input)
}

/// The pair as a row; or, inside, why it cannot be one.
fn row(id: &str, mut fields: Fields) -> Result<Result<Row, String>, RowsError> {
    let prompt = parts(&mut fields, "prompt_content")?;
    let label = match fields.text("chosen")?.as_str() {
        "A" | "a" => Label::A,
        "B" | "b" => Label::B,
        _ => return Err(fields.wrong("chosen", "give `A` or `B`")),
    };
    let mut responses = Vec::new();
    for field in ["response_a", "response_b"] {
        let response = fields.take(field)?;
        let mut inner = Fields::of(&format!("{}, field `{field}`", fields.place()), response)?;
        responses.push((field, parts(&mut inner, "response_content")?));
    }
    let kind = fields.optional_name("prompt_source")?;

    let prompt = match prompt.as_slice() {
        [Part::Text(text)] => text.clone(),
        parts if parts.iter().any(|part| matches!(part, Part::Image(_))) => {
            return Ok(Err("its prompt holds input pictures".to_owned()));
        }
        parts => return Ok(Err(format!("its prompt is {} texts, not one", parts.len()))),
    };
    let mut pictures = Vec::new();
    for (field, parts) in responses {
        match parts.as_slice() {
            [Part::Image(media)] => pictures.push(media.clone()),
            parts => {
                let images = parts.iter().filter(|part| matches!(part, Part::Image(_))).count();
                let texts = parts.len() - images;
                return Ok(Err(format!(
                    "its {field} is interleaved: {texts} texts and {images} pictures, not one picture"
                )));
            }
        }
    }
    let [a, b] = <[Media; 2]>::try_from(pictures).map_err(|_| fields.wrong("response_a", "it is missing"))?;
    Ok(Ok(Row { id: id.to_owned(), prompt, a, b, label, task: Task::ImagePair, kind }))
}

/// One part of a prompt or a response.
enum Part {
    Text(String),
    Image(Media),
}

/// A list of `["text", text]` and `["image", path]`.
fn parts(fields: &mut Fields, field: &str) -> Result<Vec<Part>, RowsError> {
    let Value::Array(parts) = fields.take(field)? else {
        return Err(fields.wrong(field, "it is not a list of parts"));
    };
    let one = |part: Value| {
        let shape = || "a part is not [\"text\", text] or [\"image\", path]".to_owned();
        let Value::Array(pair) = part else { return Err(shape()) };
        let [kind, content] = <[Value; 2]>::try_from(pair).map_err(|_| shape())?;
        match (kind.as_str(), content) {
            (Some("text"), Value::String(text)) => Ok(Part::Text(text)),
            (Some("image"), content) => fields::media(content).map(Part::Image),
            _ => Err(shape()),
        }
    };
    parts.into_iter().map(one).collect::<Result<_, _>>().map_err(|reason| fields.wrong(field, reason))
}

//! Forms: text parts are the fields of the same request that JSON makes, and files are its pictures and videos.

use bytes::Bytes;
use multer::{Constraints, Multipart, SizeLimit};
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::wire::PART;

/// Fields that are texts as they stand; all others are JSON.
const TEXTS: [&str; 10] =
    ["prompt", "pack", "task", "rule", "sampling", "ending", "pixels", "model", "pairs", "failed"];
/// Fields that are lists also where there is one file.
const LISTS: [&str; 2] = ["items", "shown"];
/// Parts that a form may have beside its files.
const MOST_FIELDS: usize = 64;

/// The request as a document, in which a file stands as its place among the files.
pub(super) async fn parse(
    bytes: &[u8],
    boundary: &str,
    most: usize,
) -> Result<(Value, Vec<Bytes>), ApiError> {
    let limits = SizeLimit::new().whole_stream(bytes.len() as u64).per_field(bytes.len() as u64);
    let mut form =
        Multipart::with_reader_with_constraints(bytes, boundary, Constraints::new().size_limit(limits));
    let (mut document, mut files) = (Map::new(), Vec::new());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some();
        let content = field.bytes().await.map_err(broken)?;
        if files.len() + document.len() > most + MOST_FIELDS {
            return Err(ApiError::bad(format!("the form has more than {} parts", most + MOST_FIELDS)));
        }
        if is_file {
            add(&mut document, &name, json!({ PART: files.len() }));
            files.push(content);
        } else if document.insert(name.clone(), value(&name, &content)?).is_some() {
            return Err(ApiError::bad("the form has a field twice").at(format!("/{name}")));
        }
    }
    Ok((Value::Object(document), files))
}

/// Files of one name are a list.
fn add(document: &mut Map<String, Value>, name: &str, file: Value) {
    match document.get_mut(name) {
        Some(Value::Array(list)) => list.push(file),
        Some(one) => *one = Value::Array(vec![one.take(), file]),
        None if LISTS.contains(&name) => drop(document.insert(name.to_owned(), Value::Array(vec![file]))),
        None => drop(document.insert(name.to_owned(), file)),
    }
}

fn value(name: &str, content: &[u8]) -> Result<Value, ApiError> {
    if TEXTS.contains(&name) {
        let text = std::str::from_utf8(content)
            .map_err(|_| ApiError::bad("the text is not UTF-8").at(format!("/{name}")))?;
        return Ok(Value::String(text.to_owned()));
    }
    serde_json::from_slice(content).map_err(|_| {
        ApiError::bad("write this field as JSON, such as true, 3 or [\"a\", \"b\"], or give it a file name")
            .at(format!("/{}", name.chars().take(64).collect::<String>()))
    })
}

fn broken(_: multer::Error) -> ApiError {
    ApiError::bad("the body is no multipart/form-data of its boundary")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_stand_as_they_are_and_the_rest_is_json() {
        let parts =
            [("prompt", "true"), ("pairs", "swiss"), ("failed", "tie"), ("stream", "true"), ("seed", "3")];
        let body: String = parts
            .map(|(name, text)| {
                format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
            })
            .concat();
        let (document, files) = parse((body + "--b--\r\n").as_bytes(), "b", 2).await.unwrap();
        let expected =
            json!({ "prompt": "true", "pairs": "swiss", "failed": "tie", "stream": true, "seed": 3 });
        assert_eq!((document, files.len()), (expected, 0));
    }
}

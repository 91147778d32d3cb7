//! Where a checkpoint keeps its chat template.
//!
//! In the order in which the reference's processor looks: `chat_template.jinja`, then `chat_template.json`, then
//! the tokenizer's own configuration, whose template may know text only and therefore comes last.

use serde_json::Value;

use super::error::CheckpointError;
use super::files::{Files, MAX_CONFIG_BYTES};

/// Finds the template. `tokenizer_config` is the parsed file of that name.
pub(super) fn find(files: &mut Files, tokenizer_config: Option<&Value>) -> Result<String, CheckpointError> {
    if let Some(text) = files.text("chat_template.jinja", MAX_CONFIG_BYTES)? {
        return Ok(text);
    }
    if let Some(value) = files.json("chat_template.json", MAX_CONFIG_BYTES)? {
        return in_object(files, "chat_template.json", &value);
    }
    match tokenizer_config {
        Some(value) if value.get("chat_template").is_some() => {
            in_object(files, "tokenizer_config.json", value)
        }
        _ => Err(CheckpointError::NoTemplate(files.path(""))),
    }
}

/// `"chat_template"` is a string, or a list of named templates of which `default` is the one.
fn in_object(files: &Files, name: &str, object: &Value) -> Result<String, CheckpointError> {
    let text = match object.get("chat_template") {
        Some(Value::Array(named)) => {
            named.iter().find(|t| t["name"] == "default").and_then(|t| t["template"].as_str())
        }
        Some(value) => value.as_str(),
        None => None,
    };
    text.map(str::to_owned).ok_or_else(|| CheckpointError::Content {
        path: files.path(name),
        reason: "\"chat_template\" is neither a string nor a list with a template named default".to_owned(),
    })
}

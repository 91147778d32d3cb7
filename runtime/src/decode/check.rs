//! What a request may be.

use super::{Refusal, Request};
use crate::session::Geometry;

/// Everything that could make a run wrong is refused here, so that a bad request never meets its neighbours.
pub(super) fn check(request: &Request, g: &Geometry) -> Result<(), Refusal> {
    let field = |field, reason: String| Err(Refusal::Field { field, reason });
    let prompt = request.ids.len();
    if prompt == 0 {
        return field("ids", "empty; a prompt has at least one token".into());
    }
    let needed = prompt.saturating_add(request.max_new_tokens);
    if needed > g.tokens {
        return Err(Refusal::TooLong { needed, available: g.tokens });
    }
    for (name, ids) in [("ids", &request.ids), ("watch", &request.watch)] {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= g.vocabulary) {
            return field(name, format!("{id} is not below the vocabulary of {}", g.vocabulary));
        }
    }
    for (name, length) in
        [("positions", request.positions.tokens.len()), ("feature_rows", request.feature_rows.len())]
    {
        if length != prompt {
            return field(name, format!("{length} entries for {prompt} tokens"));
        }
    }
    let marks = request.prefix.iter().map(|mark| mark.tokens);
    if !marks.clone().is_sorted_by(|a, b| a < b)
        || marks.clone().any(|tokens| tokens == 0 || tokens >= prompt)
    {
        return field("prefix", format!("the marks are not ascending places within {prompt} tokens"));
    }
    if let Some((name, reason)) = request.sampling.fault() {
        return field(name, reason);
    }
    check_read(request, g)?;
    check_features(request, g)
}

fn check_read(request: &Request, g: &Geometry) -> Result<(), Refusal> {
    let field = |field, reason: &str| Err(Refusal::Field { field, reason: reason.to_owned() });
    let read = &request.read;
    if read.is_empty() {
        let scores = g.outputs != g.vocabulary;
        return if scores {
            field("read", "empty, and the model ends in scores: name places")
        } else {
            Ok(())
        };
    }
    if request.max_new_tokens > 0 || !request.watch.is_empty() {
        return field("read", "a prompt that is read makes no tokens and watches none");
    }
    if !read.is_sorted_by(|a, b| a < b) || read.last().is_some_and(|&last| last >= request.ids.len()) {
        return field("read", "the places are not ascending places of the prompt");
    }
    Ok(())
}

fn check_features(request: &Request, g: &Geometry) -> Result<(), Refusal> {
    let field = |field, reason: String| Err(Refusal::Field { field, reason });
    let shape = request.features.as_ref().map_or((0, g.hidden), |f| f.rows.dim());
    if shape.1 != g.hidden {
        return field("features", format!("rows of {} values, the model has {}", shape.1, g.hidden));
    }
    if let Some(features) = &request.features {
        let tables = &features.deepstack;
        if tables.len() != g.deepstack || tables.iter().any(|t| t.dim() != shape) {
            return field("features", format!("{} deepstack tables, or not all of {shape:?}", tables.len()));
        }
    }
    match request.feature_rows.iter().find(|&&row| row < -1 || row >= shape.0 as i64) {
        Some(row) => field("feature_rows", format!("row {row} of {} feature rows", shape.0)),
        None => Ok(()),
    }
}

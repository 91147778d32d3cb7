//! `POST /compute`, as Flow-Factory asks: one reward for each of a batch, and no reward that is a guess.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use rewardrt::judge::ScoreOptions;
use rewardrt::{Group, Item, Judge, Score};
use rewardrt_models::prompt::pack::Candidate;
use rewardrt_models::verdict::NamedScore;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::document::Json;
use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::guard::Terms;
use crate::wire::compute::{Batch, Compute, Sample};

/// Samples of a batch that are asked about at once: as many as keep the slots busy.
const AT_ONCE: usize = 8;

/// The route. A pack about one candidate gives each its score; a pack about two ranks neighbours of one prompt.
pub(super) async fn compute(
    State(app): State<Arc<App>>,
    Extension(terms): Extension<Terms>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (batch, _held) = body::parse::<Compute>(&app, request).await?;
    let judge = app.judge(&terms);
    let shape = judge.pack().task.shape();
    if shape.candidate == Candidate::Answer {
        let message =
            format!("pack {} judges answers in words; start the server with another", judge.pack().name);
        return Err(ApiError::unprocessable("not_askable", message));
    }
    let rewards = match shape.candidates {
        1 => scored(&app, &judge, batch).await?,
        _ => ranked(&app, &judge, batch).await?,
    };
    Ok(Json(json!({ "rewards": rewards })))
}

async fn scored(app: &App, judge: &Judge, batch: Batch) -> Result<Vec<f64>, ApiError> {
    let mut rewards = vec![0.0; batch.samples.len()];
    let mut samples = batch.samples.into_iter().enumerate();
    // A batch that fails, or whose client goes, stops all that was asked for it: the set ends its tasks when it goes.
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some((i, Sample { prompt, shown, candidate })) = samples.next()
        {
            let options = ScoreOptions::default();
            let score = judge.score_async(Item { prompt, shown, candidate, answer: None, options });
            asked.spawn(async move { (i, score.await) });
        }
        let Some(done) = asked.join_next().await else { return Ok(rewards) };
        let (i, score) = done.map_err(|_| ApiError::internal("internal"))?;
        let score = score?;
        app.metrics.judged(score.status, [0.0; 4]);
        rewards[i] = reward(&score).map_err(|error| error.at(format!("/prompt/{i}")))?;
    }
}

async fn ranked(app: &App, judge: &Judge, batch: Batch) -> Result<Vec<f64>, ApiError> {
    let mut rewards = Vec::with_capacity(batch.samples.len());
    for range in batch.groups() {
        let at = |i: usize| format!("/prompt/{}", range.start + i);
        let samples = &batch.samples[range.clone()];
        if samples.len() < 2 {
            let pack = &judge.pack().name;
            let message =
                format!("pack {pack} compares two, and this prompt has one sample; send whole groups");
            return Err(ApiError::unprocessable("group_unfit", message).at(at(0)));
        }
        let candidates = samples.iter().map(|sample| sample.candidate.clone()).collect();
        let group =
            Group { shown: samples[0].shown.clone(), ..Group::frames(samples[0].prompt.clone(), candidates) };
        let ranking = judge.rank_async(group, |_| {}).await?;
        for answer in ranking.pairs.iter().filter_map(|pair| pair.answer.as_ref()) {
            app.metrics.judged(answer.status, [0.0; 4]);
        }
        for (i, item) in ranking.rewards.items.iter().enumerate() {
            rewards.push(item.score.ok_or_else(|| no_reward("none of its pairs has a verdict").at(at(i)))?);
        }
    }
    Ok(rewards)
}

/// The reward of one candidate: the mean of its scores, each as a share of its range where it has one.
fn reward(score: &Score) -> Result<f64, ApiError> {
    let share = |s: &NamedScore| match (s.low, s.high) {
        (Some(low), Some(high)) if high > low => (s.value - low) / (high - low),
        _ => s.value,
    };
    if score.scores.is_empty() {
        let why = score
            .problem
            .as_ref()
            .map_or_else(|| "the answer holds no score".to_owned(), ToString::to_string);
        return Err(no_reward(&why));
    }
    Ok(score.scores.iter().map(share).sum::<f64>() / score.scores.len() as f64)
}

fn no_reward(why: &str) -> ApiError {
    ApiError::unprocessable("no_reward", format!("there is no reward, and none is made up: {why}"))
}

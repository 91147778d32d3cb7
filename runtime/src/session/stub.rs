//! The test twin of a decoder: a script instead of weights.
//!
//! It keeps what was written into each slot, as a cache does, and refuses a step that breaks the contract; the
//! script sees the whole sequence of a row and says its logits. So an engine that mixes up slots, positions or
//! lengths gets other tokens than the script of the sequence alone.

use std::time::Duration;

use ndarray::Array2;

use super::{DecoderSession, Geometry, SessionError, StepInput, check_prefix};

/// What the script is asked about: one wanted row of logits.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The row's slot.
    pub slot: usize,
    /// All tokens up to the wanted one, read back from the slot.
    pub history: &'a [i64],
    /// Number of the run, from 0.
    pub run: usize,
}

/// What the script answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Logits 1 for this token and 0 for all others.
    Token(u32),
    /// These logits; padded with -30 or cut to the width of a row.
    Logits(Vec<f32>),
    /// The whole run fails with this message.
    Error(String),
    /// The run takes this long, then the answer.
    After(Duration, Box<Answer>),
}

/// The script: a function of the scene.
pub type Script = Box<dyn FnMut(Scene<'_>) -> Answer + Send>;

/// A decoder that follows a script.
pub struct ScriptedDecoder {
    geometry: Geometry,
    cache: Vec<Vec<i64>>,
    script: Script,
    /// Shape of every run so far: first slot, new tokens of each row, columns.
    pub runs: Vec<(usize, Vec<i32>, usize)>,
}

impl ScriptedDecoder {
    /// A decoder of these sizes.
    pub fn new(geometry: Geometry, script: Script) -> ScriptedDecoder {
        let cache = vec![Vec::new(); geometry.slots];
        ScriptedDecoder { geometry, cache, script, runs: Vec::new() }
    }

    /// Writes the new tokens of every row behind its past.
    fn write(&mut self, step: &StepInput) -> Result<(), SessionError> {
        for row in 0..step.rows() {
            let new = step.query_seqlens[row] as usize;
            let past = (step.seqlens_k[row] + 1) as usize - new;
            let slot = &mut self.cache[step.first_slot + row];
            if new > 0 && past > slot.len() {
                return Err(SessionError::Input(format!(
                    "row {row} appends at {past}, but holds {}",
                    slot.len()
                )));
            }
            if new > 0 {
                slot.truncate(past);
                slot.extend(&step.ids[row * step.columns..][..new]);
            }
        }
        Ok(())
    }

    fn answer(&mut self, step: &StepInput, place: i64, run: usize) -> Result<Vec<f32>, SessionError> {
        let (row, column) = (place as usize / step.columns, place as usize % step.columns);
        let slot = step.first_slot + row;
        let past = (step.seqlens_k[row] + 1 - step.query_seqlens[row]) as usize;
        let end = (past + column + 1).min(self.cache[slot].len());
        let mut answer = (self.script)(Scene { slot, history: &self.cache[slot][..end], run });
        while let Answer::After(time, next) = answer {
            std::thread::sleep(time);
            answer = *next;
        }
        let mut logits = vec![0.0; self.geometry.outputs];
        match answer {
            Answer::Token(id) => logits[id as usize] = 1.0,
            Answer::Logits(values) => {
                logits = values;
                logits.resize(self.geometry.outputs, -30.0);
            }
            Answer::Error(reason) => {
                return Err(SessionError::Runtime { action: "follow the script", reason });
            }
            Answer::After(..) => {}
        }
        Ok(logits)
    }
}

impl DecoderSession for ScriptedDecoder {
    fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    fn run(&mut self, step: &StepInput) -> Result<Array2<f32>, SessionError> {
        step.check(&self.geometry)?;
        let run = self.runs.len();
        self.runs.push((step.first_slot, step.query_seqlens.clone(), step.columns));
        self.write(step)?;
        let mut flat = Vec::with_capacity(step.logit_rows.len() * self.geometry.outputs);
        for &place in &step.logit_rows {
            flat.extend(self.answer(step, place, run)?);
        }
        Array2::from_shape_vec((step.logit_rows.len(), self.geometry.outputs), flat)
            .map_err(|e| SessionError::Input(e.to_string()))
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), SessionError> {
        check_prefix(&self.geometry, from, to, tokens)?;
        let prefix: Vec<i64> = self.cache[from].iter().copied().take(tokens).collect();
        self.cache[to] = prefix;
        Ok(())
    }
}

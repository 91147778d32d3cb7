//! A ragged step as several that are not, for graphs whose attention does not know `query_seqlens`.
//!
//! Before ONNX Runtime 1.32 the attention appends either one token to every row of a run, or any number to a single
//! row. So each row with several new tokens runs by itself, without its padding, and the neighbouring others together
//! in one column. An idle row among them appends a token too: it lands behind the row's end, where nothing is ever read
//! and the next token is written over it.
//!
//! ```text
//! new tokens   1 0 1 5 1 3        runs   [1 0 1] [5] [1] [3]
//! ```

use super::{Geometry, StepInput};

/// One run of a split step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// The run. Each of its rows has as many new tokens as there are columns.
    pub(super) step: StepInput,
    /// For each of its wanted rows the number of the row among those of the whole step; shorter when the step wants
    /// none of the run, which asks for one row all the same, because the graph has no empty output.
    pub(super) outputs: Vec<usize>,
}

/// Splits a checked step. Rows at the ends of a run that have nothing to do are left out.
pub(super) fn parts(step: &StepInput, g: &Geometry) -> Vec<Part> {
    let new = &step.query_seqlens;
    let mut parts = Vec::new();
    let mut row = 0;
    while row < new.len() {
        let alone = new[row] > 1;
        let end = (row + 1..new.len()).find(|&r| alone || new[r] > 1).unwrap_or(new.len());
        let busy = |r: &usize| new[*r] > 0;
        if let (Some(first), Some(last)) = ((row..end).find(busy), (row..end).rfind(busy)) {
            parts.push(part(step, g, (first, last + 1), new[row].max(1) as usize));
        }
        row = end;
    }
    parts
}

/// The rows `first .. end` of a step, in `columns` columns.
fn part(step: &StepInput, g: &Geometry, (first, end): (usize, usize), columns: usize) -> Part {
    let rows = first..end;
    let width = g.rotary_width;
    let cells = || rows.clone().map(|row| row * step.columns);
    let places =
        |values: &[i64]| -> Vec<i64> { cells().flat_map(|at| &values[at..at + columns]).copied().collect() };
    let angles = |values: &[f32]| -> Vec<f32> {
        cells().flat_map(|at| &values[at * width..(at + columns) * width]).copied().collect()
    };
    let idle = |row: usize| i32::from(step.query_seqlens[row] == 0);
    let feature_rows = places(&step.feature_rows);
    // A run without pictures takes one row of the table, which no token refers to.
    let table = if feature_rows.iter().any(|&row| row >= 0) { step.features.len() } else { g.hidden };
    let mut logit_rows = Vec::new();
    let mut outputs = Vec::new();
    for (output, &place) in step.logit_rows.iter().enumerate() {
        let (row, column) = (place as usize / step.columns, place as usize % step.columns);
        if rows.contains(&row) && column < columns {
            logit_rows.push(((row - first) * columns + column) as i64);
            outputs.push(output);
        }
    }
    if logit_rows.is_empty() {
        logit_rows.push(0);
    }
    let step = StepInput {
        first_slot: step.first_slot + first,
        columns,
        ids: places(&step.ids),
        feature_rows,
        features: step.features[..table].to_vec(),
        deepstack: step.deepstack.iter().map(|values| values[..table].to_vec()).collect(),
        cos: angles(&step.cos),
        sin: angles(&step.sin),
        seqlens_k: rows.clone().map(|row| step.seqlens_k[row] + idle(row)).collect(),
        query_seqlens: vec![columns as i32; rows.len()],
        logit_rows,
    };
    Part { step, outputs }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry {
        slots: 8,
        tokens: 64,
        columns: 8,
        vocabulary: 1000,
        outputs: 1000,
        hidden: 2,
        deepstack: 1,
        rotary_width: 1,
    };

    /// A step over rows of these pasts and new tokens, each cell with an id of its own, asking for every new token.
    fn step(rows: &[(i32, i32)]) -> StepInput {
        let columns = rows.iter().map(|(_, new)| *new).max().unwrap().max(1) as usize;
        let cells = rows.len() * columns;
        let wanted = rows
            .iter()
            .enumerate()
            .flat_map(|(r, (_, new))| (0..*new as usize).map(move |column| (r * columns + column) as i64));
        StepInput {
            first_slot: 1,
            columns,
            ids: (0..cells as i64).collect(),
            feature_rows: (0..cells).map(|cell| if cell == columns { 2 } else { -1 }).collect(),
            features: vec![0.5; 6],
            deepstack: vec![vec![0.25; 6]],
            cos: (0..cells).map(|cell| cell as f32).collect(),
            sin: (0..cells).map(|cell| -(cell as f32)).collect(),
            seqlens_k: rows.iter().map(|(past, new)| (past + new).max(1) - 1).collect(),
            query_seqlens: rows.iter().map(|(_, new)| *new).collect(),
            logit_rows: wanted.collect(),
        }
    }

    /// First slot, rows and columns of each run.
    fn check(rows: &[(i32, i32)], expected: &[(usize, usize, usize)]) -> Vec<Part> {
        let whole = step(rows);
        let parts = parts(&whole, &GEOMETRY);
        let shapes: Vec<_> =
            parts.iter().map(|p| (p.step.first_slot, p.step.rows(), p.step.columns)).collect();
        assert_eq!(shapes, expected);
        let mut outputs: Vec<usize> = parts.iter().flat_map(|p| p.outputs.clone()).collect();
        for part in &parts {
            part.step.check(&GEOMETRY).unwrap();
            for (place, &output) in part.step.logit_rows.iter().zip(&part.outputs) {
                assert_eq!(part.step.ids[*place as usize], whole.ids[whole.logit_rows[output] as usize]);
                assert_eq!(part.step.cos[*place as usize], part.step.ids[*place as usize] as f32);
            }
        }
        outputs.sort();
        assert_eq!(outputs, (0..whole.logit_rows.len()).collect::<Vec<_>>(), "every wanted row comes once");
        parts
    }

    #[test]
    fn rows_with_one_new_token_run_together_and_others_alone() {
        check(
            &[(4, 1), (0, 0), (7, 1), (0, 5), (3, 1), (9, 3)],
            &[(1, 3, 1), (4, 1, 5), (5, 1, 1), (6, 1, 3)],
        );
        check(&[(0, 2), (2, 2)], &[(1, 1, 2), (2, 1, 2)]);
        check(&[(0, 1)], &[(1, 1, 1)]);
    }

    #[test]
    fn rows_with_nothing_to_do_run_only_between_others_and_write_behind_their_end() {
        let parts = check(&[(5, 0), (4, 1), (6, 0), (7, 1), (8, 0)], &[(2, 3, 1)]);
        assert_eq!(parts[0].step.seqlens_k, [4, 6, 7]);
        assert!(check(&[(3, 0), (0, 0)], &[]).is_empty());
    }

    #[test]
    fn a_run_without_pictures_takes_one_row_of_features() {
        let parts = check(&[(0, 3), (0, 3)], &[(1, 1, 3), (2, 1, 3)]);
        let rows: Vec<_> = parts.iter().map(|p| (p.step.features.len(), p.step.deepstack[0].len())).collect();
        assert_eq!(rows, [(2, 2), (6, 6)]);
    }

    #[test]
    fn a_run_that_nobody_asks_of_has_one_row_that_is_dropped() {
        let mut whole = step(&[(0, 3), (2, 2)]);
        whole.logit_rows = vec![4];
        let parts = parts(&whole, &GEOMETRY);
        assert_eq!((&parts[0].step.logit_rows, &parts[0].outputs), (&vec![0], &vec![]));
        assert_eq!((&parts[1].step.logit_rows, &parts[1].outputs), (&vec![1], &vec![0]));
    }
}

//! A verdict for people.

use rewardrt::Verdict;
use rewardrt::judge::{Mode, OrderResult};
use rewardrt_models::verdict::{Category, Dim, Flag, PairScore, Report, Winner};

use super::super::status;
use crate::output::{plain, table};

/// What a verdict without a report is worth.
pub(crate) const VERDICT_ONLY: &str = "verdict-only is another method than the model was trained on: it was made to \
                                       write its whole answer. Do not compare these verdicts with full ones.";

/// The verdict in a sentence, then what it rests on.
pub(super) fn text(verdict: &Verdict, names: [&str; 2]) -> String {
    let mut out = sentence(verdict, names);
    out.push('\n');
    if let Some(p) = verdict.p_first {
        out += &format!("p_first {p:.4}: the model's probability of the first against the second\n");
    }
    out += &format!(
        "status {}, mode {}, pack {}\n",
        status(verdict.status),
        mode(verdict.mode),
        verdict.pack.name
    );
    if verdict.orders.len() > 1 {
        out += &orders(verdict);
    }
    let flags = verdict.orders.iter().flat_map(|o| o.flags.iter().map(move |f| (o.order, f)));
    for (order, flag) in flags {
        out += &format!("order {order}: {}\n", disagreement(flag));
    }
    if !verdict.scores.is_empty() {
        let row = |s: &PairScore| [s.name.clone(), s.first.to_string(), s.second.to_string()];
        let rows: Vec<_> = verdict.scores.iter().map(row).collect();
        out += &format!("\n{}", table(["score", "first", "second"], &rows));
    }
    if let Some(report) = &verdict.report {
        out += &report_text(report);
    }
    out
}

fn sentence(verdict: &Verdict, [first, second]: [&str; 2]) -> String {
    match verdict.winner {
        Some(Winner::First) => format!("The first is better: {}", plain(first)),
        Some(Winner::Second) => format!("The second is better: {}", plain(second)),
        Some(Winner::Tie) if verdict.orders.len() > 1 => {
            "Neither is better: the two orders weigh the same".to_owned()
        }
        Some(Winner::Tie) => "Neither is better: both are equally good".to_owned(),
        None => {
            let problem = verdict.orders.iter().find_map(|o| o.problem.as_ref());
            let reason = problem.map_or_else(String::new, |p| format!(": {p}"));
            format!("There is no verdict{reason}")
        }
    }
}

fn orders(verdict: &Verdict) -> String {
    let row = |o: &OrderResult| {
        let winner = match o.winner {
            Some(Winner::First) => "first shown",
            Some(Winner::Second) => "second shown",
            Some(Winner::Tie) => "tie",
            None => "none",
        };
        let p = o.p_first.map_or_else(|| "-".to_owned(), |p| format!("{p:.4}"));
        [o.order.to_owned(), winner.to_owned(), p, status(o.status).to_owned()]
    };
    let rows: Vec<_> = verdict.orders.iter().map(row).collect();
    let agree = match verdict.position_consistent {
        Some(true) => "Both orders name the same candidate.\n",
        Some(false) => "The two orders name different candidates.\n",
        None => "",
    };
    format!("\n{}{agree}", table(["order", "winner", "p of first shown", "status"], &rows))
}

fn report_text(report: &Report) -> String {
    let mean = |pick: fn(&(f64, f64)) -> f64, scores: &[(f64, f64)]| {
        format!("{:.2}", scores.iter().map(pick).sum::<f64>() / scores.len() as f64)
    };
    let rows: Vec<_> = report
        .categories
        .iter()
        .map(|c| {
            let scores: Vec<_> = c.dims.iter().map(|d| (d.score_1, d.score_2)).collect();
            [
                plain(&c.name).into_owned(),
                mean(|s| s.0, &scores),
                mean(|s| s.1, &scores),
                plain(&c.cat_winner).into_owned(),
            ]
        })
        .collect();
    let evidence: String = report.categories.iter().map(evidence).collect();
    let scores = table(["category", "first", "second", "winner"], &rows);
    format!("\n{scores}\n{evidence}\n{}\n", plain(&report.reason))
}

/// What the model says it saw, by dimension.
fn evidence(category: &Category) -> String {
    let dim = |d: &Dim| {
        format!(
            "  {}\n    first  ({}): {}\n    second ({}): {}\n",
            plain(&d.name),
            d.score_1,
            plain(&d.reason_1),
            d.score_2,
            plain(&d.reason_2)
        )
    };
    let dims: String = category.dims.iter().map(dim).collect();
    format!("{}\n{dims}", plain(&category.name))
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Report => "report",
        Mode::VerdictOnly => "verdict_only",
    }
}

fn disagreement(flag: &Flag) -> String {
    match flag {
        Flag::SumNotTen { category, dimension, sum } => {
            format!(
                "category {}, dimension {}: the scores sum to {sum}, not to 10",
                category + 1,
                dimension + 1
            )
        }
        Flag::SumOff { dimension, sum, expected } => {
            format!("dimension {}: the scores sum to {sum}, not to {expected}", dimension + 1)
        }
        Flag::CategoryAgainstScores { category } => {
            format!("category {}: its winner has the lower scores", category + 1)
        }
        Flag::WinnerAgainstCategories => "the winner won fewer categories".to_owned(),
        Flag::WinnerAgainstScores => "the winner has fewer points in all".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewardrt::decode::Sampling;
    use rewardrt::judge::{FinishReason, ModelInfo, OrderTiming, Timing, Usage};
    use rewardrt::media::PixelRule;
    use rewardrt_models::prompt::pack::PackIdentity;
    use rewardrt_models::verdict::{Problem, Status};

    fn order(order: &'static str, winner: Option<Winner>) -> OrderResult {
        OrderResult {
            order,
            winner,
            status: winner.map_or(Status::Truncated, |_| Status::Ok),
            p_first: winner.map(|w| w.first_points()),
            flags: Vec::new(),
            problem: winner.is_none().then_some(Problem::Unclosed),
            report: None,
            scores: Vec::new(),
            text: String::new(),
            finish_reason: FinishReason::Stop,
            usage: Usage::default(),
            timing_ms: OrderTiming::default(),
        }
    }

    fn verdict(winner: Option<Winner>, orders: Vec<OrderResult>) -> Verdict {
        Verdict {
            winner,
            status: orders[0].status,
            p_first: orders[0].p_first,
            position_consistent: (orders.len() > 1).then_some(false),
            report: None,
            scores: Vec::new(),
            text: String::new(),
            mode: Mode::Report,
            pack: PackIdentity { name: "p".to_owned(), version: 1, prompt_sha256: String::new() },
            pixels: PixelRule::Reference,
            sampling: Sampling::Greedy,
            constrain: None,
            videos: Vec::new(),
            orders,
            usage: Usage::default(),
            timing_ms: Timing::default(),
            model: ModelInfo { name: "m".to_owned(), package_sha256: String::new(), precision: "fp32" },
        }
    }

    fn check(verdict: &Verdict, expected: &[&str]) {
        let got = text(verdict, ["a.png", "b.png"]);
        for part in expected {
            assert!(got.contains(part), "{part} is not in\n{got}");
        }
    }

    #[test]
    fn a_winner_is_named_by_its_file() {
        let won = |w| verdict(Some(w), vec![order("ab", Some(w))]);
        check(
            &won(Winner::First),
            &["The first is better: a.png\n", "p_first 1.0000", "status ok, mode report, pack p"],
        );
        check(&won(Winner::Second), &["The second is better: b.png\n", "p_first 0.0000"]);
    }

    #[test]
    fn an_answer_without_a_verdict_says_why() {
        let got = verdict(None, vec![order("ab", None)]);
        check(
            &got,
            &["There is no verdict: the answer ends before", "raise max_new_tokens", "status truncated"],
        );
    }

    #[test]
    fn scores_of_both_are_a_table_and_a_written_tie_is_one() {
        let mut first = order("ab", Some(Winner::Tie));
        first.flags = vec![Flag::SumOff { dimension: 0, sum: 1.25, expected: 1.0 }];
        let mut got = verdict(Some(Winner::Tie), vec![first]);
        got.scores = vec![PairScore { name: "style".to_owned(), first: 0.625, second: 0.625 }];
        let expected = ["Neither is better: both are", "dimension 1: the scores sum to 1.25, not to 1\n"];
        check(&got, &expected);
        check(&got, &["score  first  second\nstyle  0.625   0.625\n"]);
    }

    #[test]
    fn two_orders_are_shown_side_by_side() {
        let both = vec![order("ab", Some(Winner::First)), order("ba", Some(Winner::First))];
        let expected =
            ["Neither is better", "ab     first shown", "ba     first shown", "name different candidates"];
        check(&verdict(Some(Winner::Tie), both), &expected);
    }

    #[test]
    fn a_report_is_a_table_of_means_with_its_disagreements_above() {
        let dim = |score_1, score_2| Dim {
            name: "d".to_owned(),
            reason_1: String::new(),
            reason_2: String::new(),
            score_1,
            score_2,
        };
        let category = Category {
            name: "A. Colour".to_owned(),
            dims: vec![dim(7.0, 3.0), dim(6.0, 5.0)],
            cat_reason: String::new(),
            cat_winner: "Image 1".to_owned(),
        };
        let mut first = order("ab", Some(Winner::First));
        first.flags = vec![Flag::SumNotTen { category: 0, dimension: 1, sum: 11.0 }];
        let mut got = verdict(Some(Winner::First), vec![first]);
        got.report = Some(Report {
            prompt: String::new(),
            categories: vec![category],
            reason: "sharper\u{1b}".to_owned(),
            winner: "Image 1".to_owned(),
        });
        let row = "A. Colour   6.50    4.00  Image 1\n";
        check(
            &got,
            &[row, "sharper\u{fffd}", "order ab: category 1, dimension 2: the scores sum to 11, not to 10"],
        );
    }
}

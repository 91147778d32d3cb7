//! For each kind of answer a table of answers and what each comes to, run over every built-in pack of the kind, so
//! that every task has its table.

mod ends;
mod properties;
mod refusals;
mod reports;
mod scores;
mod words;

use super::super::{AnswerKind, Finish, Protocol, judge, score};
use crate::prompt::pack::{Pack, builtin_names};
use Finish::{Length, Stop};

/// An answer, why it ended, and what it comes to: `Ok First`, `Ok 3.5 4`, or the status and the problem's name.
type Row = (&'static str, Finish, &'static str);

/// The built-in packs of a kind.
fn packs(kind: AnswerKind) -> Vec<Pack> {
    let all = builtin_names().map(|name| Pack::builtin(name).unwrap());
    all.filter(|pack| pack.answer.kind() == kind).collect()
}

/// What an answer comes to, in short.
fn summary(text: &str, finish: Finish, protocol: &Protocol) -> String {
    if protocol.kind().candidates() == 1 {
        let outcome = score(text, finish, protocol);
        assert_eq!(outcome.problem.is_none(), outcome.status.has_winner(), "{text}");
        assert_eq!(outcome.problem.is_none(), !outcome.scores.is_empty(), "{text}");
        let values: Vec<String> = outcome.scores.iter().map(|score| score.value.to_string()).collect();
        let end = outcome.problem.map_or_else(|| values.join(" "), |problem| problem.name().to_owned());
        return format!("{:?} {end}", outcome.status);
    }
    let outcome = judge(text, finish, protocol);
    assert_eq!(outcome.problem.is_none(), outcome.winner.is_some(), "{text}");
    assert_eq!(outcome.problem.is_none(), outcome.status.has_winner(), "{text}");
    assert!(outcome.winner.is_some() || (outcome.scores.is_empty() && outcome.span.is_none()), "{text}");
    let end = match (&outcome.winner, &outcome.problem) {
        (Some(winner), _) => format!("{winner:?}"),
        (None, problem) => problem.as_ref().map_or("", |problem| problem.name()).to_owned(),
    };
    format!("{:?} {end}", outcome.status)
}

/// The one door: an answer comes to what the row says.
fn check(pack: &Pack, text: &str, finish: Finish, expected: &str) {
    assert_eq!(summary(text, finish, &pack.answer), expected, "{} on {finish:?}:\n{text}", pack.name);
}

/// Runs a table over packs. `fill` puts a pack's own words into a row's answer.
fn check_table(packs: &[Pack], rows: &[Row], fill: impl Fn(&Pack, &str) -> String) {
    assert!(rows.len() >= 30 && !packs.is_empty());
    for pack in packs {
        for (text, finish, expected) in rows {
            check(pack, &fill(pack, text), *finish, expected);
        }
    }
}

use super::*;
use crate::judge::FinishReason;
use proptest::prelude::*;

/// An order's answer: who won, in candidates, and the probability of the first shown.
type Said = (Option<Label>, Option<f64>);

fn run(order: &'static str, (winner, p_first): Said) -> OrderRecord {
    OrderRecord {
        order,
        winner,
        status: winner.map_or(Status::Invalid, |_| Status::Ok),
        p_first,
        problem: None,
        finish_reason: FinishReason::Stop,
        prompt_tokens: 10,
        new_tokens: 20,
        latency_ms: 100.0,
        text: String::new(),
    }
}

/// A pair that was asked in both orders; the joined winner stands when both have one, and else there is none.
fn pair(id: &str, label: Label, ab: Said, ba: Said) -> Record {
    let same = ab.0.zip(ba.0).map(|(one, other)| one == other);
    Record {
        id: id.to_owned(),
        kind: Some(if id < "c" { "count" } else { "colour" }.to_owned()),
        prompt: String::new(),
        label,
        mode: Mode::Report,
        winner: same.and_then(|same| if same { ab.0 } else { Some(Label::Tie) }),
        status: Some(Status::Ok),
        p_first: None,
        position_consistent: same,
        orders: vec![run("ab", ab), run("ba", ba)],
        elapsed_ms: 250.0,
        error: None,
    }
}

fn failed(id: &str, label: Label) -> Record {
    Record {
        orders: Vec::new(),
        winner: None,
        status: None,
        position_consistent: None,
        error: Some("no picture".to_owned()),
        ..pair(id, label, (None, None), (None, None))
    }
}

const A: Option<Label> = Some(Label::A);
const B: Option<Label> = Some(Label::B);

/// Two right, one of two minds, one without a verdict in one order, one failed, and a tie.
fn six() -> Vec<Record> {
    vec![
        pair("a", Label::A, (A, Some(0.9)), (A, Some(0.1))),
        pair("b", Label::B, (B, Some(0.2)), (B, Some(0.8))),
        pair("c", Label::A, (A, Some(0.7)), (B, Some(0.7))),
        pair("d", Label::B, (B, Some(0.4)), (None, None)),
        failed("e", Label::A),
        pair("f", Label::Tie, (A, Some(0.6)), (A, Some(0.4))),
    ]
}

/// The one door: a share's count and of.
fn check(got: Option<Share>, expected: (usize, usize)) {
    assert_eq!(got.map(|share| (share.count, share.of)), Some(expected));
}

#[test]
fn six_pairs_by_hand() {
    let got = Metrics::of(&six());
    check(got.accuracy, (2, 5));
    check(got.orders[0].accuracy, (4, 5));
    check(got.orders[1].accuracy, (2, 5));
    check(got.accuracy_of_answers, (6, 10));
    // Order ab named a, b, a, b and a; order ba, where b is shown first, named a, b, b and a.
    check(got.orders[0].named_first, (3, 5));
    check(got.orders[1].named_first, (2, 4));
    check(got.position_consistency, (3, 6));
    check(got.statuses.ok, (9, 10));
    check(got.statuses.invalid, (1, 10));
    check(got.report_parse_rate, (9, 10));
    assert_eq!((got.pairs, got.errors, got.no_verdict, got.undecided), (6, 1, 1, 1));
    assert_eq!((got.ties.pairs, got.ties.said.counts()), (1, [1, 0, 0, 0]));
    let confusion = got.orders[1].confusion;
    assert_eq!(confusion.a.counts(), [1, 1, 0, 1], "a failed pair said nothing");
    assert_eq!(confusion.b.counts(), [0, 1, 0, 1]);
}

#[test]
fn kinds_are_apart_and_sorted() {
    let got = Metrics::of(&six()).by_kind;
    assert_eq!(got.iter().map(|k| k.kind.as_deref().unwrap()).collect::<Vec<_>>(), ["colour", "count"]);
    assert_eq!((got[0].pairs, got[1].pairs), (4, 2));
    check(got[0].accuracy, (0, 3));
    check(got[1].accuracy, (2, 2));
}

#[test]
fn calibration_asks_whether_the_first_shown_is_the_label() {
    let got = Metrics::of(&six()).calibration.unwrap();
    // Seven probabilities of decided pairs: first shown is the label at 0.9, 0.8 and one 0.7 (order ab of c).
    assert_eq!(got.count, 7);
    let squares = [0.1_f64, 0.1, 0.2, 0.2, 0.3, 0.7, 0.4].map(|d| d * d).iter().sum::<f64>();
    assert!((got.brier - squares / 7.0).abs() < 1e-12, "{}", got.brier);
}

#[test]
fn tokens_latency_and_throughput_by_hand() {
    let mut records = six();
    records[0].orders[0].new_tokens = 70;
    records[0].orders[0].latency_ms = 900.0;
    let got = Metrics::of(&records);
    let (tokens, latency) = (got.tokens.unwrap(), got.latency_ms.unwrap());
    assert_eq!((tokens.mean, tokens.p50, tokens.p95, tokens.max), (25.0, 20.0, 70.0, 70.0));
    assert_eq!((latency.mean, latency.p50, latency.p90, latency.p99), (180.0, 100.0, 100.0, 900.0));
    assert_eq!(got.throughput.seconds, 1.5);
    assert_eq!(got.throughput.pairs_per_second, Some(4.0));
}

#[test]
fn what_was_not_asked_has_no_figure() {
    let mut records = six();
    for record in &mut records {
        record.orders.truncate(1);
        record.mode = Mode::VerdictOnly;
    }
    let got = Metrics::of(&records);
    assert_eq!((got.position_consistency, got.report_parse_rate, got.tokens), (None, None, None));
    assert_eq!(got.orders.len(), 1);
    let nothing = Metrics::of(&[]);
    assert_eq!((nothing.accuracy, nothing.latency_ms, nothing.calibration), (None, None, None));
    assert_eq!(nothing.throughput.pairs_per_second, None);
    let all_failed = Metrics::of(&[failed("a", Label::A)]);
    check(all_failed.accuracy, (0, 1));
    assert_eq!(all_failed.statuses.ok, None);
}

fn said() -> impl Strategy<Value = Said> {
    let label = prop_oneof![Just(None), Just(A), Just(B), Just(Some(Label::Tie))];
    (label, proptest::option::of(0.0..=1.0_f64))
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (0..3_usize, said(), said(), any::<bool>(), 0.0..1e4_f64);
    proptest::collection::vec(one, 0..30).prop_map(|all| {
        let made = |(at, (label, ab, ba, fails, ms)): (usize, (usize, Said, Said, bool, f64))| {
            let (id, label) = (format!("{at}"), Label::ALL[label].0);
            let record = if fails { failed(&id, label) } else { pair(&id, label, ab, ba) };
            Record { elapsed_ms: ms, ..record }
        };
        all.into_iter().enumerate().map(made).collect()
    })
}

proptest! {
    #[test]
    fn figures_do_not_depend_on_the_order_of_the_records(
        (records, shuffled) in records().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle()))
    ) {
        prop_assert_eq!(Metrics::of(&records), Metrics::of(&shuffled));
    }

    #[test]
    fn shares_lie_within_their_intervals_and_parts_add_up(records in records()) {
        let m = Metrics::of(&records);
        let statuses = [m.statuses.ok, m.statuses.inconsistent, m.statuses.truncated, m.statuses.invalid];
        let shares = [m.accuracy, m.position_consistency, m.report_parse_rate].into_iter().chain(statuses);
        for share in shares.chain(m.orders.iter().map(|o| o.accuracy)).flatten() {
            prop_assert!(0.0 <= share.low && share.low <= share.share, "{share:?}");
            prop_assert!(share.share <= share.high && share.high <= 1.0, "{share:?}");
        }
        let sum: usize = statuses.iter().flatten().map(|share| share.count).sum();
        prop_assert_eq!(sum, statuses[0].map_or(0, |share| share.of));
        for order in &m.orders {
            let c = order.confusion;
            let all: usize = [c.a, c.b, c.tie].iter().flat_map(Answers::counts).sum();
            prop_assert_eq!(all, m.pairs);
        }
        prop_assert_eq!(m.by_kind.iter().map(|kind| kind.pairs).sum::<usize>(), m.pairs);
        let right = m.by_kind.iter().filter_map(|kind| kind.accuracy).map(|share| share.count).sum::<usize>();
        prop_assert_eq!(right, m.accuracy.map_or(0, |share| share.count));
        if let Some(c) = &m.calibration {
            prop_assert!((0.0..=1.0).contains(&c.expected_error) && (0.0..=1.0).contains(&c.brier), "{c:?}");
            prop_assert_eq!(c.bins.iter().map(|bin| bin.count).sum::<usize>(), c.count);
        }
    }
}

//! Groups from the front door: whose words win is written by the test, so every order, matrix and count is known.

// The helpers below are test code too, which the lint cannot see.
#![allow(clippy::unwrap_used)]

mod drive;
mod script;

use drive::Exported;
use proptest::prelude::*;
use rewardrt::judge::{CompareOptions, Pairs, RankOptions, Unanswered};
use rewardrt::{Comparison, ErrorClass, Group, Judge, Picture, Ranking};
use rewardrt_models::package::Precision;
use rewardrt_models::prompt::pack::Pack;
use rewardrt_models::verdict::FailedPairs;
use rewardrt_tests::root;
use script::{Says, Stage, report};

const PACK: &str = "unifiedreward-image-understanding-pair";
const QUESTION: &str = "which is it?";

fn picture() -> Picture {
    Picture::Path(root().join("models/demo/ocean-1.webp"))
}

/// A judge of answers in words such as `no 7`; `says` is told the numbers of the first and of the second.
fn judge(stage: &Stage, slots: usize, says: impl Fn(u32, u32) -> String + Send + 'static) -> Judge {
    stage.judge(PACK, slots, move |_, prompt| {
        let number = |of: &str| -> Option<u32> {
            let digits = prompt.split_once(of)?.1.chars().take_while(char::is_ascii_digit);
            digits.collect::<String>().parse().ok()
        };
        // A prompt that is read in part does not name both yet, and nobody takes what is said after it.
        let said = number("Answer 1: no ").zip(number("Answer 2: no ")).map(|(a, b)| says(a, b));
        Says::words(&said.unwrap_or_default())
    })
}

fn wins(first: bool) -> String {
    format!("Answer {} is better.", if first { 1 } else { 2 })
}

fn group(numbers: &[u32], options: RankOptions) -> Group {
    let answers = numbers.iter().map(|n| format!("no {n}")).collect();
    Group { options, ..Group::answers(QUESTION, vec![picture()], answers) }
}

fn all() -> RankOptions {
    RankOptions::default()
}

fn both_orders() -> CompareOptions {
    CompareOptions { both_orders: true, ..CompareOptions::default() }
}

/// Ranks numbers by a judge who says this; the order must be this.
fn check(
    numbers: &[u32],
    options: RankOptions,
    says: impl Fn(u32, u32) -> String + Send + 'static,
    order: &[usize],
) -> Ranking {
    let ranking = judge(&Stage::new(), 3, says).rank(&group(numbers, options)).unwrap();
    assert_eq!(ranking.rewards.order, order);
    ranking
}

fn asked(ranking: &Ranking) -> Vec<(usize, usize)> {
    ranking.pairs.iter().map(|pair| (pair.first, pair.second)).collect()
}

#[test]
fn the_higher_number_wins_and_the_matrix_says_by_how_much() {
    let ranking = check(&[5, 9, 2, 7], all(), |a, b| wins(a > b), &[1, 3, 0, 2]);
    let rates: Vec<_> = ranking.rewards.items.iter().map(|item| item.win_rate.unwrap()).collect();
    assert_eq!(rates, [1.0 / 3.0, 1.0, 0.0, 2.0 / 3.0]);
    assert_eq!(asked(&ranking), [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
    assert_eq!((ranking.rewards.pairs_run, ranking.rewards.pairs_failed), (6, 0));
    // The script is sure of every token.
    for (i, row) in ranking.rewards.matrix.iter().enumerate() {
        for (j, p) in row.iter().enumerate() {
            assert_eq!(p.is_none(), i == j);
            assert!(i == j || (p.unwrap() > 0.5) == ([5, 9, 2, 7][i] > [5, 9, 2, 7][j]));
        }
    }
    assert_eq!(ranking.position_consistency, None);
}

#[test]
fn in_a_circle_of_wins_all_are_equal_and_keep_their_places() {
    let ranking = check(&[0, 1, 2], all(), |a, b| wins((a + 1) % 3 == b), &[0, 1, 2]);
    assert!(ranking.rewards.items.iter().all(|item| item.score == Some(0.5)));
}

#[test]
fn both_orders_are_two_pairs_and_their_agreement_is_counted() {
    let options = RankOptions { ask: both_orders(), ..all() };
    let ranking = check(&[1, 2, 3], options.clone(), |a, b| wins(a > b), &[2, 1, 0]);
    assert_eq!(asked(&ranking), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
    let orders: Vec<_> = ranking.pairs.iter().map(|pair| pair.answer.as_ref().unwrap().order).collect();
    assert_eq!(orders, ["ab", "ab", "ba", "ab", "ba", "ba"]);
    assert_eq!((ranking.position_consistency, ranking.rewards.pairs_run), (Some(1.0), 6));
    // A judge who always takes the first is no judge, and one of two pairs that do not agree is named by the share.
    let ranking = check(&[1, 2, 3], options, |a, b| wins(a == 3 || b != 3), &[2, 0, 1]);
    assert_eq!(ranking.position_consistency, Some(2.0 / 3.0));
}

#[test]
fn a_pair_without_a_verdict_is_counted_by_its_status_and_gives_nothing_unless_asked() {
    let says = |a, b| match (a, b) {
        (1, 2) => "Both are fine.".to_owned(),
        (1, 3) => "I wonder. ".repeat(40),
        _ => wins(a > b),
    };
    let ask = CompareOptions { max_new_tokens: Some(60), ..CompareOptions::default() };
    let options = RankOptions { ask, ..all() };
    let ranking = check(&[1, 2, 3], options.clone(), says, &[2, 1, 0]);
    assert_eq!(ranking.unanswered, Unanswered { truncated: 1, invalid: 1, failed: 0 });
    assert_eq!((ranking.rewards.pairs_run, ranking.rewards.pairs_failed), (3, 2));
    assert_eq!((ranking.rewards.items[0].win_rate, ranking.rewards.matrix[0][1]), (None, None));
    let ranking =
        check(&[1, 2, 3], RankOptions { failed: FailedPairs::Tie, ..options.clone() }, says, &[2, 0, 1]);
    assert_eq!(ranking.rewards.items[0].win_rate, Some(0.5));
    let ranking = check(&[1, 2, 3], RankOptions { upstream: true, ..options }, says, &[2, 0, 1]);
    let document = serde_json::json!(ranking);
    assert_eq!(
        (&document["rules"]["upstream"], &document["rules"]["failed"]),
        (&true.into(), &"leave-out".into())
    );
    assert_eq!(document["pairs_failed"], 2);
}

#[test]
fn circles_and_rounds_leave_what_was_not_compared_null() {
    let ranking = check(
        &[4, 3, 2, 1],
        RankOptions { pairs: Pairs::Circular, ..all() },
        |a, b| wins(a > b),
        &[0, 1, 2, 3],
    );
    assert_eq!(asked(&ranking), [(0, 1), (1, 2), (2, 3), (3, 0)]);
    assert_eq!(ranking.rewards.matrix[0][2], None);
    let swiss = RankOptions { pairs: Pairs::Swiss, ..all() };
    let ranking = check(&[4, 3, 2, 1], swiss, |a, b| wins(a > b), &[0, 1, 2, 3]);
    assert_eq!(asked(&ranking), [(0, 1), (2, 3), (0, 2), (1, 3)]);
    assert_eq!(ranking.rewards.matrix[0][3], None);
    assert_eq!(serde_json::json!(ranking)["plan"], "swiss");
}

#[test]
fn pictures_have_their_categories_and_go_through_the_tower_once() {
    let judge = script::judge(4, |_, _| Says::report(report("7", "Image 2", "Image 1")));
    let picture = |name: &str| Picture::Path(root().join("models/demo").join(name));
    let items = vec![picture("ocean-1.webp"), picture("ocean-4.webp"), picture("ocean-1.webp")];
    let mut group = Group::images(script::CAPTION, items.clone());
    group.options.ask.max_new_tokens = Some(1200);
    let ranking = judge.rank(&group).unwrap();
    // The first always wins, but loses category A.
    assert_eq!(ranking.rewards.items[0].categories[&'A'], 0.0);
    let near = |got: Option<f64>, expected: f64| assert!((got.unwrap() - expected).abs() < 1e-12, "{got:?}");
    near(ranking.rewards.items[0].score, 0.3);
    near(ranking.rewards.items[2].score, 0.7);
    let pair = Comparison::images(script::CAPTION, items[0].clone(), items[1].clone());
    let tokens = judge.compare(&Comparison { options: group.options.ask.clone(), ..pair }).unwrap().usage;
    // Two contents in three candidates and three pairs.
    assert_eq!(ranking.usage.vision_tokens - ranking.usage.vision_reused, tokens.vision_tokens);
    assert_eq!(tokens.vision_reused, tokens.vision_tokens);
}

/// What one group is refused with.
fn refused(judge: &Judge, group: &Group) -> String {
    let error = judge.rank(group).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Input);
    error.to_string()
}

#[test]
fn what_is_no_group_is_refused_by_name() {
    let stage = Stage::new();
    let judge = judge(&stage, 1, |_, _| wins(true));
    assert!(refused(&judge, &group(&[1], all())).contains("at least two"));
    assert!(refused(&judge, &group(&[1; 257], all())).contains("over the limit of 256"));
    let mut short = group(&[1, 2, 3], all());
    short.answers.pop();
    assert!(refused(&judge, &short).contains("2 answers in words for 3 candidates"));
    let pictures = Group::images(QUESTION, vec![picture(), picture()]);
    assert!(refused(&judge, &pictures).contains("takes"));
    // A prompt that no slot holds fails every pair, and then the call.
    let long = Group::answers(QUESTION, vec![picture()], vec!["no 1 ".repeat(3000), "no 2".to_owned()]);
    let told = judge.rank(&long).unwrap_err();
    assert_eq!(told.class(), ErrorClass::Input, "{told}");
}

#[test]
fn a_pair_that_cannot_be_run_fails_alone() {
    let stage = Stage::new();
    let judge = stage.judge(PACK, 2, |_, prompt| {
        let verdict = if prompt.contains("Answer 2: no 3") { [f32::NAN, 0.0] } else { [3.0, 1.0] };
        Says { verdict, ..Says::report("Answer 1 is better.".to_owned()) }
    });
    let ranking = judge.rank(&group(&[1, 2, 3], all())).unwrap();
    assert_eq!(ranking.unanswered, Unanswered { truncated: 0, invalid: 0, failed: 2 });
    assert_eq!(ranking.rewards.order, [0, 1, 2]);
    assert!(ranking.pairs[1].error.as_ref().unwrap().contains("not finite"));
    assert_eq!(ranking.rewards.items[2].win_rate, None);
    // The judge goes on.
    assert_eq!(judge.rank(&group(&[1, 2], all())).unwrap().rewards.pairs_failed, 0);
}

#[test]
fn progress_is_told_of_every_pair() {
    let stage = Stage::new();
    let judge = judge(&stage, 3, |a, b| wins(a > b));
    let mut told = Vec::new();
    judge.rank_with(&group(&[1, 2, 3, 4], all()), |pair| told.push((pair.done, pair.most))).unwrap();
    assert_eq!(told, (1..=6).map(|done| (done, 6)).collect::<Vec<_>>());
}

#[test]
fn each_pair_of_a_group_is_answered_as_it_would_be_alone() {
    let exported = Exported::new(&root().join("models/shapes-judge/checkpoint"), Precision::Fp32).unwrap();
    let open = |slots: usize| {
        let builder = Judge::builder().pack(Pack::builtin("shapes-judge").unwrap()).tokens(512);
        builder.slots(slots).open(&exported.path()).unwrap()
    };
    let example = |name: &str| Picture::Path(root().join("models/shapes-judge/examples").join(name));
    let items = ["0000a.png", "0001b.png", "0002a.png", "0003a.png", "0005a.png"].map(example).to_vec();
    let prompt = "four blue triangles";
    let mut group = Group::images(prompt, items.clone());
    group.options.ask = both_orders();
    let ranking = open(4).rank(&group).unwrap();
    assert_eq!((ranking.pairs.len(), ranking.rewards.order[0]), (20, 1));
    let alone = open(1);
    for pair in &ranking.pairs {
        let (first, second) = (items[pair.first].clone(), items[pair.second].clone());
        let verdict = alone.compare(&Comparison::images(prompt, first, second)).unwrap();
        let answer = pair.answer.as_ref().unwrap();
        assert_eq!((&answer.text, answer.winner), (&verdict.text, verdict.winner));
        assert!((answer.p_first.unwrap() - verdict.p_first.unwrap()).abs() < 1e-4);
        assert_eq!(answer.usage.prompt_tokens, verdict.usage.prompt_tokens);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Where answers follow from the pair, the order of the candidates does not matter.
    #[test]
    fn candidates_in_another_order_are_ranked_alike(
        numbers in proptest::collection::hash_set(0..90_u32, 2..6),
        seed in any::<u64>(),
    ) {
        let sorted = { let mut all: Vec<u32> = numbers.into_iter().collect(); all.sort_unstable(); all };
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|n| (u64::from(*n) ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let stage = STAGE.with(|stage| judge(stage, 3, |a, b| wins(a > b)));
        let of = |numbers: &[u32]| -> Vec<(u32, Option<f64>)> {
            let ranking = stage.rank(&group(numbers, all())).unwrap();
            let rewards = &ranking.rewards;
            rewards.order.iter().map(|&i| (numbers[i], rewards.items[i].score)).collect()
        };
        prop_assert_eq!(of(&sorted), of(&shuffled));
    }
}

thread_local! {
    /// One export for all cases.
    static STAGE: Stage = Stage::new();
}

//! What can be judged: the one table of tasks, from which packs, requests and the command line are checked.

use serde::{Deserialize, Serialize};

/// The place of the caption, or of the instruction that edits follow.
pub const CAPTION_HOLE: &str = "{caption}";
/// The place of the question that answers were given to.
pub const QUESTION_HOLE: &str = "{question}";
/// The place of the one answer to a question.
pub const ANSWER_HOLE: &str = "{answer}";
/// The places of two answers to a question.
pub const ANSWER_HOLES: [&str; 2] = ["{answer_1}", "{answer_2}"];

/// What is judged, and how many of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Which of two pictures made for a caption is better.
    ImagePair,
    /// The same by scores of both.
    ImagePairScore,
    /// How good one picture made for a caption is.
    ImagePoint,
    /// Which of two videos made for a caption is better.
    VideoPair,
    /// The same by scores of both.
    VideoPairScore,
    /// How good one video made for a caption is.
    VideoPoint,
    /// Which of two edits of a picture follows an instruction better.
    EditPair,
    /// The same by scores of both.
    EditPairScore,
    /// How well one edit follows an instruction.
    EditPoint,
    /// How good one edited picture looks, whatever it was made of.
    EditQualityPoint,
    /// Which of two answers to a question about pictures is better.
    ImageUnderstandingPair,
    /// How good one answer to a question about pictures is.
    ImageUnderstandingPoint,
    /// Which of two answers to a question about a video is better.
    VideoUnderstandingPair,
    /// How good one answer to a question about a video is.
    VideoUnderstandingPoint,
}

/// What a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    /// One picture.
    Picture,
    /// The frames of a video.
    Frames,
    /// An answer in words.
    Answer,
}

/// What is shown before the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The one picture that was edited.
    Source,
    /// The pictures that a question is about, one or more.
    Pictures,
    /// The frames that a question is about.
    Frames,
}

/// One row of the table: what a request of a task consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskShape {
    /// The task.
    pub task: Task,
    /// Its name on the command line and in packs.
    pub name: &'static str,
    /// How many candidates are judged at once: 1 or 2.
    pub candidates: usize,
    /// What each of them is.
    pub candidate: Candidate,
    /// What is shown before them.
    pub shown: Option<Shown>,
    /// The places in the prompt for texts of the caller; each must stand in it exactly once.
    pub holes: &'static [&'static str],
    /// The built-in pack for requests that name none.
    pub default_pack: &'static str,
}

const CAPTION: &[&str] = &[CAPTION_HOLE];
const ONE_ANSWER: &[&str] = &[QUESTION_HOLE, ANSWER_HOLE];
const TWO_ANSWERS: &[&str] = &[QUESTION_HOLE, ANSWER_HOLES[0], ANSWER_HOLES[1]];

/// A row: task, name, candidates, what they are, what is shown, holes, default pack.
type Row = (Task, &'static str, usize, Candidate, Option<Shown>, &'static [&'static str], &'static str);

const fn shape((task, name, candidates, candidate, shown, holes, default_pack): Row) -> TaskShape {
    TaskShape { task, name, candidates, candidate, shown, holes, default_pack }
}

#[rustfmt::skip]
const TABLE: [TaskShape; 14] = {
    use Candidate::{Answer, Frames, Picture};
    use Task::*;
    let (source, pictures, frames) = (Some(Shown::Source), Some(Shown::Pictures), Some(Shown::Frames));
    [
        shape((ImagePair, "image-pair", 2, Picture, None, CAPTION, "unifiedreward-flex-image")),
        shape((ImagePairScore, "image-pair-score", 2, Picture, None, CAPTION, "unifiedreward-2-image-pair-score")),
        shape((ImagePoint, "image-point", 1, Picture, None, CAPTION, "unifiedreward-2-image-point")),
        shape((VideoPair, "video-pair", 2, Frames, None, CAPTION, "unifiedreward-flex-video")),
        shape((VideoPairScore, "video-pair-score", 2, Frames, None, CAPTION, "unifiedreward-2-video-pair-score")),
        shape((VideoPoint, "video-point", 1, Frames, None, CAPTION, "unifiedreward-2-video-point")),
        shape((EditPair, "edit-pair", 2, Picture, source, CAPTION, "unifiedreward-edit-pair")),
        shape((EditPairScore, "edit-pair-score", 2, Picture, source, CAPTION, "unifiedreward-edit-pair-score")),
        shape((EditPoint, "edit-point", 1, Picture, source, CAPTION, "unifiedreward-edit-point")),
        shape((EditQualityPoint, "edit-quality-point", 1, Picture, None, &[], "unifiedreward-edit-quality-point")),
        shape((ImageUnderstandingPair, "image-understanding-pair", 2, Answer, pictures, TWO_ANSWERS,
            "unifiedreward-image-understanding-pair")),
        shape((ImageUnderstandingPoint, "image-understanding-point", 1, Answer, pictures, ONE_ANSWER,
            "unifiedreward-image-understanding-point")),
        shape((VideoUnderstandingPair, "video-understanding-pair", 2, Answer, frames, TWO_ANSWERS,
            "unifiedreward-video-understanding-pair")),
        shape((VideoUnderstandingPoint, "video-understanding-point", 1, Answer, frames, ONE_ANSWER,
            "unifiedreward-video-understanding-point")),
    ]
};

impl Task {
    /// Every task with its name, as written on the command line and in packs.
    pub const ALL: [(Task, &'static str); TABLE.len()] = {
        let mut all = [(Task::ImagePair, ""); TABLE.len()];
        let mut at = 0;
        while at < TABLE.len() {
            all[at] = (TABLE[at].task, TABLE[at].name);
            at += 1;
        }
        all
    };

    /// What a request of this task consists of.
    pub fn shape(self) -> &'static TaskShape {
        // The table stands in the order of the variants, which a test holds it to.
        &TABLE[self as usize]
    }

    /// The task's name.
    pub fn name(self) -> &'static str {
        self.shape().name
    }

    /// The task of that name.
    pub fn from_name(name: &str) -> Option<Task> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.task)
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl TaskShape {
    /// Whether frames of a video are shown, so that a pack must say which.
    pub fn has_frames(&self) -> bool {
        self.candidate == Candidate::Frames || self.shown == Some(Shown::Frames)
    }

    /// How many answers in words belong to a request.
    pub fn answers(&self) -> usize {
        if self.candidate == Candidate::Answer { self.candidates } else { 0 }
    }

    /// What a request consists of, in words: `the source and two pictures`.
    pub fn takes(&self) -> String {
        let shown = match self.shown {
            None => "",
            Some(Shown::Source) => "the source and ",
            Some(Shown::Pictures) => "pictures and ",
            Some(Shown::Frames) => "frames and ",
        };
        let candidates = match (self.candidate, self.candidates) {
            (Candidate::Picture, 1) => "one picture",
            (Candidate::Picture, _) => "two pictures",
            (Candidate::Frames, 1) => "the frames of one video",
            (Candidate::Frames, _) => "the frames of two videos",
            (Candidate::Answer, 1) => "one answer",
            (Candidate::Answer, _) => "two answers",
        };
        format!("{shown}{candidates}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_tasks_and_names_them_as_packs_do() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.task as usize, at, "{}", row.name);
            assert_eq!(row.task.shape(), row);
            assert_eq!(serde_json::json!(row.task), row.name);
            assert_eq!(Task::from_name(row.name), Some(row.task));
            assert_eq!(Task::ALL[at], (row.task, row.task.name()));
            assert_eq!(row.name.contains("pair"), row.candidates == 2);
            assert_eq!(row.answers(), row.holes.len().saturating_sub(1), "a question, then its answers");
        }
        assert_eq!(Task::from_name("image"), None);
    }
}

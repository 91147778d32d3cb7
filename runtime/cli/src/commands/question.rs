//! What a command line gives to be judged, and the pack that fits it.

use std::path::Path;

use rewardrt::judge::Candidate;
use rewardrt_models::prompt::pack::{Candidate as Kind, FrameRule, Pack, Shown, Task, TaskShape};

use crate::failure::Failure;

/// What was given on the command line.
pub(crate) struct Given<'a> {
    /// The pictures and folders of frames, with their paths; all of one kind.
    pub(crate) media: Vec<(&'a Path, &'a Candidate)>,
    /// How many candidates are judged at a time: 1 or 2.
    pub(crate) candidates: usize,
    /// Whether the source of an edit was given.
    pub(crate) source: bool,
    /// Whether the candidates are answers in words, so that the media are what the question is about.
    pub(crate) answers: bool,
}

/// How the model is to be asked.
pub(crate) enum Chosen {
    /// With the pack that was named.
    Pack(Box<Pack>),
    /// With the package's own pack when it is for this task, else with the task's built-in one.
    Task(Task),
}

impl Chosen {
    /// The pack that was named, which must be for the task, else the task.
    pub(crate) fn of(named: Option<Pack>, task: Task) -> Result<Chosen, Failure> {
        match named {
            Some(pack) if pack.task != task => {
                Err(Failure::Usage(format!("pack {} is for {}, not for {task}", pack.name, pack.task)))
            }
            Some(pack) => Ok(Chosen::Pack(Box::new(pack))),
            None => Ok(Chosen::Task(task)),
        }
    }

    /// The task.
    pub(crate) fn task(&self) -> Task {
        match self {
            Chosen::Pack(pack) => pack.task,
            Chosen::Task(task) => *task,
        }
    }
}

impl Given<'_> {
    /// The pack that was named, or the task. Task, pack and what was given must belong together.
    pub(crate) fn choose(&self, task: Option<Task>, pack: Option<&Path>) -> Result<Chosen, Failure> {
        self.of_a_kind()?;
        let named = pack.map(super::pack::find).transpose()?;
        let natural = Task::ALL.map(|(task, _)| task).into_iter().find(|task| self.fits(task.shape()));
        let task = match task.or(named.as_ref().map(|pack| pack.task)).or(natural) {
            Some(task) => task,
            None => return Err(Failure::Input(format!("no task takes {}", self.words()))),
        };
        let chosen = Chosen::of(named, task)?;
        if !self.fits(task.shape()) {
            let (takes, given) = (task.shape().takes(), self.words());
            return Err(Failure::Input(format!("{task} takes {takes}; given: {given}")));
        }
        Ok(chosen)
    }

    /// Folders of frames hold exactly as many as the pack shows, or the rule that is asked for instead.
    pub(crate) fn check_frames(&self, pack: &Pack, rule: Option<FrameRule>) -> Result<(), Failure> {
        let Some(rule) = rule.or(pack.frames) else { return Ok(()) };
        let check = |(path, media): &(&Path, &Candidate)| media.check_frames(&path.to_string_lossy(), rule);
        Ok(self.media.iter().try_for_each(check)?)
    }

    /// Starts the processes that video files are decoded in, which takes tens of milliseconds each: the model is loaded
    /// meanwhile.
    #[cfg(feature = "video")]
    pub(crate) fn make_ready(&self) {
        let videos = self.media.iter().filter(|(_, media)| matches!(media, Candidate::Video(_))).count();
        let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        rewardrt::media::video::warm(videos.min(at_once));
    }

    /// Nothing has to be ready: this program decodes no video files.
    #[cfg(not(feature = "video"))]
    pub(crate) fn make_ready(&self) {}

    fn of_a_kind(&self) -> Result<(), Failure> {
        let Some(((a, first), others)) = self.media.split_first() else { return Ok(()) };
        match others.iter().find(|(_, other)| other.is_frames() != first.is_frames()) {
            Some((b, second)) => Err(Failure::Input(format!(
                "{} is {}, {} is {}; give all of a kind",
                a.display(),
                first.kind(),
                b.display(),
                second.kind()
            ))),
            None => Ok(()),
        }
    }

    fn frames(&self) -> bool {
        self.media.iter().any(|(_, media)| media.is_frames())
    }

    fn fits(&self, shape: &TaskShape) -> bool {
        let media = if self.frames() { Kind::Frames } else { Kind::Picture };
        let (candidate, shown) = match (self.answers, self.source, media) {
            (true, _, Kind::Frames) => (Kind::Answer, Some(Shown::Frames)),
            (true, ..) => (Kind::Answer, Some(Shown::Pictures)),
            (false, true, _) => (media, Some(Shown::Source)),
            (false, false, _) => (media, None),
        };
        (shape.candidates, shape.candidate, shape.shown) == (self.candidates, candidate, shown)
    }

    fn words(&self) -> String {
        let media: Vec<String> =
            self.media.iter().map(|(path, media)| format!("{} ({})", path.display(), media.kind())).collect();
        let source = if self.source { ", and a source" } else { "" };
        let answers = match (self.answers, self.candidates) {
            (false, _) => "",
            (true, 1) => ", and an answer",
            (true, _) => ", and two answers",
        };
        format!("{}{source}{answers}", media.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewardrt::Picture;

    /// What is given for a task (or none), and the name of the task, or the failure.
    fn check(media: &[Candidate], (source, answers): (bool, usize), task: Option<&str>, expected: &str) {
        let path = Path::new("x");
        let candidates = if answers > 0 { answers } else { media.len() };
        let media = media.iter().map(|media| (path, media)).collect();
        let given = Given { media, candidates, source, answers: answers > 0 };
        let task = task.map(|name| Task::from_name(name).unwrap());
        let found = match given.choose(task, None) {
            Ok(chosen) => {
                let pack = Pack::for_task(chosen.task()).unwrap();
                given
                    .check_frames(&pack, None)
                    .map_or_else(|failure| failure.to_string(), |()| pack.task.to_string())
            }
            Err(failure) => failure.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn what_is_given_finds_its_task() {
        let picture = || Candidate::Picture(Picture::Path("p".into()));
        let video = || Candidate::Frames(vec!["f".into(); 8]);
        let plain = (false, 0);
        check(&[picture(), picture()], plain, None, "image-pair");
        check(&[video(), video()], plain, None, "video-pair");
        check(&[picture()], plain, None, "image-point");
        check(&[video()], plain, None, "video-point");
        check(&[picture(), picture()], (true, 0), None, "edit-pair");
        check(&[picture()], (true, 0), None, "edit-point");
        check(&[picture()], (false, 2), None, "image-understanding-pair");
        check(&[video()], (false, 1), None, "video-understanding-point");
        check(&[picture(), picture()], plain, Some("image-pair-score"), "image-pair-score");
        check(&[picture()], plain, Some("edit-quality-point"), "edit-quality-point");
    }

    #[test]
    fn a_task_that_does_not_fit_is_refused_with_what_it_takes() {
        let picture = || Candidate::Picture(Picture::Path("p".into()));
        let video = || Candidate::Frames(vec!["f".into(); 8]);
        check(&[picture(), video()], (false, 0), None, "give all of a kind");
        check(&[video(), video()], (true, 0), None, "no task takes x (a set of frames)");
        check(
            &[picture()],
            (false, 0),
            Some("image-pair"),
            "image-pair takes two pictures; given: x (a picture)",
        );
        check(&[picture()], (false, 0), Some("edit-point"), "takes the source and one picture");
        check(&[picture()], (false, 1), Some("image-point"), "given: x (a picture), and an answer");
        check(&[picture()], (false, 0), Some("video-understanding-pair"), "takes frames and two answers");
        check(&[Candidate::Frames(vec!["f".into(); 7])], (false, 0), None, "holds 7 frames");
    }
}

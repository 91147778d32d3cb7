//! One candidate of a comparison: a picture, or the frames of a video.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rewardrt_models::prompt::pack::{self, FrameRule, Task};

use super::clip::Clip;
use super::types::Picture;
use crate::Error;
use crate::media::video;

/// Name endings of files that are taken for frames. What is in them is decided by their first bytes.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// Bytes that tell a video.
const HEAD_BYTES: u64 = 12;

/// What is compared with another.
#[derive(Debug, Clone)]
pub enum Candidate {
    /// A picture.
    Picture(Picture),
    /// The frames of a video, in order.
    Frames(Vec<PathBuf>),
    /// A video file.
    Video(Clip),
}

impl Candidate {
    /// A folder is a video, and its picture files, sorted by name, are the frames. A file that opens as a video does is
    /// one, but for animated PNG and WebP, which stand for their first picture; anything else that can be read is a
    /// picture. Nothing is decoded yet.
    ///
    /// # Errors
    /// Of class input: the path leads nowhere, the folder holds no frames, or their numbers do not sort as they
    /// count.
    pub fn open(path: &Path) -> Result<Candidate, Error> {
        let meta = fs::metadata(path).map_err(unreadable(path))?;
        if meta.is_dir() {
            frames(path).map(Candidate::Frames)
        } else if meta.is_file() && video::is_video(&head(path)?) {
            Ok(Candidate::Video(Clip::path(path)))
        } else {
            Ok(Candidate::Picture(Picture::Path(path.to_owned())))
        }
    }

    /// Whether a task compares two of these, with nothing shown beside them.
    pub fn is_for(&self, task: Task) -> bool {
        let kind = if self.is_frames() { pack::Candidate::Frames } else { pack::Candidate::Picture };
        let shape = task.shape();
        (shape.candidates, shape.candidate, shape.shown) == (2, kind, None)
    }

    /// Whether it is a video, as a file or as its frames.
    pub fn is_frames(&self) -> bool {
        !matches!(self, Candidate::Picture(_))
    }

    /// The same, with frames chosen by this rule where it is a video file.
    pub fn with_rule(mut self, rule: Option<FrameRule>) -> Candidate {
        if let Candidate::Video(clip) = &mut self {
            clip.rule = rule;
        }
        self
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Candidate::Picture(_) => "a picture",
            Candidate::Frames(_) => "a set of frames",
            Candidate::Video(_) => "a video",
        }
    }

    /// The frames are as many as the rule shows: choosing among them is left to whoever knows the video. `name` says
    /// which candidate an error is about.
    ///
    /// # Errors
    /// Of class input when there are more or fewer.
    pub fn check_frames(&self, name: &str, rule: FrameRule) -> Result<(), Error> {
        let (
            Candidate::Frames(frames),
            FrameRule::LinspaceTrunc(n) | FrameRule::LinspaceRound(n) | FrameRule::Step(n),
        ) = (self, rule)
        else {
            return Ok(());
        };
        if frames.len() == n as usize {
            return Ok(());
        }
        Err(Error::Request(format!(
            "{name} holds {} frames, and the pack shows {n} ({rule}); give exactly those",
            frames.len()
        )))
    }

    /// The pictures to show.
    pub fn pictures(self) -> Vec<Picture> {
        match self {
            Candidate::Picture(picture) => vec![picture],
            Candidate::Frames(paths) => paths.into_iter().map(Picture::Path).collect(),
            Candidate::Video(clip) => vec![Picture::Video(clip)],
        }
    }
}

/// The first bytes of a file, fewer where it has fewer.
fn head(path: &Path) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(unreadable(path))?;
    file.take(HEAD_BYTES).read_to_end(&mut head).map_err(unreadable(path))?;
    Ok(head)
}

/// The picture files of a folder, sorted by name.
fn frames(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if ending.is_some_and(|e| ENDINGS.contains(&e.as_str())) {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        let message = format!("{} holds no frames; put PNG, JPEG or WebP files there", folder.display());
        return Err(Error::Request(message));
    }
    let numbers: Vec<_> = found.iter().map(|path| number(path)).collect();
    if let Some(at) = numbers.windows(2).position(|pair| matches!(pair, [Some(a), Some(b)] if a > b)) {
        return Err(Error::Request(format!(
            "{} sorts before {}; give frame numbers leading zeros, so that names sort as they count",
            found[at].display(),
            found[at + 1].display()
        )));
    }
    Ok(found)
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    |source| Error::Read { path: path.to_owned(), source }
}

/// The number at the end of a file's stem, with what stands before it.
fn number(path: &Path) -> Option<(String, u64)> {
    let stem = path.file_stem()?.to_str()?;
    let text = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((text.to_owned(), stem[text.len()..].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a folder of these files; gives the frames' names, or the error.
    fn check(names: &[&str], expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let got = match Candidate::open(dir.path()) {
            Ok(Candidate::Frames(frames)) => {
                let names: Vec<_> = frames.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
                names.join(" ")
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{names:?} gave {got}, not {expected}");
    }

    #[test]
    fn frames_are_the_picture_files_in_the_order_of_their_names() {
        check(&["b.PNG", "a.webp", "c.jpeg", "notes.txt", "d.jpg"], "a.webp b.PNG c.jpeg d.jpg");
        check(&["f08.png", "f10.png", "f09.png"], "f08.png f09.png f10.png");
        check(&["b2.png", "a10.png"], "a10.png b2.png");
    }

    #[test]
    fn numbers_that_do_not_sort_as_they_count_are_refused() {
        check(&["9.png", "10.png"], "give frame numbers leading zeros");
        check(&["f9.png", "f10.png"], "f10.png sorts before");
    }

    #[test]
    fn a_folder_without_pictures_and_a_path_to_nothing_are_refused() {
        check(&["notes.txt"], "holds no frames");
        let error = Candidate::open(Path::new("no/such/file.png")).unwrap_err().to_string();
        assert!(error.starts_with("no/such/file.png: "), "{error}");
    }

    #[test]
    fn a_rule_of_eight_frames_takes_eight() {
        let frames = |n| Candidate::Frames(vec![PathBuf::from("f"); n]);
        let check = |n, rule: &str| frames(n).check_frames("v", rule.parse().unwrap());
        assert!(check(8, "linspace-trunc:8").is_ok() && check(5, "fps:2").is_ok());
        let error = check(7, "linspace-round:8").unwrap_err().to_string();
        assert!(error.contains("v holds 7 frames, and the pack shows 8"), "{error}");
    }
}

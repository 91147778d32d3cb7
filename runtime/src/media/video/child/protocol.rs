//! The words between a parent and its decoder child: numbers in little-endian order, lengths checked before memory is
//! taken. The child reads what a file made of it says, so the parent believes none of it.

use std::io::{self, ErrorKind, Read, Write};

use crate::media::video::VideoInfo;
use crate::media::video::error::VideoError;
use crate::media::video::limits::VideoLimits;
use crate::media::{PixelRule, Rgb8};

/// Most frames that are chosen at once: more than any rule asks for.
pub(super) const MAX_CHOSEN: usize = 1 << 16;

/// What a child is asked; a file comes with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub(super) rule: PixelRule,
    pub(super) limits: VideoLimits,
    /// Threads that may be used.
    pub(super) threads: u64,
}

impl Request {
    /// Length of a request: ten numbers.
    pub(super) const BYTES: usize = 80;

    pub(super) fn to_bytes(&self) -> [u8; Request::BYTES] {
        let l = &self.limits;
        let numbers: [u64; 10] = [
            u64::from(self.rule == PixelRule::Displayed),
            self.threads,
            l.max_encoded_bytes,
            l.max_side.into(),
            l.max_pixels,
            l.max_frames,
            l.max_output_bytes,
            l.max_cpu_seconds,
            l.max_seconds,
            l.max_memory_bytes,
        ];
        let mut bytes = [0; Request::BYTES];
        for (to, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *to = number.to_le_bytes();
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; Request::BYTES]) -> io::Result<Request> {
        let n = |at: usize| bytes.as_chunks::<8>().0.get(at).map_or(0, |b| u64::from_le_bytes(*b));
        let rule = match n(0) {
            0 => PixelRule::Reference,
            1 => PixelRule::Displayed,
            _ => return Err(ErrorKind::InvalidData.into()),
        };
        let limits = VideoLimits {
            max_encoded_bytes: n(2),
            max_side: u32::try_from(n(3)).map_err(|_| ErrorKind::InvalidData)?,
            max_pixels: n(4),
            max_frames: n(5),
            max_output_bytes: n(6),
            max_cpu_seconds: n(7),
            max_seconds: n(8),
            max_memory_bytes: n(9),
        };
        Ok(Request { rule, limits, threads: n(1) })
    }
}

/// What a child answers, in this order: what the video is, the times of the chosen frames in seconds, the frames in any
/// order, the end; or an error instead of any of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Info(VideoInfo),
    Times(Vec<f64>),
    Frame { frame: u64, rgb: Rgb8 },
    Done,
    Failed(VideoError),
}

/// Writes an answer: a byte for its kind, then its numbers.
pub(super) fn write_answer(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut head = Vec::with_capacity(33);
    let mut put = |kind: u8, numbers: &[u64]| {
        head.push(kind);
        numbers.iter().for_each(|n| head.extend(n.to_le_bytes()));
    };
    let mut data: &[u8] = &[];
    match answer {
        Answer::Info(i) => {
            put(b'i', &[i.frames_total, i.width.into(), i.height.into(), i.fps.to_bits()]);
        }
        Answer::Times(times) => {
            put(b't', &[times.len() as u64]);
            times.iter().for_each(|time| head.extend(time.to_bits().to_le_bytes()));
        }
        Answer::Frame { frame, rgb } => {
            put(b'f', &[*frame, rgb.width().into(), rgb.height().into()]);
            data = rgb.data();
        }
        Answer::Done => put(b'd', &[]),
        Answer::Failed(error) => put(b'e', &failure::numbers(error)),
    }
    to.write_all(&head)?;
    to.write_all(data)
}

/// Reads an answer; frames take at most so many bytes.
pub(super) fn read_answer(from: &mut impl Read, most: u64) -> io::Result<Answer> {
    let bad = || io::Error::from(ErrorKind::InvalidData);
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    match kind {
        [b'i'] => {
            let [frames_total, width, height, fps] = numbers(from)?;
            let side = |n: u64| u32::try_from(n).map_err(|_| bad());
            let fps =
                Some(f64::from_bits(fps)).filter(|fps| fps.is_finite() && *fps >= 0.0).ok_or_else(bad)?;
            Ok(Answer::Info(VideoInfo { frames_total, width: side(width)?, height: side(height)?, fps }))
        }
        [b't'] => {
            let [count] = numbers(from)?;
            let count = usize::try_from(count).ok().filter(|n| *n <= MAX_CHOSEN).ok_or_else(bad)?;
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                let [bits] = numbers(from)?;
                times.push(Some(f64::from_bits(bits)).filter(|time| time.is_finite()).ok_or_else(bad)?);
            }
            Ok(Answer::Times(times))
        }
        [b'f'] => {
            let [frame, width, height] = numbers(from)?;
            let side = |n: u64| u32::try_from(n).map_err(|_| bad());
            let (width, height) = (side(width)?, side(height)?);
            let bytes = u64::from(width).checked_mul(height.into()).and_then(|n| n.checked_mul(3));
            let bytes = bytes.filter(|n| *n <= most).and_then(|n| usize::try_from(n).ok()).ok_or_else(bad)?;
            let mut data = vec![0; bytes];
            from.read_exact(&mut data)?;
            Ok(Answer::Frame { frame, rgb: Rgb8::new(width, height, data).map_err(|_| bad())? })
        }
        [b'd'] => Ok(Answer::Done),
        [b'e'] => Ok(Answer::Failed(failure::error(numbers(from)?).ok_or_else(bad)?)),
        _ => Err(bad()),
    }
}

/// Writes which frames are wanted.
pub(super) fn write_choice(to: &mut impl Write, chosen: &[u64]) -> io::Result<()> {
    let mut bytes = (chosen.len() as u64).to_le_bytes().to_vec();
    chosen.iter().for_each(|frame| bytes.extend(frame.to_le_bytes()));
    to.write_all(&bytes)
}

/// Reads which of so many frames are wanted: ascending, each once.
pub(super) fn read_choice(from: &mut impl Read, total: u64) -> io::Result<Vec<u64>> {
    let [count] = numbers(from)?;
    let count = usize::try_from(count).ok().filter(|n| *n <= MAX_CHOSEN).ok_or(ErrorKind::InvalidData)?;
    let mut chosen: Vec<u64> = Vec::with_capacity(count);
    for _ in 0..count {
        let [frame] = numbers(from)?;
        if frame >= total || chosen.last().is_some_and(|last| *last >= frame) {
            return Err(ErrorKind::InvalidData.into());
        }
        chosen.push(frame);
    }
    Ok(chosen)
}

fn numbers<const N: usize>(from: &mut impl Read) -> io::Result<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)?;
        *number = u64::from_le_bytes(bytes);
    }
    Ok(numbers)
}

mod failure {
    //! Errors as four numbers: which one, and what it tells. Those that only the parent can meet have none.

    use std::io::ErrorKind;

    use crate::media::video::error::VideoError;

    pub(super) fn numbers(error: &VideoError) -> [u64; 4] {
        match *error {
            VideoError::UnsupportedFormat => [1, 0, 0, 0],
            VideoError::UnsupportedCodec => [2, 0, 0, 0],
            VideoError::NoStream => [3, 0, 0, 0],
            VideoError::NoFrames => [4, 0, 0, 0],
            VideoError::SizeChanged => [5, 0, 0, 0],
            VideoError::TooManyBytes { bytes, limit } => [6, bytes, limit, 0],
            VideoError::SideTooLong { width, height, limit } => {
                [7, width.into(), height.into(), limit.into()]
            }
            VideoError::TooManyPixels { width, height, limit } => [8, width.into(), height.into(), limit],
            VideoError::TooManyFrames { limit } => [9, limit, 0, 0],
            VideoError::OutOfMemory => [10, 0, 0, 0],
            VideoError::Read(_) => [11, 0, 0, 0],
            _ => [0, 0, 0, 0],
        }
    }

    pub(super) fn error([kind, a, b, c]: [u64; 4]) -> Option<VideoError> {
        let side = |n: u64| u32::try_from(n).ok();
        Some(match kind {
            0 => VideoError::Corrupt,
            1 => VideoError::UnsupportedFormat,
            2 => VideoError::UnsupportedCodec,
            3 => VideoError::NoStream,
            4 => VideoError::NoFrames,
            5 => VideoError::SizeChanged,
            6 => VideoError::TooManyBytes { bytes: a, limit: b },
            7 => VideoError::SideTooLong { width: side(a)?, height: side(b)?, limit: side(c)? },
            8 => VideoError::TooManyPixels { width: side(a)?, height: side(b)?, limit: c },
            9 => VideoError::TooManyFrames { limit: a },
            10 => VideoError::OutOfMemory,
            11 => VideoError::Read(ErrorKind::InvalidInput),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes an answer, and reads the same one.
    fn check(answer: Answer) {
        let mut bytes = Vec::new();
        write_answer(&mut bytes, &answer).unwrap();
        assert_eq!(read_answer(&mut bytes.as_slice(), 1 << 20).unwrap(), answer);
        for cut in 0..bytes.len() {
            assert!(read_answer(&mut &bytes[..cut], 1 << 20).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written_and_never_when_cut() {
        check(Answer::Info(VideoInfo { frames_total: 33, width: 832, height: 480, fps: 16.0 }));
        check(Answer::Times(vec![0.0, 0.25, 2.0]));
        check(Answer::Frame { frame: 4, rgb: Rgb8::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap() });
        check(Answer::Done);
        check(Answer::Failed(VideoError::Corrupt));
        check(Answer::Failed(VideoError::SideTooLong { width: 9000, height: 2, limit: 8192 }));
        check(Answer::Failed(VideoError::TooManyFrames { limit: 7 }));
    }

    #[test]
    fn frames_over_the_limit_and_numbers_that_are_none_are_refused() {
        let mut frame = Vec::new();
        let rgb = Rgb8::new(1 << 20, 1, vec![0; 3 << 20]).unwrap();
        write_answer(&mut frame, &Answer::Frame { frame: 0, rgb }).unwrap();
        assert!(read_answer(&mut frame.as_slice(), 3 << 19).is_err());
        let mut nan = Vec::new();
        write_answer(&mut nan, &Answer::Times(vec![f64::NAN])).unwrap();
        assert!(read_answer(&mut nan.as_slice(), 1).is_err());
    }

    #[test]
    fn requests_and_choices_are_read_as_they_were_written() {
        let request = Request { rule: PixelRule::Displayed, limits: VideoLimits::default(), threads: 3 };
        assert_eq!(Request::from_bytes(&request.to_bytes()).unwrap(), request);
        let choose = |chosen: &[u64]| {
            let mut bytes = Vec::new();
            write_choice(&mut bytes, chosen).unwrap();
            read_choice(&mut bytes.as_slice(), 10).ok()
        };
        assert_eq!(choose(&[0, 4, 9]), Some(vec![0, 4, 9]));
        assert_eq!(choose(&[0, 4, 10]), None);
        assert_eq!(choose(&[4, 4]), None);
    }

    proptest! {
        #[test]
        fn whatever_a_child_says_takes_no_more_memory_than_a_frame(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Answer::Frame { rgb, .. }) = read_answer(&mut bytes.as_slice(), 64) {
                prop_assert!(rgb.data().len() <= 64);
            }
        }
    }
}

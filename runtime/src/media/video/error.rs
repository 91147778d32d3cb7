//! Why a video is refused.

use std::io::ErrorKind;

/// Why a video is refused. The list is closed and no message of a decoder reaches the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VideoError {
    /// The program was built without the cargo feature `video`.
    #[error(
        "this build decodes no video files: it was built without the cargo feature `video`; build it with the feature \
         (see README.md), or give the frames as pictures"
    )]
    NotBuilt,
    /// The first bytes are not those of an accepted container.
    #[error("this is no accepted video format; send MP4, MOV, WebM, MKV, AVI, GIF, APNG or animated WebP")]
    UnsupportedFormat,
    /// The container is accepted, the coding of its pictures is not.
    #[error(
        "the video is coded in a way that is not accepted; convert it to H.264, HEVC, VP8, VP9, AV1, MPEG-4 or MJPEG"
    )]
    UnsupportedCodec,
    /// The container holds no video stream.
    #[error("the file holds no video stream; send one that has pictures")]
    NoStream,
    /// No picture of the stream can be decoded.
    #[error("the video holds no frame that can be decoded; send the file again")]
    NoFrames,
    /// The data is damaged or ends too early.
    #[error("the video data is damaged or cut short; send the file again")]
    Corrupt,
    /// Frames of several sizes in one stream.
    #[error("the video changes its size on the way; convert it to one size")]
    SizeChanged,
    /// More encoded bytes than allowed.
    #[error("the video file has {bytes} bytes, at most {limit} are accepted; send a smaller file")]
    TooManyBytes {
        /// Size of the file.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A side is longer than allowed.
    #[error("the video is {width}x{height}, a side may have {limit} pixels; scale it down")]
    SideTooLong {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// The limit.
        limit: u32,
    },
    /// More pixels than allowed.
    #[error("the video is {width}x{height}, at most {limit} pixels are accepted; scale it down")]
    TooManyPixels {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// The limit.
        limit: u64,
    },
    /// More frames than allowed.
    #[error("the video has more than {limit} frames; cut it")]
    TooManyFrames {
        /// The limit.
        limit: u64,
    },
    /// The chosen frames need more memory than allowed.
    #[error(
        "the chosen frames take {bytes} bytes, at most {limit} are accepted; choose fewer or scale the video down"
    )]
    TooMuchOutput {
        /// Bytes of all chosen frames as RGB8.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Decoding needs more memory than allowed.
    #[error("decoding the video takes more memory than is allowed; scale it down, or raise the limit")]
    OutOfMemory,
    /// Decoding took longer than allowed.
    #[error(
        "decoding the video takes longer than is allowed ({cpu_seconds} s of a processor, {seconds} s in all); cut it, \
         convert it to one with more key frames, or raise the limit"
    )]
    TimedOut {
        /// Seconds of processor time, the limit.
        cpu_seconds: u64,
        /// Seconds of the clock, the limit.
        seconds: u64,
    },
    /// The decoder broke off.
    #[error("the video made the decoder fail; the file is damaged or made to do so")]
    Crashed,
    /// There is no program to decode in.
    #[error(
        "there is no program to decode videos in: call rewardrt::media::video::worker_main() at the start of main, name \
         a program with use_worker(), or ask for Isolation::InProcess"
    )]
    NoWorker,
    /// The program to decode in cannot be started.
    #[error("the program to decode videos in cannot be started: {0}; check how many processes may run")]
    CannotStart(ErrorKind),
    /// The rule cannot choose frames of this video.
    #[error("{0}")]
    Choice(String),
    /// A frame was chosen that the video does not have.
    #[error("frame {index} was chosen, and the video has {total}")]
    NoSuchFrame {
        /// The index, counted from 0.
        index: u64,
        /// Frames of the video.
        total: u64,
    },
    /// The file cannot be read.
    #[error("the video file cannot be read: {0}")]
    Read(ErrorKind),
}

impl VideoError {
    /// Whether the machine or the build lacks something, so that no other file would fare better.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(self, VideoError::NotBuilt | VideoError::NoWorker | VideoError::CannotStart(_))
    }

    /// The stable name of the error's kind, for wire formats and logs.
    pub fn code(&self) -> &'static str {
        match self {
            VideoError::NotBuilt => "video_not_built",
            VideoError::UnsupportedFormat | VideoError::UnsupportedCodec | VideoError::SizeChanged => {
                "media_unsupported"
            }
            VideoError::NoStream | VideoError::NoFrames | VideoError::Corrupt => "media_corrupt",
            VideoError::TooManyBytes { .. }
            | VideoError::SideTooLong { .. }
            | VideoError::TooManyPixels { .. }
            | VideoError::TooManyFrames { .. }
            | VideoError::TooMuchOutput { .. }
            | VideoError::OutOfMemory => "media_too_large",
            VideoError::TimedOut { .. } => "video_decoder_timeout",
            VideoError::Crashed => "video_decoder_crashed",
            VideoError::NoWorker | VideoError::CannotStart(_) => "video_decoder_missing",
            VideoError::Choice(_) | VideoError::NoSuchFrame { .. } => "frames_bad_choice",
            VideoError::Read(_) => "media_unreadable",
        }
    }
}

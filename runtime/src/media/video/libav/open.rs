//! A source becomes a demuxer with one video stream: closed lists of containers and codecs, sizes checked first.

use ffmpeg_next::codec::{self, Id};
use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::format::stream::Disposition;
use ffmpeg_next::packet::side_data;
use ffmpeg_next::{Dictionary, Error, Rational, error, format, media, threading};
use ffmpeg_next::{decoder, frame};

use super::ffi;
use super::source::Source;
use crate::media::exif::Turn;
use crate::media::video::error::VideoError;
use crate::media::video::limits::VideoLimits;
use crate::media::video::sniff::Container;

/// How much of a file is read at a time, bytes: a 1080p frame of 10 Mbit/s in one piece.
const READ_BYTES: usize = 64 << 10;
/// How much of a file is looked at to find out what its streams are, bytes: libav's own default.
const PROBE_BYTES: &str = "5000000";
/// How long a part of the video is looked at for the same, microseconds of video.
const PROBE_MICROSECONDS: &str = "5000000";
/// Most frames that a decoder holds for each of its threads: 16 to predict from, and those on their way out.
const FRAMES_A_THREAD: u64 = 20;
/// Most bytes that decoders may hold in frames: three of 1080p at once, one of 4096x2304.
const MAX_FRAME_BYTES: u64 = 200 << 20;
/// Most streams of a file: a video, some sounds and subtitles.
const MAX_STREAMS: &str = "64";
/// The decoders that are used, by libav's names. The first of its kind for each codec, but for AV1, where the one of
/// libdav1d is asked for by name: libav's own needs a graphics card.
pub(super) const CODECS: [(Id, &str); 10] = [
    (Id::H264, "h264"),
    (Id::HEVC, "hevc"),
    (Id::VP8, "vp8"),
    (Id::VP9, "vp9"),
    (Id::AV1, "libdav1d"),
    (Id::MPEG4, "mpeg4"),
    (Id::MJPEG, "mjpeg"),
    (Id::GIF, "gif"),
    (Id::APNG, "apng"),
    (Id::PNG, "png"),
];

/// An open file: its demuxer stands at the start.
pub(super) struct Media {
    pub(super) input: Input,
    /// Which stream is decoded.
    pub(super) stream: usize,
    pub(super) codec: Id,
    pub(super) container: Container,
    /// Seconds of one unit of the stream's timestamps.
    pub(super) time_base: Rational,
    /// Frames a second on average, as the container tells it; 0 when it does not.
    pub(super) fps: f64,
    /// Width and height of the frames as they are stored, pixels.
    pub(super) size: (u32, u32),
    /// How frames are turned to be seen upright.
    pub(super) turn: Turn,
    /// Whether pictures may be coded as fields.
    pub(super) interlaced: bool,
}

impl Media {
    /// How many of these threads are worth their memory: frames of 1.5 bytes a pixel, held by every decoder.
    pub(super) fn threads(&self, most: usize) -> usize {
        let one = u64::from(self.size.0) * u64::from(self.size.1) * 3 / 2 * FRAMES_A_THREAD;
        usize::try_from(MAX_FRAME_BYTES / one.max(1)).unwrap_or(1).clamp(1, most.max(1))
    }
}

/// Opens the first video stream that is no cover picture.
pub(super) fn open(source: &Source, container: Container, limits: &VideoLimits) -> Result<Media, VideoError> {
    let io = StreamIo::from_read_seek_with_capacity(source.reader(), READ_BYTES).map_err(refused)?;
    let mut input = format::input_from_stream(io, None, Some(options(container))).map_err(refused)?;
    let stream = input
        .streams()
        .find(|s| {
            s.parameters().medium() == media::Type::Video
                && !s.disposition().contains(Disposition::ATTACHED_PIC)
        })
        .ok_or(VideoError::NoStream)?;
    let parameters = stream.parameters();
    let codec = parameters.id();
    if !CODECS.iter().any(|(known, _)| *known == codec) {
        return Err(VideoError::UnsupportedCodec);
    }
    let side = |n: i32| u32::try_from(n).map_err(|_| VideoError::Corrupt);
    let (width, height) = ffi::declared_size(&parameters);
    let size = (side(width)?, side(height)?);
    limits.check_size(size.0, size.1)?;
    let index = stream.index();
    let fps = [stream.avg_frame_rate(), stream.rate()].into_iter().map(f64::from);
    let fps = fps.into_iter().find(|fps| fps.is_finite() && *fps > 0.0).unwrap_or(0.0);
    let matrix = stream.side_data().find(|data| data.kind() == side_data::Type::DisplayMatrix);
    let turn = matrix.map_or_else(Turn::default, |data| turn(data.data()));
    let (time_base, interlaced) = (stream.time_base(), ffi::is_interlaced(&parameters));
    drop(parameters);
    ffi::keep_only(&mut input, index);
    Ok(Media { input, stream: index, codec, container, time_base, fps, size, turn, interlaced })
}

/// No protocol can be opened by any demuxer, none but the sniffed one is used, and references to other files are not
/// followed.
fn options(container: Container) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("protocol_whitelist", "none");
    options.set("format_whitelist", container.demuxer());
    options.set("codec_whitelist", &CODECS.map(|(_, name)| name).join(","));
    options.set("probesize", PROBE_BYTES);
    options.set("analyzeduration", PROBE_MICROSECONDS);
    options.set("max_streams", MAX_STREAMS);
    if container == Container::Mov {
        options.set("enable_drefs", "0");
        options.set("use_absolute_path", "0");
    }
    options
}

/// A decoder of the stream, with this many threads.
pub(super) fn decoder(media: &Media, threads: usize) -> Result<decoder::Video, VideoError> {
    let stream = media.input.stream(media.stream).ok_or(VideoError::NoStream)?;
    let mut context = codec::Context::from_parameters(stream.parameters()).map_err(refused)?;
    let kind = if threads > 1 { threading::Type::Frame } else { threading::Type::None };
    context.set_threading(threading::Config { count: threads, ..threading::Config::kind(kind) });
    if media.codec == Id::VP8 {
        ffi::begin_with_zeros(&mut context);
    }
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(media.time_base);
    let name = CODECS.iter().find(|(id, _)| *id == media.codec).map(|(_, name)| *name);
    let codec = name.and_then(decoder::find_by_name).ok_or(VideoError::UnsupportedCodec)?;
    let mut options = Dictionary::new();
    if media.codec == Id::MJPEG {
        // Else its decoder hands out a picture whose data ends early as if it were whole: the rest of it is what the
        // memory held, and no mark says so.
        options.set("err_detect", "explode");
    }
    decoder.open_as_with(codec, options).and_then(|opened| opened.video()).map_err(refused)
}

/// Refuses a picture that its decoder did not decode to the end.
///
/// The decoder of VP8 shows such a picture without a mark, and its last macroblock, of 16 lines and columns, was never
/// written. It holds the zeros that the picture began with: a colour that no picture has, as its red, green and blue lie
/// far outside of what can be shown.
pub(super) fn check_whole(codec: Id, frame: &frame::Video) -> Result<(), VideoError> {
    let unwritten = || {
        (0..frame.planes()).all(|plane| {
            let (width, height) = (frame.plane_width(plane) as usize, frame.plane_height(plane) as usize);
            let line = frame.stride(plane) * height.saturating_sub(1);
            let side = if plane == 0 { 16 } else { 8 };
            let block = width.saturating_sub(1) / side * side;
            let last = frame.data(plane).get(line + block..line + width);
            last.is_some_and(|values| values.iter().all(|value| *value == 0))
        })
    };
    let damaged = frame.is_corrupt() || frame.has_decode_errors() || (codec == Id::VP8 && unwritten());
    if damaged { Err(VideoError::Corrupt) } else { Ok(()) }
}

/// What libav's error means to the caller.
pub(super) fn refused(error: Error) -> VideoError {
    match error {
        Error::DemuxerNotFound => VideoError::UnsupportedFormat,
        Error::Other { errno: error::ENOMEM } => VideoError::OutOfMemory,
        Error::DecoderNotFound => VideoError::UnsupportedCodec,
        _ => VideoError::Corrupt,
    }
}

/// The quarter turns of a display matrix, nine 16.16 fixed-point numbers (the last column 2.30) in the order of the
/// machine. As OpenCV does: the angle alone counts, and angles that are no quarter turns do not.
fn turn(matrix: &[u8]) -> Turn {
    let number = |at: usize| {
        let bytes = matrix.get(at * 4..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0.0, |bytes| f64::from(i32::from_ne_bytes(*bytes)) / 65536.0)
    };
    let scale = |a: f64, b: f64| a.hypot(b);
    let (across, down) = (scale(number(0), number(3)), scale(number(1), number(4)));
    if across == 0.0 || down == 0.0 {
        return Turn::default();
    }
    let degrees = (number(1) / down).atan2(number(0) / across).to_degrees().round();
    match degrees.rem_euclid(360.0) {
        90.0 => Turn::clockwise(1),
        180.0 => Turn::clockwise(2),
        270.0 => Turn::clockwise(3),
        _ => Turn::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns the two pixels of a 2x1 picture by a matrix of whole numbers.
    fn check(matrix: [i32; 9], expected: (u32, u32, [u8; 2])) {
        let bytes: Vec<u8> = matrix.iter().flat_map(|n| (n << 16).to_ne_bytes()).collect();
        let (width, height, data) = turn(&bytes).apply(2, 1, vec![1, 1, 1, 2, 2, 2]);
        assert_eq!((width, height, [data[0], data[3]]), expected, "{matrix:?}");
    }

    #[test]
    fn quarter_turns_are_read_and_other_matrices_leave_the_picture_as_it_is() {
        check([1, 0, 0, 0, 1, 0, 0, 0, 1], (2, 1, [1, 2]));
        check([0, 1, 0, -1, 0, 0, 0, 0, 1], (1, 2, [1, 2]));
        check([-1, 0, 0, 0, -1, 0, 0, 0, 1], (2, 1, [2, 1]));
        check([0, -1, 0, 1, 0, 0, 0, 0, 1], (1, 2, [2, 1]));
        check([1, 1, 0, -1, 1, 0, 0, 0, 1], (2, 1, [1, 2]));
        check([0; 9], (2, 1, [1, 2]));
    }
}

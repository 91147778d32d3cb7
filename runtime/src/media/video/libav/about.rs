//! Which libav this program runs with.

use super::open::CODECS;

/// The libraries of libav, as `rewardrt doctor` tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libraries {
    /// Names with their versions.
    pub versions: Vec<(&'static str, String)>,
    /// Decoders that are there, by libav's names.
    pub decoders: Vec<&'static str>,
    /// Decoders that this program would use and that are not there.
    pub missing: Vec<&'static str>,
}

pub(in crate::media::video) fn libraries() -> Libraries {
    let version = |number: u32| format!("{}.{}.{}", number >> 16, number >> 8 & 0xff, number & 0xff);
    let names = CODECS.map(|(_, name)| name);
    let (decoders, missing) =
        names.into_iter().partition(|name| ffmpeg_next::decoder::find_by_name(name).is_some());
    Libraries {
        versions: vec![
            ("libavformat", version(ffmpeg_next::format::version())),
            ("libavcodec", version(ffmpeg_next::codec::version())),
            ("libavutil", version(ffmpeg_next::util::version())),
            ("libswscale", version(ffmpeg_next::software::scaling::version())),
        ],
        decoders,
        missing,
    }
}

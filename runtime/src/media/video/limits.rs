//! How much one video may cost.

use super::error::VideoError;

/// Most encoded bytes: ten minutes at 28 Mbit/s, the rate of good 1080p files.
const MAX_ENCODED_BYTES: u64 = 2 << 30;
/// Longest side: 4K in either orientation, and twice of it in one.
const MAX_SIDE: u32 = 8192;
/// Most pixels of a frame: 4096x2304, the largest that levels of H.264 up to 5.2 hold.
const MAX_PIXELS: u64 = 4096 * 2304;
/// Most frames of a video: an hour at 60 frames a second.
const MAX_FRAMES: u64 = 216_000;
/// Most bytes of chosen frames that are kept at once: 8 frames of the largest size take 226 MB, and 172 of 1080p this.
const MAX_OUTPUT_BYTES: u64 = 1 << 30;

/// Most processor time: ten minutes of 1080p with a key frame every ten seconds take about three.
const MAX_CPU_SECONDS: u64 = 10;
/// Longest wait, from the request to the last frame: as much on one busy core of three.
const MAX_SECONDS: u64 = 30;
/// Most memory of the decoder: frames to predict from, and what it makes of the container.
const MAX_MEMORY_BYTES: u64 = 512 << 20;

/// Limits of one video, checked before the work that they bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoLimits {
    /// Most encoded bytes.
    pub max_encoded_bytes: u64,
    /// Longest side, pixels.
    pub max_side: u32,
    /// Most pixels of a frame.
    pub max_pixels: u64,
    /// Most frames of the video, chosen or not.
    pub max_frames: u64,
    /// Most bytes of all chosen frames, 3 a pixel.
    pub max_output_bytes: u64,
    /// Most seconds of processor time, rounded up by the kernel. Held for decoder children only.
    pub max_cpu_seconds: u64,
    /// Most seconds of the clock. Held for decoder children only.
    pub max_seconds: u64,
    /// Most bytes of memory that the decoder may write to. Held for decoder children only.
    pub max_memory_bytes: u64,
}

impl Default for VideoLimits {
    fn default() -> Self {
        VideoLimits {
            max_encoded_bytes: MAX_ENCODED_BYTES,
            max_side: MAX_SIDE,
            max_pixels: MAX_PIXELS,
            max_frames: MAX_FRAMES,
            max_output_bytes: MAX_OUTPUT_BYTES,
            max_cpu_seconds: MAX_CPU_SECONDS,
            max_seconds: MAX_SECONDS,
            max_memory_bytes: MAX_MEMORY_BYTES,
        }
    }
}

impl VideoLimits {
    /// Checks the size of the file.
    pub(super) fn check_encoded(&self, bytes: u64) -> Result<(), VideoError> {
        if bytes > self.max_encoded_bytes {
            return Err(VideoError::TooManyBytes { bytes, limit: self.max_encoded_bytes });
        }
        Ok(())
    }

    /// Checks the size of a frame.
    pub(super) fn check_size(&self, width: u32, height: u32) -> Result<(), VideoError> {
        if width == 0 || height == 0 {
            return Err(VideoError::Corrupt);
        }
        if width.max(height) > self.max_side {
            return Err(VideoError::SideTooLong { width, height, limit: self.max_side });
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(VideoError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        Ok(())
    }

    /// Checks how many frames there are.
    pub(super) fn check_frames(&self, frames: u64) -> Result<(), VideoError> {
        if frames > self.max_frames {
            return Err(VideoError::TooManyFrames { limit: self.max_frames });
        }
        Ok(())
    }

    /// Checks how many bytes the chosen frames take.
    pub(super) fn check_output(&self, frames: usize, width: u32, height: u32) -> Result<(), VideoError> {
        let bytes = (frames as u64).saturating_mul(u64::from(width) * u64::from(height) * 3);
        if bytes > self.max_output_bytes {
            return Err(VideoError::TooMuchOutput { bytes, limit: self.max_output_bytes });
        }
        Ok(())
    }
}

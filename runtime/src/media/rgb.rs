//! The one pixel type that leaves this room.

use super::error::MediaError;

/// An RGB picture: 8 bits a channel, rows from the top, pixels from the left, channels interleaved (HWC).
/// Holds at least one pixel, and exactly `width * height * 3` bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb8 {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Rgb8 {
    /// Wraps pixels that the caller decoded.
    ///
    /// # Errors
    /// [`MediaError::BadBuffer`] when a side is zero or `data` does not hold `width * height * 3` bytes.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Result<Rgb8, MediaError> {
        let needed = u128::from(width) * u128::from(height) * 3;
        if needed == 0 || data.len() as u128 != needed {
            return Err(MediaError::BadBuffer { width, height, bytes: data.len() });
        }
        Ok(Rgb8 { width, height, data })
    }

    /// Width, pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height, pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes, `width * height * 3` of them.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Gives the bytes away.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}

impl std::fmt::Debug for Rgb8 {
    /// Sizes only: a test that fails must not print a million numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb8({}x{})", self.width, self.height)
    }
}

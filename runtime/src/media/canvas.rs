//! Pixels as a file holds them, before the pixel rule is applied.

use super::PixelRule;
use super::error::MediaError;
use super::exif::Turn;
use super::rgb::Rgb8;

/// Channels of a decoded picture, 8 bits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
}

/// A decoded picture with its alpha channel and its orientation.
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) layout: Layout,
    /// Interleaved channels, rows from the top.
    pub(super) data: Vec<u8>,
    pub(super) turn: Turn,
}

impl Canvas {
    /// Applies the rule.
    pub(super) fn into_rgb(self, rule: PixelRule) -> Result<Rgb8, MediaError> {
        let blend = match rule {
            PixelRule::Reference => |value: u8, _: u8| value,
            PixelRule::Displayed => over_white,
        };
        let data = match self.layout {
            Layout::Rgb => self.data,
            Layout::Grey => self.data.iter().flat_map(|&v| [v; 3]).collect(),
            Layout::GreyAlpha => pixels(&self.data, |[v, a]: &[u8; 2]| [blend(*v, *a); 3]),
            Layout::Rgba => {
                pixels(&self.data, |[r, g, b, a]: &[u8; 4]| [blend(*r, *a), blend(*g, *a), blend(*b, *a)])
            }
        };
        let (width, height, data) = match rule {
            PixelRule::Reference => (self.width, self.height, data),
            PixelRule::Displayed => self.turn.apply(self.width, self.height, data),
        };
        Rgb8::new(width, height, data)
    }
}

fn pixels<const N: usize>(data: &[u8], pixel: impl Fn(&[u8; N]) -> [u8; 3]) -> Vec<u8> {
    data.as_chunks::<N>().0.iter().flat_map(pixel).collect()
}

/// `value` with coverage `alpha` over white, rounded as Pillow rounds when it pastes through a mask.
fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    divide_255(value * alpha + 255 * (255 - alpha))
}

/// `product / 255` rounded, for products up to 255 * 255.
pub(super) fn divide_255(product: u32) -> u8 {
    let biased = product + 128;
    (((biased >> 8) + biased) >> 8) as u8
}

//! The orientation tag and what it does to a picture.

use image::metadata::Orientation;

/// How a stored picture must be turned to be seen upright.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Rows become columns.
    transpose: bool,
    /// Mirror the result left to right.
    mirror: bool,
    /// Turn the result upside down.
    flip: bool,
}

impl Turn {
    /// Reads a TIFF block as it stands in EXIF. No tag, or one out of range, means upright.
    pub(super) fn from_exif(tiff: &[u8]) -> Turn {
        let turn = |transpose, mirror, flip| Turn { transpose, mirror, flip };
        match Orientation::from_exif_chunk(tiff) {
            None | Some(Orientation::NoTransforms) => Turn::default(),
            Some(Orientation::FlipHorizontal) => turn(false, true, false),
            Some(Orientation::Rotate180) => turn(false, true, true),
            Some(Orientation::FlipVertical) => turn(false, false, true),
            Some(Orientation::Rotate90FlipH) => turn(true, false, false),
            Some(Orientation::Rotate90) => turn(true, true, false),
            Some(Orientation::Rotate270FlipH) => turn(true, true, true),
            Some(Orientation::Rotate270) => turn(true, false, true),
        }
    }

    /// So many quarter turns clockwise.
    #[cfg(feature = "video")]
    pub(super) fn clockwise(quarters: u8) -> Turn {
        let turn = |transpose, mirror, flip| Turn { transpose, mirror, flip };
        match quarters % 4 {
            0 => Turn::default(),
            1 => turn(true, true, false),
            2 => turn(false, true, true),
            _ => turn(true, false, true),
        }
    }

    /// Width and height of a picture of this size once it is turned.
    #[cfg(feature = "video")]
    pub(super) fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.transpose { (height, width) } else { (width, height) }
    }

    /// Turns an HWC picture of 3 bytes a pixel; gives width, height and bytes of the result.
    pub(super) fn apply(self, width: u32, height: u32, data: Vec<u8>) -> (u32, u32, Vec<u8>) {
        if self == Turn::default() {
            return (width, height, data);
        }
        let (w, h) = (width as usize, height as usize);
        let (out_w, out_h) = if self.transpose { (h, w) } else { (w, h) };
        let mut out = Vec::with_capacity(data.len());
        for y in 0..out_h {
            let y = if self.flip { out_h - 1 - y } else { y };
            for x in 0..out_w {
                let x = if self.mirror { out_w - 1 - x } else { x };
                let at = if self.transpose { x * w + y } else { y * w + x };
                out.extend_from_slice(&data[at * 3..at * 3 + 3]);
            }
        }
        (out_w as u32, out_h as u32, out)
    }
}

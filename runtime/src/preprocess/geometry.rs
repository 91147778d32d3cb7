//! The size in which a model sees a picture.

/// Longest side over shortest side that the reference accepts.
const MAX_ASPECT: u64 = 200;

/// Why a picture has no size in which a model can see it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeometryError {
    /// A side of zero pixels.
    #[error("the picture is {width}x{height}; a side needs at least 1 pixel")]
    Empty {
        /// Height, pixels.
        height: u32,
        /// Width, pixels.
        width: u32,
    },
    /// Too narrow.
    #[error(
        "the picture is {width}x{height}; with a longer side of {longer} pixels the shorter one needs at least \
         {minimum} (sides may differ by a factor of 200); crop or pad it"
    )]
    Aspect {
        /// Height, pixels.
        height: u32,
        /// Width, pixels.
        width: u32,
        /// The longer side.
        longer: u32,
        /// What the shorter side must have.
        minimum: u32,
    },
    /// Bounds that no picture can meet.
    #[error(
        "pictures of {min_pixels} to {max_pixels} pixels in steps of {factor} are none; check the package"
    )]
    Bounds {
        /// Side of a token's cell, pixels.
        factor: u32,
        /// Fewest pixels.
        min_pixels: u64,
        /// Most pixels.
        max_pixels: u64,
    },
    /// The size that follows from the bounds cannot be held.
    #[error(
        "the picture would have to be resized to {width}x{height}, which is too much; lower the package's bounds"
    )]
    TooLarge {
        /// Height, pixels.
        height: u64,
        /// Width, pixels.
        width: u64,
    },
}

/// Most pixels of a resized picture: 2^28, four times what any known checkpoint asks for, 0.8 GB of bytes.
pub(super) const MAX_RESIZED_PIXELS: u64 = 1 << 28;

/// Height and width that are multiples of `factor`, hold between `min_pixels` and `max_pixels` pixels where the
/// shape allows it, and keep the aspect ratio as well as they can. All sizes in pixels.
///
/// The formula is the reference implementation's, in the same order of float operations: sides are rounded to the
/// nearest multiple with ties to even; above the maximum both are scaled by the square root of the excess and
/// rounded down, to one multiple at least; below the minimum they are scaled up and rounded up. As in the
/// reference, a very long picture can leave the bounds by the rounding of its short side.
///
/// # Errors
/// [`GeometryError::Empty`] for a zero side, [`GeometryError::Aspect`] for sides that differ by more than a factor
/// of 200, [`GeometryError::Bounds`] for a zero factor or bounds that are zero or crossed, and
/// [`GeometryError::TooLarge`] when the result exceeds 2^28 pixels.
pub fn smart_resize(
    height: u32,
    width: u32,
    factor: u32,
    min_pixels: u64,
    max_pixels: u64,
) -> Result<(u32, u32), GeometryError> {
    check_shape(height, width)?;
    if factor == 0 || min_pixels == 0 || max_pixels < min_pixels {
        return Err(GeometryError::Bounds { factor, min_pixels, max_pixels });
    }
    let (h, w, step) = (f64::from(height), f64::from(width), f64::from(factor));
    let nearest = |side: f64| (side / step).round_ties_even() * step;
    let (mut out_h, mut out_w) = (nearest(h), nearest(w));
    let (least, most) = (min_pixels as f64, max_pixels as f64);
    if out_h * out_w > most {
        let beta = ((h * w) / most).sqrt();
        let shrunk = |side: f64| ((side / beta / step).floor() * step).max(step);
        (out_h, out_w) = (shrunk(h), shrunk(w));
    } else if out_h * out_w < least {
        let beta = (least / (h * w)).sqrt();
        let grown = |side: f64| (side * beta / step).ceil() * step;
        (out_h, out_w) = (grown(h), grown(w));
    }
    if out_h * out_w > MAX_RESIZED_PIXELS as f64 {
        return Err(GeometryError::TooLarge { height: out_h as u64, width: out_w as u64 });
    }
    Ok((out_h as u32, out_w as u32))
}

pub(super) fn check_shape(height: u32, width: u32) -> Result<(), GeometryError> {
    let (longer, shorter) = (height.max(width), height.min(width));
    if shorter == 0 {
        return Err(GeometryError::Empty { height, width });
    }
    if u64::from(longer) > MAX_ASPECT * u64::from(shorter) {
        let minimum = longer.div_ceil(MAX_ASPECT as u32);
        return Err(GeometryError::Aspect { height, width, longer, minimum });
    }
    Ok(())
}

#[cfg(test)]
#[path = "geometry_tests.rs"]
mod tests;

//! Chroma of 4:2:0 pictures, where libswscale 5.1 places it otherwise than the reference decoder's libswscale 9 does.
//!
//! Pictures of 8 bits and an even height take a special path that is the same in both. All others are filtered, and the
//! filter of 5.1 knows whole rows only. So the rows of chroma are made here, by the same linear filter, and libswscale
//! gets 4:2:2. Fields of an interlaced picture are converted apart, since each has chroma of its own.

use ffmpeg_next::chroma::Location;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame;

/// Bits of a sample that is handed on: the most that 4:2:0 pictures of the accepted codecs have.
const DEPTH: u32 = 12;
/// The format that is handed on.
const SPREAD: Pixel = Pixel::YUV422P12LE;

/// A picture, or a field of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// All rows.
    Whole,
    /// Rows 0, 2, 4.
    Top,
    /// Rows 1, 3, 5.
    Bottom,
}

/// Whether two rows of pixels share a row of chroma, in a format that this room knows.
pub(super) fn is_halved(format: Pixel) -> bool {
    depth(format).is_some()
}

/// Bits of a sample of a 4:2:0 format.
fn depth(format: Pixel) -> Option<u32> {
    match format {
        Pixel::YUV420P | Pixel::YUVJ420P => Some(8),
        Pixel::YUV420P10LE => Some(10),
        Pixel::YUV420P12LE => Some(12),
        _ => None,
    }
}

/// Whether chroma stands at the left one of the two pixels that share it.
pub(super) fn is_left(location: Location) -> bool {
    matches!(location, Location::Left | Location::TopLeft | Location::BottomLeft)
}

/// One field of a 4:2:0 picture as a picture of its own.
pub(super) fn field(frame: &frame::Video, field: Field) -> frame::Video {
    let skip = u32::from(field == Field::Bottom);
    let mut out = frame::Video::new(frame.format(), frame.width(), (frame.height() + 1 - skip) / 2);
    for plane in 0..3 {
        let (from, to) = (frame.stride(plane), out.stride(plane));
        let bytes = from.min(to);
        let rows: Vec<&[u8]> = frame.data(plane).chunks(from).skip(skip as usize).step_by(2).collect();
        for (at, row) in out.data_mut(plane).chunks_mut(to).enumerate() {
            // A field of an odd height may lack its last row of chroma.
            if let Some(source) = rows.get(at).or(rows.last()) {
                let bytes = bytes.min(source.len()).min(row.len());
                row[..bytes].copy_from_slice(&source[..bytes]);
            }
        }
    }
    out
}

/// A 4:2:0 picture with chroma for every row; `None` where libswscale needs no filter for it.
pub(super) fn spread(frame: &frame::Video, location: Location, field: Field) -> Option<frame::Video> {
    let depth = depth(frame.format())?;
    if depth == 8 && frame.height().is_multiple_of(2) {
        return None;
    }
    let mut out = frame::Video::new(SPREAD, frame.width(), frame.height());
    let shift = DEPTH - depth;
    let samples = |plane: usize| -> Vec<Vec<u32>> {
        let width = frame.plane_width(plane) as usize;
        frame.data(plane).chunks(frame.stride(plane)).map(|row| read(row, depth, width, shift)).collect()
    };
    for (source, row) in samples(0).iter().zip(rows_mut(&mut out, 0)) {
        write(row, source.iter().copied());
    }
    let height = frame.height();
    let place = place(location, field);
    for plane in [1, 2] {
        let chroma = samples(plane);
        for (y, row) in rows_mut(&mut out, plane).enumerate() {
            let (at, weight) = between(y as u32, height, chroma.len() as u32, place);
            let (above, below) = (&chroma[at[0]], &chroma[at[1]]);
            let whole = 8 * height;
            let mixed = above.iter().zip(below);
            write(row, mixed.map(|(a, b)| (a * (whole - weight) + b * weight + whole / 2) / whole));
        }
    }
    Some(out)
}

fn rows_mut(frame: &mut frame::Video, plane: usize) -> impl Iterator<Item = &mut [u8]> {
    let stride = frame.stride(plane);
    frame.data_mut(plane).chunks_mut(stride)
}

/// Where chroma stands between the two rows that share it, in eighths of the way from one row of chroma to the next:
/// 4 in the middle, which is also meant where nothing is said, 2 at the upper row.
fn place(location: Location, field: Field) -> u32 {
    let whole = match location {
        Location::TopLeft | Location::Top => 2,
        Location::BottomLeft | Location::Bottom => 6,
        Location::Unspecified | Location::Left | Location::Center => 4,
    };
    // Rows of a field are two rows of the picture apart, and the lower field begins a row later.
    match field {
        Field::Whole => whole,
        Field::Top => whole / 2 + 1,
        Field::Bottom => whole / 2 + 3,
    }
}

/// The two rows of chroma that a row of pixels lies between, and the weight of the second in `8 * height`.
fn between(y: u32, height: u32, rows: u32, place: u32) -> ([usize; 2], u32) {
    let position = i64::from((2 * y + 1) * 4 * rows) - i64::from(place * height);
    let whole = i64::from(8 * height);
    let at = position.div_euclid(whole);
    let row = |at: i64| at.clamp(0, i64::from(rows) - 1) as usize;
    ([row(at), row(at + 1)], position.rem_euclid(whole) as u32)
}

fn read(row: &[u8], depth: u32, width: usize, shift: u32) -> Vec<u32> {
    if depth == 8 {
        return row.iter().take(width).map(|sample| u32::from(*sample) << shift).collect();
    }
    let samples = row.as_chunks::<2>().0.iter().take(width);
    samples.map(|sample| u32::from(u16::from_le_bytes(*sample)) << shift).collect()
}

fn write(row: &mut [u8], samples: impl Iterator<Item = u32>) {
    for (place, sample) in row.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
        *place = (sample as u16).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(y: u32, height: u32, rows: u32, place: u32, expected: ([usize; 2], f64)) {
        let (at, weight) = between(y, height, rows, place);
        assert_eq!((at, f64::from(weight) / f64::from(8 * height)), expected, "row {y} of {height}");
    }

    #[test]
    fn rows_lie_a_quarter_from_the_nearer_chroma() {
        check(0, 4, 2, 4, ([0, 0], 0.75));
        check(1, 4, 2, 4, ([0, 1], 0.25));
        check(2, 4, 2, 4, ([0, 1], 0.75));
        check(3, 4, 2, 4, ([1, 1], 0.25));
    }

    #[test]
    fn chroma_at_the_upper_row_is_that_rows_own() {
        check(0, 4, 2, 2, ([0, 1], 0.0));
        check(1, 4, 2, 2, ([0, 1], 0.5));
        check(2, 4, 2, 2, ([1, 1], 0.0));
    }

    #[test]
    fn an_odd_height_stretches_the_chroma() {
        check(7, 15, 8, 4, ([3, 4], 0.5));
        check(14, 15, 8, 4, ([7, 7], 28.0 / 120.0));
    }

    #[test]
    fn fields_have_the_places_of_their_own_rows() {
        assert_eq!([Field::Whole, Field::Top, Field::Bottom].map(|f| place(Location::Left, f)), [4, 3, 5]);
        assert_eq!([Field::Whole, Field::Top, Field::Bottom].map(|f| place(Location::TopLeft, f)), [2, 2, 4]);
    }

    #[test]
    fn a_field_takes_every_second_row_of_every_plane() {
        let mut picture = frame::Video::new(Pixel::YUV420P, 4, 6);
        for plane in 0..3 {
            let stride = picture.stride(plane);
            let rows = picture.data_mut(plane).chunks_mut(stride);
            rows.enumerate().for_each(|(y, row)| row.fill(10 * plane as u8 + y as u8));
        }
        let rows = |frame: &frame::Video, plane| -> Vec<u8> {
            frame.data(plane).chunks(frame.stride(plane)).map(|row| row[0]).collect()
        };
        let bottom = field(&picture, Field::Bottom);
        assert_eq!([rows(&bottom, 0), rows(&bottom, 1)], [vec![1, 3, 5], vec![11, 11]]);
        let top = field(&picture, Field::Top);
        assert_eq!([rows(&top, 0), rows(&top, 2)], [vec![0, 2, 4], vec![20, 22]]);
    }
}

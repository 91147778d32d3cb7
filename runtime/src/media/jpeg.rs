//! JPEG: a strict decoder gives the components, the colours are made here as libjpeg and Pillow make them.

use std::borrow::Cow;

use zune_core::bytestream::ZCursor;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::canvas::{Canvas, Layout, divide_255};
use super::error::MediaError;
use super::limits::Limits;
use super::markers::{self, Colour, Header};
use super::sniff::Format;

const CORRUPT: MediaError = MediaError::Corrupt(Format::Jpeg);

/// Coded bytes of set bits, longer than what the decoder reads ahead. No Huffman code consists of ones.
const NO_MORE: [u8; 16] = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];

/// Decodes a JPEG of 1, 3 or 4 components.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Canvas, MediaError> {
    let header = markers::walk(bytes, limits)?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(limits.max_side as usize)
        .set_max_height(limits.max_side as usize)
        .jpeg_set_max_scans(limits.max_scans);
    let coded = sealed(bytes, &header);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(coded.as_ref()), options);
    decoder.decode_headers().map_err(|_| CORRUPT)?;
    if decoder.dimensions() != Some((header.width as usize, header.height as usize)) {
        return Err(CORRUPT);
    }
    // Asking for the colours that the decoder believes to be there gives the components untouched.
    let stored = decoder.input_colorspace().ok_or(CORRUPT)?;
    decoder.set_options(options.jpeg_set_out_colorspace(stored));
    let pixels = header.width as usize * header.height as usize;
    if decoder.output_buffer_size() != Some(pixels * components(header.colour)) {
        return Err(CORRUPT);
    }
    let mut data = vec![0; pixels * components(header.colour)];
    decoder.decode_into(&mut data).map_err(|_| CORRUPT)?;
    let (layout, data) = to_rgb(header.colour, data);
    Ok(Canvas { width: header.width, height: header.height, layout, data, turn: header.turn })
}

/// Even in strict mode the decoder reads zeros when it meets a marker, and so paints grey where data is missing.
/// In a file of one scan the end marker is replaced by bits that are no code, which makes it stop.
fn sealed<'a>(bytes: &'a [u8], header: &Header) -> Cow<'a, [u8]> {
    if header.single_scan {
        Cow::Owned([&bytes[..header.end], NO_MORE.as_slice()].concat())
    } else {
        Cow::Borrowed(bytes)
    }
}

fn components(colour: Colour) -> usize {
    match colour {
        Colour::Grey => 1,
        Colour::YCbCr | Colour::Rgb => 3,
        Colour::Cmyk | Colour::Ycck => 4,
    }
}

fn to_rgb(colour: Colour, mut data: Vec<u8>) -> (Layout, Vec<u8>) {
    match colour {
        Colour::Grey => return (Layout::Grey, data),
        Colour::Rgb => {}
        Colour::YCbCr => {
            let table = ChromaTable::new();
            for pixel in data.as_chunks_mut::<3>().0 {
                *pixel = table.rgb(*pixel);
            }
        }
        Colour::Cmyk => data = inks(&data, |inks| inks),
        Colour::Ycck => {
            let table = ChromaTable::new();
            // YCbCr of the inks' complement, and Adobe's inks are complements already.
            data = inks(&data, |[y, cb, cr, k]| {
                let [r, g, b] = table.rgb([y, cb, cr]);
                [255 - r, 255 - g, 255 - b, k]
            });
        }
    }
    (Layout::Rgb, data)
}

/// Four inks, inverted as Adobe writes them, to RGB by Pillow's formula: the key dims what each ink leaves.
fn inks(data: &[u8], stored: impl Fn([u8; 4]) -> [u8; 4]) -> Vec<u8> {
    let pixel = |quad: &[u8; 4]| {
        let [c, m, y, key] = stored(*quad);
        [c, m, y].map(|ink| key - divide_255(u32::from(255 - ink) * u32::from(key)))
    };
    data.as_chunks::<4>().0.iter().flat_map(pixel).collect()
}

/// libjpeg's integer YCbCr conversion: 16 fractional bits, one table entry a chroma value.
struct ChromaTable {
    cr_to_r: [i32; 256],
    cb_to_b: [i32; 256],
    cr_to_g: [i32; 256],
    cb_to_g: [i32; 256],
}

impl ChromaTable {
    fn new() -> Self {
        const HALF: i32 = 1 << 15;
        // 1.402, 1.772, 0.71414 and 0.34414 with 16 fractional bits, rounded.
        let column = |of: &dyn Fn(i32) -> i32| std::array::from_fn(|i| of(i as i32 - 128));
        ChromaTable {
            cr_to_r: column(&|x| (91_881 * x + HALF) >> 16),
            cb_to_b: column(&|x| (116_130 * x + HALF) >> 16),
            cr_to_g: column(&|x| -46_802 * x),
            cb_to_g: column(&|x| -22_554 * x + HALF),
        }
    }

    fn rgb(&self, [y, cb, cr]: [u8; 3]) -> [u8; 3] {
        let (y, cb, cr) = (i32::from(y), usize::from(cb), usize::from(cr));
        let byte = |value: i32| value.clamp(0, 255) as u8;
        let green = (self.cb_to_g[cb] + self.cr_to_g[cr]) >> 16;
        [byte(y + self.cr_to_r[cr]), byte(y + green), byte(y + self.cb_to_b[cb])]
    }
}

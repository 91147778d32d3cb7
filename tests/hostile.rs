//! Pictures as strangers send them: odd, damaged, oversized. What `rewardrt::media` documents holds for each.

// The helpers below are test code too, which the lint cannot see.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;

use proptest::prelude::*;
use rewardrt::media::{Limits, MediaError, PixelRule, Rgb8, decode};
use rewardrt::preprocess::{GeometryError, PreprocessError, prepare};
use rewardrt_models::package::{ImageProcessing, Resample};
use rewardrt_tests::root;

/// Cuts a file is tried at.
const CUTS: usize = 64;
const RULES: [PixelRule; 2] = [PixelRule::Reference, PixelRule::Displayed];

fn fixture(name: &str) -> Vec<u8> {
    fs::read(root().join("tests/data/media").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn read(bytes: &[u8], rule: PixelRule) -> Result<Rgb8, MediaError> {
    decode(bytes, rule, &Limits::default())
}

/// The one door: a file is refused with this code, whatever the pixel rule.
fn check(what: &str, bytes: &[u8], code: &str) {
    for rule in RULES {
        let made = read(bytes, rule).map_err(|error| error.code());
        assert_eq!(made, Err(code), "{what}");
    }
}

/// One line of `pictures.txt`.
struct Picture {
    name: String,
    /// Largest difference from Pillow that the documentation grants.
    tolerance: u8,
    /// Width and height under each rule.
    sizes: [(u32, u32); 2],
}

fn pictures() -> Vec<Picture> {
    let table = String::from_utf8(fixture("pictures.txt")).unwrap();
    let picture = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| fields[i].parse::<u32>().unwrap();
        let sizes = [(number(2), number(3)), (number(4), number(5))];
        Picture { name: fields[0].to_owned(), tolerance: number(1) as u8, sizes }
    };
    table.lines().map(picture).collect()
}

#[test]
fn every_odd_kind_becomes_the_pixels_that_the_documentation_says() {
    let expected = fixture("expected.bin");
    let mut expected = expected.as_slice();
    for picture in pictures() {
        let bytes = fixture(&picture.name);
        for (rule, (width, height)) in RULES.into_iter().zip(picture.sizes) {
            let name = format!("{} {rule:?}", picture.name);
            let made = read(&bytes, rule).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((made.width(), made.height()), (width, height), "{name}");
            let (golden, rest) = expected.split_at(made.data().len());
            let worst = made.data().iter().zip(golden).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= picture.tolerance, "{name}: off by {worst}, documented {}", picture.tolerance);
            expected = rest;
        }
    }
    assert!(expected.is_empty(), "pictures.txt and expected.bin do not belong together");
}

#[test]
fn a_file_cut_short_is_refused_wherever_it_is_cut() {
    for picture in pictures() {
        let bytes = fixture(&picture.name);
        for cut in 1..=CUTS {
            // From just behind the first bytes, which name the format, to one byte before the end.
            let length = 12 + (bytes.len() - 13) * cut / CUTS;
            check(&format!("{} cut to {length}", picture.name), &bytes[..length], "media_corrupt");
        }
    }
}

#[test]
fn a_jpeg_whose_coded_data_ends_early_is_refused_even_with_its_end_marker() {
    for name in ["444.jpg", "420.jpg", "grey.jpg", "cmyk.jpg"] {
        let bytes = fixture(name);
        for keep in [60, 75, 90] {
            let closed = [&bytes[..bytes.len() * keep / 100], b"\xff\xd9"].concat();
            check(&format!("{name} closed at {keep} %"), &closed, "media_corrupt");
        }
    }
}

/// A PNG chunk. Its checksum is wrong: chunks that do not carry pixels are never looked into.
fn png_chunk(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes(), kind.as_slice(), payload, &[0; 4]].concat()
}

/// Bytes of the signature and the header chunk.
const PNG_HEAD: usize = 33;

/// `rgb.png` with another size in its header.
fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = fixture("rgb.png");
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

/// `444.jpg` with another size in its frame header.
fn jpeg_of_size(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = fixture("444.jpg");
    let at = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
    bytes[at..at + 2].copy_from_slice(&height.to_be_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// `animated.webp` with another canvas in its extended header.
fn webp_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = fixture("animated.webp");
    bytes[24..27].copy_from_slice(&(width - 1).to_le_bytes()[..3]);
    bytes[27..30].copy_from_slice(&(height - 1).to_le_bytes()[..3]);
    bytes
}

#[test]
fn a_header_that_promises_too_much_is_refused() {
    // Over the side, over 40 megapixels with both sides allowed, and the largest that a header can say.
    for (width, height) in [(8193, 1), (1, 8193), (6400, 6251), (65535, 65535)] {
        check("png", &png_of_size(width, height), "media_too_large");
        check("jpeg", &jpeg_of_size(width as u16, height as u16), "media_too_large");
        check("webp", &webp_of_size(width, height), "media_too_large");
    }
    check("png", &png_of_size(u32::MAX, u32::MAX), "media_too_large");
    check("webp", &webp_of_size(1 << 24, 1 << 24), "media_too_large");
}

#[test]
fn a_header_within_the_limits_that_lies_is_refused() {
    check("png", &png_of_size(6400, 6250), "media_corrupt");
    check("jpeg", &jpeg_of_size(6400, 6250), "media_corrupt");
    check("webp whose frame lies outside", &webp_of_size(20, 10), "media_corrupt");
}

#[test]
fn a_picture_without_pixels_is_refused() {
    for (width, height) in [(0, 18), (24, 0), (0, 0)] {
        check("png", &png_of_size(width, height), "media_corrupt");
        check("jpeg", &jpeg_of_size(width as u16, height as u16), "media_corrupt");
    }
}

#[test]
fn profiles_and_texts_are_stepped_over_and_never_inflated() {
    let bytes = fixture("rgb.png");
    let plain = read(&bytes, PixelRule::Reference).unwrap();
    // Deflate streams of nonsense: a decoder that looked into them would refuse.
    for kind in [b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"prVt"] {
        let chunk = png_chunk(kind, &[0xff; 5000]);
        let stuffed = [&bytes[..PNG_HEAD], &chunk, &bytes[PNG_HEAD..]].concat();
        for rule in RULES {
            assert_eq!(read(&stuffed, rule), Ok(plain.clone()), "{kind:?}");
        }
    }
}

#[test]
fn an_unknown_chunk_that_the_pixels_may_depend_on_is_refused() {
    let bytes = fixture("rgb.png");
    let stuffed = [&bytes[..PNG_HEAD], &png_chunk(b"ABCD", b"x"), &bytes[PNG_HEAD..]].concat();
    check("critical chunk", &stuffed, "media_corrupt");
}

#[test]
fn what_follows_the_picture_does_not_matter() {
    for name in ["rgb.png", "444.jpg", "progressive.jpg", "lossy.webp"] {
        let bytes = fixture(name);
        let polyglot = [bytes.as_slice(), b"PK\x03\x04 %PDF-1.7 <svg/>"].concat();
        assert_eq!(read(&polyglot, PixelRule::Reference), read(&bytes, PixelRule::Reference), "{name}");
    }
}

#[test]
fn other_formats_are_refused_from_their_first_bytes() {
    for magic in
        [b"GIF89a".as_slice(), b"II*\0", b"BM", b"%PDF-1.7", b"\0\0\0\x1cftypavif", b"<svg/>", b"", b"?"]
    {
        check("other format", magic, "media_unsupported");
    }
}

fn params() -> ImageProcessing {
    ImageProcessing {
        patch_size: 16,
        temporal_patch_size: 2,
        merge_size: 2,
        min_pixels: 4096,
        max_pixels: 36_864,
        mean: [0.5; 3],
        std: [0.5; 3],
        rescale_factor: 1.0 / 255.0,
        resample: Resample::BicubicTorch,
        tiling: None,
    }
}

#[test]
fn a_single_pixel_is_a_picture() {
    let pixel = Rgb8::new(1, 1, vec![255, 0, 255]).unwrap();
    let made = prepare(&pixel, &params(), 1).unwrap();
    assert_eq!((made.grid, made.row_len()), ([1, 4, 4], 1536));
    assert!(made.values.iter().all(|value| value.abs() == 1.0));
}

#[test]
fn a_picture_that_is_too_narrow_names_what_it_needs() {
    let narrow =
        |width: u32| prepare(&Rgb8::new(width, 2, vec![9; width as usize * 6]).unwrap(), &params(), 1);
    let refusal = GeometryError::Aspect { height: 2, width: 401, longer: 401, minimum: 3 };
    assert_eq!(narrow(401), Err(PreprocessError::Geometry(refusal)));
    assert!(narrow(400).is_ok());
}

/// Small files of every decoder path, for chaos.
const VICTIMS: [&str; 12] = [
    "rgb.png",
    "palette8-trns.png",
    "interlaced.png",
    "grey-alpha16.png",
    "420.jpg",
    "progressive.jpg",
    "ycck.jpg",
    "exif6.jpg",
    "lossy-alpha.webp",
    "lossless-alpha.webp",
    "animated-offset.webp",
    "exif.webp",
];

/// Decodes a damaged file; what comes out, if anything, must be a whole picture within the limits.
fn survives(bytes: &[u8]) {
    for rule in RULES {
        if let Ok(picture) = read(bytes, rule) {
            assert!(picture.width().max(picture.height()) <= 8192);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn flipped_bits_never_panic(victim in 0..VICTIMS.len(), flips in prop::collection::vec(any::<(u32, u8)>(), 1..6)) {
        let mut bytes = fixture(VICTIMS[victim]);
        for (at, bit) in flips {
            let at = at as usize % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
        }
        survives(&bytes);
    }

    #[test]
    fn shuffled_pieces_never_panic(
        victims in (0..VICTIMS.len(), 0..VICTIMS.len()),
        cuts in any::<(u16, u16)>(),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let (head, tail) = (fixture(VICTIMS[victims.0]), fixture(VICTIMS[victims.1]));
        let head = &head[..usize::from(cuts.0) % head.len()];
        let tail = &tail[usize::from(cuts.1) % tail.len()..];
        survives(&[head, &noise, tail].concat());
    }
}

use super::*;

/// The message of a refusal, or the size of a picture.
fn check(bytes: &[u8], expected: Result<(u32, u32), &str>) {
    let made = decode(bytes, PixelRule::default(), &Limits::default());
    let made = made.map(|picture| (picture.width(), picture.height())).map_err(|error| error.to_string());
    assert_eq!(made, expected.map_err(str::to_owned));
}

#[test]
fn other_formats_are_named_from_their_first_bytes() {
    let cases: [(&[u8], &str); 16] = [
        (b"", "an empty file"),
        (b"GIF89a....", "GIF"),
        (b"II*\0....", "TIFF"),
        (b"MM\0*....", "TIFF"),
        (b"BM......", "BMP"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51..", "JPEG 2000"),
        (b"\xff\x0a..", "JPEG XL"),
        (b"\0\0\0\x1cftypavif....", "AVIF"),
        (b"\0\0\0\x18ftypheic....", "HEIC"),
        (b"\0\0\0\x18ftypisom....", "MP4"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"<html></html>", "unknown data"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "unknown data"),
    ];
    for (bytes, name) in cases {
        let message = format!("{name} is not an accepted picture format; send PNG, JPEG or WebP");
        check(bytes, Err(message.as_str()));
    }
}

/// A JPEG of markers only: start of image, then the given segments.
fn jpeg(segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8];
    for (marker, payload) in segments {
        bytes.extend([0xff, *marker]);
        bytes.extend((payload.len() as u16 + 2).to_be_bytes());
        bytes.extend(*payload);
    }
    bytes
}

#[test]
fn jpeg_processes_that_are_not_decoded_are_named() {
    let rest = "save it again as a baseline JPEG, PNG or WebP";
    let frame = [8, 0, 9, 0, 9, 1, 1, 0x11, 0];
    let cases: [(u8, &[u8], &str); 5] = [
        (0xc9, &frame, "arithmetic coding"),
        (0xcc, &[0, 0], "arithmetic coding"),
        (0xc3, &frame, "a lossless or hierarchical process"),
        (0xc1, &[12, 0, 9, 0, 9, 1, 1, 0x11, 0], "other than 8 bits a sample"),
        (0xc0, &[8, 0, 9, 0, 9, 2, 1, 17, 0, 2, 17, 0], "a component count other than 1, 3 or 4"),
    ];
    for (marker, payload, feature) in cases {
        let message = format!("JPEG with {feature} is not supported; {rest}");
        check(&jpeg(&[(marker, payload)]), Err(message.as_str()));
    }
}

#[test]
fn a_jpeg_with_too_many_scans_is_refused_before_it_is_decoded() {
    let mut segments: Vec<(u8, &[u8])> = vec![(0xc2, &[8, 0, 9, 0, 9, 1, 1, 0x11, 0])];
    segments.extend([(0xda, [1, 1, 0, 0, 0, 0].as_slice()); 33]);
    check(&jpeg(&segments), Err("the JPEG has more than 32 scans; save it again as a baseline JPEG"));
}

#[test]
fn a_jpeg_without_rows_is_refused() {
    let frame = [8, 0, 0, 0, 9, 1, 1, 0x11, 0];
    check(&jpeg(&[(0xc0, &frame)]), Err("the JPEG picture has no pixels; send one of at least 1x1"));
}

#[test]
fn the_encoded_size_is_limited_before_anything_is_read() {
    let limits = Limits { max_encoded_bytes: 10, ..Limits::default() };
    let made = decode(&[0; 11], PixelRule::default(), &limits);
    assert_eq!(made, Err(MediaError::TooManyBytes { bytes: 11, limit: 10 }));
}

#[test]
fn a_buffer_must_have_the_length_of_its_picture() {
    for (width, height, bytes) in [(2, 2, 11), (2, 2, 13), (0, 2, 0), (u32::MAX, u32::MAX, 12)] {
        let made = Rgb8::new(width, height, vec![0; bytes]);
        assert_eq!(made, Err(MediaError::BadBuffer { width, height, bytes }));
    }
    assert_eq!(Rgb8::new(2, 2, vec![7; 12]).unwrap().into_data(), vec![7; 12]);
}

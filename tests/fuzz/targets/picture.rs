//! A decoded picture is within its limits and has all its bytes, both rules see the same picture, and a file that is
//! cut is refused or gives the very same pixels.
//!
//! The limits are small, so that a single large allocation (`-malloc_limit_mb=64`) is one made before they are
//! checked, and not a large picture.

#![no_main]

use libfuzzer_sys::fuzz_target;

// The room alone: its crate would bring ONNX Runtime's binding and the tokenizers into a sanitizer build.
#[allow(dead_code, unused_imports)]
#[path = "../../../runtime/src/media/mod.rs"]
mod media;

use media::{Limits, MediaError, PixelRule, Rgb8, decode};

const LIMITS: Limits =
    Limits { max_side: 1024, max_pixels: 1 << 18, max_encoded_bytes: 1 << 20, max_scans: 8 };

fuzz_target!(|input: &[u8]| {
    let reference = decode(input, PixelRule::Reference, &LIMITS);
    let displayed = decode(input, PixelRule::Displayed, &LIMITS);
    for made in [&reference, &displayed] {
        check(made);
    }
    if let (Ok(stored), Ok(upright)) = (&reference, &displayed) {
        let size = (stored.width(), stored.height());
        assert!([(size.0, size.1), (size.1, size.0)].contains(&(upright.width(), upright.height())));
    }
    // The rules differ in what they make of the pixels; only a PNG's `tRNS` is read by one of them alone.
    if !input.starts_with(b"\x89PNG") {
        assert_eq!(reference.is_ok(), displayed.is_ok(), "only one rule accepts the file");
    }
    if let (Ok(whole), Some(&last)) = (&reference, input.last()) {
        let at = input.len() * usize::from(last) / 256;
        if let Ok(cut) = decode(&input[..at], PixelRule::Reference, &LIMITS) {
            assert!(&cut == whole, "{at} of {} bytes give another picture", input.len());
        }
    }
});

fn check(made: &Result<Rgb8, MediaError>) {
    match made {
        Ok(picture) => {
            let (width, height) = (picture.width(), picture.height());
            assert!(width > 0 && height > 0 && width.max(height) <= LIMITS.max_side);
            assert!(u64::from(width) * u64::from(height) <= LIMITS.max_pixels);
            assert_eq!(picture.data().len(), 3 * width as usize * height as usize);
        }
        Err(error) => {
            let known = ["media_unsupported", "media_too_large", "media_corrupt"];
            assert!(known.contains(&error.code()), "{error}");
        }
    }
}

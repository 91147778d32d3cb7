//! The seven things of libav that its safe binding does not offer. Everything else of this room is safe code.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::codec::{self, Parameters};
use ffmpeg_next::ffi::{self, AVColorSpace, AVDiscard, AVFieldOrder};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::packet::Ref;
use ffmpeg_next::software::scaling::{self, Flags};
use ffmpeg_next::{Packet, color};

/// Whether a packet is decoded for the frames behind it only: an edit list hides its picture.
pub(super) fn is_hidden(packet: &Packet) -> bool {
    // SAFETY: the pointer is that of a packet that is borrowed, and `flags` is a plain number.
    unsafe { (*packet.as_ptr()).flags & ffi::AV_PKT_FLAG_DISCARD != 0 }
}

/// Whether the container or the stream says that pictures are coded as fields.
pub(super) fn is_interlaced(parameters: &Parameters) -> bool {
    // SAFETY: the pointer is that of parameters that are borrowed, and `field_order` is a plain enumeration.
    let order = unsafe { (*parameters.as_ptr()).field_order };
    !matches!(order, AVFieldOrder::AV_FIELD_UNKNOWN | AVFieldOrder::AV_FIELD_PROGRESSIVE)
}

/// Width and height that the container or the stream declares, pixels; they may be no size at all.
pub(super) fn declared_size(parameters: &Parameters) -> (i32, i32) {
    // SAFETY: the pointer is that of parameters that are borrowed, and both fields are plain numbers.
    unsafe { ((*parameters.as_ptr()).width, (*parameters.as_ptr()).height) }
}

/// Lets the demuxer step over every stream but one.
pub(super) fn keep_only(input: &mut Input, stream: usize) {
    // SAFETY: `streams` points at `nb_streams` pointers to streams that live as long as the input, which is borrowed
    // for writing, so nothing else reads `discard` meanwhile.
    unsafe {
        let context = input.as_mut_ptr();
        for at in 0..(*context).nb_streams as usize {
            if at != stream {
                (**(*context).streams.add(at)).discard = AVDiscard::AVDISCARD_ALL;
            }
        }
    }
}

/// Lets a decoder that is not open yet begin every picture with zeros in place of what its memory held.
pub(super) fn begin_with_zeros(context: &mut codec::Context) {
    // SAFETY: the context is borrowed for writing and not open yet, and the function is there as long as the program.
    unsafe { (*context.as_mut_ptr()).get_buffer2 = Some(zeroed) };
}

/// The decoder's usual memory for a picture, all zeros.
unsafe extern "C" fn zeroed(
    context: *mut ffi::AVCodecContext,
    frame: *mut ffi::AVFrame,
    flags: c_int,
) -> c_int {
    // SAFETY: the default function is called with the arguments that libav gives to one in its place. When it succeeds, each
    // of the frame's buffers that is there has `size` bytes, which nobody else uses yet.
    unsafe {
        let result = ffi::avcodec_default_get_buffer2(context, frame, flags);
        if result >= 0 {
            for buffer in (*frame).buf.into_iter().filter(|buffer| !buffer.is_null()) {
                ptr::write_bytes((*buffer).data, 0, (*buffer).size);
            }
        }
        result
    }
}

/// A scaler that changes the format alone, by libswscale's bilinear filter. `left` says that chroma stands at the left one
/// of the pixels that share it, and not between them.
pub(super) fn scaler(from: Pixel, to: Pixel, size: (u32, u32), left: bool) -> Option<scaling::Context> {
    let (w, h) = size;
    let made = |h| scaling::Context::get(from, w, h, to, w, h, Flags::BILINEAR).ok();
    if !left {
        return made(h);
    }
    // The place is read while a scaler is made, and one that replaces another takes its options over: so the option is
    // set on a scaler for another size.
    let mut scaler = made(h + 2)?;
    // SAFETY: the pointer is that of a context that was made and is borrowed for writing; the option's name is a string
    // that ends with a zero.
    let failed = unsafe { ffi::av_opt_set_int(scaler.as_mut_ptr().cast(), c"src_h_chr_pos".as_ptr(), 0, 0) };
    scaler.cached(from, w, h, to, w, h, Flags::BILINEAR);
    // SAFETY: the pointer is only compared.
    (failed == 0 && !unsafe { scaler.as_ptr() }.is_null()).then_some(scaler)
}

/// Sets which matrix and range the pixels that go in have; those that come out are full-range RGB.
pub(super) fn set_colours(scaler: &mut scaling::Context, space: color::Space, full_range: bool) {
    /// A factor of 1 in the 16.16 fixed point of brightness, contrast and saturation.
    const ONE: i32 = 1 << 16;
    let space: AVColorSpace = space.into();
    // SAFETY: the scaler is borrowed for writing. The tables are static arrays of four numbers, which the call copies;
    // the numbers of the two enumerations of matrices are the same for those that libswscale knows, and
    // `sws_getCoefficients` gives its default for all others.
    unsafe {
        let table = ffi::sws_getCoefficients(space as i32);
        let default = ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT);
        ffi::sws_setColorspaceDetails(
            scaler.as_mut_ptr(),
            table,
            i32::from(full_range),
            default,
            1,
            0,
            ONE,
            ONE,
        );
    }
}

use std::fs;
use std::io;

use super::*;
use crate::checkpoint::tests::{folder, safetensors};

/// A checkpoint with one tensor `w` of bf16 weights.
fn bf16(shape: &[usize], weights: &[f32]) -> Checkpoint {
    let bytes: Vec<u8> = weights.iter().flat_map(|w| half::bf16::from_f32(*w).to_le_bytes()).collect();
    open(&safetensors(&[("w", Dtype::Bf16, shape, &bytes)]))
}

fn f32s(shape: &[usize], weights: &[f32]) -> Checkpoint {
    let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    open(&safetensors(&[("w", Dtype::F32, shape, &bytes)]))
}

fn open(weights: &[u8]) -> Checkpoint {
    let dir = folder();
    fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    // The weight file stays open after its folder is gone.
    Checkpoint::open(dir.path()).unwrap()
}

fn writer<W: Write>(out: W) -> Writer<W> {
    Writer::over(out, PathBuf::from("weights.bin"), "weights.bin", 1000)
}

/// The one door: stores `w` behind one byte, and returns what was stored and the bytes of data and scales.
fn check(from: &Checkpoint, form: Store) -> Result<(Stored, Vec<u8>, Vec<u8>), WeightsError> {
    let mut bytes = Vec::new();
    let mut out = writer(&mut bytes);
    out.append(&[7])?;
    let stored = out.store(from, "w", form)?;
    let entry = out.finish()?;
    assert_eq!((entry.size, &entry.sha256), (bytes.len() as u64, &hex(&Sha256::digest(&bytes))));
    assert!(entry.size <= form.planned(from.tensor("w").unwrap())? + 1);
    let cut = |w: &Written| {
        assert_eq!(w.external.offset % ALIGNMENT, 0);
        bytes[w.external.offset as usize..][..w.external.length as usize].to_vec()
    };
    let parts = (cut(&stored.data), stored.scales.as_ref().map(cut).unwrap_or_default());
    Ok((stored, parts.0, parts.1))
}

fn refused(from: &Checkpoint, form: Store, expected: &str) {
    let error = check(from, form).unwrap_err().to_string();
    assert!(error.contains(expected), "{error} lacks {expected}");
}

#[test]
fn plain_forms_hold_the_weights_in_checkpoint_order() {
    let from = bf16(&[2, 3], &[1.0, -2.0, 0.5, 3.0, 0.0, 65280.0]);
    let (stored, data, _) = check(&from, Store::F32).unwrap();
    assert_eq!((stored.data.dtype, stored.data.dims), (DataType::Float, vec![2, 3]));
    let want: Vec<u8> =
        [1.0, -2.0, 0.5, 3.0, 0.0, 65280.0_f32].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(data, want);
    let (stored, data, _) = check(&from, Store::F16).unwrap();
    assert_eq!(
        (stored.data.dtype, data),
        (DataType::Float16, vec![0, 0x3c, 0, 0xc0, 0, 0x38, 0, 0x42, 0, 0, 0xf8, 0x7b])
    );
    let (stored, data, _) = check(&from, Store::AsIs).unwrap();
    assert_eq!((stored.data.dtype, stored.scales), (DataType::Bfloat16, None));
    assert_eq!(data, from.bytes("w", 0..2).unwrap());
    assert_eq!(check(&f32s(&[1], &[0.1]), Store::AsIs).unwrap().1, 0.1_f32.to_le_bytes());
}

#[test]
fn quantised_forms_hold_codes_and_then_scales() {
    let mut weights = [0.0; 40];
    (weights[0], weights[19], weights[20]) = (-8.0, 7.0, 4.0);
    let (stored, codes, scales) = check(&bf16(&[2, 20], &weights), Store::Int4 { block: 16 }).unwrap();
    assert_eq!((stored.data.dtype, stored.data.dims), (DataType::Uint8, vec![2, 2, 8]));
    assert_eq!(stored.scales.map(|s| (s.dtype, s.dims)), Some((DataType::Float, vec![2, 2])));
    let mut want = [0x88; 32];
    // Peaks of -8, 7 and 4 take code 0, each in its own block: the scales below give their sign.
    (want[0], want[9], want[16]) = (0x80, 0x08, 0x80);
    assert_eq!(codes, want);
    let want: Vec<u8> = [1.0, -0.875, -0.5, 0.0_f32].iter().flat_map(|s| s.to_le_bytes()).collect();
    assert_eq!(scales, want);
    let (stored, codes, _) = check(&bf16(&[2, 20], &weights), Store::Int8 { block: 32 }).unwrap();
    assert_eq!(stored.data.dims, [2, 1, 32]);
    assert_eq!((codes[0], codes[1], codes[19], codes[32]), (1, 128, 239, 255));
}

#[test]
fn codes_with_a_scale_for_each_output_are_transposed() {
    let from = bf16(&[2, 3], &[127.0, -1.0, 2.0, 0.5, -254.0, 4.0]);
    let (stored, codes, scales) = check(&from, Store::Columns).unwrap();
    assert_eq!((stored.data.dtype, stored.data.dims), (DataType::Int8, vec![3, 2]));
    assert_eq!(stored.scales.map(|s| (s.dtype, s.dims)), Some((DataType::Float, vec![2])));
    assert_eq!(codes.iter().map(|&c| c as i8).collect::<Vec<_>>(), [127, 0, -1, -127, 2, 2]);
    assert_eq!(scales, [1.0, 2.0_f32].iter().flat_map(|s| s.to_le_bytes()).collect::<Vec<_>>());
}

#[test]
fn a_matrix_that_is_transposed_in_parts_is_the_same() {
    // Two blocks of rows, the second at row 1048, and sides that no tile divides.
    let (rows, columns) = (1100, 2000);
    let weights: Vec<f32> = (0..rows * columns).map(|i| ((i * 7919) % 1009) as f32 - 504.0).collect();
    let from = bf16(&[rows, columns], &weights);
    let source = Source { from: &from, name: "w", tensor: from.tensor("w").unwrap() };
    let whole = check(&from, Store::Columns).unwrap();
    let mut bytes = Vec::new();
    let mut out = writer(&mut bytes);
    let stored = out.columns(&source, 70 * rows).unwrap();
    out.finish().unwrap();
    let cut = |w: &Written| &bytes[w.external.offset as usize..][..w.external.length as usize];
    assert_eq!((cut(&stored.data), cut(&stored.scales.unwrap())), (&whole.1[..], &whole.2[..]));
    for (row, column) in [(0, 0), (1047, 69), (1048, 70), (1099, 1999), (500, 1234)] {
        let (mut codes, mut scale) = (vec![0; columns], [0.0]);
        Rounding::Row.quantize(&weights[row * columns..][..columns], &mut codes, &mut scale);
        assert_eq!(whole.1[column * rows + row], codes[column], "{row}, {column}");
    }
}

#[test]
fn many_blocks_on_many_threads_give_what_one_row_after_the_other_gives() {
    // 1500 rows of 2000 bf16 weights are 6 MB, hence two blocks of rows; the second begins at row 1048.
    let (rows, columns) = (1500, 2000);
    let weights: Vec<f32> = (0..rows * columns).map(|i| ((i * 7919) % 1009) as f32 - 504.0).collect();
    let from = bf16(&[rows, columns], &weights);
    let (_, codes, scales) = check(&from, Store::Int4 { block: 64 }).unwrap();
    let blocks = Blocks::new(Bits::Four, 64).unwrap();
    let per_row = blocks.per_row(columns);
    for row in [0, 523, 524, 1047, 1048, 1049, 1273, 1274, 1499] {
        let (mut c, mut s) = (vec![0; per_row * blocks.bytes()], vec![0.0; per_row]);
        blocks.quantize(&from.rows("w", row..row + 1).unwrap(), &mut c, &mut s);
        assert_eq!(codes[row * c.len()..][..c.len()], c, "row {row}");
        let s: Vec<u8> = s.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(scales[row * s.len()..][..s.len()], s, "row {row}");
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_in_every_form() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let from = bf16(&[3, 2], &[0.0, 0.0, 0.0, 0.0, 0.0, bad]);
        for form in [
            Store::F32,
            Store::F16,
            Store::AsIs,
            Store::Int8 { block: 32 },
            Store::Int4 { block: 32 },
            Store::Columns,
        ] {
            refused(&from, form, "tensor w, row 2: a weight is not finite");
        }
    }
}

#[test]
fn weights_beyond_sixteen_bits_are_refused_by_name() {
    refused(&f32s(&[2, 1], &[65519.996, -65520.0]), Store::F16, "tensor w, row 1: a weight over 65504");
    assert_eq!(check(&f32s(&[1], &[65519.996]), Store::F16).unwrap().1, [0xff, 0x7b]);
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    refused(&bf16(&[4], &[0.0; 4]), Store::Int8 { block: 32 }, "tensor w of shape [4] is no matrix");
    refused(&bf16(&[4], &[0.0; 4]), Store::Columns, "tensor w of shape [4] is no matrix");
    refused(&bf16(&[2, 2], &[0.0; 4]), Store::Int4 { block: 20 }, "a quantisation block of 20 weights");
    let error = writer(io::sink()).store(&bf16(&[1], &[0.0]), "x", Store::F32).unwrap_err();
    assert_eq!(error.to_string(), "tensor x has no rows 0..0");
}

#[test]
fn tensors_begin_at_page_borders_with_zeros_between() {
    let mut bytes = Vec::new();
    let mut out = writer(&mut bytes);
    let places = [&[1_u8; 4096][..], &[2; 1], &[3; 4097], &[4; 2]].map(|data| out.append(data).unwrap());
    out.finish().unwrap();
    assert_eq!(places.map(|p| (p.offset, p.length)), [(0, 4096), (4096, 1), (8192, 4097), (16384, 2)]);
    assert!(bytes[4097..8192].iter().all(|b| *b == 0));
    assert_eq!(bytes.len(), 16386);
}

/// A disk with room for some bytes.
struct Disk(usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_with_path_and_bytes_needed() {
    let mut out = writer(Disk(600));
    out.append(&[1; 500]).unwrap();
    let error = out.append(&[1; 2 << 20]).unwrap_err().to_string();
    assert!(error.starts_with("weights.bin: no space left; 4096 bytes are needed: free some"), "{error}");
    let mut out = writer(Disk(600));
    out.append(&[1; 700]).unwrap();
    let error = out.finish().unwrap_err().to_string();
    assert!(error.starts_with("weights.bin: no space left; 1000 bytes are needed"), "{error}");
}

#[test]
fn a_writer_makes_its_file_in_the_staging_folder() {
    let home = tempfile::tempdir().unwrap();
    let staging = Staging::new(&home.path().join("p"), false).unwrap();
    let mut out = Writer::create(&staging, "w.bin", 3).unwrap();
    out.append(b"abc").unwrap();
    let entry = out.finish().unwrap();
    assert_eq!(fs::read(staging.dir().join("w.bin")).unwrap(), b"abc");
    assert_eq!((entry.path.as_str(), entry.size), ("w.bin", 3));
    assert!(matches!(Writer::create(&staging, "w.bin", 3), Err(WeightsError::Seal(SealError::Io { .. }))));
    assert!(matches!(Writer::create(&staging, "../w.bin", 3), Err(WeightsError::Seal(SealError::Name(_)))));
}

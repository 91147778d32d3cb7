//! The seal of `package.json`: its last member is the SHA-256 of everything before it.
//!
//! The manifest holds the hash of every other file; the seal is what notices damage to the manifest itself, also
//! where the damaged text would still be a manifest. It is no signature: who edits a manifest can seal it again,
//! and then the package has another identity.

use sha2::{Digest, Sha256};

use super::manifest::{ManifestError, hex};

/// What stands before and after the 64 hex digits, and ends the file.
const BEFORE: &[u8] = b",\n  \"seal\": \"";
const AFTER: &[u8] = b"\"\n}\n";
/// Hex digits of a SHA-256.
const DIGITS: usize = 64;
/// What ends an indented JSON object.
const END: &[u8] = b"\n}";

/// Seals an indented, non-empty JSON object: the seal becomes its last member.
pub(super) fn seal(object: &[u8]) -> Vec<u8> {
    let body = object.strip_suffix(END).unwrap_or(object);
    let digest = hex(&Sha256::digest(body));
    [body, BEFORE, digest.as_bytes(), AFTER].concat()
}

/// The object that was sealed.
///
/// # Errors
/// [`ManifestError::Json`] when the bytes do not end with a seal, [`ManifestError::Seal`] with both digests when
/// anything before it is not what was sealed.
pub(super) fn open(bytes: &[u8]) -> Result<Vec<u8>, ManifestError> {
    let unsealed = || {
        ManifestError::Json(
            "it does not end with its seal: it is cut, was edited or is of another version".into(),
        )
    };
    let rest = bytes.strip_suffix(AFTER).ok_or_else(unsealed)?;
    let (rest, digits) = rest.split_at_checked(rest.len().wrapping_sub(DIGITS)).ok_or_else(unsealed)?;
    let body = rest.strip_suffix(BEFORE).ok_or_else(unsealed)?;
    let got = hex(&Sha256::digest(body));
    if got.as_bytes() != digits {
        return Err(ManifestError::Seal { expected: String::from_utf8_lossy(digits).into_owned(), got });
    }
    Ok([body, END].concat())
}

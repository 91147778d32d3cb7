//! Reading of configuration objects that leaves no key unread.
//!
//! A key that nobody asked for might change the mathematics, so [`Reader::finish`] refuses it by name.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::FamilyError;

/// Largest size that a configuration may name, four times the widest vocabulary known (248,320). Products of three sizes,
/// such as those of a patch or a merged row, then stay within 64 bits.
const MAX_SIZE: u64 = 1 << 20;
/// Keys that every configuration object may carry and that change no result of greedy inference.
const INERT: [&str; 14] = [
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "_attn_implementation",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "initializer_range",
    "model_type",
    "output_attentions",
    "pad_token_id",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];

/// One configuration object.
pub struct Reader<'a> {
    path: String,
    map: &'a Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    /// Reads `value`, which stands at `path` (for messages).
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn new(path: &str, value: &'a Value) -> Result<Reader<'a>, FamilyError> {
        match value {
            Value::Object(map) => {
                Ok(Reader { path: path.to_owned(), map, read: RefCell::new(BTreeSet::new()) })
            }
            _ => {
                Err(FamilyError::Field { field: path.to_owned(), reason: "is not a JSON object".to_owned() })
            }
        }
    }

    /// The raw value, `None` when absent or null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// A nested object.
    ///
    /// # Errors
    /// When absent or no object.
    pub fn object(&self, key: &str) -> Result<Reader<'a>, FamilyError> {
        let value = self.get(key).ok_or_else(|| self.error(key, "is missing"))?;
        Reader::new(&self.field(key), value)
    }

    /// A positive size.
    ///
    /// # Errors
    /// When absent, not a whole number, zero, or over [`MAX_SIZE`].
    pub fn size(&self, key: &str) -> Result<usize, FamilyError> {
        let value = self.get(key).ok_or_else(|| self.error(key, "is missing"))?;
        self.as_size(key, value)
    }

    /// A positive size with a default.
    ///
    /// # Errors
    /// As [`Reader::size`], but for absence.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize, FamilyError> {
        self.get(key).map_or(Ok(default), |v| self.as_size(key, v))
    }

    /// A positive area in pixels, up to 2^32.
    ///
    /// # Errors
    /// When absent, not a whole number, zero, or over 2^32.
    pub fn area(&self, key: &str) -> Result<u64, FamilyError> {
        let value = self.get(key).ok_or_else(|| self.error(key, "is missing"))?;
        let area = value.as_u64().filter(|&n| n > 0 && n <= 1 << 32);
        area.ok_or_else(|| self.error(key, "is not a whole number within 1..=2^32"))
    }

    /// A finite number with a default.
    ///
    /// # Errors
    /// When it is no finite number.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64, FamilyError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_f64().filter(|f| f.is_finite()).ok_or_else(|| self.error(key, "is not a number")),
        }
    }

    /// A truth value with a default.
    ///
    /// # Errors
    /// When it is no truth value.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool, FamilyError> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| self.error(key, "is not true or false")),
        }
    }

    /// A list of sizes, zero allowed.
    ///
    /// # Errors
    /// When absent or not a list of whole numbers.
    pub fn sizes(&self, key: &str) -> Result<Vec<usize>, FamilyError> {
        let list = self.get(key).and_then(Value::as_array).ok_or_else(|| self.error(key, "is not a list"))?;
        list.iter()
            .map(|v| {
                v.as_u64().filter(|&n| n <= MAX_SIZE).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
                    self.error(key, &format!("holds something that is no number within 0..={MAX_SIZE}"))
                })
            })
            .collect()
    }

    /// Three finite numbers.
    ///
    /// # Errors
    /// When it is not a list of three numbers.
    pub fn triple_or(&self, key: &str, default: [f32; 3]) -> Result<[f32; 3], FamilyError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let list: Option<Vec<f32>> =
            value.as_array().map(|l| l.iter().filter_map(Value::as_f64).map(|f| f as f32).collect());
        list.and_then(|l| <[f32; 3]>::try_from(l).ok()).ok_or_else(|| self.error(key, "is not three numbers"))
    }

    /// Requires that a key, when present, has one of the values that the family implements.
    ///
    /// # Errors
    /// When it has another.
    pub fn only(&self, key: &str, allowed: &[Value]) -> Result<(), FamilyError> {
        match self.get(key) {
            Some(found) if !allowed.contains(found) => {
                let allowed: Vec<String> = allowed.iter().map(Value::to_string).collect();
                Err(self
                    .error(key, &format!("is {found}, and this family implements {}", allowed.join(" or "))))
            }
            _ => Ok(()),
        }
    }

    /// A token id, or a list of them.
    ///
    /// # Errors
    /// When it is neither.
    pub fn token_ids(&self, key: &str) -> Result<Vec<u32>, FamilyError> {
        let as_id = |v: &Value| {
            v.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| self.error(key, "is not a token id"))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(as_id).collect(),
            Some(one) => Ok(vec![as_id(one)?]),
        }
    }

    /// Marks the keys as read that `inner` holds too: copies of the same setting, which must say the same. Keys that
    /// are unset in `inner`, or change no result, are left out.
    ///
    /// # Errors
    /// When a copy says something else.
    pub fn copies(&self, inner: &Reader) -> Result<(), FamilyError> {
        for (key, value) in self.map.iter().filter(|(key, _)| !INERT.contains(&key.as_str())) {
            match inner.map.get(key).filter(|copy| !copy.is_null()) {
                Some(copy) if copy != value => {
                    return Err(self.error(key, &format!("differs from {}", inner.field(key))));
                }
                Some(_) => self.ignore(&[key]),
                None => {}
            }
        }
        Ok(())
    }

    /// Marks keys as read that change nothing here; the caller says why.
    pub fn ignore(&self, keys: &[&str]) {
        self.read.borrow_mut().extend(keys.iter().map(|k| (*k).to_owned()));
    }

    /// Refuses any key that nobody read, unless its value is null, which says nothing.
    ///
    /// # Errors
    /// [`FamilyError::UnknownKey`] with the first of them.
    pub fn finish(self) -> Result<(), FamilyError> {
        let read = self.read.borrow();
        let unread = |k: &str| !read.contains(k) && !INERT.contains(&k);
        match self.map.iter().find(|(k, v)| unread(k) && !v.is_null()) {
            Some((key, _)) => Err(FamilyError::UnknownKey { field: self.field(key) }),
            None => Ok(()),
        }
    }

    /// An error about a key of this object.
    pub fn error(&self, key: &str, reason: &str) -> FamilyError {
        FamilyError::Field { field: self.field(key), reason: reason.to_owned() }
    }

    fn as_size(&self, key: &str, value: &Value) -> Result<usize, FamilyError> {
        value
            .as_u64()
            .filter(|&n| n > 0 && n <= MAX_SIZE)
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| self.error(key, &format!("is not a whole number within 1..={MAX_SIZE}")))
    }

    fn field(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }
}

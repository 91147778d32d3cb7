//! Features of pictures that were seen before, found by content.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::preprocess::Patches;
use crate::session::Features;

/// SHA-256 of everything that the tower and the packing of its features depend on.
pub(super) type Key = [u8; 32];

/// The key of a picture: its prepared patches, their grid, and how features become tokens. Pixels, size, pixel rule
/// and preprocessing matter only as far as they change these, so nothing that changes a feature is left out.
pub(super) fn key(picture: &Patches) -> Key {
    // The printed form names every field. Keys are compared within one process only, so the order of bytes is its own.
    let packing = format!("{:?}", picture.packing);
    let mut hash = Sha256::new();
    picture.grid.iter().for_each(|n| hash.update(n.to_le_bytes()));
    hash.update((packing.len() as u64).to_le_bytes());
    hash.update(packing);
    hash.update(bytemuck::cast_slice::<f32, u8>(&picture.values));
    hash.finalize().into()
}

/// Features by key, within a number of bytes; the least recently used go first.
pub(super) struct VisionCache {
    capacity: usize,
    bytes: usize,
    /// Number of uses so far.
    clock: u64,
    entries: HashMap<Key, Entry>,
}

struct Entry {
    features: Arc<Features>,
    bytes: usize,
    used: u64,
}

impl VisionCache {
    /// An empty cache of this many bytes of features. With 0 it keeps none.
    pub(super) fn new(capacity: usize) -> VisionCache {
        VisionCache { capacity, bytes: 0, clock: 0, entries: HashMap::new() }
    }

    /// The features of a picture that was seen before.
    pub(super) fn get(&mut self, key: &Key) -> Option<Arc<Features>> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.features.clone())
    }

    /// Keeps features, and lets older ones go until all fit. Those that do not fit alone are not kept.
    pub(super) fn put(&mut self, key: Key, features: &Arc<Features>) {
        let bytes = bytes(features);
        if bytes > self.capacity {
            return;
        }
        self.remove(&key);
        while self.bytes + bytes > self.capacity {
            // Pictures are kept by the hundred, and one goes for one that comes: a search is nothing beside its run.
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key)
            else {
                break;
            };
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.entries.insert(key, Entry { features: features.clone(), bytes, used: self.clock });
    }

    fn remove(&mut self, key: &Key) {
        self.bytes -= self.entries.remove(key).map_or(0, |entry| entry.bytes);
    }
}

/// Bytes of the tables of a picture.
fn bytes(features: &Features) -> usize {
    let values = features.rows.len() + features.deepstack.iter().map(|table| table.len()).sum::<usize>();
    values * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    /// Four bytes a row.
    fn features(rows: usize) -> Arc<Features> {
        Arc::new(Features { rows: Array2::zeros((rows, 1)), deepstack: Vec::new() })
    }

    /// Puts or asks for numbered pictures of some rows in a cache of `capacity` rows; gives those that were there.
    fn check(capacity: usize, acts: &[(char, u8, usize)], expected: &str) {
        let mut cache = VisionCache::new(capacity * size_of::<f32>());
        let mut found = String::new();
        for &(act, name, rows) in acts {
            match act {
                '+' => cache.put([name; 32], &features(rows)),
                _ => found.extend(cache.get(&[name; 32]).map(|_| char::from(b'0' + name))),
            }
        }
        assert_eq!(found, expected, "{acts:?}");
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        check(3, &[('+', 1, 1), ('+', 2, 1), ('?', 1, 0), ('+', 3, 2), ('?', 1, 0), ('?', 2, 0)], "11");
        check(3, &[('+', 1, 1), ('+', 2, 1), ('+', 3, 1), ('+', 4, 3), ('?', 3, 0), ('?', 4, 0)], "4");
    }

    #[test]
    fn what_does_not_fit_alone_is_not_kept_and_drives_nothing_out() {
        check(2, &[('+', 1, 2), ('+', 2, 3), ('?', 1, 0), ('?', 2, 0)], "1");
        check(0, &[('+', 1, 1), ('?', 1, 0)], "");
    }

    #[test]
    fn extra_tables_count() {
        let stacked = Features {
            rows: Array2::zeros((2, 3)),
            deepstack: vec![Array2::zeros((2, 3)), Array2::zeros((2, 3))],
        };
        assert_eq!(bytes(&stacked), 72);
    }

    #[test]
    fn whatever_changes_the_tower_s_input_changes_the_key() {
        let picture = Patches { grid: [1, 2, 3], values: vec![0.5; 60], packing: None };
        let changed = |change: &dyn Fn(&mut Patches)| {
            let mut other = picture.clone();
            change(&mut other);
            key(&other) != key(&picture)
        };
        assert!(!changed(&|_| {}));
        assert!(changed(&|p| p.grid = [1, 3, 2]));
        assert!(changed(&|p| p.values[59] = 0.25));
        assert!(changed(&|p| p.values[0] = -0.5));
        assert!(changed(&|p| p.values.truncate(6)));
    }

    proptest! {
        /// It never holds more than it may, counts what it holds, and gives back what was put.
        #[test]
        fn it_stays_within_its_bytes(acts in proptest::collection::vec((any::<bool>(), 0..6_u8, 1..5_usize), 0..60)) {
            let mut cache = VisionCache::new(8 * size_of::<f32>());
            for (put, name, rows) in acts {
                // The rows of a picture follow from its content.
                let rows = rows.min(usize::from(name) + 1);
                if put {
                    cache.put([name; 32], &features(rows));
                    prop_assert_eq!(cache.get(&[name; 32]).map(|f| f.rows.nrows()), Some(rows));
                } else {
                    cache.get(&[name; 32]);
                }
                let held: usize = cache.entries.values().map(|entry| bytes(&entry.features)).sum();
                prop_assert!(held == cache.bytes && held <= cache.capacity);
            }
        }
    }
}

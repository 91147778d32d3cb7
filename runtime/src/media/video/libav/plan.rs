//! Which packets are decoded for the chosen frames: from the key frame before each, and no frame twice.

use super::index::{Key, Packets};

/// A run of decoding: from a key frame to the last chosen frame that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it starts.
    pub(super) key: Key,
    /// The chosen frames: timestamp and place in the order of decoding, in the order of display.
    pub(super) targets: Vec<(i64, u32)>,
}

impl Run {
    /// The last packet that is needed, in the order of decoding.
    pub(super) fn last(&self) -> u32 {
        self.targets.iter().map(|(_, order)| *order).max().unwrap_or(self.key.order)
    }
}

/// The runs for chosen timestamps, which ascend. A frame belongs to the last key that is decoded and shown before it.
/// Another key is worth a jump whenever it lies behind what is decoded anyhow: what lies between is then decoded by
/// nobody. `None` when a frame has no key before it.
pub(super) fn runs(packets: &Packets, chosen: &[i64]) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for time in chosen {
        let order = *packets.order.get(time)?;
        let before = |key: &&Key| key.order <= order && key.time <= *time;
        let key = *packets.keys.iter().rev().find(before)?;
        match runs.last_mut().filter(|run| key.order <= run.last()) {
            Some(run) => run.targets.push((*time, order)),
            None => runs.push(Run { key, targets: vec![(*time, order)] }),
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A video of this many frames in groups of `gop`, shown as they are decoded.
    fn packets(frames: u32, gop: usize) -> Packets {
        let key = |order: u32| Key { order, time: i64::from(order) * 10, seek: i64::from(order) * 10 };
        Packets {
            order: (0..frames).map(|n| (i64::from(n) * 10, n)).collect(),
            keys: (0..frames).step_by(gop).map(key).collect(),
        }
    }

    /// The key and the targets of each run.
    fn check(packets: &Packets, chosen: &[i64], expected: &[(u32, &[u32])]) {
        let runs = runs(packets, chosen).unwrap();
        let got: Vec<(u32, Vec<u32>)> =
            runs.iter().map(|r| (r.key.order, r.targets.iter().map(|(_, order)| *order).collect())).collect();
        let expected: Vec<(u32, Vec<u32>)> = expected.iter().map(|(key, to)| (*key, to.to_vec())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn frames_of_one_group_are_decoded_in_one_run() {
        check(&packets(30, 30), &[0, 100, 290], &[(0, &[0, 10, 29])]);
        check(&packets(30, 10), &[0, 50, 290], &[(0, &[0, 5]), (20, &[29])]);
        check(&packets(30, 10), &[0, 100, 290], &[(0, &[0]), (10, &[10]), (20, &[29])]);
    }

    #[test]
    fn a_frame_shown_before_a_key_that_is_decoded_before_it_belongs_to_the_key_before() {
        // Decoded 0 3 1 2, shown 0 1 2 3; 3 is a key, so 1 and 2 are predicted across it.
        let mut open = packets(4, 4);
        open.order = [(0, 0), (30, 1), (10, 2), (20, 3)].into();
        open.keys.push(Key { order: 1, time: 30, seek: 10 });
        check(&open, &[20], &[(0, &[3])]);
        check(&open, &[30], &[(1, &[1])]);
        check(&open, &[20, 30], &[(0, &[3, 1])]);
    }

    #[test]
    fn a_frame_that_is_not_there_has_no_run() {
        assert_eq!(runs(&packets(3, 3), &[5]), None);
        assert_eq!(runs(&Packets { keys: Vec::new(), ..packets(3, 3) }, &[10]), None);
    }
}

//! Read bandwidth of the memory, in bytes per second: two threads add up a gigabyte, and the best of five passes is
//! printed. It is the bound that a decode step cannot beat, since every step reads all weights.

// What this program is for is the number on its standard output.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

const THREADS: usize = 2;
const BYTES: usize = 1 << 30;
const PASSES: usize = 5;

fn sum(part: &[u64]) -> u64 {
    // Eight independent sums, so that the additions do not wait for each other.
    let mut sums = [0_u64; 8];
    for words in part.as_chunks::<8>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

fn main() {
    let words: Vec<u64> = (0..BYTES as u64 / 8).collect();
    let mut best = f64::MAX;
    for _ in 0..PASSES {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in words.chunks(words.len() / THREADS) {
                scope.spawn(move || black_box(sum(black_box(part))));
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{:.0}", BYTES as f64 / best);
}

//! How fast a package judges on this machine: latency of single pairs, throughput of groups, and both under load.
//!
//! [`latency`] asks one pair after the other, [`throughput`] ranks a group, [`load`] lets pairs arrive at a rate,
//! whether or not the earlier ones are done. [`Benchmark`] is the document of all of it and [`html::page`] the same
//! for people.
//!
//! ```no_run
//! use rewardrt::Judge;
//! use rewardrt::bench::{self, Inputs, Pictures};
//!
//! let judge = Judge::open("package".as_ref())?;
//! let inputs = Inputs::new("a red fox in the snow", Pictures::Drawn { width: 512, height: 512, seed: 0 });
//! bench::warm_up(&judge, &inputs)?;
//! let samples = bench::latency(&judge, &inputs, 0..20, &mut |_, _| {});
//! println!("{:?}", bench::Latency::of(&samples).verdict_ms);
//! # Ok::<(), rewardrt::Error>(())
//! ```
//!
//! What is absent: everything but the judge's front door. No number is made up: a percentile for which there are too
//! few judgements is null, and a judgement that failed is counted and has no time.

mod arrivals;
mod document;
pub mod html;
mod inputs;
mod machine;
mod measure;
mod percentiles;
mod summary;

pub use arrivals::{BadRate, Rate, arrivals};
pub use document::{Answers, Asked, Benchmark, Latency, Load, Phases, Software, Throughput};
pub use inputs::{BadSize, Inputs, MAX_SIDE, Pictures};
pub use machine::{Machine, date, peak_memory};
pub use measure::{Offered, Sample, WARM_UP, latency, load, throughput, warm_up};
pub use percentiles::{MINIMUM, Percentiles};
pub use summary::{GROUPS, TIMES};

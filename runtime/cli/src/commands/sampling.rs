//! The flags that say how tokens are chosen.

use clap::ValueEnum;
use rewardrt::judge::Sampling;

/// Where sampling values come from when they are not given one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The checkpoint's own generation defaults
    Checkpoint,
}

impl Source {
    /// The choice of commands that judge: a source with its seed, or the most probable token.
    pub(crate) fn choice(source: Option<Source>, seed: Option<u64>) -> Sampling {
        match source {
            Some(Source::Checkpoint) => Sampling::Checkpoint { seed: seed.unwrap_or(0) },
            None => Sampling::Greedy,
        }
    }
}

/// Flags of `generate`. Without any of them the most probable token is taken.
#[derive(Debug, clap::Args)]
pub(crate) struct SamplingArgs {
    /// Sample, with logits divided by T
    #[arg(long, value_name = "T", value_parser = above_zero)]
    temperature: Option<f32>,
    /// Sample from the smallest set of tokens whose probability reaches P
    #[arg(long, value_name = "P", value_parser = share)]
    top_p: Option<f32>,
    /// Sample from the K most probable tokens; 0 means all
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,
    /// Sample, with this seed of the random stream [default when sampling: 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Sample with values from elsewhere
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["temperature", "top_p", "top_k"])]
    sampling: Option<Source>,
}

impl SamplingArgs {
    /// The choice that the flags make; a value that is not given changes nothing of the model's distribution.
    pub(crate) fn choice(&self) -> Sampling {
        let seed = self.seed.unwrap_or(0);
        if let Some(Source::Checkpoint) = self.sampling {
            return Sampling::Checkpoint { seed };
        }
        if self.temperature.is_none() && self.top_p.is_none() && self.top_k.is_none() && self.seed.is_none() {
            return Sampling::Greedy;
        }
        Sampling::Custom {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(0),
            repetition_penalty: 1.0,
            seed,
        }
    }
}

fn above_zero(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => {
            Err("give a number above 0; for the most probable token, leave all sampling flags out".to_owned())
        }
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("give a number in (0, 1]".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    fn check(flags: &str, expected: Sampling) {
        let words = flags.split_whitespace();
        let line = Line::try_parse_from(std::iter::once("x").chain(words)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(line.sampling.choice(), expected, "{flags}");
    }

    #[test]
    fn what_is_not_given_leaves_the_distribution_alone() {
        let plain = |temperature, top_p, top_k, seed| Sampling::Custom {
            temperature,
            top_p,
            top_k,
            repetition_penalty: 1.0,
            seed,
        };
        check("", Sampling::Greedy);
        check("--seed 0", plain(1.0, 1.0, 0, 0));
        check("--temperature 0.7", plain(0.7, 1.0, 0, 0));
        check("--top-p 0.5 --top-k 4 --seed 9", plain(1.0, 0.5, 4, 9));
        check("--sampling checkpoint", Sampling::Checkpoint { seed: 0 });
        check("--sampling checkpoint --seed 3", Sampling::Checkpoint { seed: 3 });
    }
}

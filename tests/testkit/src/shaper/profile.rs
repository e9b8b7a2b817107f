//! Latency of a store, drawn from a seed: lognormal per operation, with a rare long tail.
//!
//! Parameters: operations design 4.4, estimates from published figures.

use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use esker_env::Rng;

use super::report::StoreOperation;

/// One request in so many is ten times as slow.
const TAIL_ONE_IN: u64 = 1000;
const SMALL_BYTES: u64 = 256 * 1024;
const LARGE_BYTES: u64 = 4 * 1024 * 1024;

/// How slow the store pretends to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// As fast as the store behind.
    #[default]
    None,
    /// S3 Standard.
    S3Standard,
    /// S3 Express One Zone.
    S3Express,
    /// The same time for every request.
    Latency(Duration),
}

impl FromStr for Profile {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        Ok(match text {
            "none" => Self::None,
            "s3-standard" => Self::S3Standard,
            "s3-express" => Self::S3Express,
            _ => match text.strip_prefix("latency:").map(str::parse) {
                Some(Ok(millis)) => Self::Latency(Duration::from_millis(millis)),
                _ => bail!("profile is none, s3-standard, s3-express or latency:<ms>"),
            },
        })
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::S3Standard => f.write_str("s3-standard"),
            Self::S3Express => f.write_str("s3-express"),
            Self::Latency(time) => write!(f, "latency:{}", time.as_millis()),
        }
    }
}

/// Of the logarithm of milliseconds.
#[derive(Clone, Copy, Debug)]
struct Lognormal {
    mu: f64,
    sigma: f64,
}

struct Shape {
    put_small: Lognormal,
    put_large: Lognormal,
    get: Lognormal,
    list: Lognormal,
    get_bytes_per_second: u32,
}

const fn lognormal(mu: f64, sigma: f64) -> Lognormal {
    Lognormal { mu, sigma }
}

const STANDARD: Shape = Shape {
    put_small: lognormal(3.33, 0.63),
    put_large: lognormal(4.70, 0.43),
    get: lognormal(3.22, 0.67),
    list: lognormal(3.69, 0.69),
    get_bytes_per_second: 80_000_000,
};

const EXPRESS: Shape = Shape {
    put_small: lognormal(1.95, 0.45),
    put_large: lognormal(3.22, 0.38),
    get: lognormal(1.39, 0.47),
    list: lognormal(2.30, 0.60),
    get_bytes_per_second: 160_000_000,
};

impl Profile {
    /// Time from the request's arrival to its answer; `body_bytes` of the request.
    pub(super) fn draw(self, rng: &Rng, operation: StoreOperation, body_bytes: u64) -> Duration {
        let shape = match self {
            Self::None => return Duration::ZERO,
            Self::Latency(time) => return time,
            Self::S3Standard => STANDARD,
            Self::S3Express => EXPRESS,
        };
        let lognormal = match operation {
            StoreOperation::Put => shape.put(body_bytes),
            StoreOperation::List => shape.list,
            _ => shape.get,
        };
        let millis = (lognormal.mu + lognormal.sigma * gaussian(rng)).exp();
        let time = Duration::from_secs_f64(millis / 1000.0);
        if rng.below(TAIL_ONE_IN) == 0 {
            time * 10
        } else {
            time
        }
    }

    /// Further time for the body of an answer.
    pub(super) fn body_time(self, body_bytes: u64) -> Duration {
        let bytes_per_second = match self {
            Self::None | Self::Latency(_) => return Duration::ZERO,
            Self::S3Standard => STANDARD.get_bytes_per_second,
            Self::S3Express => EXPRESS.get_bytes_per_second,
        };
        Duration::from_nanos(body_bytes.saturating_mul(1_000_000_000) / u64::from(bytes_per_second))
    }
}

impl Shape {
    /// Between the sizes for which figures exist the logarithm is interpolated.
    fn put(&self, body_bytes: u64) -> Lognormal {
        let above = body_bytes.clamp(SMALL_BYTES, LARGE_BYTES) - SMALL_BYTES;
        let per_mille = above * 1000 / (LARGE_BYTES - SMALL_BYTES);
        let share = f64::from(u32::try_from(per_mille).unwrap_or(1000)) / 1000.0;
        let (small, large) = (self.put_small, self.put_large);
        Lognormal {
            mu: small.mu + (large.mu - small.mu) * share,
            sigma: small.sigma + (large.sigma - small.sigma) * share,
        }
    }
}

/// Box and Muller.
fn gaussian(rng: &Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.unit()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_times_have_the_stated_median_and_tail() {
        let rng = Rng::from_seed(11);
        let mut times: Vec<Duration> = (0..20_000)
            .map(|_| Profile::S3Standard.draw(&rng, StoreOperation::Put, 1000))
            .collect();
        times.sort_unstable();

        let (middle, late) = (times[10_000].as_millis(), times[19_800].as_millis());

        assert!((25..=31).contains(&middle), "p50 {middle} ms");
        assert!((105..=140).contains(&late), "p99 {late} ms");
    }

    #[test]
    fn one_seed_draws_the_same_times_and_names_read_back() {
        let draw = |seed| Profile::S3Express.draw(&Rng::from_seed(seed), StoreOperation::Get, 0);

        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        for text in ["none", "s3-standard", "s3-express", "latency:200"] {
            assert_eq!(text.parse::<Profile>().unwrap().to_string(), text);
        }
        assert!("latency:x".parse::<Profile>().is_err());
    }
}

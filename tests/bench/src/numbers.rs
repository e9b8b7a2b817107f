//! Counts as floating-point numbers, and the order statistics of small samples.

/// A count as a number; exact below 2^53.
#[expect(clippy::as_conversions, reason = "figures, not addresses")]
#[expect(clippy::cast_precision_loss, reason = "counts here are below 2^53")]
pub(crate) fn of(count: u64) -> f64 {
    count as f64
}

/// The middle of a sample: the mean of the two middle ones when its size is even. 0 when empty.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied();
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied();
    match (lower, upper) {
        (Some(lower), Some(upper)) => f64::midpoint(lower, upper),
        _ => 0.0,
    }
}

/// The smallest and largest of a sample; zeros when empty.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    (least.unwrap_or(0.0), most.unwrap_or(0.0))
}

/// Three significant digits, without an exponent.
pub(crate) fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_sample_lies_between() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(range(&[3.0, 1.0, 2.0]), (1.0, 3.0));
    }

    #[test]
    fn numbers_are_printed_with_three_digits() {
        let printed: Vec<String> = [0.0, 0.1234, 1.234, 12.34, 1234.5].map(short).to_vec();
        assert_eq!(printed, ["0", "0.123", "1.23", "12.3", "1234"]);
    }
}

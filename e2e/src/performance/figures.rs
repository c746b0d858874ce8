//! Medians, spreads and how numbers are written.

/// A value of the middle and the range that it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// The median.
    pub(super) median: f64,
    /// The smallest.
    pub(super) min: f64,
    /// The largest.
    pub(super) max: f64,
}

impl Spread {
    /// Of some values; None of none.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max })
    }
}

/// The value that `share` (0 to 1) of the sorted values do not exceed; None of none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (float(sorted.len()) * share).ceil();
    (0..sorted.len())
        .find(|&index| float(index + 1) >= rank)
        .map(|index| sorted[index])
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(super) fn float(count: usize) -> f64 {
    count as f64
}

/// With three significant digits and commas between thousands: `0.052`, `4.35`, `16.2`, `12,089`.
pub(super) fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    match value.abs() {
        size if size >= 99.95 => thousands(&format!("{value:.0}")),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A ratio: `0.87`, `4.2`, `115`.
pub(super) fn ratio(value: f64) -> String {
    match value {
        size if size >= 99.5 => thousands(&format!("{value:.0}")),
        size if size >= 1.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(whole: &str) -> String {
    let mut text = String::new();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of(&[9.0, 1.0, 4.0, 2.0]).unwrap();

        assert_eq!((spread.min, spread.median, spread.max), (1.0, 3.0, 9.0));
    }

    #[test]
    fn the_median_of_an_odd_number_is_the_middle_one() {
        assert_eq!(Spread::of(&[9.0, 1.0, 4.0]).map(|spread| spread.median), Some(4.0));
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();

        assert_eq!(
            (quantile(&sorted, 0.5), quantile(&sorted, 0.99)),
            (Some(100.0), Some(198.0))
        );
        assert_eq!(
            (quantile(&[7.0], 0.0), quantile(&[7.0], 1.0), quantile(&[], 0.5)),
            (Some(7.0), Some(7.0), None)
        );
    }

    #[test]
    fn numbers_have_three_digits_and_commas() {
        let written = [0.0, 0.0521, 4.349, 16.17, 99.97, 999.6, 12089.0, -1_234_567.0].map(digits);

        assert_eq!(
            written,
            ["0", "0.052", "4.35", "16.2", "100", "1,000", "12,089", "-1,234,567"]
        );
    }

    #[test]
    fn ratios_below_two_have_two_decimals() {
        assert_eq!([0.873, 1.0, 4.24, 115.2].map(ratio), ["0.87", "1.00", "4.2", "115"]);
    }
}

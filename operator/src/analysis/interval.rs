//! Intervals in which a share is likely to be, from counts.

/// Bounds of a share that was counted to fail with: half a percent of healthy looks are on the wrong side.
pub const Z_FAIL: f64 = 2.58;
/// Bounds of a share that was counted to pass with.
pub const Z_PASS: f64 = 1.96;

/// A share of something: `bad` of `n`. Neither needs to be whole: rates are extrapolated, and a slow answer is half bad.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Of how many.
    pub n: f64,
    /// How many.
    pub bad: f64,
}

/// Where a share is likely to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lowest likely value.
    pub lower: f64,
    /// The highest likely value.
    pub upper: f64,
}

impl Share {
    /// `bad` of `n`, between none and all.
    pub fn new(n: f64, bad: f64) -> Self {
        let n = n.max(0.0);
        Self {
            n,
            bad: bad.clamp(0.0, n),
        }
    }

    /// What was counted; of nothing it is 0.
    pub fn value(self) -> f64 {
        if self.n > 0.0 { self.bad / self.n } else { 0.0 }
    }

    /// The same share of another number of requests.
    #[must_use]
    pub fn scaled(self, by: f64) -> Self {
        Self::new(self.n * by, self.bad * by)
    }

    /// Wilson's interval. Of nothing everything is likely.
    pub fn wilson(self, z: f64) -> Interval {
        if self.n <= 0.0 {
            return Interval { lower: 0.0, upper: 1.0 };
        }
        let (n, p, z2) = (self.n, self.value(), z * z);
        let middle = p + z2 / (2.0 * n);
        let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        let whole = 1.0 + z2 / n;
        Interval {
            lower: ((middle - half) / whole).clamp(0.0, p),
            upper: ((middle + half) / whole).clamp(p, 1.0),
        }
    }

    /// How much greater this share is than `other`: Newcombe's interval from two of Wilson's.
    pub fn minus(self, other: Self, z: f64) -> Interval {
        let (mine, others) = (self.wilson(z), other.wilson(z));
        let (p, q) = (self.value(), other.value());
        let down = (p - mine.lower).hypot(others.upper - q);
        let up = (mine.upper - p).hypot(q - others.lower);
        Interval {
            lower: p - q - down,
            upper: p - q + up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-5, "{found} is not {expected}");
    }

    #[test]
    fn no_failure_in_381_requests_is_less_than_one_percent_and_in_380_it_is_not() {
        assert!(Share::new(381.0, 0.0).wilson(Z_PASS).upper < 0.01);
        assert!(Share::new(380.0, 0.0).wilson(Z_PASS).upper >= 0.01);
        close(Share::new(60.0, 0.0).wilson(Z_PASS).upper, 0.06017);
        close(Share::new(1000.0, 0.0).wilson(Z_PASS).upper, 0.00383);
    }

    #[test]
    fn wilsons_interval_is_the_published_one() {
        // Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (n, bad, lower, upper) in [
            (263.0, 81.0, 0.2553, 0.3662),
            (148.0, 15.0, 0.0624, 0.1605),
            (20.0, 0.0, 0.0, 0.1611),
            (29.0, 1.0, 0.0061, 0.1718),
        ] {
            let interval = Share::new(n, bad).wilson(1.959_964);
            close(interval.lower, lower);
            close(interval.upper, upper);
        }
    }

    #[test]
    fn newcombes_interval_is_the_published_one() {
        // Newcombe 1998 (interval estimation for the difference), table II, method 10.
        for (left, right, lower, upper) in [
            ((70.0, 56.0), (80.0, 48.0), 0.0524, 0.3339),
            ((10.0, 9.0), (10.0, 3.0), 0.1705, 0.8090),
            ((10.0, 10.0), (10.0, 0.0), 0.6075, 1.0),
        ] {
            let interval = Share::new(left.0, left.1).minus(Share::new(right.0, right.1), 1.959_964);
            close(interval.lower, lower);
            close(interval.upper.min(1.0), upper);
        }
    }

    #[test]
    fn of_nothing_everything_is_likely() {
        let interval = Share::default().wilson(Z_FAIL);

        close(interval.lower, 0.0);
        close(interval.upper, 1.0);
    }
}

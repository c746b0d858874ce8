//! Values become positions.

/// An axis from a range of values to a range of positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    kind: Kind,
    values: (f64, f64),
    positions: (f64, f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Linear,
    Log,
}

impl Scale {
    /// From 0 to `top` rounded up.
    pub(super) fn linear(top: f64, positions: (f64, f64)) -> Self {
        let step = step(top);
        let values = (0.0, (top / step).ceil().max(1.0) * step);
        Self {
            kind: Kind::Linear,
            values,
            positions,
        }
    }

    /// Logarithmic over positive values, without rounding.
    pub(super) fn log(values: (f64, f64), positions: (f64, f64)) -> Self {
        let low = values.0.max(f64::MIN_POSITIVE);
        let values = (low, if values.1 > low { values.1 } else { low * 10.0 });
        Self {
            kind: Kind::Log,
            values,
            positions,
        }
    }

    /// The position of a value; what lies outside is put on the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.values.0, self.values.1);
        let share = match self.kind {
            Kind::Linear => (value - self.values.0) / (self.values.1 - self.values.0),
            Kind::Log => (value / self.values.0).ln() / (self.values.1 / self.values.0).ln(),
        };
        self.positions.0 + share * (self.positions.1 - self.positions.0)
    }

    /// Values for lines across: steps of 1, 2 or 5; on a logarithmic axis powers of ten, with 2 and 5 where few would do.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.values;
        match self.kind {
            Kind::Linear => {
                let step = step(high);
                (0..=20u32)
                    .map(|index| f64::from(index) * step)
                    .take_while(|value| *value <= high * 1.0001)
                    .collect()
            }
            Kind::Log => {
                let factors: &[f64] = if high / low > 5000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                (-6..=9)
                    .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
                    .filter(|value| (low * 0.9999..=high * 1.0001).contains(value))
                    .collect()
            }
        }
    }
}

/// A round step of which four to eight reach `top`.
fn step(top: f64) -> f64 {
    let rough = top.max(1e-6) / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.9999)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-6
    }

    #[test]
    fn a_decade_has_the_same_length_everywhere_on_a_log_scale() {
        let scale = Scale::log((1.0, 1000.0), (0.0, 300.0));

        assert!(near(scale.at(10.0), 100.0) && near(scale.at(100.0), 200.0), "{scale:?}");
    }

    #[test]
    fn a_linear_scale_begins_at_zero_and_ends_at_a_round_value() {
        let scale = Scale::linear(83.0, (200.0, 0.0));

        assert_eq!(scale.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert!(near(scale.at(0.0), 200.0) && near(scale.at(50.0), 100.0), "{scale:?}");
    }

    #[test]
    fn what_lies_outside_is_put_on_the_edge() {
        assert!(near(Scale::log((1.0, 10.0), (0.0, 50.0)).at(0.0), 0.0));
        assert!(near(Scale::linear(10.0, (0.0, 50.0)).at(99.0), 50.0));
    }

    #[test]
    fn a_short_log_scale_has_twos_and_fives_and_a_long_one_has_powers_of_ten() {
        assert_eq!(
            Scale::log((0.5, 20.0), (0.0, 1.0)).ticks(),
            [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
        );
        assert_eq!(Scale::log((1.0, 1e5), (0.0, 1.0)).ticks().len(), 6);
    }

    #[test]
    fn a_single_value_still_has_a_scale() {
        assert!(Scale::log((5.0, 5.0), (0.0, 1.0)).at(5.0).is_finite());
        assert!(Scale::linear(0.0, (0.0, 1.0)).at(0.0).is_finite());
    }
}

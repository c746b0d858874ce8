//! Kubernetes' quantities of bytes, as far as they are compared here; pure.

/// The number of bytes that `quantity` stands for: `10Gi`, `1.5G`, `1000`. Zero for what is not a quantity.
pub fn bytes(quantity: &str) -> f64 {
    let end = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    number.parse::<f64>().unwrap_or_default() * factor(suffix)
}

fn factor(suffix: &str) -> f64 {
    let (letter, base) = match suffix.strip_suffix('i') {
        Some(letter) => (letter, 1024_f64),
        None => (suffix, 1000_f64),
    };
    match letter {
        "" => 1.0,
        "m" => 0.001,
        "k" | "K" => base,
        "M" => base.powi(2),
        "G" => base.powi(3),
        "T" => base.powi(4),
        "P" => base.powi(5),
        "E" => base.powi(6),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_compare_across_suffixes() {
        assert!(bytes("1Gi") > bytes("1G"));
        assert!(bytes("2048Mi") > bytes("1.5Gi"));
        assert!((bytes("1Ki") - bytes("1024")).abs() < f64::EPSILON);
    }
}

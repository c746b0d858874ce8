//! Names that somebody may have meant; pure.

/// From this likeness on a name may have been meant.
const LIKE: f64 = 0.7;
/// How many names are listed.
const MOST: usize = 5;

/// What to say about a name that is not there.
pub fn unknown(kind: &str, name: &str, namespace: &str, there: &[String]) -> String {
    let missing = format!("there is no {kind} {name} in namespace {namespace}");
    let mut like: Vec<(f64, &String)> = there
        .iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .collect();
    like.sort_by(|a, b| b.0.total_cmp(&a.0));
    if let Some((_, meant)) = like.first() {
        return format!("{missing}; did you mean {meant}?");
    }
    if there.is_empty() {
        return format!("{missing}, nor any other; -n names another namespace, `status -A` shows all");
    }
    let mut listed: Vec<&str> = there.iter().take(MOST).map(String::as_str).collect();
    if there.len() > MOST {
        listed.push("…");
    }
    format!("{missing}; there are {}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_others_are_listed() {
        let there = ["images".to_owned(), "charts".to_owned()];

        assert!(unknown("Registry", "imagse", "team", &there).ends_with("did you mean images?"));
        assert!(unknown("Registry", "zzz", "team", &there).ends_with("there are images, charts"));
        assert!(unknown("Registry", "zzz", "team", &[]).contains("-n names another"));
    }
}

//! The picture of pages of tags: the time of a page of 100 while the repository grows.

use super::{
    figures::digits,
    lines::Page,
    scale::Scale,
    shown,
    svg::{Anchor, Face, GRID, Picture, QUIET, WIDTH, colour},
};

const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 190.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 370.0;

/// The picture, or None without lines.
pub(super) fn draw(pages: &[Page], source: &str) -> Option<String> {
    let all = |value: fn(&Page) -> f64| pages.iter().map(value);
    let fewest = all(|page| page.tags).min_by(f64::total_cmp)?;
    let most = all(|page| page.tags).max_by(f64::total_cmp)?;
    let fastest = all(|page| page.p50_ms).min_by(f64::total_cmp)?;
    let slowest = all(|page| page.p99_ms).max_by(f64::total_cmp)?;
    let across = Scale::log((fewest, most), (LEFT, RIGHT));
    // A flat line is seen to be flat from zero; what is many times slower would press it to the ground there.
    let logarithmic = slowest / fastest > 8.0;
    let up = if logarithmic {
        Scale::log((fastest / 1.5, slowest * 1.2), (BOTTOM, TOP))
    } else {
        Scale::linear(slowest, (BOTTOM, TOP))
    };

    let title = "A page of 100 tags from the middle of a repository";
    let axes = if logarithmic {
        "both axes logarithmic"
    } else {
        "tags logarithmic"
    };
    let below = format!("Milliseconds, lower is better; line: median; band: up to the 99th percentile; {axes}");
    let mut picture = Picture::new(title, &below);
    grid(&mut picture, (&across, &up), pages);
    let mut targets: Vec<&str> = Vec::new();
    for page in pages {
        if !targets.contains(&page.target.as_str()) {
            targets.push(&page.target);
        }
    }
    let mut ends = Vec::new();
    for (index, target) in targets.into_iter().enumerate() {
        let mut mine: Vec<&Page> = pages.iter().filter(|page| page.target == target).collect();
        mine.sort_by(|one, other| one.tags.total_cmp(&other.tags));
        let fill = colour(target, index);
        line(&mut picture, (&across, &up), &mine, fill);
        if let Some(last) = mine.last() {
            let end = (across.at(last.tags), up.at(last.p50_ms));
            ends.push((end, format!("{}: {} ms", shown(target), digits(last.p50_ms)), fill));
        }
    }
    label(&mut picture, ends);
    Some(picture.finish(BOTTOM + 78.0, title, source))
}

fn grid(picture: &mut Picture, (across, up): (&Scale, &Scale), pages: &[Page]) {
    for tick in up.ticks() {
        let y = up.at(tick);
        picture.path(&[(LEFT, y), (RIGHT, y)], &format!("stroke=\"{GRID}\""));
        let text = format!("{tick:.6}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let face = Face::plain(12.0).colour(QUIET).anchor(Anchor::End);
        picture.text((LEFT - 10.0, y + 4.0), &format!("{text} ms"), face);
    }
    let mut counts: Vec<f64> = pages.iter().map(|page| page.tags).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    let mut free = f64::MIN;
    for tags in counts {
        let x = across.at(tags);
        if x < free {
            continue;
        }
        free = x + 80.0;
        picture.path(&[(x, BOTTOM), (x, BOTTOM + 5.0)], &format!("stroke=\"{QUIET}\""));
        let face = Face::plain(12.0).colour(QUIET).anchor(Anchor::Middle);
        picture.text((x, BOTTOM + 20.0), &format!("{} tags", count(tags)), face);
    }
}

/// `1 k`, `50 k`, `1 M`.
fn count(tags: f64) -> String {
    match tags {
        many if many >= 1e6 => format!("{} M", many / 1e6),
        many if many >= 1e3 => format!("{} k", many / 1e3),
        few => few.to_string(),
    }
}

fn line(picture: &mut Picture, (across, up): (&Scale, &Scale), pages: &[&Page], fill: &str) {
    let median: Vec<_> = pages
        .iter()
        .map(|page| (across.at(page.tags), up.at(page.p50_ms)))
        .collect();
    let slow = pages
        .iter()
        .rev()
        .map(|page| (across.at(page.tags), up.at(page.p99_ms)));
    let band: Vec<_> = median.iter().copied().chain(slow).collect();
    picture.polygon(&band, &format!("fill=\"{fill}\" fill-opacity=\"0.16\""));
    picture.path(
        &median,
        &format!("stroke=\"{fill}\" stroke-width=\"2.5\" stroke-linejoin=\"round\""),
    );
    for point in median {
        picture.dot(point, 4.5, fill);
    }
}

/// Writes names at the ends of their lines, moved apart where they would touch.
fn label(picture: &mut Picture, mut ends: Vec<((f64, f64), String, &'static str)>) {
    ends.sort_by(|one, other| one.0.1.total_cmp(&other.0.1));
    let mut free = f64::MIN;
    for ((x, y), text, fill) in ends {
        let y = y.max(free);
        free = y + 17.0;
        picture.text((x + 12.0, y + 4.5), &text, Face::plain(13.0).bold().colour(fill));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(target: &str, tags: f64, p50_ms: f64) -> Page {
        Page {
            target: target.to_owned(),
            tags,
            p50_ms,
            p99_ms: p50_ms * 2.0,
        }
    }

    #[test]
    fn without_lines_there_is_no_picture() {
        assert!(draw(&[], "here").is_none());
    }

    #[test]
    fn times_begin_at_zero_unless_they_differ_a_lot() {
        let flat = draw(&[page("berth", 1e3, 0.2), page("berth", 1e6, 0.21)], "here").unwrap();
        let steep = draw(&[page("berth", 1e3, 0.2), page("dist3", 1e3, 20.0)], "here").unwrap();

        assert!(flat.contains(">0 ms<") && flat.contains(">1 M tags<"), "{flat}");
        assert!(
            !steep.contains(">0 ms<") && steep.contains("both axes logarithmic"),
            "{steep}"
        );
    }
}

//! The picture of memory: what a server holds while blobs go in and out.

use super::{
    figures::digits,
    lines::Sample,
    scale::Scale,
    shown,
    svg::{Anchor, Face, GRID, MARGIN, Picture, QUIET, WIDTH, colour},
};

const LEFT: f64 = 92.0;
const RIGHT: f64 = WIDTH - MARGIN;
const TOP: f64 = 112.0;
const BOTTOM: f64 = 370.0;
/// What a server may hold at most, MiB.
const BOUND: f64 = 96.0;

/// The picture, or None without lines.
pub(super) fn draw(samples: &[Sample], source: &str) -> Option<String> {
    let targets = in_a_row(samples);
    let all = || targets.iter().flat_map(|(_, samples)| samples);
    let last = all().map(|sample| sample.seconds).max_by(f64::total_cmp)?;
    let top = all().map(|sample| sample.rss_mib).fold(BOUND, f64::max);
    let across = Scale::linear(last, (LEFT, RIGHT));
    let up = Scale::linear(top, (BOTTOM, TOP));

    let title = "Memory: 16 blobs of 1 GiB pushed at once, then pulled at once";
    let mut picture = Picture::new(title, "Resident memory of the server in MiB over seconds, from /proc");
    if let Some((_, samples)) = targets.first() {
        phases(&mut picture, &across, samples);
    }
    grid(&mut picture, &across, &up);
    let mut x = MARGIN;
    for (index, (target, samples)) in targets.iter().enumerate() {
        let fill = colour(target, index);
        let points: Vec<_> = samples
            .iter()
            .map(|sample| (across.at(sample.seconds), up.at(sample.rss_mib)))
            .collect();
        picture.path(
            &points,
            &format!("stroke=\"{fill}\" stroke-width=\"2.5\" stroke-linejoin=\"round\""),
        );
        let peak = samples.iter().map(|sample| sample.rss_mib).fold(0.0, f64::max);
        let label = format!("{}: peak {} MiB", shown(target), digits(peak));
        picture.area((x, 79.0), (x + 16.0, 82.0), &format!("fill=\"{fill}\""));
        picture.text((x + 23.0, 85.0), &label, Face::plain(13.0).bold().colour(fill));
        x += 23.0 + 8.0 * super::figures::float(label.chars().count()) + 20.0;
    }
    Some(picture.finish(BOTTOM + 78.0, title, source))
}

/// The samples of each target; a watch that began anew goes on where the one before it ended.
fn in_a_row(samples: &[Sample]) -> Vec<(&str, Vec<Sample>)> {
    let mut targets: Vec<(&str, Vec<Sample>)> = Vec::new();
    let mut starts: Vec<f64> = Vec::new();
    let mut newest: Vec<f64> = Vec::new();
    for sample in samples {
        let index = targets
            .iter()
            .position(|(target, _)| *target == sample.target)
            .unwrap_or_else(|| {
                targets.push((&sample.target, Vec::new()));
                starts.push(0.0);
                newest.push(0.0);
                targets.len() - 1
            });
        if sample.seconds < newest[index] {
            starts[index] += newest[index];
        }
        newest[index] = sample.seconds;
        let seconds = starts[index] + sample.seconds;
        targets[index].1.push(Sample {
            seconds,
            ..sample.clone()
        });
    }
    targets
}

/// A tint and a name for each stretch of the same phase.
fn phases(picture: &mut Picture, across: &Scale, samples: &[Sample]) {
    let stretches: Vec<&[Sample]> = samples.chunk_by(|one, next| one.phase == next.phase).collect();
    for (index, stretch) in stretches.iter().enumerate() {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else {
            continue;
        };
        let next = stretches.get(index + 1).and_then(|next| next.first()).unwrap_or(last);
        let (from, to) = (across.at(first.seconds), across.at(next.seconds));
        if first.phase.is_empty() {
            continue;
        }
        let tint = if index % 2 == 0 { "#eef4fa" } else { "#f7f4ec" };
        picture.area((from, TOP), (to, BOTTOM), &format!("fill=\"{tint}\""));
        if to - from > 60.0 {
            let face = Face::plain(12.0).colour(QUIET).anchor(Anchor::Middle);
            picture.text((f64::midpoint(from, to), BOTTOM - 8.0), &first.phase, face);
        }
    }
}

fn grid(picture: &mut Picture, across: &Scale, up: &Scale) {
    for tick in up.ticks() {
        let y = up.at(tick);
        picture.path(&[(LEFT, y), (RIGHT, y)], &format!("stroke=\"{GRID}\""));
        let face = Face::plain(12.0).colour(QUIET).anchor(Anchor::End);
        picture.text((LEFT - 10.0, y + 4.0), &format!("{tick} MiB"), face);
    }
    for tick in across.ticks() {
        let face = Face::plain(12.0).colour(QUIET).anchor(Anchor::Middle);
        picture.text((across.at(tick), BOTTOM + 20.0), &format!("{tick} s"), face);
    }
    let y = up.at(BOUND);
    picture.path(
        &[(LEFT, y), (RIGHT, y)],
        &format!("stroke=\"{QUIET}\" stroke-dasharray=\"5 4\""),
    );
    let face = Face::plain(12.0).colour(QUIET).anchor(Anchor::End);
    picture.text((RIGHT - 6.0, y + 16.0), "the bound, 96 MiB", face);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64, rss_mib: f64, phase: &str) -> Sample {
        Sample {
            target: "berth".to_owned(),
            seconds,
            rss_mib,
            phase: phase.to_owned(),
        }
    }

    #[test]
    fn a_second_watch_goes_on_where_the_first_ended() {
        let samples = [
            sample(0.0, 20.0, "push"),
            sample(5.0, 30.0, "push"),
            sample(0.5, 31.0, "pull"),
            sample(2.0, 32.0, "pull"),
        ];

        let seconds: Vec<f64> = in_a_row(&samples)[0].1.iter().map(|sample| sample.seconds).collect();

        assert_eq!(seconds, [0.0, 5.0, 5.5, 7.0]);
    }

    #[test]
    fn the_peak_is_written_and_the_bound_is_in_sight() {
        let picture = draw(&[sample(0.0, 20.0, "push"), sample(9.0, 41.5, "push")], "here").unwrap();

        assert!(
            picture.contains("peak 41.5 MiB") && picture.contains(">the bound, 96 MiB<"),
            "{picture}"
        );
        assert!(draw(&[], "here").is_none());
    }
}

//! The picture of throughput: how many times faster than the first peer, on a logarithmic axis.
//!
//! The first peer is the line at 1×. Every other registry is a bar from that line, with the range of its repetitions; the
//! limit, which is no registry, is a mark.

use super::{
    figures::{digits, ratio},
    is_limit,
    scale::Scale,
    shown,
    summary::{Cell, Row, Summary},
    svg::{Anchor, Face, GRID, INK, MARGIN, Picture, QUIET, WIDTH, colour},
};

const LEFT: f64 = 200.0;
const RIGHT: f64 = 690.0;
const BAR: f64 = 12.0;
const GAP: f64 = 12.0;
const TOP: f64 = 140.0;

/// What is drawn: a summary, as seen from one of its targets.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// The measurements.
    pub(super) summary: &'a Summary,
    /// The number of connections to show; a workload without it is shown with what it has.
    pub(super) connections: u64,
    /// The line at its foot.
    pub(super) source: &'a str,
}

/// The picture, or None when nothing was measured side by side.
pub(super) fn draw(view: View<'_>) -> Option<String> {
    let View { summary, source, .. } = view;
    let base = 1;
    let rows = rows(view);
    let targets: Vec<usize> = (0..summary.targets.len()).filter(|index| *index != base).collect();
    let mut extremes = (0.5_f64, 2.0_f64);
    for spread in rows
        .iter()
        .flat_map(|row| targets.iter().filter_map(|one| row.ratio(*one, base)))
    {
        extremes = (extremes.0.min(spread.min / 1.1), extremes.1.max(spread.max * 1.1));
    }
    let bars: Vec<usize> = targets
        .iter()
        .copied()
        .filter(|index| !is_limit(&summary.targets[*index]))
        .collect();
    let row_height = (BAR * super::figures::float(bars.len())).max(BAR) + GAP;
    let bottom = TOP + row_height * super::figures::float(rows.len());
    let scale = Scale::log(extremes, (LEFT, RIGHT));
    let peer = shown(summary.targets.get(base)?);
    if rows.is_empty() {
        return None;
    }

    let title = format!("Throughput against {peer}");
    let mut picture = Picture::new(
        &title,
        "Operations a second, as a multiple of the first peer's in the same round; thin line: range of the rounds; logarithmic",
    );
    legend(&mut picture, summary, base);
    axis(&mut picture, &scale, (bottom, shown(&summary.targets[0])));
    let mut top = TOP;
    for row in rows {
        let drawn = Drawn {
            row,
            base,
            scale,
            top,
            height: row_height,
        };
        drawn.on(&mut picture, summary, &bars);
        top += row_height;
    }
    Some(picture.finish(bottom + 76.0, &title, source))
}

/// One row for each workload that ran on the first two targets.
fn rows(
    View {
        summary, connections, ..
    }: View<'_>,
) -> Vec<&Row> {
    let mut rows: Vec<&Row> = Vec::new();
    let drawable = |row: &&Row| row.cells.len() > 1 && row.ratio(0, 1).is_some();
    for row in summary.rows.iter().filter(drawable) {
        match rows.iter().position(|known| known.workload == row.workload) {
            None => rows.push(row),
            Some(known) if row.connections == connections => rows[known] = row,
            Some(_) => {}
        }
    }
    rows
}

fn legend(picture: &mut Picture, summary: &Summary, base: usize) {
    let mut x = MARGIN;
    for (index, target) in summary.targets.iter().enumerate() {
        let fill = colour(target, index);
        if index == base {
            picture.path(
                &[(x + 6.0, 80.0), (x + 6.0, 94.0)],
                &format!("stroke=\"{fill}\" stroke-width=\"2\""),
            );
        } else if is_limit(target) {
            mark(picture, (x + 6.0, 87.0), fill);
        } else {
            picture.area((x, 81.0), (x + 12.0, 93.0), &format!("fill=\"{fill}\" rx=\"2\""));
        }
        let label = match index {
            _ if index == base => format!("{} = 1×", shown(target)),
            _ if is_limit(target) => format!("{} (the limit)", shown(target)),
            _ => shown(target).to_owned(),
        };
        picture.text((x + 19.0, 92.0), &label, Face::plain(13.0));
        x += 19.0 + 7.6 * super::figures::float(label.chars().count()) + 22.0;
    }
}

fn axis(picture: &mut Picture, scale: &Scale, (bottom, ours): (f64, &str)) {
    for tick in scale.ticks() {
        let x = scale.at(tick);
        picture.path(&[(x, TOP - 6.0), (x, bottom)], &format!("stroke=\"{GRID}\""));
        for y in [TOP - 13.0, bottom + 18.0] {
            picture.text(
                (x, y),
                &format!("{tick}×"),
                Face::plain(11.5).colour(QUIET).anchor(Anchor::Middle),
            );
        }
    }
    let heading = Face::plain(11.5).colour(QUIET).anchor(Anchor::End);
    picture.text((WIDTH - MARGIN - 84.0, TOP - 13.0), ours, heading);
    picture.text((WIDTH - MARGIN, TOP - 13.0), "ratio", heading);
}

struct Drawn<'a> {
    row: &'a Row,
    base: usize,
    scale: Scale,
    top: f64,
    height: f64,
}

impl Drawn<'_> {
    fn on(&self, picture: &mut Picture, summary: &Summary, bars: &[usize]) {
        let middle = self.top + self.height / 2.0;
        picture.text(
            (LEFT - 14.0, middle + 4.5),
            &self.row.workload,
            Face::plain(13.0).anchor(Anchor::End),
        );
        let mut y = self.top + GAP / 2.0;
        for &target in bars {
            self.bar(picture, target, (y, colour(&summary.targets[target], target)));
            y += BAR;
        }
        let one = self.scale.at(1.0);
        let base = colour(&summary.targets[self.base], self.base);
        picture.path(
            &[(one, self.top), (one, self.top + self.height)],
            &format!("stroke=\"{base}\" stroke-width=\"2\""),
        );
        for (target, name) in summary.targets.iter().enumerate().filter(|(_, name)| is_limit(name)) {
            if let Some(spread) = self.row.ratio(target, self.base).filter(|_| target != self.base) {
                mark(picture, (self.scale.at(spread.median), middle), colour(name, target));
            }
        }
        if let (Some(cell), Some(spread)) = (&self.row.cells[0], self.row.ratio(0, self.base)) {
            let right = Face::plain(13.0).anchor(Anchor::End);
            picture.text((WIDTH - MARGIN - 84.0, middle + 4.5), &rate(self.row, cell), right);
            picture.text(
                (WIDTH - MARGIN, middle + 4.5),
                &format!("{} ×", ratio(spread.median)),
                right.bold(),
            );
        }
    }

    fn bar(&self, picture: &mut Picture, target: usize, (y, fill): (f64, &str)) {
        let Some(spread) = self.row.ratio(target, self.base) else {
            return;
        };
        let (one, end) = (self.scale.at(1.0), self.scale.at(spread.median));
        picture.area(
            (one, y + 1.0),
            (end, y + BAR - 1.0),
            &format!("fill=\"{fill}\" rx=\"1.5\""),
        );
        let middle = y + BAR / 2.0;
        picture.path(
            &[(self.scale.at(spread.min), middle), (self.scale.at(spread.max), middle)],
            &format!("stroke=\"{INK}\" stroke-width=\"1.2\" stroke-opacity=\"0.75\""),
        );
    }
}

/// What a row counts, with its unit.
pub(super) fn rate(row: &Row, cell: &Cell) -> String {
    if row.counts_payload() {
        format!("{} MB/s", digits(cell.megabytes.median))
    } else {
        format!("{}/s", digits(cell.ops.median))
    }
}

fn mark(picture: &mut Picture, (x, y): (f64, f64), fill: &str) {
    let corners = [(x, y - 7.0), (x + 5.5, y), (x, y + 7.0), (x - 5.5, y)];
    picture.polygon(
        &corners,
        &format!("fill=\"{fill}\" stroke=\"#ffffff\" stroke-width=\"1.2\""),
    );
}

#[cfg(test)]
mod tests {
    use super::{super::summary::tests::measure, *};

    fn draw(summary: &Summary) -> Option<String> {
        super::draw(View {
            summary,
            connections: 8,
            source: "here",
        })
    }

    #[test]
    fn one_target_alone_is_no_comparison() {
        assert!(draw(&Summary::of(&[measure("berth", 1, 10.0)])).is_none());
        assert!(draw(&Summary::of(&[])).is_none());
    }

    #[test]
    fn a_workload_is_shown_with_the_connections_that_were_asked_for() {
        let mut more = [measure("berth", 1, 640.0), measure("dist3", 1, 10.0)];
        for measure in &mut more {
            measure.connections = 64;
        }
        let measures = [&more[..], &[measure("berth", 1, 70.0), measure("dist3", 1, 10.0)]].concat();

        let picture = draw(&Summary::of(&measures)).unwrap();

        assert!(picture.contains(">70.0/s<") && picture.contains(">7.0 ×<"), "{picture}");
        assert!(!picture.contains(">64.0 ×<"), "{picture}");
    }
}

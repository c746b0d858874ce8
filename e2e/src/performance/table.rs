//! The table, as Markdown between two comments.

use anyhow::{Context, Result, ensure};

use super::{
    figures::{digits, ratio},
    shown,
    summary::{Cell, Row, Summary},
    throughput::rate,
};

const BEGIN: &str = "<!-- table:begin -->";
const END: &str = "<!-- table:end -->";

/// The table with the comments around it.
pub(super) fn markdown(summary: &Summary) -> String {
    let names: Vec<&str> = summary.targets.iter().map(|target| shown(target)).collect();
    let mut head = vec!["workload".to_owned(), "connections".to_owned()];
    head.extend(names.iter().map(|name| (*name).to_owned()));
    head.extend(names.iter().skip(1).map(|peer| format!("{} : {peer}", names[0])));
    head.extend(["p99, ms", "CPU, µs an operation", "errors"].map(str::to_owned));
    let rule: Vec<&str> = head
        .iter()
        .enumerate()
        .map(|(index, _)| if index == 0 { "---" } else { "---:" })
        .collect();
    let mut lines = vec![BEGIN.to_owned(), row(&head), row(&rule)];
    lines.extend(summary.rows.iter().map(|measured| row(&cells(measured))));
    if names.len() > 1 {
        lines.push(String::new());
        lines.push(format!(
            "Throughput: median of the repetitions. Ratio: median of the ratios within each repetition (smallest–largest). \
             p99, CPU and errors: {}.",
            names.join(" / ")
        ));
    }
    lines.push(END.to_owned());
    lines.join("\n")
}

fn row(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.as_ref().replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | "))
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![format!("`{}`", row.workload), row.connections.to_string()];
    cells.extend(
        row.cells
            .iter()
            .map(|cell| written(cell.as_ref(), |cell| Some(rate(row, cell)))),
    );
    cells.extend((1..row.cells.len()).map(|peer| {
        row.ratio(0, peer).map_or_else(missing, |spread| {
            let (min, max) = (ratio(spread.min), ratio(spread.max));
            format!("**{}** ({min}–{max})", ratio(spread.median))
        })
    }));
    let each = |value: fn(&Cell) -> Option<String>| -> String {
        let all: Vec<String> = row.cells.iter().map(|cell| written(cell.as_ref(), value)).collect();
        all.join(" / ")
    };
    cells.push(each(|cell| Some(digits(cell.p99_ms))));
    cells.push(each(|cell| cell.cpu_us.map(digits)));
    cells.push(each(|cell| Some(cell.errors.to_string())));
    cells
}

fn written(cell: Option<&Cell>, value: impl Fn(&Cell) -> Option<String>) -> String {
    cell.and_then(value).unwrap_or_else(missing)
}

fn missing() -> String {
    "–".to_owned()
}

/// `page` with the table between its comments replaced by `table`.
///
/// # Errors
/// When the page has no such comments.
pub(super) fn replaced(page: &str, table: &str) -> Result<String> {
    let begin = page.find(BEGIN).with_context(|| format!("it has no line {BEGIN}"))?;
    let end = page.find(END).with_context(|| format!("it has no line {END}"))?;
    ensure!(begin < end, "{END} comes before {BEGIN}");
    Ok(format!("{}{table}{}", &page[..begin], &page[end + END.len()..]))
}

#[cfg(test)]
mod tests {
    use super::{super::summary::tests::measure, *};

    #[test]
    fn a_row_has_medians_ratios_with_their_range_and_what_is_missing() {
        let mut limit = measure("nginx", 9, 99_000.0);
        limit.cpu_us = None;
        limit.errors = 2;
        let measures = [
            measure("berth", 1, 1500.0),
            measure("dist3", 1, 100.0),
            measure("berth", 2, 1700.0),
            measure("dist3", 2, 100.0),
            limit,
        ];

        let table = markdown(&Summary::of(&measures));

        let expected = "| `blob_head` | 8 | 1,600/s | 100/s | 99,000/s | **16.0** (15.0–17.0) | – | 1.50 / 1.50 / 1.50 | 30.0 / 30.0 / – | 0 / 0 / 2 |";
        assert!(table.lines().any(|line| line == expected), "{table}");
    }

    #[test]
    fn only_what_is_between_the_comments_changes() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");

        let page = replaced(&page, &format!("{BEGIN}\nnew\n{END}")).unwrap();

        assert_eq!(page, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
    }

    #[test]
    fn a_page_without_comments_is_left_alone() {
        assert!(replaced("nothing here", "table").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "table").is_err());
    }
}

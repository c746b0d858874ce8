//! What a command shows, and where it is printed.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde_json::Value;

use super::args::Output;
use super::screen::{self, Line, Tone};

/// How wide a screen is that nobody has told.
const WIDTH: usize = 100;
/// Moves the cursor to the top, without wiping what will be written over: so nothing flickers.
const HOME: &str = "\u{1b}[H";
/// Wipes the rest of a line, and of a screen.
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";
const WIPE: &str = "\u{1b}[2J";

/// Standard output, as the user wants it.
#[derive(Debug)]
pub struct Printer {
    output: Output,
    width: Option<u16>,
    /// The last live screen as JSON: one that says the same is not printed again.
    last: Mutex<Option<String>>,
}

impl Printer {
    /// Prints in that way; without a width, in that of the terminal.
    pub fn new(output: Output, width: Option<u16>) -> Self {
        Self {
            output,
            width,
            last: Mutex::new(None),
        }
    }

    /// How.
    pub fn output(&self) -> Output {
        self.output
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        let told = self.width.map(usize::from);
        told.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)))
            .unwrap_or(WIDTH)
            .max(40)
    }

    /// Whether words are coloured.
    pub fn is_coloured(&self) -> bool {
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
    }

    /// Prints once.
    ///
    /// # Errors
    /// When standard output cannot be written. A reader that went away is no error.
    pub fn once(&self, lines: &[Line], value: &Value) -> anyhow::Result<()> {
        write(&match self.output {
            Output::Json => format!("{value:#}\n"),
            Output::Svg => screen::svg(lines, self.width(), &title()),
            Output::Text => screen::text(lines, self.width(), self.is_coloured()),
        })
        .map(drop)
    }

    /// Prints a screen that lives: over the last one on a terminal, below it elsewhere, and as one line of JSON. One that
    /// says what the last one said is printed on terminals only. False: nobody reads any more.
    ///
    /// # Errors
    /// As [`Self::once`].
    pub fn live(&self, lines: &[Line], value: &Value) -> anyhow::Result<bool> {
        let is_terminal = std::io::stdout().is_terminal();
        let said = value.to_string();
        let before = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(said.clone());
        let (first, same) = (before.is_none(), before.as_deref() == Some(said.as_str()));
        match self.output {
            Output::Json if same => Ok(true),
            Output::Json => write(&format!("{said}\n")),
            Output::Svg => write(&screen::svg(lines, self.width(), &title())),
            Output::Text if is_terminal => write(&self.over(lines, first)),
            Output::Text if same => Ok(true),
            Output::Text => write(&format!("{}\n", screen::text(lines, self.width(), false))),
        }
    }

    fn over(&self, lines: &[Line], first: bool) -> String {
        let rows = terminal_size::terminal_size().map_or(usize::MAX, |(_, rows)| usize::from(rows.0));
        let shown = fitting(lines, rows.saturating_sub(1));
        let text = screen::text(&shown, self.width(), self.is_coloured());
        let text = text.replace('\n', &format!("{REST_OF_LINE}\n"));
        let wipe = if first { WIPE } else { "" };
        format!("{wipe}{HOME}{text}{REST_OF_SCREEN}")
    }
}

/// At most `rows` lines; the last one says how many are missing.
fn fitting(lines: &[Line], rows: usize) -> Vec<Line> {
    if lines.len() <= rows {
        return lines.to_vec();
    }
    let kept = rows.saturating_sub(1);
    let mut shown = lines[..kept].to_vec();
    shown.push(Line::of(Tone::Faint, format!("… {} more lines", lines.len() - kept)));
    shown
}

/// Prints `text`. False: nobody reads any more.
///
/// # Errors
/// When standard output cannot be written.
pub fn write(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.context("write to standard output").map(|()| true),
    }
}

/// The command as it was typed, without what is about the picture or the place.
fn title() -> String {
    let mut words = vec!["kubectl".to_owned(), "berth".to_owned()];
    let mut rest = std::env::args().skip(1);
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-o" | "--output" | "--width" | "-n" | "--namespace" | "--kubeconfig" | "--context" => drop(rest.next()),
            word if word.starts_with("--width=") || word.starts_with("--output=") => {}
            word => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_that_is_too_long_says_how_much_is_missing() {
        let lines: Vec<Line> = (0..10).map(|row| Line::of(Tone::Plain, row.to_string())).collect();

        let shown = fitting(&lines, 4);
        assert_eq!(shown.len(), 4);
        assert_eq!(shown[3].0[0].1, "… 7 more lines");
        assert_eq!(fitting(&lines, 10).len(), 10);
    }
}

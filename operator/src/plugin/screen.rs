//! Lines of coloured words, cut to a width, as text for a terminal or as a picture; pure.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a word stands for. The colour follows from it, and nothing is said by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Text.
    Plain,
    /// Less important.
    Faint,
    /// A heading.
    Strong,
    /// As it should be.
    Good,
    /// Under way, or to be looked at.
    Warn,
    /// Wrong.
    Bad,
    /// The name of one of several, told from the others by its colour too.
    Name(usize),
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\u{1b}[2m",
            Self::Strong => "\u{1b}[1m",
            Self::Good => "\u{1b}[32m",
            Self::Warn => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
            Self::Name(number) => ["\u{1b}[36m", "\u{1b}[35m", "\u{1b}[34m", "\u{1b}[32m", "\u{1b}[33m"][number % 5],
        }
    }

    fn hex(self) -> &'static str {
        match self {
            Self::Plain => "#d4d7dd",
            Self::Faint => "#8b93a1",
            Self::Strong => "#ffffff",
            Self::Good => "#7bd88f",
            Self::Warn => "#f5c76a",
            Self::Bad => "#ff8585",
            Self::Name(number) => ["#6fd3d3", "#d79bee", "#8ab4f8", "#7bd88f", "#f5c76a"][number % 5],
        }
    }
}

/// A line of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<(Tone, String)>);

impl Line {
    /// A line of one word.
    pub fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self(vec![(tone, visible(&text.into()))])
    }

    /// The same line with another word behind it.
    #[must_use]
    pub fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, visible(&text.into())));
        self
    }

    /// The same line, filled with spaces up to `column`.
    #[must_use]
    pub fn up_to(self, column: usize) -> Self {
        let gap = column.saturating_sub(self.width()).max(1);
        self.and(Tone::Plain, " ".repeat(gap))
    }

    /// How many columns it takes.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// The same line in at most `width` columns; an ellipsis where something is missing.
    #[must_use]
    pub fn cut(&self, width: usize) -> Self {
        if self.width() <= width {
            return self.clone();
        }
        let mut left = width.saturating_sub(1);
        let mut words = Vec::new();
        for (tone, text) in &self.0 {
            let mut kept = String::new();
            for letter in text.chars() {
                let wide = letter.width().unwrap_or(0);
                if wide > left {
                    words.push((*tone, kept + "…"));
                    return Self(words);
                }
                left -= wide;
                kept.push(letter);
            }
            words.push((*tone, kept));
        }
        Self(words)
    }
}

/// What comes from a cluster cannot move the cursor or change colours.
fn visible(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// `text` in lines of at most `width` columns, broken between words.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() {
            last.push_str(word);
        } else if last.width() + 1 + word.width() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// `lines` for a terminal of that width, with or without colours.
pub fn text(lines: &[Line], width: usize, coloured: bool) -> String {
    let mut out = String::new();
    for line in lines {
        for (tone, word) in line.cut(width).0 {
            if coloured && tone != Tone::Plain {
                out.push_str(tone.code());
                out.push_str(&word);
                out.push_str("\u{1b}[0m");
            } else {
                out.push_str(&word);
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

/// `lines` as a picture of a terminal of that width.
pub fn svg(lines: &[Line], width: usize, title: &str) -> String {
    const LETTER: f64 = 8.4;
    const ROW: usize = 20;
    let (across, down) = (
        f64::from(u32::try_from(width).unwrap_or(80)) * LETTER + 32.0,
        lines.len() * ROW + 60,
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{across:.0}\" height=\"{down}\" role=\"img\" aria-label=\"{0}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1b1e24\"/>\n\
         <g font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\" xml:space=\"preserve\">\n\
         <text x=\"16\" y=\"26\" fill=\"#8b93a1\">$ {0}</text>\n",
        escaped(title)
    );
    for (row, line) in lines.iter().enumerate() {
        let mut column = 0_usize;
        for (tone, word) in line.cut(width).0 {
            let x = f64::from(u32::try_from(column).unwrap_or_default()) * LETTER + 16.0;
            let across = f64::from(u32::try_from(word.width()).unwrap_or_default()) * LETTER;
            let weight = if tone == Tone::Strong {
                " font-weight=\"bold\""
            } else {
                ""
            };
            if !word.trim().is_empty() {
                let (y, word_text) = (row * ROW + 52, escaped(&word));
                // Writing to a String cannot fail.
                let _written = writeln!(
                    out,
                    "<text x=\"{x:.1}\" y=\"{y}\" textLength=\"{across:.1}\" fill=\"{}\"{weight}>{word_text}</text>",
                    tone.hex()
                );
            }
            column += word.width();
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_columns_and_not_by_bytes() {
        let line = Line::of(Tone::Good, "größe").and(Tone::Plain, "日本語日本語");

        assert_eq!(text(std::slice::from_ref(&line), 9, false), "größe日…\n");
        assert!(line.cut(9).width() <= 9);
    }

    #[test]
    fn what_comes_from_a_cluster_cannot_move_the_cursor() {
        let line = Line::of(Tone::Plain, "a\u{1b}[2Jb\nc");

        assert_eq!(text(&[line], 80, true), "a [2Jb c\n");
    }

    #[test]
    fn without_colours_there_is_no_escape() {
        let lines = [Line::of(Tone::Bad, "no").and(Tone::Faint, "thing")];

        assert_eq!(text(&lines, 80, false), "nothing\n");
        assert!(text(&lines, 80, true).starts_with("\u{1b}[31mno\u{1b}[0m"));
    }

    #[test]
    fn a_picture_says_what_the_text_says() {
        let picture = svg(&[Line::of(Tone::Good, "a < b")], 40, "kubectl berth status");

        assert!(picture.contains(">a &lt; b</text>"), "{picture}");
    }
}

//! Pictures as text: shapes, words, and a card that is readable on light and on dark pages.

use std::fmt::Write as _;

/// Text.
pub(super) const INK: &str = "#1f2328";
/// Text that matters less, axes.
pub(super) const QUIET: &str = "#59636e";
/// Lines across.
pub(super) const GRID: &str = "#e4e8ec";
const CARD: &str = "#ffffff";
const EDGE: &str = "#d1d9e0";
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";

/// How wide every picture is.
pub(super) const WIDTH: f64 = 900.0;
/// Room between the card's edge and what is on it.
pub(super) const MARGIN: f64 = 28.0;

/// The colour of a target: of Okabe and Ito, told apart with any kind of sight.
pub(super) fn colour(target: &str, index: usize) -> &'static str {
    match target {
        "berth" => "#0072b2",
        "dist3" => "#d55e00",
        "docker-registry" => "#e69f00",
        "nginx" => "#4d5761",
        _ => ["#009e73", "#cc79a7", "#56b4e9"][index % 3],
    }
}

/// Where a text stands on its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// How a text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Face {
    /// Pixels.
    pub(super) size: f64,
    /// Any CSS colour.
    pub(super) colour: &'static str,
    /// Bold.
    pub(super) bold: bool,
    /// Where it stands.
    pub(super) anchor: Anchor,
}

impl Face {
    /// Plain text of a size, from its point on.
    pub(super) const fn plain(size: f64) -> Self {
        Self {
            size,
            colour: INK,
            bold: false,
            anchor: Anchor::Start,
        }
    }

    /// In another colour.
    pub(super) const fn colour(self, colour: &'static str) -> Self {
        Self { colour, ..self }
    }

    /// In bold.
    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// With another place.
    pub(super) const fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// A picture that is being drawn.
#[derive(Debug, Default)]
pub(super) struct Picture {
    shapes: String,
}

impl Picture {
    /// With a title and a line below it.
    pub(super) fn new(title: &str, below: &str) -> Self {
        let mut picture = Self::default();
        picture.text((MARGIN, 40.0), title, Face::plain(19.0).bold());
        picture.text((MARGIN, 62.0), below, Face::plain(13.0).colour(QUIET));
        picture
    }

    /// A text at a point of its base line.
    pub(super) fn text(&mut self, (x, y): (f64, f64), text: &str, face: Face) {
        let anchor = match face.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if face.bold { 600 } else { 400 };
        self.shape(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{}\" font-weight=\"{weight}\" fill=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            face.size,
            face.colour,
            escaped(text)
        ));
    }

    /// A filled box between two corners.
    pub(super) fn area(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str) {
        let (left, top) = (x1.min(x2), y1.min(y2));
        let (width, height) = ((x2 - x1).abs(), (y2 - y1).abs());
        self.shape(&format!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}/>"
        ));
    }

    /// A line through points.
    pub(super) fn path(&mut self, points: &[(f64, f64)], style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.shape(&format!(
            "<polyline points=\"{}\" fill=\"none\" {style}/>",
            points.join(" ")
        ));
    }

    /// A filled shape with corners.
    pub(super) fn polygon(&mut self, points: &[(f64, f64)], style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.shape(&format!("<polygon points=\"{}\" {style}/>", points.join(" ")));
    }

    /// A filled circle.
    pub(super) fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        self.shape(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" stroke=\"{CARD}\" stroke-width=\"1.5\"/>"));
    }

    fn shape(&mut self, shape: &str) {
        self.shapes.push_str(shape);
        self.shapes.push('\n');
    }

    /// The whole file: on a card of a height, with a line at its foot; `title` is for who cannot see it.
    pub(super) fn finish(mut self, height: f64, title: &str, source: &str) -> String {
        self.text((MARGIN, height - 18.0), source, Face::plain(11.0).colour(QUIET));
        let mut file = String::new();
        writeln!(
            file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" font-family=\"{FONT}\">\n\
             <title>{}</title>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"10\" fill=\"{CARD}\" stroke=\"{EDGE}\"/>\n\
             {}</svg>",
            escaped(title),
            WIDTH - 1.0,
            height - 1.0,
            self.shapes
        )
        .ok();
        file
    }
}

/// Text that XML takes as text, in attributes too; characters that XML does not have become `?`.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' | '\r' => safe.push(' '),
            unknown if unknown.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&unknown) => safe.push('?'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_its_element_or_attribute() {
        assert_eq!(escaped("<a b=\"c\">'&\u{1}\n"), "&lt;a b=&quot;c&quot;&gt;&#39;&amp;? ");
    }

    #[test]
    fn a_picture_shows_what_it_was_given_as_text() {
        let picture = Picture::new("5 < 6 & \"7\"", "below").finish(100.0, "</title><script>", "source");

        assert!(
            picture.contains(">5 &lt; 6 &amp; &quot;7&quot;</text>") && !picture.contains("<script>"),
            "{picture}"
        );
    }
}

//! A YAML document as a tree that remembers its lines.
//!
//! Two passes: the first finds out what is a value, a list or keys, and guesses at types on the way, as YAML does; the
//! second asks for each value as text. `0123`, `0x10`, `1e3` and `off` so arrive as they were written, and the setting
//! alone decides what they mean.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;
use serde_yaml::options::{NonFiniteFloatPolicy, Options};
use std::fmt;

/// A node and the line it stands on.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone)]
pub(super) enum Shape {
    Empty,
    Scalar(String),
    List,
    Map(Vec<(String, Node)>),
}

/// Reads a document; an empty one is an empty map.
pub(super) fn parse(text: &str) -> Result<Node, (Option<u64>, String)> {
    let refused = |refused: serde_yaml::Error| {
        let line = refused.location().map(|at| at.line());
        (line, first_line(&refused.to_string()))
    };
    let shapes: Option<Spanned<Shape>> = serde_yaml::from_str_with_options(text, options()).map_err(refused)?;
    let Some(shapes) = shapes else {
        return Ok(Node {
            line: 1,
            shape: Shape::Empty,
        });
    };
    let mut root = node(shapes);
    serde_yaml::with_deserializer_from_str_with_options(text, options(), |document| {
        AsWritten(&mut root.shape).deserialize(document)
    })
    .map_err(refused)?;
    Ok(root)
}

fn options() -> Options {
    let mut options = Options::default();
    // The number that `1e999` would be is of no interest; its text is.
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options
}

/// The library adds a drawing of the source below its message.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn node(spanned: Spanned<Shape>) -> Node {
    Node {
        line: spanned.referenced.line(),
        shape: spanned.value,
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or keys with values")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar(v.to_string()))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar(v.to_string()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar(v.to_string()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Shape, E> {
        Ok(Shape::Scalar(v.to_string()))
    }

    fn visit_str<E>(self, v: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar(v.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Empty)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Empty)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        while list.next_element::<Shape>()?.is_some() {}
        Ok(Shape::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Shape>>()? {
            // A key stands on the line that its reader will look at; a value may begin on the next.
            let line = key.referenced.line();
            entries.push((
                key.value,
                Node {
                    line,
                    shape: value.value,
                },
            ));
        }
        Ok(Shape::Map(entries))
    }
}

/// The second pass over a node: values become the text that was written.
struct AsWritten<'n>(&'n mut Shape);

impl<'de> DeserializeSeed<'de> for AsWritten<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Shape::Empty | Shape::List => IgnoredAny::deserialize(deserializer).map(drop),
            Shape::Scalar(text) => {
                *text = String::deserialize(deserializer)?;
                Ok(())
            }
            Shape::Map(entries) => deserializer.deserialize_map(EntriesAsWritten(entries)),
        }
    }
}

struct EntriesAsWritten<'n>(&'n mut Vec<(String, Node)>);

impl<'de> Visitor<'de> for EntriesAsWritten<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        for (_, node) in self.0 {
            if map.next_key::<String>()?.is_some() {
                map.next_value_seed(AsWritten(&mut node.shape))?;
            }
        }
        // The reader is only content when it was asked for the end, too.
        while map.next_entry::<String, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `key` holds: a text, or `None` for a value that counts as not given.
    fn value(document: &str) -> Option<String> {
        let Shape::Map(mut entries) = parse(document).unwrap().shape else {
            panic!("keys were expected");
        };
        match entries.remove(0).1.shape {
            Shape::Scalar(text) => Some(text),
            Shape::Empty => None,
            other @ (Shape::List | Shape::Map(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_is_the_text_that_was_written() {
        for written in [
            "0123",
            "007",
            "0x10",
            "0o17",
            "0b11",
            "1e3",
            "1e999",
            ".inf",
            "-.inf",
            ".nan",
            "1_000",
            "+5",
            "-0",
            "1.50",
            "off",
            "on",
            "no",
            "True",
            "12:30:45",
            "2026-11-22",
            "127.0.0.1:5000",
            "99999999999999999999999",
        ] {
            assert_eq!(value(&format!("key: {written}\n")).as_deref(), Some(written));
            assert_eq!(
                value(&format!("{{key: {written}}}\n")).as_deref(),
                Some(written),
                "in braces"
            );
        }
    }

    #[test]
    fn quotes_and_blocks_are_read_as_yaml_says() {
        assert_eq!(value("key: '0123'\n").as_deref(), Some("0123"));
        assert_eq!(value("key: \"a\\tb\"\n").as_deref(), Some("a\tb"));
        assert_eq!(value("key: ''\n").as_deref(), Some(""));
        assert_eq!(value("key: 'null'\n").as_deref(), Some("null"));
        assert_eq!(value("key: '~'\n").as_deref(), Some("~"));
        assert_eq!(value("key: |\n  01\n  02\n").as_deref(), Some("01\n02\n"));
        assert_eq!(value("key: >-\n  01\n  02\n").as_deref(), Some("01 02"));
        assert_eq!(value("key: 01\n  02\n").as_deref(), Some("01 02"));
        assert_eq!(value("key: !!str 0123\n").as_deref(), Some("0123"));
        assert_eq!(value("key: 0123 # why\n").as_deref(), Some("0123"));
    }

    #[test]
    fn nothing_and_null_count_as_not_given() {
        for written in ["", "~", "null", "Null", "NULL", "!!null x"] {
            assert_eq!(value(&format!("key: {written}\n")), None, "{written}");
        }
    }

    #[test]
    fn an_alias_and_a_merge_bring_the_text_that_was_written() {
        let Shape::Map(entries) = parse("a: &a 0123\nb: *a\nc: &c {x: 0x10}\nd: {<<: *c, y: off}\n")
            .unwrap()
            .shape
        else {
            panic!("keys were expected");
        };

        let told = format!("{entries:?}");

        assert_eq!(told.matches("Scalar(\"0123\")").count(), 2, "{told}");
        assert_eq!(told.matches("Scalar(\"0x10\")").count(), 2, "{told}");
        assert_eq!(told.matches("Scalar(\"off\")").count(), 1, "{told}");
    }

    #[test]
    fn a_key_keeps_its_line() {
        let Shape::Map(entries) = parse("a: 1\n\nb:\n  c: 007\n").unwrap().shape else {
            panic!("keys were expected");
        };

        let lines: Vec<u64> = entries.iter().map(|(_, node)| node.line).collect();

        assert_eq!(lines, [1, 3]);
    }
}

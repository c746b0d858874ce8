//! A log that no input can break: a line is an event, and nothing in it is a control character.

use crate::case::Surprise;
use crate::server::Format;

/// Lines longer than this were made long by somebody else.
const LONGEST_LINE: usize = 64 * 1024;

/// What is wrong with a log, line by line.
pub(crate) fn surprises(written: &[u8], format: Format) -> Vec<Surprise> {
    let Ok(text) = std::str::from_utf8(written) else {
        return vec!["the log is not UTF-8".to_owned()];
    };
    let wrong = |line: &str| {
        let verdict = match format {
            Format::Json => json_line(line),
            Format::Text => text_line(line),
        };
        verdict.err().map(|what| format!("log: {what}: {:?}", shortened(line)))
    };
    let mut found: Vec<Surprise> = text.lines().filter_map(wrong).collect();
    if !text.ends_with('\n') {
        found.push("log: its last line is cut".to_owned());
    }
    found
}

fn shortened(line: &str) -> String {
    line.chars().take(200).collect()
}

fn any_line(line: &str) -> Result<(), &'static str> {
    if line.len() > LONGEST_LINE {
        return Err("a line is too long");
    }
    let steers = |letter: char| {
        letter.is_control() || "\u{202a}\u{202b}\u{202d}\u{202e}\u{2066}\u{2067}\u{2028}".contains(letter)
    };
    if line.chars().any(steers) {
        return Err("a control character");
    }
    if line.contains("panicked at") {
        return Err("a panic");
    }
    Ok(())
}

fn json_line(line: &str) -> Result<(), &'static str> {
    any_line(line)?;
    let event: serde_json::Value = serde_json::from_str(line).map_err(|_not_json| "a line that is not JSON")?;
    let told = event["message"].is_string() && event["level"].is_string() && event["timestamp"].is_string();
    told.then_some(()).ok_or("not an event")?;
    no_fault(event["level"].as_str().unwrap_or_default())
}

fn text_line(line: &str) -> Result<(), &'static str> {
    any_line(line)?;
    let mut words = line.split_whitespace();
    let stamp = words.next().unwrap_or_default();
    let shape: String = stamp
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '0' } else { letter })
        .collect();
    if !shape.starts_with("0000-00-00T00:00:00.") {
        return Err("a line that does not begin with the time");
    }
    let level = words.next().unwrap_or_default();
    ["WARN", "INFO", "ERROR"]
        .contains(&level)
        .then_some(())
        .ok_or("no level")?;
    no_fault(level)
}

/// What a client sends is never an error of the server.
fn no_fault(level: &str) -> Result<(), &'static str> {
    if level == "ERROR" {
        Err("an error was logged")
    } else {
        Ok(())
    }
}

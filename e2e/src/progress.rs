//! What a person sees while something takes long: one line that lives on a terminal, plain lines elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::shell::Log;

const TICK: Duration = Duration::from_millis(150);
const WIDTH: usize = 100;
const WHEEL: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Writes a line to standard output; a reader that went away is no fault of ours.
pub fn line(text: &str) {
    writeln!(io::stdout().lock(), "{text}").ok();
}

/// Does `work`; on a terminal one line shows `label`, the time so far and the newest line of `log`.
pub fn live<T>(label: &str, log: &Log, work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    if !io::stdout().is_terminal() {
        return (work(), started.elapsed());
    }
    let (done, ended) = mpsc::channel::<()>();
    let value = thread::scope(|scope| {
        scope.spawn(move || {
            let mut turn = WHEEL.iter().cycle();
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let newest = log.tail(1);
                let newest = newest.split('\r').next_back().unwrap_or_default().trim();
                let text = format!(
                    "{} {label}  {}  {newest}",
                    turn.next().unwrap_or(&' '),
                    seconds(started.elapsed())
                );
                redraw(&text.chars().filter(|c| !c.is_control()).take(WIDTH).collect::<String>());
            }
            redraw("");
        });
        let value = work();
        drop(done);
        value
    });
    (value, started.elapsed())
}

fn redraw(text: &str) {
    let mut out = io::stdout().lock();
    write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush()).ok();
}

/// A duration as a person reads it: `0.4 s`, `12 s`, `3 min 05 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(59)), "59 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
    }
}

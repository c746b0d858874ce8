//! Times when no roll-out begins: from one moment to another, or again and again by a schedule; pure.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::lease::after;

/// The longest that one occurrence of a schedule may last.
const LONGEST: Duration = Duration::from_hours(24 * 31);
/// How many occurrences that touch one another are followed to say until when it is frozen.
const FOLLOWED: usize = 400;

/// A time when no roll-out begins.
#[derive(Clone, Debug)]
pub struct FreezeWindow {
    when: When,
    /// Why, as people gave it.
    pub reason: String,
}

#[derive(Clone, Debug)]
enum When {
    Once {
        from: Timestamp,
        to: Timestamp,
    },
    Recurring {
        cron: Cron,
        duration: Duration,
        zone: TimeZone,
    },
}

/// It is such a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// Until when, with the windows that follow without a gap.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frozen until {:.0}", self.until)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

/// What is wrong with a window. The text names the field and the remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WindowError {
    /// A time that cannot be read, or is before the other one.
    #[error("{0}")]
    Moment(String),
    /// A schedule that cannot be read.
    #[error("schedule {0:?}: {1}; five fields are wanted, minute hour day month weekday, such as \"0 18 * * FRI\"")]
    Schedule(String, String),
    /// A time zone that is not known.
    #[error("timeZone {0:?} is not known: use a name of the IANA database, such as Europe/Berlin or UTC")]
    Zone(String),
    /// A duration of nothing, or of more than a month.
    #[error("duration is to be more than nothing and at most 31 days; for longer, set from and to")]
    Length,
}

impl FreezeWindow {
    /// The window between two moments, both in RFC 3339.
    ///
    /// # Errors
    /// [`WindowError::Moment`].
    pub fn once(from: &str, to: &str, reason: &str) -> Result<Self, WindowError> {
        let moment = |name: &str, text: &str| {
            let read = text.parse::<Timestamp>();
            read.map_err(|error| {
                WindowError::Moment(format!(
                    "{name} {text:?} is no time with a zone, such as 2026-12-24T00:00:00Z: {error}"
                ))
            })
        };
        let (from, to) = (moment("from", from)?, moment("to", to)?);
        if to <= from {
            return Err(WindowError::Moment(format!("to, {to}, is to be after from, {from}")));
        }
        Ok(Self {
            when: When::Once { from, to },
            reason: reason.to_owned(),
        })
    }

    /// The window that begins whenever `schedule` says so in that time zone (empty: UTC), and lasts for `duration`.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn recurring(schedule: &str, duration: Duration, zone: &str, reason: &str) -> Result<Self, WindowError> {
        if duration.is_zero() || duration > LONGEST {
            return Err(WindowError::Length);
        }
        let name = if zone.is_empty() { "UTC" } else { zone };
        let zone = TimeZone::get(name);
        #[expect(
            clippy::map_err_ignore,
            reason = "the cause only says again that there is no such zone"
        )]
        let zone = zone.map_err(|_| WindowError::Zone(name.to_owned()))?;
        Ok(Self {
            when: When::Recurring {
                cron: Cron::parse(schedule)?,
                duration,
                zone,
            },
            reason: reason.to_owned(),
        })
    }

    /// Until when this window lasts, if `now` is in it.
    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Once { from, to } => (*from <= now && now < *to).then_some(*to),
            When::Recurring { cron, duration, zone } => {
                let began = cron.latest(now, *duration, zone)?;
                Some(after(began, *duration)).filter(|until| now < *until)
            }
        }
    }
}

/// Whether one of `windows` is open, for how long, and why.
pub fn frozen(windows: &[FreezeWindow], now: Timestamp) -> Option<Frozen> {
    let longest = |at: Timestamp| {
        let open = windows.iter().filter_map(|window| Some((window.until(at)?, window)));
        open.max_by_key(|(until, _)| *until)
    };
    let (mut until, window) = longest(now)?;
    for _ in 0..FOLLOWED {
        let Some((later, _)) = longest(until) else { break };
        until = later;
    }
    Some(Frozen {
        until,
        reason: window.reason.clone(),
    })
}

/// A schedule in the form of cron: minute, hour, day of the month, month, day of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A day matches by either, when both the day of the month and that of the week are given: as cron has it.
    either_day: bool,
}

impl Cron {
    fn parse(schedule: &str) -> Result<Self, WindowError> {
        let wrong = |why: String| WindowError::Schedule(schedule.to_owned(), why);
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(wrong(format!("it has {} fields", fields.len())));
        };
        let set = |text: &str, field: &Field| field.parse(text).map_err(wrong);
        let mut of_week = set(weekdays, &WEEKDAY)?;
        if of_week & (1 << 7) != 0 {
            of_week |= 1;
        }
        Ok(Self {
            minutes: set(minutes, &MINUTE)?,
            hours: set(hours, &HOUR)?,
            days: set(days, &DAY)?,
            months: set(months, &MONTH)?,
            weekdays: of_week,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        })
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let matches = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        has(self.months, date.month()) && matches
    }

    /// The latest beginning that is not after `now`, looked for as far back as it could still matter.
    ///
    /// A beginning that the clocks skip comes as much later as they skip; one that they show twice is the first.
    fn latest(&self, now: Timestamp, duration: Duration, zone: &TimeZone) -> Option<Timestamp> {
        let today = now.to_zoned(zone.clone()).date();
        // A day more on either side for clocks that are set.
        let days_back = i64::try_from(duration.as_secs() / 86_400).unwrap_or(0) + 2;
        let dates = (-1..=days_back).filter_map(|back| today.checked_sub(Span::new().days(back)).ok());
        let starts = dates
            .filter(|date| self.has_day(*date))
            .filter_map(|date| self.latest_of_day(date, now, zone));
        starts.max()
    }

    fn latest_of_day(&self, date: Date, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let hours = (0..24_i8).rev().filter(|hour| has(self.hours, *hour));
        let times = hours.flat_map(|hour| {
            let minutes = (0..60_i8).rev().filter(|minute| has(self.minutes, *minute));
            minutes.filter_map(move |minute| Time::new(hour, minute, 0, 0).ok())
        });
        let mut starts = times.filter_map(|time| {
            let start = zone.to_ambiguous_zoned(date.to_datetime(time)).compatible().ok()?;
            Some(start.timestamp())
        });
        starts.find(|start| *start <= now)
    }
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set & (1 << value) != 0)
}

struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// Names of the values from `least` on.
    names: &'static [&'static str],
}

const MINUTE: Field = Field {
    name: "minute",
    least: 0,
    most: 59,
    names: &[],
};
const HOUR: Field = Field {
    name: "hour",
    least: 0,
    most: 23,
    names: &[],
};
const DAY: Field = Field {
    name: "day",
    least: 1,
    most: 31,
    names: &[],
};
const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ],
};
/// Sunday is 0, and 7 as well.
const WEEKDAY: Field = Field {
    name: "weekday",
    least: 0,
    most: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
};

impl Field {
    /// The set of values: `*`, `5`, `1-5`, `*/15`, `8-18/2`, and several of them with commas.
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = part.split_once('/').unwrap_or((part, ""));
        let step: u8 = if step.is_empty() && !part.contains('/') {
            1
        } else {
            let read = step.parse().ok().filter(|step| *step > 0);
            read.ok_or_else(|| format!("{step:?} is no step of {}", self.name))?
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((from, to)) => (self.value(from)?, self.value(to)?),
            // `5/10` is from 5 on.
            None if part.contains('/') => (self.value(range)?, self.most),
            None => (self.value(range)?, self.value(range)?),
        };
        if to < from {
            return Err(format!("{range:?} of {} ends before it begins", self.name));
        }
        Ok((from..=to)
            .step_by(step.into())
            .fold(0, |set, value| set | (1 << value)))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named.and_then(|index| u8::try_from(index).ok()) {
            Some(index) => Some(self.least + index),
            None => text.parse().ok(),
        };
        let value = value.filter(|value| (self.least..=self.most).contains(value));
        value.ok_or_else(|| format!("{text:?} is no {} from {} to {}", self.name, self.least, self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn recurring(schedule: &str, hours: u32, zone: &str) -> [FreezeWindow; 1] {
        [FreezeWindow::recurring(schedule, HOUR * hours, zone, "why").unwrap()]
    }

    fn until(windows: &[FreezeWindow], now: &str) -> Option<String> {
        frozen(windows, at(now)).map(|frozen| frozen.until.to_string())
    }

    #[test]
    fn a_window_is_open_from_its_beginning_until_just_before_its_end() {
        let windows =
            [FreezeWindow::once("2026-12-24T00:00:00+01:00", "2026-12-27T00:00:00+01:00", "holidays").unwrap()];

        assert_eq!(until(&windows, "2026-12-23T22:59:59Z"), None);
        assert_eq!(until(&windows, "2026-12-23T23:00:00Z").unwrap(), "2026-12-26T23:00:00Z");
        assert_eq!(until(&windows, "2026-12-26T23:00:00Z"), None);
        let frozen = frozen(&windows, at("2026-12-25T00:00:00Z")).unwrap();
        assert_eq!(frozen.to_string(), "frozen until 2026-12-26T23:00:00Z: holidays");
    }

    #[test]
    fn a_weekend_is_frozen_in_its_own_time_zone() {
        // Friday 18:00 in Berlin until Monday 06:00.
        let windows = recurring("0 18 * * FRI", 60, "Europe/Berlin");

        assert_eq!(until(&windows, "2026-11-20T16:59:00Z"), None);
        assert_eq!(until(&windows, "2026-11-20T17:00:00Z").unwrap(), "2026-11-23T05:00:00Z");
        assert_eq!(until(&windows, "2026-11-23T04:59:59Z").unwrap(), "2026-11-23T05:00:00Z");
        assert_eq!(until(&windows, "2026-11-23T05:00:00Z"), None);
    }

    #[test]
    fn windows_without_a_gap_count_as_one() {
        let nightly = FreezeWindow::recurring("0 22 * * *", HOUR * 8, "", "night").unwrap();
        let daily = FreezeWindow::recurring("0 6 * * 1", HOUR * 4, "", "Monday").unwrap();

        let frozen = frozen(&[nightly, daily], at("2026-11-22T23:00:00Z")).unwrap();

        assert_eq!(
            (frozen.until, frozen.reason.as_str()),
            (at("2026-11-23T10:00:00Z"), "night")
        );
    }

    #[test]
    fn a_schedule_without_a_gap_is_followed_to_a_bound() {
        let windows = recurring("* * * * *", 1, "");

        assert!(frozen(&windows, at("2026-11-22T23:00:30Z")).unwrap().until > at("2026-11-23T00:00:00Z"));
    }

    #[test]
    fn a_beginning_that_the_clocks_skip_comes_later_and_one_they_show_twice_is_the_first() {
        let windows = recurring("30 2 * * *", 1, "Europe/Berlin");

        assert_eq!(until(&windows, "2026-03-29T01:29:59Z"), None);
        assert_eq!(until(&windows, "2026-03-29T01:30:00Z").unwrap(), "2026-03-29T02:30:00Z");
        assert_eq!(until(&windows, "2026-10-25T00:30:00Z").unwrap(), "2026-10-25T01:30:00Z");
        assert_eq!(until(&windows, "2026-10-25T01:30:00Z"), None);
    }

    #[test]
    fn a_month_long_window_is_still_open_on_its_last_day() {
        let windows = [FreezeWindow::recurring("0 0 1 12 *", HOUR * 24 * 31, "", "December").unwrap()];

        assert_eq!(until(&windows, "2026-12-31T23:59:59Z").unwrap(), "2027-01-01T00:00:00Z");
        assert_eq!(until(&windows, "2026-11-30T23:59:59Z"), None);
    }

    #[test]
    fn days_are_read_as_cron_reads_them() {
        let either = Cron::parse("0 0 13 * FRI").unwrap();
        let days = |cron: &Cron| {
            (1..=30)
                .filter(|day| cron.has_day(Date::new(2026, 11, *day).unwrap()))
                .collect::<Vec<i8>>()
        };

        assert_eq!(days(&either), [6, 13, 20, 27]);
        assert_eq!(days(&Cron::parse("0 0 13 * *").unwrap()), [13]);
        assert_eq!(days(&Cron::parse("0 0 * nov 7").unwrap()), [1, 8, 15, 22, 29]);
        assert_eq!(days(&Cron::parse("0 0 1-10/3,28 * *").unwrap()), [1, 4, 7, 10, 28]);
        assert_eq!(days(&Cron::parse("0 0 * 12 *").unwrap()), Vec::<i8>::new());
    }

    #[test]
    fn every_cron_field_gives_the_set_that_a_walk_over_its_values_gives() {
        let minutes = |text: &str| {
            (0..60)
                .filter(|minute| has(MINUTE.parse(text).unwrap(), *minute))
                .collect::<Vec<i8>>()
        };

        assert_eq!(minutes("*/15"), [0, 15, 30, 45]);
        assert_eq!(minutes("50/5"), [50, 55]);
        assert_eq!(minutes("1,2,58-59"), [1, 2, 58, 59]);
        assert_eq!(minutes("*").len(), 60);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_field_and_the_remedy() {
        let refused = |schedule: &str, zone: &str| {
            FreezeWindow::recurring(schedule, HOUR, zone, "")
                .unwrap_err()
                .to_string()
        };

        for (schedule, said) in [
            ("0 18 * *", "it has 4 fields"),
            ("60 * * * *", "\"60\" is no minute from 0 to 59"),
            ("0 5-3 * * *", "\"5-3\" of hour ends before it begins"),
            ("*/0 * * * *", "\"0\" is no step of minute"),
            ("*/ * * * *", "\"\" is no step of minute"),
            ("0 0 * * FRIDAY", "\"FRIDAY\" is no weekday from 0 to 7"),
            ("0 0 0 * *", "\"0\" is no day from 1 to 31"),
        ] {
            let text = refused(schedule, "");
            assert!(
                text.contains(said) && text.contains("0 18 * * FRI"),
                "{schedule}: {text}"
            );
        }
        assert!(refused("0 0 * * *", "Mars/Olympus").contains("IANA"));
        assert_eq!(
            FreezeWindow::recurring("0 0 * * *", HOUR * 24 * 32, "", "").unwrap_err(),
            WindowError::Length
        );
        let backwards = FreezeWindow::once("2026-12-24T00:00:00Z", "2026-12-23T00:00:00Z", "").unwrap_err();
        assert!(backwards.to_string().contains("is to be after from"), "{backwards}");
        assert!(
            FreezeWindow::once("tomorrow", "2026-12-23T00:00:00Z", "")
                .unwrap_err()
                .to_string()
                .contains("from \"tomorrow\"")
        );
    }
}

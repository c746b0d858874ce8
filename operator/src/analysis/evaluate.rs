//! Every check of one look at the canary.
//!
//! A class of route with few requests cannot pass by itself: it counts in the check over all classes. Where it already
//! shows that something is wrong it is a check of its own all the same, so that a broken route which few use is found.

use super::interval::{Share, Z_FAIL, Z_PASS};
use super::judge::{FLOOR, Limit, is_over, judge};
use super::objectives::{Objectives, Speed};
use super::sample::{Counts, Sample, Unclean};
use super::verdict::{CheckResult, Evaluation, Verdict, Why};
use crate::api::rollout::RouteClass;

/// A share of failed requests that nobody looks at twice.
const HARD_ERRORS: f64 = 0.25;
/// A share of slow answers that nobody looks at twice.
const HARD_SLOWNESS: f64 = 0.75;
/// How much worse than the old version's an apdex may be: a new pod begins with cold caches.
const SLOWER: f64 = 0.1;
/// How much greater than the old version's the share of answers with one code may be.
const MORE_DENIED: f64 = 0.2;
/// The same for 404, which depends on what clients look for.
const MORE_MISSING: f64 = 0.5;
/// Answers of one code come in runs of about so many: one client, one connection.
const RUN: f64 = 10.0;

/// Judges one look at the canary, with the old version beside it where there is one.
pub fn evaluate(objectives: &Objectives, canary: &Sample, main: Option<&Sample>) -> Evaluation {
    let mut broken = unusable(canary, "canary");
    if let Some(main) = main {
        broken.extend(unusable(main, "main"));
    }
    if objectives.check().is_err() {
        let why = Why::Unclean(Unclean::NoSuchBound);
        broken.push(CheckResult::plain("objectives", "canary", Verdict::Error, why, ""));
    }
    if !broken.is_empty() {
        return Evaluation::of(broken);
    }
    let look = Look {
        objectives,
        canary,
        main,
    };
    let mut checks = look.errors();
    checks.extend(look.speeds().unwrap_or_else(|(stage, unclean)| {
        vec![CheckResult::plain(
            "apdex",
            stage,
            Verdict::Error,
            Why::Unclean(unclean),
            &canary.query,
        )]
    }));
    checks.extend(look.codes());
    checks.extend(look.panics());
    Evaluation::of(checks)
}

/// What forbids to conclude anything from a sample.
pub(super) fn unusable(sample: &Sample, stage: &'static str) -> Vec<CheckResult> {
    let mut found = Vec::new();
    let mut add = |check: &str, verdict, why, detail: String| {
        found.push(CheckResult::plain(check, stage, verdict, why, &detail));
    };
    for (class, counts) in &sample.classes {
        if let Err(unclean) = counts.check() {
            let detail = format!(
                "{} requests are {} good and {} bad: {}",
                counts.total, counts.good, counts.bad, sample.query
            );
            add(
                &format!("errors/{}", class.as_str()),
                Verdict::Error,
                Why::Unclean(unclean),
                detail,
            );
        }
    }
    if !(0.0..f64::MAX).contains(&sample.panics) {
        add(
            "panics",
            Verdict::Error,
            Why::Unclean(Unclean::NotACount),
            sample.panics.to_string(),
        );
    }
    let (seen, expected) = (sample.targets_seen, sample.targets_expected);
    if seen < expected || expected == 0 {
        let detail = format!("{seen} of {expected} ready pods are measured: {}", sample.query);
        add("targets", Verdict::NoData, Why::TargetsMissing, detail);
    }
    if sample.is_stale() {
        let detail = sample.age.map_or_else(
            || "no pod was heard of".to_owned(),
            |age| format!("the newest measurement is {} s old", age.as_secs()),
        );
        add("freshness", Verdict::NoData, Why::Stale, detail);
    }
    found
}

struct Look<'a> {
    objectives: &'a Objectives,
    canary: &'a Sample,
    main: Option<&'a Sample>,
}

/// What is judged in one check.
struct Subject<'a> {
    check: String,
    canary: Share,
    main: Option<Share>,
    limit: Limit,
    /// Shown as the good share instead of the bad one.
    is_score: bool,
    detail: &'a str,
}

impl Look<'_> {
    /// Failed requests: of all classes, and of each that has enough of them or shows that something is wrong.
    fn errors(&self) -> Vec<CheckResult> {
        let limit = Limit {
            max: self.objectives.max_errors,
            hard: HARD_ERRORS,
            allowed_increase: self.objectives.allowed_increase,
            min_samples: self.objectives.min_samples,
        };
        let share = |counts: &Counts| Share::new(counts.total, counts.bad);
        let subject = |check: String, canary, main| Subject {
            check,
            canary,
            main,
            limit,
            is_score: false,
            detail: &self.canary.query,
        };
        let mut checks = vec![whole(&subject(
            "errors".to_owned(),
            sum(self.canary.classes.values().map(share)),
            self.main.map(|main| sum(main.classes.values().map(share))),
        ))];
        for (class, counts) in &self.canary.classes {
            let main = self
                .main
                .map(|main| main.classes.get(class).map(share).unwrap_or_default());
            let subject = subject(format!("errors/{}", class.as_str()), share(counts), main);
            checks.extend(part(&subject));
        }
        checks
    }

    /// Slow answers, in the same way; each class with its own times also where all are judged together.
    fn speeds(&self) -> Result<Vec<CheckResult>, (&'static str, Unclean)> {
        let mut checks = Vec::new();
        let (mut canaries, mut mains, mut allowed) = (Vec::new(), Vec::new(), 0.0);
        for (class, speed) in &self.objectives.apdex {
            let of = |sample: &Sample| {
                sample
                    .classes
                    .get(class)
                    .map_or_else(|| Ok(Share::default()), |it| slowness(it, speed))
            };
            let canary = of(self.canary).map_err(|unclean| ("canary", unclean))?;
            let main = self.main.map(of).transpose().map_err(|unclean| ("main", unclean))?;
            allowed += canary.n * (1.0 - speed.min);
            canaries.push(canary);
            mains.extend(main);
            checks.extend(part(&self.speed(class_check(*class), canary, main, 1.0 - speed.min)));
        }
        let canary = sum(canaries.into_iter());
        let main = self.main.map(|_| sum(mains.into_iter()));
        if canary.n > 0.0 {
            checks.push(whole(&self.speed("apdex".to_owned(), canary, main, allowed / canary.n)));
        }
        Ok(checks)
    }

    fn speed(&self, check: String, canary: Share, main: Option<Share>, max: f64) -> Subject<'_> {
        Subject {
            check,
            canary,
            main,
            limit: Limit {
                max,
                hard: HARD_SLOWNESS,
                allowed_increase: SLOWER,
                min_samples: self.objectives.min_samples,
            },
            is_score: true,
            detail: &self.canary.query,
        }
    }

    /// Answers that are no failure by themselves: broken authentication is 401 for everybody, and no 5xx at all.
    fn codes(&self) -> Vec<CheckResult> {
        let Some(main) = self.main else { return Vec::new() };
        let mut checks = Vec::new();
        for (code, allowed) in [("401", MORE_DENIED), ("403", MORE_DENIED), ("404", MORE_MISSING)] {
            let share = |counts: &Counts| Share::new(counts.total, with_code(counts, code));
            let all = |sample: &Sample| sum(sample.classes.values().map(share));
            checks.extend(code_check(format!("code_{code}"), all(self.canary), all(main), allowed));
            for (class, counts) in &self.canary.classes {
                let main = main.classes.get(class).map(share).unwrap_or_default();
                let check = format!("code_{code}/{}", class.as_str());
                checks.extend(code_check(check, share(counts), main, allowed).filter(|it| it.verdict.is_fail()));
            }
        }
        checks
    }

    fn panics(&self) -> Option<CheckResult> {
        let main = self.main.map_or(0.0, |main| main.panics);
        let verdict = if main >= 1.0 {
            Verdict::Unsure
        } else {
            Verdict::Fail { hard: false }
        };
        let detail = format!(
            "{} requests to the canary and {main} to main ended in a panic",
            self.canary.panics
        );
        // Extrapolation makes less than one of one.
        let has_panicked = self.canary.panics >= 0.5;
        has_panicked.then(|| CheckResult::plain("panics", "canary", verdict, Why::Panicked, &detail))
    }
}

fn whole(subject: &Subject<'_>) -> CheckResult {
    let judged = judge(subject.canary, subject.main, &subject.limit);
    let turned = |share: f64| if subject.is_score { 1.0 - share } else { share };
    let (lower, upper) = (turned(judged.interval.lower), turned(judged.interval.upper));
    CheckResult {
        check: subject.check.clone(),
        stage: "canary",
        verdict: judged.verdict,
        why: judged.why,
        samples: subject.canary.n,
        value: (subject.canary.n > 0.0).then(|| turned(subject.canary.value())),
        lower: Some(lower.min(upper)),
        upper: Some(lower.max(upper)),
        limit: Some(turned(subject.limit.max)),
        detail: subject.detail.to_owned(),
    }
}

/// The check of one class. With too few requests it is left to the check of all, unless it looks bad by itself.
fn part(subject: &Subject<'_>) -> Option<CheckResult> {
    let mut check = whole(subject);
    let has_enough = subject.canary.n >= subject.limit.min_samples.max(FLOOR);
    if check.verdict == Verdict::NoData && !has_enough {
        if subject.canary.value() <= subject.limit.max {
            return None;
        }
        (check.verdict, check.why) = (Verdict::Unsure, Why::SeemsOverLimit);
    }
    Some(check)
}

fn class_check(class: RouteClass) -> String {
    format!("apdex/{}", class.as_str())
}

/// The share of answers that did not satisfy: a tolerated one is half of one, and a failed one is one however fast.
pub(super) fn slowness(counts: &Counts, speed: &Speed) -> Result<Share, Unclean> {
    if counts.total <= 0.0 {
        return Ok(Share::default());
    }
    let satisfied = counts.within(speed.satisfied)?;
    let tolerated = counts.within(speed.tolerated)?;
    Ok(Share::new(
        counts.total,
        counts.total - f64::midpoint(satisfied, tolerated),
    ))
}

fn with_code(counts: &Counts, code: &str) -> f64 {
    match code {
        "401" => counts.unauthorized,
        "403" => counts.forbidden,
        _ => counts.missing,
    }
}

fn code_check(check: String, canary: Share, main: Share, allowed: f64) -> Option<CheckResult> {
    let (few, others) = (canary.scaled(1.0 / RUN), main.scaled(1.0 / RUN));
    if few.n < FLOOR || others.n < FLOOR {
        return None;
    }
    let more = few.minus(others, Z_FAIL);
    let is_worse = more.lower > allowed;
    let likely = few.wilson(Z_PASS);
    Some(CheckResult {
        check,
        stage: "canary",
        verdict: if is_worse {
            Verdict::Fail { hard: false }
        } else {
            Verdict::Strong
        },
        why: if is_worse { Why::Regression } else { Why::WithinLimit },
        samples: canary.n,
        value: Some(canary.value()),
        lower: Some(likely.lower),
        upper: Some(likely.upper),
        limit: Some((main.value() + allowed).min(1.0)),
        detail: format!("main: {:.4}", main.value()),
    })
}

pub(super) fn sum(shares: impl Iterator<Item = Share>) -> Share {
    let (n, bad) = shares.fold((0.0, 0.0), |(n, bad), share| (n + share.n, bad + share.bad));
    Share::new(n, bad)
}

/// True when there is proof that more than `limit` of the requests of a stage failed: the same arithmetic for a stage
/// that nothing is compared with.
pub fn fails(sample: &Sample, limit: f64) -> bool {
    let shares = sample
        .classes
        .values()
        .map(|counts| Share::new(counts.total, counts.bad));
    is_over(sum(shares), limit)
}

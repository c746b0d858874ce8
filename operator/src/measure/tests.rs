//! Answers and texts as they must not be taken, and counters over restarts.

use std::time::Duration;

use super::memory::{Counters, Memory, Place};
use super::reply::{scalar, vector};
use super::text::{TextError, read};
use super::{Flaw, Prometheus, PrometheusAccess, Target};
use crate::analysis::objectives::BOUNDS;
use crate::api::rollout::RouteClass;

const TIME: f64 = 1000.0;

fn one(value: &str) -> String {
    format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1000.0,"{value}"]}}]}}}}"#
    )
}

fn flaw(body: &str) -> Flaw {
    vector(body.as_bytes(), &[], TIME).unwrap_err()
}

#[test]
fn a_number_is_a_number() {
    assert_eq!(
        vector(one("12.5").as_bytes(), &[], TIME).unwrap()[&Vec::new()].to_string(),
        "12.5"
    );
    let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    assert!(vector(empty.as_bytes(), &[], TIME).unwrap().is_empty());
    let time = br#"{"status":"success","data":{"resultType":"scalar","result":[1000.1,"1000.1"]}}"#;
    assert_eq!(scalar(time).unwrap().to_string(), "1000.1");
}

#[test]
fn what_is_no_number_is_refused() {
    for value in ["NaN", "+Inf", "-Inf", "1e400", "-1", "-0.5", "", "twelve"] {
        assert!(matches!(flaw(&one(value)), Flaw::NotACount(_)), "{value}");
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    let cut = &one("12")[..70];
    for body in [
        "<html><body>Log in</body></html>",
        "",
        cut,
        "{}",
        "[]",
        "null",
        r#"{"status":"success"}"#,
    ] {
        assert!(matches!(flaw(body), Flaw::NotAnAnswer(_)), "{body}");
    }
    let number =
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1000.0,1e400]}]}}"#;
    assert!(matches!(flaw(number), Flaw::NotAnAnswer(_)));
}

#[test]
fn an_error_or_a_warning_is_refused_with_its_text() {
    let refused = r#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
    assert_eq!(flaw(refused), Flaw::Refused("parse error at char 3".to_owned()));
    let partial = one("12").replace("\"status\"", "\"warnings\":[\"store gateway 2 is away\"],\"status\"");
    assert_eq!(flaw(&partial), Flaw::Partial("store gateway 2 is away".to_owned()));
}

#[test]
fn another_type_is_refused() {
    for name in ["matrix", "string", "scalar"] {
        assert_eq!(flaw(&one("12").replace("vector", name)), Flaw::Type(name.to_owned()));
    }
}

#[test]
fn series_that_were_not_asked_for_are_refused() {
    let labelled = one("12").replace(r#""metric":{}"#, r#""metric":{"pod":"a"}"#);
    assert!(matches!(flaw(&labelled), Flaw::Labels(_)));
    assert!(matches!(
        vector(one("12").as_bytes(), &["class"], TIME),
        Err(Flaw::Labels(_))
    ));
    let element = r#"{"metric":{},"value":[1000.0,"1"]}"#;
    let two = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{element},{element}]}}}}"#);
    assert!(matches!(flaw(&two), Flaw::Several(_)));
}

#[test]
fn an_answer_of_another_time_is_refused() {
    assert_eq!(vector(one("12").as_bytes(), &[], 1300.0), Err(Flaw::Time));
}

/// A text as the data plane shows it, with `reads` manifests read.
fn shown(reads: u32) -> String {
    let mut lines = vec![
        "# TYPE berth_registry_info gauge".to_owned(),
        "berth_registry_info{registry=\"team/hub\",stage=\"canary\",version=\"1.2.0\",replica=\"hub-1\"} 1".to_owned(),
        "berth_registry_http_panics_total 0".to_owned(),
    ];
    for class in RouteClass::ALL {
        let count = if class == RouteClass::ManifestRead { reads } else { 0 };
        let labels = format!("stage=\"canary\",class=\"{}\",method=\"read\"", class.as_str());
        for (code, count) in [("2xx", count), ("404", count / 10), ("5xx", 0)] {
            let name = "berth_registry_http_class_requests_total";
            lines.push(format!("{name}{{{labels},code=\"{code}\"}} {count}"));
        }
        let bounds = BOUNDS.map(|bound| format!("{bound:?}"));
        for le in bounds.iter().map(String::as_str).chain(["+Inf"]) {
            for (code, count) in [("2xx", count), ("4xx", count / 10), ("5xx", 0)] {
                let name = "berth_registry_http_class_duration_seconds_bucket";
                lines.push(format!("{name}{{{labels},le=\"{le}\",code=\"{code}\"}} {count}"));
            }
        }
    }
    lines.push("# EOF\n".to_owned());
    lines.join("\n")
}

#[test]
fn a_text_is_read_by_class() {
    let shown = read(&shown(100)).unwrap();

    assert_eq!(
        (shown.registry.as_str(), shown.stage.as_str(), shown.version.as_str()),
        ("team/hub", "canary", "1.2.0")
    );
    let reads = &shown.counters.classes()[&RouteClass::ManifestRead];
    assert_eq!((reads.total, reads.good, reads.bad, reads.missing).1.to_string(), "110");
    assert_eq!(reads.missing.to_string(), "10");
    assert_eq!(reads.check(), Ok(()));
    assert_eq!(reads.within(0.005).unwrap().to_string(), "110");
}

#[test]
fn a_text_that_is_cut_off_or_something_else_is_refused() {
    let whole = shown(100);
    assert_eq!(read(&whole[..whole.len() - 30]), Err(TextError::NoEnd));
    assert_eq!(read("<html></html>"), Err(TextError::NoEnd));
    assert_eq!(read("# EOF\n"), Err(TextError::Missing("berth_registry_info")));
}

#[test]
fn a_text_with_a_missing_series_or_a_number_that_is_none_is_refused() {
    let whole = shown(100);
    let without = |part: &str| {
        let lines: Vec<_> = whole.lines().filter(|line| !line.contains(part)).collect();
        lines.join("\n") + "\n"
    };
    assert!(matches!(
        read(&without("class=\"blob_read\"")),
        Err(TextError::Missing(_))
    ));
    assert!(matches!(read(&without("le=\"0.25\"")), Err(TextError::Missing(_))));
    assert!(matches!(read(&without("le=\"+Inf\"")), Err(TextError::Missing(_))));
    assert!(matches!(read(&without("panics")), Err(TextError::Missing(_))));
    for number in ["NaN", "-1", "+Inf", "1e400", "x"] {
        let spoilt = whole.replace("code=\"2xx\"} 100", &format!("code=\"2xx\"}} {number}"));
        assert!(matches!(read(&spoilt), Err(TextError::NotACount(_))), "{number}");
    }
}

#[test]
fn letters_that_mean_something_may_be_in_labels() {
    let text = shown(7).replace("team/hub", "a}\\\"b\\\\");

    assert_eq!(read(&text).unwrap().registry, "a}\"b\\");
}

fn requests(count: f64) -> Counters {
    let mut counters = Counters::default();
    counters.add(Place::Total(RouteClass::BlobRead), count);
    counters.add(Place::Good(RouteClass::BlobRead), count);
    counters
}

fn counted(memory: &mut Memory, now: u64, window: u64) -> f64 {
    let now = Duration::from_secs(now);
    let counted = memory.counted(now, Duration::from_secs(window));
    memory.mark(now);
    counted.get(Place::Total(RouteClass::BlobRead))
}

/// What is counted after looks at one pod that showed these numbers.
fn after(looks: &[f64]) -> String {
    let mut memory = Memory::default();
    for look in looks {
        memory.note("a", &requests(*look));
    }
    counted(&mut memory, 10, 10).to_string()
}

#[test]
fn the_first_two_looks_at_a_pod_count_for_nothing() {
    assert_eq!(after(&[500.0]), "0");
    assert_eq!(after(&[500.0, 540.0]), "0");
    assert_eq!(after(&[500.0, 540.0, 560.0]), "20");
}

#[test]
fn a_restart_is_not_a_negative_number_of_requests() {
    assert_eq!(after(&[500.0, 540.0, 560.0, 8.0, 10.0]), "30");
}

#[test]
fn one_counter_that_began_anew_means_all_did() {
    let mut memory = Memory::default();
    let look = |reads: f64, writes: f64| {
        let mut counters = requests(reads);
        counters.add(Place::Total(RouteClass::BlobUpload), writes);
        counters
    };
    for counters in [look(10.0, 900.0), look(10.0, 900.0), look(30.0, 4.0)] {
        memory.note("a", &counters);
    }
    assert_eq!(counted(&mut memory, 10, 10).to_string(), "30");
}

#[test]
fn what_a_pod_that_went_had_counted_stays() {
    let mut memory = Memory::default();
    for look in [0.0, 0.0, 50.0] {
        memory.note("a", &requests(look));
    }
    memory.retain(|pod| pod != "a");
    for look in [1000.0, 1000.0, 1007.0] {
        memory.note("b", &requests(look));
    }
    assert_eq!(counted(&mut memory, 10, 10).to_string(), "57");
}

#[test]
fn only_the_window_counts() {
    let mut memory = Memory::default();
    for second in 0..1000_u32 {
        memory.note("a", &requests(f64::from(second) * 2.0));
        counted(&mut memory, u64::from(second), 60);
    }
    assert_eq!(counted(&mut memory, 999, 60).to_string(), "120");
    let long = counted(&mut memory, 999, 700);
    assert!(
        (1398.0..1440.0).contains(&long),
        "old sums are thinned out, not forgotten: {long}"
    );
}

fn target() -> Target {
    Target {
        registry: "team/hub".to_owned(),
        stage: "canary",
        version: None,
        pods: Vec::new(),
        window: Duration::from_mins(1),
    }
}

/// What a client makes of a server that gives every question this answer.
async fn asked(answer: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _read = stream.read(&mut buffer).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let access = PrometheusAccess {
        url,
        token: None,
        ca: None,
        timeout: Duration::from_millis(500),
    };
    let prometheus = Prometheus::new(&access).unwrap();
    let target = target();
    tokio::select! {
        () = serving => unreachable!("it serves until the client is done"),
        sample = prometheus.sample(&target) => sample.unwrap_err().to_string(),
    }
}

#[tokio::test]
async fn an_answer_with_another_code_is_an_error_with_its_text() {
    let away =
        asked("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10\r\nconnection: close\r\n\r\nWAL replay").await;
    assert!(away.contains("answered 503, expected 200: WAL replay"), "{away}");
    let login = asked("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    assert!(login.contains("answered 302"), "{login}");
}

#[tokio::test]
async fn a_page_is_an_error_with_its_beginning() {
    let page =
        asked("HTTP/1.1 200 OK\r\ncontent-length: 24\r\nconnection: close\r\n\r\n<html>Please log in</html").await;
    assert!(page.contains("begins with `<html>Please log in"), "{page}");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_or_late_is_an_error() {
    let cut = asked("HTTP/1.1 200 OK\r\ncontent-length: 900\r\nconnection: close\r\n\r\n{\"status\":").await;
    assert!(cut.contains("did not answer"), "{cut}");
    let nobody = PrometheusAccess {
        url: "http://127.0.0.1:1".to_owned(),
        token: None,
        ca: None,
        timeout: Duration::from_millis(500),
    };
    let refused = Prometheus::new(&nobody).unwrap().sample(&target()).await.unwrap_err();
    assert!(refused.to_string().contains("did not answer"), "{refused}");
}

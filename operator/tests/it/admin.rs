//! The operator's own listener.

use std::sync::Arc;
use std::time::Duration;

use berth_operator::admin::{self, Readiness};
use berth_operator::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Runs `client` with the URL of a listener, and ends the listener after it.
async fn with_admin(readiness: Readiness, client: impl AsyncFnOnce(String)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut shown = prometheus_client::registry::Registry::default();
    Metrics::register(&mut shown).reconciled("Registry", Duration::from_millis(3));
    let stop = CancellationToken::new();
    let served = admin::serve(listener, readiness, Arc::new(shown), stop.clone());
    let asked = async {
        client(base).await;
        stop.cancel();
    };
    let (served, ()) = futures::join!(served, asked);
    served.unwrap();
}

#[tokio::test]
async fn the_operator_lives_before_it_is_ready() {
    let readiness = Readiness::default();
    with_admin(readiness.clone(), async |base| {
        let status = async |path: &str| reqwest::get(format!("{base}{path}")).await.unwrap().status().as_u16();
        assert_eq!((status("/livez").await, status("/readyz").await), (200, 503));
        readiness.set();
        assert_eq!(status("/readyz").await, 200);
    })
    .await;
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    with_admin(Readiness::default(), async |base| {
        let answer = reqwest::get(format!("{base}/metrics")).await.unwrap();

        let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let text = answer.text().await.unwrap();
        assert_eq!(
            content_type,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert!(
            text.contains("berth_operator_reconcile_total{kind=\"Registry\",result=\"ok\"} 1"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"), "{text}");
    })
    .await;
}

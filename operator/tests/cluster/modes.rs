//! The operator as the chart installs it: for some namespaces or for all, with exactly the chart's rights.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::support::program::{Account, Program};
use crate::support::{Fixture, chart, eventually};

const RIGHTS: &[&str] = &[
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// Installs the chart's rights into the fixture's namespace and starts an operator with the options of its Deployment.
async fn install(fixture: &Fixture, values: &[&str]) -> Program {
    let rendered = chart::render(&fixture.namespace, values);
    chart::apply(&fixture.client, &rendered, RIGHTS).await;
    let deployment = rendered.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let options = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let options = options
        .as_array()
        .unwrap()
        .iter()
        .map(|option| option.as_str().unwrap());
    // The test chooses the address and reads the log.
    let options: Vec<&str> = options
        .filter(|option| {
            *option != "run" && !option.starts_with("--admin-listen") && !option.starts_with("--log-format")
        })
        .collect();
    let account = Account {
        namespace: &fixture.namespace,
        name: "berth-operator",
    };
    Program::start(&fixture.client, account, &options).await
}

async fn is_made(fixture: &Fixture) {
    eventually("the Registry has its Deployment", async || {
        fixture.api::<Deployment>().get_opt("images").await.unwrap()
    })
    .await;
}

/// Other refusals are none of the chart's: nothing can be made in a namespace that is being removed.
fn assert_nothing_was_refused(program: &Program) {
    let log = program.log();
    assert!(!log.contains("is forbidden: User"), "{log}");
}

/// In the log as JSON, what a pass writes down has the pass's id and the Registry's name.
fn assert_each_line_tells_its_pass(log: &str) {
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let applied: Vec<_> = lines.filter(|line| line["fields"]["kind"] == "Deployment").collect();
    assert!(!applied.is_empty(), "{log}");
    for line in applied {
        assert_eq!(line["span"]["registry"], "images", "{line}");
        assert_eq!(line["span"]["pass"].as_str().unwrap().len(), 16, "{line}");
    }
}

/// Whether the installed operator may do that.
async fn may(installed: &Fixture, namespace: &str, (group, resource, verb): (&str, &str, &str)) -> bool {
    let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
        "user": format!("system:serviceaccount:{}:berth-operator", installed.namespace),
        "resourceAttributes": {"namespace": namespace, "group": group, "resource": resource, "verb": verb},
    }}))
    .unwrap();
    let reviews: Api<SubjectAccessReview> = Api::all(installed.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

#[tokio::test]
async fn an_operator_of_two_namespaces_works_in_these_and_may_nothing_elsewhere() {
    let home = Fixture::new().await;
    let (first, second, other) = (home.another().await, home.another().await, home.another().await);
    let watched = format!("watchNamespaces={{{},{}}}", first.namespace, second.namespace);
    let program = install(&home, &[&watched]).await;
    program.works().await;
    for fixture in [&first, &second, &other] {
        fixture.create("images", &json!({})).await.unwrap();
    }

    is_made(&first).await;
    is_made(&second).await;

    assert!(other.api::<Deployment>().get_opt("images").await.unwrap().is_none());
    assert_nothing_was_refused(&program);
    assert_each_line_tells_its_pass(&program.log());
    assert!(may(&home, &first.namespace, ("apps", "deployments", "patch")).await);
    for permission in [
        ("apps", "deployments", "patch"),
        ("", "secrets", "get"),
        ("berth.dev", "registries", "list"),
    ] {
        assert!(
            !may(&home, &other.namespace, permission).await,
            "{permission:?} elsewhere"
        );
        assert!(
            !may(&home, &home.namespace, permission).await,
            "{permission:?} in its own namespace"
        );
    }
    assert!(may(&home, &home.namespace, ("coordination.k8s.io", "leases", "update")).await);
    assert!(!may(&home, &home.namespace, ("coordination.k8s.io", "leases", "delete")).await);
}

#[tokio::test]
async fn an_operator_of_the_whole_cluster_works_in_a_namespace_that_is_made_later() {
    let home = Fixture::alone().await;
    let program = install(&home, &[]).await;
    program.works().await;
    let later = home.another().await;
    later.create("images", &json!({})).await.unwrap();

    is_made(&later).await;

    assert_nothing_was_refused(&program);
    for permission in [
        ("", "secrets", "list"),
        ("", "pods/exec", "create"),
        ("", "secrets", "delete"),
    ] {
        assert!(!may(&home, &later.namespace, permission).await, "{permission:?}");
    }
}

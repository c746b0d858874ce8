//! A namespace of its own for each test, an operator with the rights of the chart, and the controllers' part.

pub(crate) mod chart;
pub(crate) mod controllers;
pub(crate) mod faults;
mod foreign;
pub(crate) mod images;
pub(crate) mod program;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_operator::api::conditions::{self, ConditionType};
use berth_operator::api::{self, Registry};
use berth_operator::channel::watch::Channels;
use berth_operator::clock::Clock;
use berth_operator::cluster::{Cluster, Object};
use berth_operator::context::{Context, Failures};
use berth_operator::labels::OPERATOR;
use berth_operator::management::{Address, ManagementClient};
use berth_operator::metrics::Metrics;
use berth_operator::notify::{Pace, Sinks};
use berth_operator::registry;
use berth_operator::registry::validate::Defaults;
use berth_operator::rollout::evidence::{Question, Schedule, Witness};
use berth_operator::rollout::facts::{Burn, Evidence, Probe, Verdict};
use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The name under which the operator asks, bound to the chart's rules.
const OPERATOR_USER: &str = "berth-operator-under-test";
pub(crate) const TESTER: &str = "berth-test";
const LIMIT: Duration = Duration::from_secs(30);
static PREPARED: OnceCell<()> = OnceCell::const_new();

/// One test's part of the API server.
pub(crate) struct Fixture {
    /// With every right.
    pub(crate) client: Client,
    /// With the rights of the chart.
    pub(crate) operator: Client,
    pub(crate) namespace: String,
    pub(crate) context: Arc<Context>,
    pub(crate) metrics: prometheus_client::registry::Registry,
    _turn: Option<Turn>,
}

/// Tests run beside one another, unless one has an operator for the whole cluster or changes what all see.
static TURNS: RwLock<()> = RwLock::const_new(());

enum Turn {
    Beside { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

impl Fixture {
    /// A namespace of its own under the `restricted` level of Pod Security.
    pub(crate) async fn new() -> Self {
        let guard = TURNS.read().await;
        Self::in_turn(Some(Turn::Beside { _guard: guard })).await
    }

    /// A namespace for a test beside which no other runs: the Registries of those before it are gone, too.
    pub(crate) async fn alone() -> Self {
        let guard = TURNS.write().await;
        let fixture = Self::in_turn(Some(Turn::Alone { _guard: guard })).await;
        remove_registries(&fixture.client).await;
        fixture
    }

    /// Another namespace of the same test.
    pub(crate) async fn another(&self) -> Self {
        Self::in_turn(None).await
    }

    async fn in_turn(turn: Option<Turn>) -> Self {
        let kubeconfig = kubeconfig();
        let client = client(&kubeconfig, None).await;
        PREPARED.get_or_init(|| prepare(client.clone())).await;
        let operator = client_of_operator(&kubeconfig).await;
        let namespace = create_namespace(&client).await;
        let mut metrics = prometheus_client::registry::Registry::default();
        // No pod can be reached from here: nobody listens on port 9 (discard).
        let context = Arc::new(context(
            &operator,
            &mut metrics,
            Address::Fixed("http://127.0.0.1:9".to_owned()),
        ));
        Self {
            client,
            operator,
            namespace,
            context,
            metrics,
            _turn: turn,
        }
    }

    /// An operator that was started again: it remembers nothing.
    pub(crate) fn restarted(&self) -> Context {
        let mut metrics = prometheus_client::registry::Registry::default();
        context(
            &self.operator,
            &mut metrics,
            Address::Fixed("http://127.0.0.1:9".to_owned()),
        )
    }

    /// An operator to which the kinds of other projects are hidden as long as the switch says so.
    pub(crate) async fn with_hidden_apis(&self) -> (Arc<Context>, Arc<AtomicBool>) {
        let hidden = Arc::new(AtomicBool::new(true));
        let config = config(&kubeconfig(), Some(OPERATOR_USER)).await;
        let switch = Arc::clone(&hidden);
        let hide = tower::util::MapRequestLayer::new(move |mut request: axum::http::Request<kube::client::Body>| {
            let path = request.uri().to_string();
            let foreign = ["monitoring.coreos.com", "gateway.networking.k8s.io", "cert-manager.io"];
            if switch.load(Ordering::SeqCst)
                && let Some(group) = foreign.iter().find(|group| path.contains(*group))
            {
                *request.uri_mut() = path.replace(group, "nobody.example.com").parse().unwrap();
            }
            request
        });
        let client = ClientBuilder::try_from(config).unwrap().with_layer(&hide).build();
        let mut metrics = prometheus_client::registry::Registry::default();
        let mut context = context(&client, &mut metrics, Address::Fixed("http://127.0.0.1:9".to_owned()));
        context.cluster = context.cluster.believing_discovery_for(Duration::ZERO);
        (Arc::new(context), hidden)
    }

    /// The operator's client, whose requests go through `faults`.
    pub(crate) async fn client_through(&self, faults: &Arc<faults::Faults>) -> Client {
        let config = config(&kubeconfig(), Some(OPERATOR_USER)).await;
        let layer = faults::FaultLayer(Arc::clone(faults));
        ClientBuilder::try_from(config).unwrap().with_layer(&layer).build()
    }

    /// An operator that was just started, with that client.
    pub(crate) fn context_of(client: &Client) -> Context {
        let mut metrics = prometheus_client::registry::Registry::default();
        context(client, &mut metrics, Address::Fixed("http://127.0.0.1:9".to_owned()))
    }

    /// An operator that finds the pods' management API at `base`.
    pub(crate) fn with_management(&self, base: String) -> Context {
        let mut metrics = prometheus_client::registry::Registry::default();
        context(&self.operator, &mut metrics, Address::Fixed(base))
    }

    pub(crate) fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn get<K: Object>(&self, name: &str) -> K {
        self.api::<K>().get(name).await.unwrap()
    }

    pub(crate) async fn list<K: Object>(&self) -> Vec<K> {
        self.api::<K>().list(&ListParams::default()).await.unwrap().items
    }

    /// What the operator has told: the API server tells things of its own.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let mut events = self.list::<Event>().await;
        events.retain(|event| event.reporting_controller.as_deref() == Some(OPERATOR));
        events
    }

    /// Makes a Registry, or says why the API server does not.
    pub(crate) async fn create(&self, name: &str, spec: &Value) -> Result<Registry, kube::Error> {
        self.api::<Registry>()
            .create(&PostParams::default(), &manifest(name, spec))
            .await
    }

    /// Replaces the spec of a Registry, or says why the API server does not.
    pub(crate) async fn respec(&self, name: &str, spec: &Value) -> Result<Registry, kube::Error> {
        loop {
            let mut registry: Registry = self.get(name).await;
            registry.spec = serde_json::from_value(spec.clone()).unwrap();
            let replaced = self
                .api::<Registry>()
                .replace(name, &PostParams::default(), &registry)
                .await;
            match replaced {
                // A running operator has written the status in between.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                replaced => return replaced,
            }
        }
    }

    pub(crate) async fn create_secret(&self, name: &str, values: &[(&str, &str)]) {
        let values = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let secret = Secret {
            string_data: Some(values),
            ..Secret::default()
        };
        let secret = Secret {
            metadata: kube::api::ObjectMeta {
                name: Some(name.to_owned()),
                ..Default::default()
            },
            ..secret
        };
        self.api::<Secret>()
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
    }

    /// The Secrets that [`production`] refers to.
    pub(crate) async fn create_credentials(&self) {
        self.create_secret("db", &[("username", "berth"), ("password", "hunter2")])
            .await;
        self.create_secret("bucket", &[("access-key-id", "AK1"), ("secret-access-key", "SK1")])
            .await;
    }

    /// One pass over the Registry as it is now.
    pub(crate) async fn pass(&self, name: &str) -> Registry {
        self.pass_of(&self.context, name).await
    }

    /// One pass of another operator.
    pub(crate) async fn pass_of(&self, context: &Arc<Context>, name: &str) -> Registry {
        let registry: Registry = self.get(name).await;
        Box::pin(registry::reconcile(Arc::new(registry), Arc::clone(context)))
            .await
            .unwrap();
        self.get(name).await
    }

    /// Passes until every object is made and the Deployment is complete.
    pub(crate) async fn pass_until_ready(&self, name: &str) -> Registry {
        for _ in 0..8 {
            self.pass(name).await;
            controllers::play(self, name, &controllers::Play::default()).await;
        }
        let registry = self.pass(name).await;
        assert_eq!(
            condition(&registry, ConditionType::Ready).0,
            "True",
            "{:?}",
            registry.status
        );
        registry
    }

    /// What `/metrics` shows.
    pub(crate) fn metrics_text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        text
    }
}

/// Removes the Registries of all namespaces. Their operators have ended, so nobody else takes their finalizers off.
async fn remove_registries(client: &Client) {
    let all: Api<Registry> = Api::all(client.clone());
    let left = all.list_metadata(&ListParams::default()).await.unwrap().items;
    let removals = futures::stream::iter(left).for_each_concurrent(16, async |registry| {
        let namespaced: Api<Registry> = Api::namespaced(client.clone(), &registry.namespace().unwrap());
        let name = registry.name_any();
        let freed = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        namespaced
            .patch_metadata(&name, &PatchParams::default(), &freed)
            .await
            .unwrap();
        // One that was being deleted went with its last finalizer.
        namespaced.delete(&name, &DeleteParams::default()).await.ok();
    });
    removals.await;
}

/// Pods that nobody plays here are as good as can be.
#[derive(Debug)]
struct AllGood;

impl Witness for AllGood {
    fn look<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Evidence> {
        let evidence = Evidence {
            at: question.now,
            verdict: Verdict::Strong,
            probe: Probe::Passed,
            burn: Burn::Quiet,
            measurements: Vec::new(),
            message: "all good".to_owned(),
        };
        Box::pin(std::future::ready(evidence))
    }
}

fn context(client: &Client, shown: &mut prometheus_client::registry::Registry, address: Address) -> Context {
    let metrics = Metrics::register(shown);
    Context {
        cluster: Cluster::new(client.clone(), metrics.clone()),
        management: ManagementClient::new(address).unwrap(),
        clock: Clock::System,
        defaults: Defaults {
            repository: "berth/berth-registry".to_owned(),
            version: "0.1.0".to_owned(),
        },
        sinks: Sinks::new(Pace::default(), Clock::System, metrics.clone()).unwrap(),
        metrics,
        witness: Arc::new(AllGood),
        schedule: Schedule::default(),
        channels: Channels::new().unwrap(),
        operator_image: None,
        failures: Failures::default(),
        silences: Failures::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration to read")]
pub(crate) fn kubeconfig_path() -> String {
    std::env::var("BERTH_TEST_KUBECONFIG").unwrap_or_else(|_| {
        panic!(
            "BERTH_TEST_KUBECONFIG is not set: these tests need an API server without controllers and the kubeconfig \
             of its administrator; `cargo verify --only api-server` starts one and sets it"
        )
    })
}

pub(crate) fn kubeconfig() -> Kubeconfig {
    Kubeconfig::read_from(kubeconfig_path()).unwrap()
}

async fn client(kubeconfig: &Kubeconfig, user: Option<&str>) -> Client {
    Client::try_from(config(kubeconfig, user).await).unwrap()
}

async fn config(kubeconfig: &Kubeconfig, user: Option<&str>) -> Config {
    // Another test of this program may have been first.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options)
        .await
        .unwrap();
    config.auth_info.impersonate = user.map(str::to_owned);
    config
}

/// What the user of that name can do.
pub(crate) async fn client_of(user: &str) -> Client {
    client(&kubeconfig(), Some(user)).await
}

async fn client_of_operator(kubeconfig: &Kubeconfig) -> Client {
    client(kubeconfig, Some(OPERATOR_USER)).await
}

/// Once for all tests: the definitions, and the chart's rules for the operator.
async fn prepare(client: Client) {
    let parameters = PatchParams::apply(TESTER).force();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in api::definitions() {
        let name = definition.name_any();
        definitions
            .patch(&name, &parameters, &Patch::Apply(&definition))
            .await
            .unwrap();
        let established = await_condition(definitions.clone(), &name, is_crd_established());
        tokio::time::timeout(LIMIT, established)
            .await
            .expect("the definition is established")
            .unwrap();
    }
    foreign::install(&client).await;
    refuse_controllers(&client).await;
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": OPERATOR_USER}, "rules": chart_rules(),
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": OPERATOR_USER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR_USER},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR_USER}],
    });
    Api::<ClusterRole>::all(client.clone())
        .patch(OPERATOR_USER, &parameters, &Patch::Apply(role))
        .await
        .unwrap();
    Api::<ClusterRoleBinding>::all(client)
        .patch(OPERATOR_USER, &parameters, &Patch::Apply(binding))
        .await
        .unwrap();
}

/// Gives `account` the chart's rights in one namespace, as `watchNamespaces` does.
pub(crate) async fn bind(client: &Client, namespace: &str, account: program::Account<'_>) {
    let name = format!("{}-{}", account.namespace, account.name);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR_USER},
        "subjects": [{"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}],
    });
    Api::<RoleBinding>::namespaced(client.clone(), namespace)
        .patch(&name, &PatchParams::apply(TESTER).force(), &Patch::Apply(binding))
        .await
        .unwrap();
}

/// Controllers would undo what the tests say in their place.
async fn refuse_controllers(client: &Client) {
    let published = Api::<ConfigMap>::namespaced(client.clone(), "default")
        .get_opt("kube-root-ca.crt")
        .await
        .unwrap();
    assert!(
        published.is_none(),
        "BERTH_TEST_KUBECONFIG names a cluster with controllers, whose part these tests play: give them an API server alone"
    );
}

fn chart_rules() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/berth/templates/clusterrole.yaml"
    );
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml::from_str(text.split_once("\nrules:\n").unwrap().1).unwrap()
}

async fn create_namespace(client: &Client) -> String {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {
        "generateName": "t-", "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }}))
    .unwrap();
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap()
        .name_any()
}

/// A Registry as a user would write it.
pub(crate) fn manifest(name: &str, spec: &Value) -> Registry {
    serde_json::from_value(json!({
        "apiVersion": "berth.dev/v1alpha1", "kind": "Registry", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

/// A spec with PostgreSQL and S3, and `more` at its top. Without more a new version goes to every pod at once.
pub(crate) fn production(more: &Value) -> Value {
    let mut spec = json!({
        "storage": {"s3": {"bucket": "images", "credentialsRef": {"name": "bucket"}}},
        "database": {"postgres": {"host": "db", "name": "berth", "credentialsRef": {"name": "db"}}},
        "rollout": {"strategy": "Direct"},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

/// Status, reason and message of a condition.
pub(crate) fn condition(registry: &Registry, type_: ConditionType) -> (String, String, String) {
    let status = registry.status.as_ref().unwrap();
    let found = conditions::find(&status.conditions, type_).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

/// Asks until `found` gives something, at most half a minute.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut found: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "not within {} s: {what}", LIMIT.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

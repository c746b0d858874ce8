//! A registry for one test, and what tests do with it.
#![expect(clippy::unwrap_used, reason = "a test's tool stops where it fails")]

pub(crate) mod certificates;
pub(crate) mod content;
pub(crate) mod line;
pub(crate) mod objects;
pub(crate) mod proxy;
pub(crate) mod serve;
pub(crate) mod stores;

use berth_registry::config::{Config, Database};
use berth_registry::metadata::Metadata;
use berth_registry::metadata::migrations::{self, MigrationSet, Scope};
use berth_registry::server::{self, Server};
use jsonwebtoken::{EncodingKey, Header};
use oci::Digest;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};

/// A server of its own, on a database and a store of its own.
pub(crate) struct TestRegistry {
    pub(crate) config: Config,
    pub(crate) client: Client,
    server: Option<Server>,
    folder: tempfile::TempDir,
}

impl TestRegistry {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With settings, as variables.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let (config, folder) = stores::fresh_with(settings).await;
        migrate(&config).await;
        let server = server::start(&config).await.unwrap();
        Self {
            config,
            client: Client::new(),
            server: Some(server),
            folder,
        }
    }

    /// With every blob in the store, however small.
    pub(crate) async fn start_with_objects() -> Self {
        Self::start_with(&[stores::ALL_IN_THE_STORE]).await
    }

    /// On a bucket, whatever the environment names, which gets every blob, with settings as variables.
    pub(crate) async fn start_on_a_bucket(settings: &[(&str, &str)]) -> Self {
        let bucket = stores::some_bucket();
        let bucket = bucket.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<_> = bucket
            .chain([stores::ALL_IN_THE_STORE])
            .chain(settings.iter().copied())
            .collect();
        Self::start_with(&all).await
    }

    /// Another server on the same database and store.
    pub(crate) async fn another(&self) -> Server {
        server::start(&self.config).await.unwrap()
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server().http)
    }

    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server().admin)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A call of the management API, as the operator makes it.
    pub(crate) fn managed(&self, method: Method, path: &str) -> RequestBuilder {
        let secret = self.config.http.secret.as_deref().unwrap();
        let url = self.admin_url(&format!("/management/v1/{path}"));
        self.client.request(method, url).bearer_auth(operator_token(secret))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn head(&self, path: &str) -> Response {
        self.request(Method::HEAD, path).send().await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await.unwrap()
    }

    /// Opens an upload session and gives its path.
    pub(crate) async fn open_upload(&self, repository: &str) -> String {
        let answer = self
            .request(Method::POST, &format!("/v2/{repository}/blobs/uploads/"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        header(&answer, "location")
    }

    /// Pushes a blob with one request.
    pub(crate) async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = content::sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let answer = self
            .request(Method::POST, &path)
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
        digest
    }

    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        body: &str,
    ) -> Response {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let request = self.request(Method::PUT, &path).header("content-type", media_type);
        request.body(body.to_owned()).send().await.unwrap()
    }

    /// Pushes an image of one layer under a tag, and gives the manifest's digest.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, layer: &[u8]) -> Digest {
        let manifest = content::image(
            &self.push_blob(repository, b"{}").await,
            &[self.push_blob(repository, layer).await],
        );
        let answer = self
            .put_manifest(repository, tag, oci::media_type::OCI_MANIFEST, &manifest)
            .await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        content::sha256(manifest.as_bytes())
    }

    /// Stops the server and starts another on the same database and store.
    pub(crate) async fn restart(mut self) -> Self {
        let server = self.server.take().unwrap();
        server.stop();
        server.join().await.unwrap();
        self.server = Some(self.another().await);
        self
    }

    /// True when only one process at a time can use the database.
    pub(crate) fn database_is_local(&self) -> bool {
        matches!(self.config.database, Database::Sqlite { .. })
    }

    /// Stops the server, and gives its settings.
    pub(crate) async fn stopped(self) -> Config {
        let config = self.config.clone();
        self.stop().await;
        config
    }

    pub(crate) async fn stop(self) {
        drop(self.stop_and_keep().await);
    }

    /// Stops the server and gives the folder of its files.
    pub(crate) async fn stop_and_keep(mut self) -> tempfile::TempDir {
        let server = self.server.take().unwrap();
        server.stop();
        server.join().await.unwrap();
        self.folder
    }
}

/// Brings the database of a configuration to the newest schema.
pub(crate) async fn migrate(config: &Config) {
    let metadata = Metadata::connect(&server::database_target(&config.database))
        .await
        .unwrap();
    let set = MigrationSet::embedded(metadata.engine());
    migrations::up(&metadata, &set, Scope::All, &server::migration_settings(config))
        .await
        .unwrap();
    metadata.close().await;
}

pub(crate) fn header(answer: &Response, name: &str) -> String {
    answer
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap().to_owned())
        .unwrap_or_default()
}

/// The code of the first error in an answer's body.
pub(crate) async fn error_code(answer: Response) -> String {
    let body: serde_json::Value = answer.json().await.unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the server under test keeps the system's time")]
pub(crate) fn operator_token(secret: &str) -> String {
    let now = jiff::Timestamp::now().as_second();
    let claims = serde_json::json!({"iss": "berth-operator", "aud": "berth-management", "iat": now, "exp": now + 60});
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

//! Every method on every route, and on what almost is a route.

use crate::case::{Case, Category};
use crate::content::sha256;
use crate::grammar::verdict;
use crate::wire::Request;

const METHODS: [&str; 12] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "BREW", "get",
];

/// Behind a route, what should change its meaning, and what should not.
const ENDINGS: [&str; 9] = [
    "",
    "/",
    "//",
    "/x",
    "/..",
    "%2F",
    "?n=1&ns=docker.io",
    "%00",
    "/tags/list",
];

fn routes() -> Vec<String> {
    let (digest, session) = (sha256(b"nothing that is here"), "00000000-0000-4000-8000-000000000000");
    let mut routes: Vec<String> = ["/v2", "/v2/_catalog", "/v2/routes/r", "/v1", "/"]
        .map(str::to_owned)
        .to_vec();
    routes.extend(
        ["tags/list", "blobs/uploads", "manifests/v1", "manifests/-v1"].map(|route| format!("/v2/routes/r/{route}")),
    );
    routes.extend(["blobs", "manifests", "referrers"].map(|route| format!("/v2/routes/r/{route}/{digest}")));
    routes.push(format!("/v2/routes/r/blobs/uploads/{session}"));
    routes
}

/// Odd ways to write one thing, for reads.
const ODD_PATHS: [&str; 40] = [
    "/v2/%72outes/r/tags/list",
    "/v2/routes%2Fr/tags/list",
    "/v2/routes/r/tags%2Flist",
    "/v2%2Froutes/r/tags/list",
    "/%76%32/",
    "/v2/./",
    "/v2/../v2/",
    "/v2//",
    "//v2/",
    "/V2/",
    "/v2/%2e%2e/v2/",
    "/v2;x/",
    "/v2/_catalog/",
    "/v2/_catalog/tags/list",
    "/v2/_CATALOG",
    "/v2/%5fcatalog",
    "/v2/a/_catalog",
    "/v2/tags/list",
    "/v2/manifests/x",
    "/v2/blobs/uploads/",
    "/v2/blobs/uploads/blobs/uploads/",
    "/v2/a/tags",
    "/v2/a/tags/",
    "/v2/a/tags/list/",
    "/v2/a/tags/List",
    "/v2/a/tags//list",
    "/v2/a//tags/list",
    "/v2/a/manifests",
    "/v2/a/manifests/",
    "/v2/a/blobs/",
    "/v2/a/blobs",
    "/v2/a/referrers/",
    "/v2/a/referrers",
    "/v2/a/blobs/uploads//",
    "/v2/a/blobs/uploads/x/y",
    "/v2/a/manifests/x/y",
    "/v2/a/Manifests/x",
    "/v2/manifests/manifests/manifests",
    "/v2/a/b/c/d/e",
    "/v3/",
];

fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in METHODS {
        let endings = |route: String| ENDINGS.map(|ending| format!("{route}{ending}"));
        let paths = routes()
            .into_iter()
            .flat_map(endings)
            .chain(ODD_PATHS.map(str::to_owned));
        for path in paths {
            let expect = verdict(method, path.as_bytes());
            cases.push(Case::one(
                format!("{method} {path}"),
                Request::new(method, &path),
                expect,
            ));
        }
    }
    cases
}

#[test]
fn every_method_on_every_route_is_answered_as_the_table_says() {
    let cases = all();
    assert!(cases.len() >= 900, "{}", cases.len());
    Category::new("methods and routes", cases).hold();
}

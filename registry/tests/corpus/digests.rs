//! Digests, in paths and in queries.

use crate::case::{Case, Category, Expect};
use crate::content::{sha256, sha512};
use crate::grammar::{encoded, is_digest};
use crate::random::Random;
use crate::wire::Request;

const CASES: usize = 150;
const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn malformed() -> Vec<String> {
    let hex = |count: usize| HEX.repeat(5)[..count].to_owned();
    let mut rows: Vec<String> = [
        "",
        ":",
        "::",
        "sha256",
        "sha256:",
        "sha512:",
        ":abc",
        "sha256:baddigeststring",
        "sha256:g",
        "sha256: ",
        "sha256:/",
        "latest",
        "sha256-00",
        "sha256@00",
        "sha256;00",
        "0",
        ".",
        "..",
        "../x",
        "null",
        "sha256:null",
        "sha256:../../etc",
    ]
    .map(str::to_owned)
    .to_vec();
    rows.extend(
        [0, 1, 2, 32, 40, 62, 63, 65, 66, 96, 127, 128, 129, 255, 256].map(|count| format!("sha256:{}", hex(count))),
    );
    rows.extend([0, 1, 63, 64, 96, 127, 129, 130, 248, 249, 300].map(|count| format!("sha512:{}", hex(count))));
    let algorithms = [
        "md5",
        "sha1",
        "sha224",
        "sha384",
        "sha3-256",
        "blake3",
        "blake2b",
        "sha256+b64u",
        "sha256+b64",
        "sha-256",
        "sha_256",
        "sha.256",
        "SHA256",
        "Sha256",
        "sHa512",
        "sha2561",
        "sha25",
        "sha",
        "256",
        "",
        " sha256",
        "sha256 ",
        "sha256+",
        "+sha256",
        "sha256..x",
        "sha256:sha256",
        "multihash+base58",
        "tarsum.v1+sha256",
        "sha256\0",
        "sha256%20",
        "ｓha256",
        "ѕha256",
        "*",
    ];
    rows.extend(algorithms.map(|algorithm| format!("{algorithm}:{HEX}")));
    rows.extend([
        format!("sha256:{}", HEX.to_uppercase()),
        format!("sha256:E{}", &HEX[1..]),
        format!("sha256:{}F", &HEX[1..]),
        format!("sha256:0x{}", &HEX[2..]),
        format!("sha256:{}g", &HEX[1..]),
        format!("sha256:{}O", &HEX[1..]),
        format!("sha256:{} ", &HEX[1..]),
        format!("sha256:\u{435}{}", &HEX[2..]),
        format!("sha256:\u{ff45}{}", &HEX[3..]),
        format!("sha256:{}\u{661}", &HEX[2..]),
        format!("sha256:{HEX}\n"),
        format!("sha256:{HEX}\r\n"),
        format!("sha256:{HEX}\0"),
        format!("sha256:{}\0", &HEX[1..]),
        format!("\u{feff}sha256:{HEX}"),
        format!(" sha256:{HEX}"),
        format!("sha256:{HEX} "),
        format!("sha256:{HEX}:{HEX}"),
        format!("sha256::{}", &HEX[1..]),
        format!("sha256:{}:", &HEX[1..]),
        format!("sha256:-{}", &HEX[1..]),
        format!("sha256:={}", &HEX[1..]),
        format!("sha256:{}\u{202e}", &HEX[3..]),
        format!("sha512:{HEX}{}", HEX.to_uppercase()),
        format!("sha512:{HEX}{}-", &HEX[1..]),
        format!("{}:{HEX}", "a".repeat(8000)),
        format!("sha256:{}", "a".repeat(8000)),
    ]);
    rows
}

fn all() -> Vec<String> {
    let mut rows = malformed();
    rows.extend([sha256(b""), sha512(b""), sha256(b"{}"), sha512(b"{}")]);
    rows.extend(["0", "f", "9", "a"].map(|digit| format!("sha256:{}", digit.repeat(64))));
    rows.extend(["0", "f", "9", "a"].map(|digit| format!("sha512:{}", digit.repeat(128))));
    let mut random = Random::seeded(3);
    while rows.len() < CASES {
        let mut text: Vec<char> = sha256(&random.next().to_le_bytes()).chars().collect();
        let at = random.below(text.len());
        // One letter off, or none.
        match random.below(4) {
            0 => text[at] = *random.pick(&['A', 'g', ':', '-', '.', 'é', '0']),
            1 => drop(text.remove(at)),
            2 => text.insert(at, '0'),
            _ => {}
        }
        rows.push(text.into_iter().collect());
    }
    rows
}

/// In each place where a digest may stand, in a repository that has nothing.
fn case(digest: &str) -> Case {
    let (path, query) = (encoded(digest.as_bytes()), encoded(digest.as_bytes()));
    let is_valid = is_digest(digest);
    let bad = Expect::error(400, "DIGEST_INVALID");
    let unknown = Expect::error(404, "BLOB_UNKNOWN").code("NAME_UNKNOWN");
    let or_bad = |good: Expect| if is_valid { good } else { bad.clone() };
    let routed = |method: &str, path: String, good: Expect| {
        // A slash in it makes another path of it.
        let expect = if digest.contains('/') {
            crate::grammar::verdict(method, path.as_bytes())
        } else {
            or_bad(good)
        };
        (Request::new(method, path), expect)
    };
    let mut steps = vec![
        routed("GET", format!("/v2/corpus/digests/blobs/{path}"), unknown.clone()),
        routed("HEAD", format!("/v2/corpus/digests/blobs/{path}"), unknown),
        routed(
            "GET",
            format!("/v2/corpus/digests/referrers/{path}"),
            Expect::status(200),
        ),
        (
            Request::new(
                "POST",
                format!("/v2/corpus/digests/blobs/uploads/?mount={query}&from=corpus/nothing"),
            ),
            or_bad(Expect::status(202)),
        ),
        (
            // A good one does not fit the body.
            Request::new("POST", format!("/v2/corpus/digests/blobs/uploads/?digest={query}")).body("no blob"),
            bad.clone(),
        ),
    ];
    if digest.contains(':') {
        let missing = Expect::error(404, "MANIFEST_UNKNOWN").code("NAME_UNKNOWN");
        steps.push(routed("GET", format!("/v2/corpus/digests/manifests/{path}"), missing));
    }
    Case::play(digest, move |client| {
        for (request, expect) in &steps {
            client.ask(request, expect)?;
        }
        Ok(())
    })
}

#[test]
fn what_is_no_digest_is_told_so_in_every_place() {
    let rows = all();
    assert_eq!(rows.len(), CASES);
    Category::new("digests", rows.iter().map(|digest| case(digest)).collect()).hold();
}

#[test]
fn the_naive_grammar_refuses_what_is_listed_as_malformed() {
    for digest in malformed() {
        assert!(!is_digest(&digest), "{digest:?}");
    }
}

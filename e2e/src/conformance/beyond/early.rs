//! Answers that are known before the body has arrived: no client may lose them.

use crate::conformance::{
    Suite,
    blobs::uploads,
    client::{Body, Request},
    content::{MANIFEST, sha256},
    criteria,
    manifests::manifest,
    tally::Checked,
};

const TIMES: usize = 200;
const SIZES: &[(&str, usize)] = &[("1 KiB", 1024), ("64 KiB", 64 * 1024), ("1 MiB", 1024 * 1024)];

/// A request that is refused whatever its body is.
struct Refusal {
    name: &'static str,
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    status: u16,
}

impl Suite {
    /// Each refusal, with bodies of each size in chunks, 200 times.
    pub(super) fn early_answers(&mut self) {
        self.tally.begin("early answers");
        "beyond/early".clone_into(&mut self.options.repository);
        let refusals = match self.refusals() {
            Ok(refusals) => refusals,
            Err(fault) => {
                self.tally.record("open a session", Err(fault));
                return;
            }
        };
        for refusal in &refusals {
            for (size, length) in SIZES {
                let body = self.random.bytes(*length);
                let outcome = self.refused_each_time(refusal, &body, TIMES);
                self.tally
                    .record(&format!("{}, {size}, {TIMES} times", refusal.name), outcome);
            }
        }
        let large = self.random.bytes(5 * 1024 * 1024);
        let put = Refusal {
            name: "413 for a manifest",
            method: "PUT",
            target: manifest("beyond/early", "large"),
            headers: vec![("content-type", MANIFEST)],
            status: 413,
        };
        let outcome = self.refused_each_time(&put, &large, TIMES / 10);
        self.tally.record("413 for a manifest, 5 MiB, 20 times", outcome);
    }

    fn refusals(&mut self) -> Checked<Vec<Refusal>> {
        let session = self.open_upload("beyond/early")?;
        let refusal = |name, method, target: String, headers: &[(&'static str, &'static str)], status| Refusal {
            name,
            method,
            target,
            headers: headers.to_vec(),
            status,
        };
        let early = uploads("beyond/early");
        let misplaced = [("content-range", "77-99")];
        Ok(vec![
            refusal("416 for a chunk", "PATCH", session.clone(), &misplaced, 416),
            refusal(
                "416 for a closing chunk",
                "PUT",
                format!("{session}?digest={}", sha256(b"")),
                &misplaced,
                416,
            ),
            refusal(
                "404 for a session",
                "PATCH",
                format!("{early}5e2c7d0a-93c1-4d6a-8a53-6f3f2a1b4c5d"),
                &[],
                404,
            ),
            refusal(
                "400 for a digest",
                "POST",
                format!("{early}?digest=sha256:nothing"),
                &[],
                400,
            ),
            refusal(
                "400 for a name",
                "POST",
                "/v2/Upper/blobs/uploads/".to_owned(),
                &[],
                400,
            ),
            refusal(
                "405 for a method",
                "PUT",
                "/v2/beyond/early/tags/list".to_owned(),
                &[],
                405,
            ),
        ])
    }

    fn refused_each_time(&mut self, refusal: &Refusal, body: &[u8], times: usize) -> Checked {
        for _ in 0..times {
            let mut request = Request::new(refusal.method, refusal.target.as_str()).body(Body::Chunked(body));
            for (name, value) in &refusal.headers {
                request = request.header(name, *value);
            }
            criteria::status(&self.client.send(&request)?, &[refusal.status])?;
        }
        Ok(())
    }
}

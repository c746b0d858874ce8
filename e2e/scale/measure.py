#!/usr/bin/env python3
"""Times every call of the API on a registry whose database fill.sql filled, and on an empty one: docs/scale.md.

    measure.py http://127.0.0.1:PORT-OF-THE-FILLED http://127.0.0.1:PORT-OF-THE-EMPTY [calls]

One connection to each; a call goes to the one and at once to the other, the first of the two in turn. psql finds the
filled database by PGHOST, PGPORT, PGUSER and PGDATABASE. What is asked of the filled one is drawn at random from all that
is there. Prints a Markdown table.
"""

import hashlib
import json
import random
import socket
import subprocess
import sys
import time
import urllib.parse

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
OCTETS = {"Content-Type": "application/octet-stream"}


class Server:
    """One keep-alive connection, without a library's own time in the figures."""

    def __init__(self, url):
        self.address = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((self.address.hostname, self.address.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method, path, body=b"", headers=None):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.address.netloc}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        begun = time.perf_counter()
        self.socket.sendall(request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self.more()
        head = answer[:end].decode().split("\r\n")
        fields = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in head[1:])}
        length = 0 if method == "HEAD" else int(fields.get("content-length", 0))
        while len(answer) < end + 4 + length:
            answer += self.more()
        taken = time.perf_counter() - begun
        return int(head[0].split()[1]), fields, answer[end + 4 :], taken

    def more(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise ConnectionError("the server closed the connection")
        return piece

    def expect(self, status, *request):
        answered, fields, body, taken = self.ask(*request)
        if answered != status:
            raise SystemExit(f"{request[:2]}: {answered} and not {status}: {body[:300]!r}")
        return fields, body, taken


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def sql(query):
    answer = subprocess.run(["psql", "-AtXc", query], check=True, capture_output=True, text=True).stdout
    return [line.split("|") for line in answer.splitlines()]


class Registry:
    """What can be asked of a registry: things of its own, and on the filled one of fill.sql too."""

    def __init__(self, url, generated):
        self.server = Server(url)
        self.generated = generated
        # On the filled one, the repository with a fifth of all there is.
        self.repository = "scale2/huge" if generated else "probe/app"
        self.run = f"{time.time_ns():x}"
        self.blobs = [self.push_blob(f"{self.run} blob {i}".encode()) for i in range(40)]
        self.images = [self.push(self.image(i), IMAGE, f"{self.run}-{i:04}") for i in range(220)]
        for i in range(2):
            self.push(self.referrer(f"first {i}", self.images[0]), IMAGE)
        if not generated:
            for i in range(220):
                self.server.expect(201, "POST", f"/v2/probe/m{i:04}/blobs/uploads/?mount={self.blobs[0][0]}&from=probe/app")

    def push_blob(self, content):
        named = digest(content)
        self.server.expect(201, "POST", f"/v2/{self.repository}/blobs/uploads/?digest={named}", content, OCTETS)
        return named, len(content)

    def described(self, i, media_type):
        named, size = self.blobs[i % len(self.blobs)]
        return {"mediaType": media_type, "digest": named, "size": size}

    def image(self, number, **more):
        layer = "application/vnd.oci.image.layer.v1.tar+gzip"
        return json.dumps({
            "schemaVersion": 2, "mediaType": IMAGE, "annotations": {"number": f"{self.run} {number}"},
            "config": self.described(0, "application/vnd.oci.image.config.v1+json"),
            "layers": [self.described(1 + j, layer) for j in range(10)], **more,
        }).encode()

    def listed(self, named):
        body, media_type = named
        return {"mediaType": media_type, "digest": digest(body), "size": len(body)}

    def index(self, number):
        return json.dumps({
            "schemaVersion": 2, "mediaType": INDEX, "annotations": {"number": f"{self.run} {number}"},
            "manifests": [self.listed(image) for image in self.images[:4]],
        }).encode()

    def referrer(self, number, subject):
        return self.image(f"referrer {number}", subject=self.listed(subject), artifactType="application/vnd.scale.16")

    def push(self, body, media_type, reference=None):
        path = f"/v2/{self.repository}/manifests/{reference or digest(body)}"
        self.server.expect(201, "PUT", path, body, {"Content-Type": media_type})
        return body, media_type

    def draw(self, calls):
        """Paths to ask for, the same for each call."""
        own = self.repository
        if not self.generated:
            self.tagged = [(own, f"{self.run}-{random.randrange(220):04}") for _ in range(calls)]
            self.by_digest = [(own, digest(random.choice(self.images)[0])) for _ in range(calls)]
            self.linked = [(own, random.choice(self.blobs)[0]) for _ in range(calls)]
            self.subjects = [(own, digest(self.images[0][0]))] * calls
            self.lists = [(own, f"{self.run}-{random.randrange(110):04}") for _ in range(calls)]
            self.catalog = [f"probe/m{random.randrange(110):04}" for _ in range(calls)]
            return
        named = "'sha256:' || encode(substr({}, 2), 'hex')"
        chosen = "SELECT r.path, {} FROM scale_manifests m JOIN repositories r ON r.id = m.repository_id WHERE {} ORDER BY random() LIMIT {}"
        self.tagged = sql(chosen.format("'v' || m.n", "m.place < 4", calls))
        self.by_digest = sql(chosen.format(named.format("m.digest"), "true", calls))
        self.subjects = sql(chosen.format(named.format("m.digest"), "m.place = 0 AND m.n % 1000 > 0", calls))
        self.lists = [("scale3/tags", f"t{random.randrange(10000, 60000)}") for _ in range(calls)]
        self.catalog = [f"scale{random.randrange(1, 199)}/app{random.randrange(1, 20000)}" for _ in range(calls)]
        self.linked = sql(
            f"SELECT r.path, {named.format('l.digest')} FROM blob_links l TABLESAMPLE SYSTEM (1) "
            f"JOIN repositories r ON r.id = l.repository_id AND r.namespace_id = l.namespace_id ORDER BY random() LIMIT {calls}"
        )


def begin(registry):
    return registry.server.expect(202, "POST", f"/v2/{registry.repository}/blobs/uploads/")[0]["location"]


def with_digest(location, content):
    return f"{location}{'&' if '?' in location else '?'}digest={digest(content)}"


def chunk(registry, i):
    content = f"{registry.run} chunk {i}".encode()
    location = begin(registry)
    headers = {**OCTETS, "Content-Range": f"0-{len(content) - 1}"}
    return content, location, headers


def finishing(registry, i):
    content, location, headers = chunk(registry, f"finish {i}")
    location = registry.server.expect(202, "PATCH", location, content, headers)[0]["location"]
    return 201, "PUT", with_digest(location, content), b"", {}


def patching(registry, i):
    content, location, headers = chunk(registry, i)
    return 202, "PATCH", location, content, headers


def monolithic(registry, i):
    content = f"{registry.run} whole {i}".encode()
    return 201, "POST", f"/v2/{registry.repository}/blobs/uploads/?digest={digest(content)}", content, OCTETS


def mount(registry, i):
    path, named = registry.linked[i]
    return 201, "POST", f"/v2/mounted/{registry.run}-{i}/blobs/uploads/?mount={named}&from={path}"


def mount_known(registry, i):
    path, named = registry.linked[i]
    target = f"mounted/{registry.run}-{0}"
    return 201, "POST", f"/v2/{target}/blobs/uploads/?mount={named}&from={path}"


def put(registry, body, media_type, reference=None):
    path = f"/v2/{registry.repository}/manifests/{reference or digest(body)}"
    return 201, "PUT", path, body, {"Content-Type": media_type}


def deleting_blob(registry, i):
    named, _ = registry.push_blob(f"{registry.run} doomed {i}".encode())
    return 202, "DELETE", f"/v2/{registry.repository}/blobs/{named}"


def deleting_manifest(registry, i):
    body, _ = registry.push(registry.image(f"doomed {i}"), IMAGE, f"doomed-{i}")
    return 202, "DELETE", f"/v2/{registry.repository}/manifests/{digest(body)}"


def deleting_tag(registry, i):
    registry.push(registry.images[5][0], IMAGE, f"doomed-{i}")
    return 202, "DELETE", f"/v2/{registry.repository}/manifests/doomed-{i}"


CALLS = {
    "`GET /v2/`": lambda r, i: (200, "GET", "/v2/"),
    "manifest `GET` by tag": lambda r, i: (200, "GET", "/v2/{}/manifests/{}".format(*r.tagged[i])),
    "manifest `HEAD` by tag": lambda r, i: (200, "HEAD", "/v2/{}/manifests/{}".format(*r.tagged[-1 - i])),
    "manifest `GET` by digest": lambda r, i: (200, "GET", "/v2/{}/manifests/{}".format(*r.by_digest[i])),
    "manifest `GET`, no such tag": lambda r, i: (404, "GET", f"/v2/{r.tagged[i][0]}/manifests/none-{i}"),
    "blob `HEAD`": lambda r, i: (200, "HEAD", "/v2/{}/blobs/{}".format(*r.linked[i])),
    "blob `GET`, 30 bytes": lambda r, i: (200, "GET", f"/v2/{r.repository}/blobs/{r.blobs[i % 40][0]}"),
    "blob `HEAD`, unknown": lambda r, i: (404, "HEAD", f"/v2/{r.repository}/blobs/{digest(str(i).encode())}"),
    "tags, first 100": lambda r, i: (200, "GET", f"/v2/{r.lists[i][0]}/tags/list?n=100"),
    "tags, 100 from the middle": lambda r, i: (200, "GET", "/v2/{}/tags/list?n=100&last={}".format(*r.lists[i])),
    "catalog, first 100": lambda r, i: (200, "GET", "/v2/_catalog?n=100"),
    "catalog, 100 from the middle": lambda r, i: (200, "GET", f"/v2/_catalog?n=100&last={r.catalog[i]}"),
    "referrers (2)": lambda r, i: (200, "GET", "/v2/{}/referrers/{}".format(*r.subjects[i])),
    "referrers by type": lambda r, i: (
        200, "GET", "/v2/{}/referrers/{}?artifactType=application/vnd.scale.16".format(*r.subjects[i])),
    "upload: begin": lambda r, i: (202, "POST", f"/v2/{r.repository}/blobs/uploads/"),
    "upload: state": lambda r, i: (204, "GET", begin(r)),
    "upload: chunk": patching,
    "upload: finish": finishing,
    "upload: cancel": lambda r, i: (204, "DELETE", begin(r)),
    "upload in one `POST`": monolithic,
    "mount into a new repository": mount,
    "mount into a known repository": mount_known,
    "manifest `PUT`, 11 blobs, new tag": lambda r, i: put(r, r.image(f"new {i}"), IMAGE, f"new-{i}"),
    "manifest `PUT`, tag moves": lambda r, i: put(r, r.image(f"moved {i}"), IMAGE, "moved"),
    "manifest `PUT`, again": lambda r, i: put(r, *r.images[i % 220], f"{r.run}-{i % 220:04}"),
    "manifest `PUT`, index of 4": lambda r, i: put(r, r.index(i), INDEX),
    "manifest `PUT`, referrer": lambda r, i: put(r, r.referrer(i, r.images[1 + i % 200]), IMAGE),
    "tag `DELETE`": deleting_tag,
    "manifest `DELETE`": deleting_manifest,
    "blob `DELETE`": deleting_blob,
}


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def main():
    filled, empty = Registry(sys.argv[1], True), Registry(sys.argv[2], False)
    calls = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    both = (filled, empty)
    for registry in both:
        registry.draw(calls)
    print("| call | p50 empty | p50 filled | ratio | p99 empty | p99 filled | ratio |\n|---|---|---|---|---|---|---|")
    for name, request in CALLS.items():
        times = {filled: [], empty: []}
        for i in range(calls):
            for registry in both if i % 2 else both[::-1]:
                times[registry].append(registry.server.expect(*request(registry, i))[2])
        cells = []
        for share in (0.5, 0.99):
            few, many = (percentile(times[registry], share) for registry in (empty, filled))
            cells += [f"{few:.2f}", f"{many:.2f}", f"{many / few:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


main()

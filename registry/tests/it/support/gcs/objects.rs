//! Buckets of bytes: objects, ranges, multipart uploads, listings.

use super::Asked;
use axum::body::{Body, Bytes};
use axum::response::Response;
use berth_registry::clock::Clock;
use http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// Of a part that is not the last.
const LEAST_PART: usize = 5 * 1024 * 1024;
const MOST_PARTS: u32 = 10_000;
const GENERATION: &str = "x-goog-generation";

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str) -> Self {
        Self { status, code }
    }
}

#[derive(Debug)]
struct Object {
    body: Bytes,
    generation: u64,
    etag: String,
    modified: Timestamp,
}

#[derive(Debug, Default)]
struct Upload {
    key: String,
    parts: BTreeMap<u32, (String, Bytes)>,
}

#[derive(Debug, Default)]
pub(super) struct Objects {
    stored: BTreeMap<String, Object>,
    uploads: HashMap<String, Upload>,
    /// Counts what was ever made: generations, entity tags and names of uploads.
    made: u64,
}

impl Objects {
    pub(super) fn answer(&mut self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let upload = asked.query.get("uploadId").cloned();
        match (asked.method, upload, asked.key.is_empty()) {
            (&Method::GET, None, true) => Ok(self.list(asked)),
            (&Method::GET | &Method::HEAD, None, false) => self.read(asked),
            (&Method::PUT, None, false) => self.put(asked),
            (&Method::DELETE, None, false) => self.delete(&asked.key),
            (&Method::POST, None, false) if asked.query.contains_key("uploads") => Ok(self.begin(&asked.key)),
            (&Method::PUT, Some(id), false) => self.put_part(asked, &id),
            (&Method::POST, Some(id), false) => self.complete(asked, &id),
            (&Method::DELETE, Some(id), false) => match self.uploads.remove(&id) {
                Some(_) => Ok(answer(StatusCode::NO_CONTENT, Bytes::new())),
                None => Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchUpload")),
            },
            _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed")),
        }
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Refuses unless the generation that is there is the one that was named; 0 is that of nothing.
    fn matches_generation(&self, key: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(wanted) = headers.get("x-goog-if-generation-match") else {
            return Ok(());
        };
        let there = self.stored.get(key).map_or(0, |object| object.generation);
        if wanted.as_bytes() == there.to_string().as_bytes() {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"))
    }

    fn store(&mut self, key: String, body: Bytes) -> (u64, String) {
        let generation = self.number();
        let etag = format!("\"{generation:032x}\"");
        let object = Object {
            body,
            generation,
            etag: etag.clone(),
            modified: Timestamp::from_microsecond(Clock::default().now()).unwrap(),
        };
        self.stored.insert(key, object);
        (generation, etag)
    }

    fn put(&mut self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        self.matches_generation(&asked.key, asked.headers)?;
        let (generation, etag) = self.store(asked.key.clone(), asked.body.clone());
        let done = answer(StatusCode::OK, Bytes::new());
        Ok(with(with(done, "etag", &etag), GENERATION, &generation.to_string()))
    }

    fn delete(&mut self, key: &str) -> Result<Response, Refusal> {
        match self.stored.remove(key) {
            Some(_) => Ok(answer(StatusCode::NO_CONTENT, Bytes::new())),
            None => Err(Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey")),
        }
    }

    fn read(&self, asked: &Asked<'_>) -> Result<Response, Refusal> {
        let found = self.stored.get(&asked.key);
        let object = found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NoSuchKey"))?;
        if let Some(wanted) = asked.headers.get(header::IF_MATCH)
            && wanted.as_bytes() != object.etag.as_bytes()
        {
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
        }
        let size = object.body.len();
        let wanted = asked.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        let found = match wanted {
            None => answer(StatusCode::OK, object.body.clone()),
            Some(range) => {
                let (start, end) = bounds(range, size)
                    .ok_or_else(|| Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange"))?;
                let part = answer(StatusCode::PARTIAL_CONTENT, object.body.slice(start..end));
                with(part, "content-range", &format!("bytes {start}-{}/{size}", end - 1))
            }
        };
        let modified = object.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let found = with(with(found, "etag", &object.etag), "last-modified", &modified);
        let mut found = with(found, GENERATION, &object.generation.to_string());
        if asked.method == Method::HEAD {
            *found.body_mut() = Body::empty();
            found = with(found, "content-length", &size.to_string());
        }
        Ok(found)
    }

    fn begin(&mut self, key: &str) -> Response {
        let id = format!("upload-{}", self.number());
        let upload = Upload {
            key: key.to_owned(),
            ..Upload::default()
        };
        self.uploads.insert(id.clone(), upload);
        let told = format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
        answer(StatusCode::OK, told.into())
    }

    fn upload(&mut self, id: &str, key: &str) -> Result<&mut Upload, Refusal> {
        let found = self.uploads.get_mut(id).filter(|upload| upload.key == key);
        found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "NoSuchUpload"))
    }

    fn put_part(&mut self, asked: &Asked<'_>, id: &str) -> Result<Response, Refusal> {
        let number = asked
            .query
            .get("partNumber")
            .and_then(|number| number.parse::<u32>().ok());
        let number = number
            .filter(|number| (1..=MOST_PARTS).contains(number))
            .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "InvalidPartNumber"))?;
        let etag = format!("\"part-{}\"", self.number());
        let upload = self.upload(id, &asked.key)?;
        upload.parts.insert(number, (etag.clone(), asked.body.clone()));
        Ok(with(answer(StatusCode::OK, Bytes::new()), "etag", &etag))
    }

    fn complete(&mut self, asked: &Asked<'_>, id: &str) -> Result<Response, Refusal> {
        let named = named_parts(&String::from_utf8_lossy(&asked.body));
        let upload = self.upload(id, &asked.key)?;
        let mut whole = Vec::new();
        for (place, (number, etag)) in named.iter().enumerate() {
            let (stored, body) = upload
                .parts
                .get(number)
                .filter(|(stored, _)| stored == etag)
                .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "InvalidPart"))?;
            let last = place + 1 == named.len();
            if *number as usize != place + 1 || stored.is_empty() || (body.len() < LEAST_PART && !last) {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "EntityTooSmall"));
            }
            whole.extend_from_slice(body);
        }
        if named.is_empty() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "MalformedXML"));
        }
        self.uploads.remove(id);
        let (generation, etag) = self.store(asked.key.clone(), whole.into());
        let told = format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>");
        let done = answer(StatusCode::OK, told.into());
        Ok(with(done, GENERATION, &generation.to_string()))
    }

    fn list(&self, asked: &Asked<'_>) -> Response {
        let prefix = asked.query.get("prefix").map_or("", String::as_str);
        let delimiter = asked.query.get("delimiter").map_or("", String::as_str);
        let (mut told, mut folders) = ("<ListBucketResult>".to_owned(), BTreeSet::new());
        for (key, object) in self.stored.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let below = &key[prefix.len()..];
            if let Some((folder, _)) = below.split_once(delimiter).filter(|_| !delimiter.is_empty()) {
                folders.insert(format!("{prefix}{folder}{delimiter}"));
                continue;
            }
            let (size, etag, modified) = (object.body.len(), &object.etag, object.modified);
            write!(
                told,
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{etag}</ETag>\
                 <LastModified>{modified:.0}</LastModified></Contents>"
            )
            .unwrap();
        }
        for folder in folders {
            write!(told, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>").unwrap();
        }
        told.push_str("</ListBucketResult>");
        answer(StatusCode::OK, told.into())
    }
}

/// `<PartNumber>` and `<ETag>` of each part, in the order in which they stand.
fn named_parts(xml: &str) -> Vec<(u32, String)> {
    let text = |part: &str, tag: &str| -> Option<String> {
        let (_, rest) = part.split_once(&format!("<{tag}>"))?;
        let (text, _) = rest.split_once(&format!("</{tag}>"))?;
        Some(text.replace("&quot;", "\""))
    };
    xml.split("<Part>")
        .skip(1)
        .filter_map(|part| Some((text(part, "PartNumber")?.parse().ok()?, text(part, "ETag")?)))
        .collect()
}

/// The bytes of `bytes=a-b`, `bytes=a-` or `bytes=-n`: start and end, the end not included.
fn bounds(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let length = last.parse::<usize>().ok()?.min(size);
        return (length > 0).then_some((size - length, size));
    }
    let first = first.parse().ok()?;
    let end = if last.is_empty() {
        size
    } else {
        last.parse::<usize>().ok()?.saturating_add(1).min(size)
    };
    (first < end).then_some((first, end))
}

fn answer(status: StatusCode, body: Bytes) -> Response {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer
}

fn with(mut answer: Response, name: &'static str, value: &str) -> Response {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

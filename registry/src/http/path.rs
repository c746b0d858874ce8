//! Which part of a path is the repository's name, and what stands behind it. Text only; nothing is checked here.
//!
//! Names contain slashes, so a path is read from the right; a repository may have components called `blobs` or
//! `manifests`. The path arrives percent-decoded, once.

/// What a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target<'p> {
    Ping,
    Catalog,
    /// A name, as it is written, and what is asked of the repository.
    Repository(&'p str, Suffix<'p>),
}

/// The part of the path behind the repository's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix<'p> {
    Uploads,
    Upload(&'p str),
    Blob(&'p str),
    Manifest(&'p str),
    Tags,
    Referrers(&'p str),
}

/// Reads a path; `None` when no endpoint has one like it.
pub(super) fn target(path: &str) -> Option<Target<'_>> {
    let rest = match path.strip_prefix("/v2")? {
        "" | "/" => return Some(Target::Ping),
        rest => rest.strip_prefix('/')?,
    };
    if rest == "_catalog" {
        return Some(Target::Catalog);
    }
    let (name, suffix) = split(rest)?;
    Some(Target::Repository(name, suffix))
}

fn split(rest: &str) -> Option<(&str, Suffix<'_>)> {
    if let Some(name) = rest
        .strip_suffix("/blobs/uploads/")
        .or_else(|| rest.strip_suffix("/blobs/uploads"))
    {
        return Some((name, Suffix::Uploads));
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some((name, Suffix::Tags));
    }
    let (before, last) = rest.rsplit_once('/')?;
    if let Some(name) = before.strip_suffix("/blobs/uploads") {
        return Some((name, Suffix::Upload(last)));
    }
    let (name, kind) = before.rsplit_once('/')?;
    let suffix = match kind {
        "manifests" => Suffix::Manifest(last),
        "blobs" => Suffix::Blob(last),
        "referrers" => Suffix::Referrers(last),
        _ => return None,
    };
    Some((name, suffix))
}

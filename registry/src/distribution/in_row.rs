//! Uploads of a few bytes: the database keeps them, beside the row of the blob, and the store never hears of them.
//!
//! Such a push waits for commits alone. What does not fit here (more bytes, a session that a request has claimed, a digest
//! that is another one) has changed nothing, and takes the way of all other uploads, which also tells what is wrong.

use super::error::{BodyError, Error};
use super::uploads::OpenUpload;
use super::{Distribution, retried};
use crate::metadata::blobs::{Blob, Place};
use crate::metadata::uploads::{self, Named};
use crate::metadata::{Tx, repositories};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use oci::{ContentRange, Digest, RepositoryName};

/// A body of which some was read.
pub(super) enum Body<'s> {
    /// All of it: a few bytes.
    Whole(Bytes),
    /// Too much, or it failed; the stream has everything that was read, and what comes.
    Stream(BoxStream<'s, Result<Bytes, BodyError>>),
}

impl<'s> Body<'s> {
    /// Reads to the end, unless there are more than `limit` bytes, or the client announces more.
    pub(super) async fn read<S>(mut body: S, announced: u64, limit: u64) -> Self
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 's,
    {
        if limit == 0 || announced > limit {
            return Self::Stream(body.boxed());
        }
        let (mut pieces, mut length) = (Vec::new(), 0);
        while let Some(piece) = body.next().await {
            length += piece.as_ref().map_or(0, Bytes::len) as u64;
            let over = piece.is_err() || length > limit;
            pieces.push(piece);
            if over {
                return Self::Stream(stream::iter(pieces).chain(body).boxed());
            }
        }
        Self::Whole(joined(pieces))
    }

    pub(super) fn into_stream(self) -> BoxStream<'s, Result<Bytes, BodyError>> {
        match self {
            Self::Whole(content) => stream::iter([Ok(content)]).boxed(),
            Self::Stream(stream) => stream,
        }
    }
}

fn joined(mut pieces: Vec<Result<Bytes, BodyError>>) -> Bytes {
    match pieces.len() {
        1 => pieces.pop().and_then(Result::ok).unwrap_or_default(),
        _ => pieces.into_iter().flatten().flatten().collect(),
    }
}

impl Distribution {
    /// Keeps the first bytes of an upload. `None`: not here.
    pub(super) async fn stage(
        &self,
        named: Named<'_>,
        range: Option<ContentRange>,
        content: &Bytes,
    ) -> Result<Option<OpenUpload>, Error> {
        let Some(stored) = self.length_of_both(range, &Bytes::new(), content) else {
            return Ok(None);
        };
        let mut tx = self.metadata.begin_statement().await?;
        let times = (self.now(), self.after(self.limits.upload_expiry));
        if !uploads::stage(&mut tx, named, content, times).await? {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(OpenUpload { id: named.id, stored }))
    }

    /// Makes a blob of what an upload has kept and its last bytes; durable on return. `false`: not here.
    pub(super) async fn finish_in_row(
        &self,
        named: Named<'_>,
        digest: Digest,
        range: Option<ContentRange>,
        last: &Bytes,
    ) -> Result<bool, Error> {
        // The end of every large upload comes without a byte, too.
        if last.is_empty() && !self.has_kept_content(named).await? {
            return Ok(false);
        }
        retried(|| self.commit_in_row(named, digest, range, last)).await
    }

    /// Makes a blob of bytes that came without a session; durable on return. `false`: not here.
    pub(super) async fn push_in_row(
        &self,
        repository: &RepositoryName,
        digest: Digest,
        content: &Bytes,
    ) -> Result<bool, Error> {
        let Some(size) = self.length_of_both(None, &Bytes::new(), content) else {
            return Ok(false);
        };
        if Digest::of(digest.algorithm(), content) != digest {
            return Ok(false);
        }
        let ours = Blob {
            digest,
            size,
            corrupt: false,
            place: Place::Row(content.clone()),
        };
        retried(|| self.commit_alone(repository, &ours)).await?;
        Ok(true)
    }

    async fn commit_alone(&self, repository: &RepositoryName, ours: &Blob) -> Result<(), Error> {
        let mut tx = self.metadata.begin().await?;
        self.keep_in_row(&mut tx, repository, ours).await?;
        Ok(tx.commit().await?)
    }

    async fn keep_in_row(&self, tx: &mut Tx, repository: &RepositoryName, ours: &Blob) -> Result<(), Error> {
        let key = repositories::ensure(tx, repository, self.now()).await?;
        self.adopt(tx, ours).await?;
        self.grant(tx, key, ours.digest).await
    }

    async fn has_kept_content(&self, named: Named<'_>) -> Result<bool, Error> {
        let mut reader = self.metadata.read().await?;
        let session = uploads::find(&mut reader, named.id, named.repository, self.now()).await?;
        Ok(session.is_some_and(|session| session.staged.content.is_some()))
    }

    /// The one transaction that makes an upload a blob.
    async fn commit_in_row(
        &self,
        named: Named<'_>,
        digest: Digest,
        range: Option<ContentRange>,
        last: &Bytes,
    ) -> Result<bool, Error> {
        let mut tx = self.metadata.begin().await?;
        let Some(ours) = self.end_in_row(&mut tx, named, digest, (range, last)).await? else {
            tx.roll_back().await;
            return Ok(false);
        };
        self.keep_in_row(&mut tx, named.repository, &ours).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn end_in_row(
        &self,
        tx: &mut Tx,
        named: Named<'_>,
        digest: Digest,
        (range, last): (Option<ContentRange>, &Bytes),
    ) -> Result<Option<Blob>, Error> {
        let times = (self.now(), self.after(self.limits.upload_memory));
        let Some(kept) = uploads::finish_unclaimed(tx, named, &digest, times).await? else {
            return Ok(None);
        };
        let Some(size) = self.length_of_both(range, &kept, last) else {
            return Ok(None);
        };
        let content = if kept.is_empty() {
            last.clone()
        } else {
            [kept, last.clone()].concat().into()
        };
        let ours = Blob {
            digest,
            size,
            corrupt: Digest::of(digest.algorithm(), &content) != digest,
            place: Place::Row(content),
        };
        Ok((!ours.corrupt).then_some(ours))
    }

    /// How many bytes there are then; `None` when these do not belong behind those, or there are too many.
    fn length_of_both(&self, range: Option<ContentRange>, kept: &Bytes, more: &Bytes) -> Option<u64> {
        let (stored, added) = (kept.len() as u64, more.len() as u64);
        let limit = self.limits.in_row.min(self.limits.blob_size.unwrap_or(u64::MAX));
        let belongs = range.is_none_or(|range| range.start == stored && range.size() == added);
        (belongs && stored + added <= limit).then_some(stored + added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(pieces: &[&'static str], announced: u64, limit: u64) -> Result<Bytes, Vec<Bytes>> {
        let pieces: Vec<Result<Bytes, BodyError>> = pieces.iter().map(|&piece| Ok(piece.into())).collect();
        match Body::read(stream::iter(pieces), announced, limit).await {
            Body::Whole(content) => Ok(content),
            Body::Stream(stream) => Err(stream.map(Result::unwrap).collect().await),
        }
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_when_it_is_short() {
        assert_eq!(read(&[], 0, 4).await, Ok(Bytes::new()));
        assert_eq!(read(&["ab", "cd"], 4, 4).await, Ok("abcd".into()));
        assert_eq!(
            read(&["abcd"], 0, 4).await,
            Ok("abcd".into()),
            "no length was announced"
        );
    }

    #[tokio::test]
    async fn what_was_read_of_a_long_body_is_not_lost() {
        assert_eq!(read(&["ab", "cd"], 0, 3).await, Err(vec!["ab".into(), "cd".into()]));
        assert_eq!(read(&["ab", "cd", "ef"], 6, 3).await.unwrap_err().concat(), b"abcdef");
        assert_eq!(
            read(&["ab"], 2, 0).await,
            Err(vec!["ab".into()]),
            "nothing is kept in rows"
        );
    }

    #[tokio::test]
    async fn an_error_comes_after_what_was_read() {
        let cut = BodyError::Length { announced: 3, sent: 2 };
        let pieces = stream::iter([Ok(Bytes::from("ab")), Err(cut)]);
        let Body::Stream(mut rest) = Body::read(pieces, 3, 10).await else {
            panic!("a body that fails has no end");
        };

        assert_eq!(rest.next().await.unwrap().unwrap(), "ab");
        assert!(matches!(rest.next().await, Some(Err(BodyError::Length { .. }))));
    }
}

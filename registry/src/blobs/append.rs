//! What an append starts from, and what it leaves.

use futures::future::BoxFuture;
use oci::{Algorithm, Digest, Digester};
use std::future::Future;

/// Where an upload stands: what its row says.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// The key that the finished object will have.
    pub object_key: String,
    /// Bytes stored so far.
    pub stored_bytes: u64,
    /// The half-done hash of those bytes.
    pub hasher: Option<Vec<u8>>,
    /// The store's name of the multipart upload, where one was begun.
    pub multipart_id: Option<String>,
    /// The store's names of its parts, in order.
    pub parts: Vec<String>,
    /// The object with the bytes after the last part.
    pub tail_key: Option<String>,
    /// The number of this claim, from 1; makes the keys that it writes unique.
    pub claim: u64,
}

/// Whether more bytes can come after this append.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// The session stays open.
    Open,
    /// The object must hash to this digest, and becomes readable.
    Last(Digest),
}

/// Where an upload stands after an append.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Bytes stored.
    pub stored_bytes: u64,
    /// The half-done hash of those bytes.
    pub hasher: Vec<u8>,
    /// The store's name of the multipart upload.
    pub multipart_id: Option<String>,
    /// The store's names of its parts.
    pub parts: Vec<String>,
    /// The object with the bytes after the last part.
    pub tail_key: Option<String>,
    /// After [`End::Last`]: the key under which the object can be read.
    pub object_key: String,
}

/// The right to write to an upload, as the one who gave it keeps it.
pub trait WriteClaim: Sync {
    /// Fails unless the right is held now. Asked while the store's own lock is held and before anything is changed: a
    /// writer that was slow to get that lock may have lost its claim meanwhile, and the upload may be a blob by now.
    fn confirm(&self) -> BoxFuture<'static, Result<(), ClaimError>>;

    /// Records a multipart upload and the key that its object will have, before bytes are sent to it.
    fn multipart_begun(&self, id: &str, object_key: &str) -> impl Future<Output = Result<(), ClaimError>> + Send;
}

/// The right to write is not there.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Another request has it, or the upload has ended.
    #[error("the right to write to the upload was lost")]
    Lost,
    /// Nobody could say.
    #[error("the right to write to the upload could not be confirmed")]
    Unconfirmed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The hash to go on with: the saved one, or a new one of the algorithm that the end will be checked with.
///
/// `None` when a state was saved in a form that this version does not read: the bytes must be hashed again.
pub(super) fn digester(at: &Position, end: End) -> Option<Digester> {
    if let Some(saved) = at.hasher.as_deref().filter(|_| at.stored_bytes > 0) {
        return Digester::restore(saved).ok();
    }
    let algorithm = match end {
        End::Open => Algorithm::Sha256,
        End::Last(digest) => digest.algorithm(),
    };
    (at.stored_bytes == 0).then(|| Digester::new(algorithm))
}

/// The digest to compare at the end, when the running hash is of its algorithm.
pub(super) fn comparable(digester: &Digester, end: End) -> Option<Digest> {
    match end {
        End::Last(expected) if expected.algorithm() == digester.algorithm() => Some(expected),
        End::Last(_) | End::Open => None,
    }
}

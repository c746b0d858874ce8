//! What can go wrong with the store.

/// The store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object is not there.
    #[error("object {key} is not in the store")]
    NotFound {
        /// The object.
        key: String,
    },
    /// The store refused or did not answer.
    #[error("the store did not {action} {key}")]
    Store {
        /// What was tried: a verb.
        action: &'static str,
        /// The object, folder or bucket.
        key: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// The file system refused.
    #[error("could not {action} {key}")]
    File {
        /// What was tried: a verb.
        action: &'static str,
        /// The object or folder.
        key: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An object has fewer bytes than its row says.
    #[error("object {key} ends at byte {end}, before byte {wanted}")]
    Short {
        /// The object.
        key: String,
        /// Where it ends.
        end: u64,
        /// Where it should end.
        wanted: u64,
    },
    /// The half-done hash of an upload was saved by another version, and its bytes cannot be read back to hash again.
    #[error("the saved hash of {key} cannot be read; the upload must start again")]
    HashState {
        /// The object.
        key: String,
    },
    /// A key that cannot be a path in the store.
    #[error("{key} cannot be a key of the store")]
    Key {
        /// The key.
        key: String,
    },
    /// A thread that did blocking work ended without an answer.
    #[error("a worker thread of the store stopped")]
    Worker,
}

impl Error {
    pub(super) fn of(action: &'static str, key: &str, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound { key: key.to_owned() },
            source => Self::Store {
                action,
                key: key.to_owned(),
                source,
            },
        }
    }

    pub(super) fn file(action: &'static str, key: &str) -> impl FnOnce(std::io::Error) -> Self {
        let key = key.to_owned();
        move |source| Self::File { action, key, source }
    }
}

/// An append failed; the upload stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum AppendError<E> {
    /// The client's stream broke, or went over a limit.
    #[error("the request's body ended early")]
    Body(E),
    /// The bytes are not what the client said.
    #[error("the content hashes to {actual}, not to {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: oci::Digest,
        /// What the bytes are.
        actual: oci::Digest,
    },
    /// An earlier writer still holds the upload.
    #[error("another writer still holds the upload")]
    Busy,
    /// The right to write was lost, or could not be confirmed.
    #[error("the upload could not be announced")]
    Announce(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

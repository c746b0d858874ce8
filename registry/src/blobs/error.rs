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
    /// The store takes no request that was signed by a clock so different from its own.
    #[error(
        "the store did not {action} {key}: its clock and this machine's differ by too much for its signatures; let both \
         be set by a time service (NTP)"
    )]
    Clock {
        /// What was tried: a verb.
        action: &'static str,
        /// The object or bucket.
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
    /// An object's bytes are not those that were stored.
    #[error("the bytes of object {key} are not those that were stored")]
    Damaged {
        /// The object.
        key: String,
        /// What it hashed to when it was stored, and what it hashes to now.
        #[source]
        mismatch: Box<Mismatch>,
    },
    /// The half-done hash of an upload was saved by another version, and its bytes cannot be read back to hash again.
    #[error("the saved hash of {key} cannot be read; the upload must start again")]
    HashState {
        /// The object.
        key: String,
    },
    /// The store no longer has what was uploaded before: it was thrown away, most likely because it was left for too long.
    #[error("the store has lost what was uploaded of {key} so far; the upload must start again")]
    Lost {
        /// The object.
        key: String,
    },
    /// The store took the parts of an object and does not have them.
    #[error("the store said that it has the parts of {key}, and it has not")]
    Dropped {
        /// The object.
        key: String,
    },
    /// The store took an object and has something else.
    #[error("the store said that it has {wanted} bytes under {key}, and it has {}", shown(*.found))]
    NotStored {
        /// The object.
        key: String,
        /// Bytes that were sent.
        wanted: u64,
        /// Bytes that are there; none when there is no object.
        found: Option<u64>,
    },
    /// No store takes so many parts.
    #[error("{key} would be larger than an object of the store can be")]
    TooLarge {
        /// The object.
        key: String,
    },
    /// All the memory that uploads may use is in use.
    #[error("uploads use all the memory that they may have; uploads.memory sets how much that is")]
    NoMemory,
    /// The client keeps memory that others wait for.
    #[error("the client sends too slowly while others wait for memory; uploads.memory sets how much there is")]
    TooSlow,
    /// A key that cannot be a path in the store.
    #[error("{key} cannot be a key of the store")]
    Key {
        /// The key.
        key: String,
        /// What the path grammar said.
        #[source]
        source: object_store::path::Error,
    },
    /// Work for the store ended without an answer: it panicked, or the program is stopping.
    #[error("work for the store stopped in the middle")]
    Worker(#[from] tokio::task::JoinError),
}

/// What stores say of a multipart upload that has ended or expired: S3 and GCS, Azure.
const UPLOAD_GONE: &[&str] = &["NoSuchUpload", "InvalidBlockList"];

/// What S3, and what speaks its protocol, says of a signature from another time.
const SKEWED: &str = "RequestTimeTooSkewed";

fn shown(found: Option<u64>) -> String {
    found.map_or_else(|| "nothing".to_owned(), |bytes| bytes.to_string())
}

impl Error {
    pub(super) fn of(action: &'static str, key: &str, source: object_store::Error) -> Self {
        if matches!(source, object_store::Error::NotFound { .. }) {
            return Self::NotFound { key: key.to_owned() };
        }
        let (key, is_skewed) = (key.to_owned(), source.to_string().contains(SKEWED));
        if is_skewed {
            return Self::Clock { action, key, source };
        }
        Self::Store { action, key, source }
    }

    /// As [`Error::of`], for a request that goes on with a multipart upload.
    pub(super) fn of_upload(action: &'static str, key: &str, source: object_store::Error) -> Self {
        let told = source.to_string();
        if UPLOAD_GONE.iter().any(|code| told.contains(code)) {
            return Self::Lost { key: key.to_owned() };
        }
        Self::of(action, key, source)
    }

    pub(super) fn file(action: &'static str, key: &str) -> impl FnOnce(std::io::Error) -> Self {
        let key = key.to_owned();
        move |source| Self::File { action, key, source }
    }
}

/// A key as the store's path.
pub(super) fn path_of(root: &str, key: &str) -> Result<object_store::path::Path, Error> {
    let full = if root.is_empty() {
        key.to_owned()
    } else {
        format!("{root}/{key}")
    };
    object_store::path::Path::parse(full).map_err(|source| Error::Key {
        key: key.to_owned(),
        source,
    })
}

/// Content is not what its sender said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("content hashes to {actual}, not to {expected}")]
pub struct Mismatch {
    /// What the sender said.
    pub expected: oci::Digest,
    /// What the bytes are.
    pub actual: oci::Digest,
}

/// An append failed; the upload stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum AppendError<E> {
    /// The client's stream broke, or went over a limit.
    #[error("the request's body ended early")]
    Body(E),
    /// The bytes are not what the client said.
    #[error(transparent)]
    DigestMismatch(Box<Mismatch>),
    /// An earlier writer still holds the upload.
    #[error("another writer still holds the upload")]
    Busy,
    /// The right to write was lost, or could not be confirmed.
    #[error(transparent)]
    Claim(#[from] super::append::ClaimError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl<E> From<tokio::task::JoinError> for AppendError<E> {
    fn from(stopped: tokio::task::JoinError) -> Self {
        Self::Store(Error::Worker(stopped))
    }
}

//! Error codes and the body that carries them (distribution-spec "Error Codes", plus Docker's own).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A code that clients act on.
///
/// Reading a code that is none of these gives `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The blob is not in the repository.
    BlobUnknown,
    /// A chunk is out of order or its range cannot be read.
    BlobUploadInvalid,
    /// The upload session is unknown, expired or finished.
    BlobUploadUnknown,
    /// A digest is malformed, unsupported or not that of the content.
    DigestInvalid,
    /// A manifest refers to a blob or manifest that is not there.
    ManifestBlobUnknown,
    /// A manifest breaks the rules of its type.
    ManifestInvalid,
    /// The manifest is not in the repository.
    ManifestUnknown,
    /// The repository name breaks the grammar.
    NameInvalid,
    /// The repository does not exist.
    NameUnknown,
    /// Content is longer or shorter than it says, or longer than allowed.
    SizeInvalid,
    /// Who asks is unknown, or holds a token that does not reach.
    Unauthorized,
    /// A policy forbids it, whatever the token.
    Denied,
    /// The operation is switched off or does not exist.
    Unsupported,
    /// Too many requests; try again later.
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    /// Docker: `n` is not a number.
    PaginationNumberInvalid,
    /// Docker: the tag breaks the grammar.
    TagInvalid,
    /// Docker: the registry cannot serve right now; try again later.
    Unavailable,
    /// Docker: the registry failed.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The code as it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of an error answer: one entry for each thing that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The entries, most important first.
    pub errors: Vec<ErrorEntry>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// What clients act on.
    pub code: ErrorCode,
    /// What clients print as it is.
    #[serde(default)]
    pub message: String,
    /// Anything more, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

impl ErrorBody {
    /// A body with one entry.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::default().with(code, message, None)
    }

    /// The same body with one more entry.
    #[must_use]
    pub fn with(mut self, code: ErrorCode, message: impl Into<String>, detail: Option<Value>) -> Self {
        self.errors.push(ErrorEntry {
            code,
            message: message.into(),
            detail,
        });
        self
    }

    /// The same body with `detail` on its last entry.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Value>) -> Self {
        if let Some(last) = self.errors.last_mut() {
            last.detail = Some(detail.into());
        }
        self
    }

    /// The JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and JSON values always serialise; an empty list is still a body that clients can read.
        serde_json::to_vec(self).unwrap_or_else(|_impossible| br#"{"errors":[]}"#.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ErrorBody, ErrorCode};

    const ALL: [ErrorCode; 18] = [
        ErrorCode::BlobUnknown,
        ErrorCode::BlobUploadInvalid,
        ErrorCode::BlobUploadUnknown,
        ErrorCode::DigestInvalid,
        ErrorCode::ManifestBlobUnknown,
        ErrorCode::ManifestInvalid,
        ErrorCode::ManifestUnknown,
        ErrorCode::NameInvalid,
        ErrorCode::NameUnknown,
        ErrorCode::SizeInvalid,
        ErrorCode::Unauthorized,
        ErrorCode::Denied,
        ErrorCode::Unsupported,
        ErrorCode::TooManyRequests,
        ErrorCode::PaginationNumberInvalid,
        ErrorCode::TagInvalid,
        ErrorCode::Unavailable,
        ErrorCode::Unknown,
    ];

    #[test]
    fn a_code_is_written_in_json_as_it_is_shown() {
        for code in ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), json!(code.as_str()));
            assert_eq!(serde_json::from_value::<ErrorCode>(json!(code.as_str())).unwrap(), code);
            assert_eq!(code.to_string(), code.as_str());
        }
    }

    #[test]
    fn a_code_of_another_registry_reads_as_unknown() {
        let read: ErrorCode = serde_json::from_value(json!("MANIFEST_UNVERIFIED")).unwrap();
        assert_eq!(read, ErrorCode::Unknown);
    }

    #[test]
    fn a_body_lists_its_entries_and_leaves_out_absent_detail() {
        let body = ErrorBody::new(ErrorCode::ManifestBlobUnknown, "blob \"a\" unknown")
            .with_detail(json!({"digest": "a"}))
            .with(ErrorCode::ManifestBlobUnknown, "blob b unknown", None);

        let expected = concat!(
            r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob \"a\" unknown","detail":{"digest":"a"}},"#,
            r#"{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob b unknown"}]}"#
        );
        assert_eq!(String::from_utf8(body.to_json()).unwrap(), expected);
    }

    #[test]
    fn a_body_is_read_back() {
        let body =
            ErrorBody::new(ErrorCode::TooManyRequests, "slow down").with(ErrorCode::Denied, "no", Some(json!([1])));

        assert_eq!(serde_json::from_slice::<ErrorBody>(&body.to_json()).unwrap(), body);
    }

    #[test]
    fn a_body_without_messages_is_read() {
        let body: ErrorBody = serde_json::from_str(r#"{"errors":[{"code":"DENIED"}]}"#).unwrap();
        assert_eq!(body, ErrorBody::new(ErrorCode::Denied, ""));
    }
}

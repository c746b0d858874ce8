//! One setting, and what it takes.

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its keys in the file, joined by dots.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Used when it is not given; empty for none.
    pub default: &'static str,
    /// What it does, its unit included.
    pub help: &'static str,
}

impl Setting {
    /// True for what must not be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A file or folder.
    Path,
    /// `address:port`.
    Address,
    /// A length of time such as `30s` or `24h`, within bounds that are written the same way.
    Duration(&'static str, &'static str),
    /// A whole number within bounds.
    Number(u64, u64),
    /// A number of bytes such as `256MiB`, within bounds that are written the same way.
    Bytes(&'static str, &'static str),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `sqlite:<path>` or `postgres://…`.
    DatabaseUrl,
    /// `http://…` or `https://…`.
    HttpUrl,
    /// Addresses and ranges such as `10.0.0.0/8`, with commas between them.
    Networks,
}

pub(super) const fn setting(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting {
        path,
        kind,
        default,
        help,
    }
}

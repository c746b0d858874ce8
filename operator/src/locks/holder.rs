//! Who holds a lock, and the token that tells one hold from every other.

use std::fmt;

/// Label of a Job that was made under a lock: the lock's [`Token`] at that time.
pub const TOKEN_LABEL: &str = "berth.dev/lock-token";

/// Who holds a lock, or wants to: what stands in `holderIdentity` of the Lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A roll-out of a Registry: `Registry/<namespace>/<name>/<id>`.
    Rollout {
        /// Namespace of the Registry.
        namespace: String,
        /// Name of the Registry.
        name: String,
        /// Id of the roll-out.
        rollout: String,
    },
    /// Anybody else, such as a pipeline: `external/<id>`, or whatever it calls itself.
    External(String),
}

impl Holder {
    /// The holder that writes itself `text`.
    pub fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            ["Registry", namespace, name, rollout] if parts.iter().all(|part| !part.is_empty()) => Self::Rollout {
                namespace: (*namespace).to_owned(),
                name: (*name).to_owned(),
                rollout: (*rollout).to_owned(),
            },
            _ => Self::External(text.to_owned()),
        }
    }

    /// Whether both are roll-outs of one Registry, which never has two at a time.
    pub fn is_of_same_registry(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Rollout { namespace, name, .. },
                Self::Rollout {
                    namespace: other_namespace,
                    name: other_name,
                    ..
                },
            ) => namespace == other_namespace && name == other_name,
            (Self::Rollout { .. } | Self::External(_), _) => false,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rollout {
                namespace,
                name,
                rollout,
            } => write!(f, "Registry/{namespace}/{name}/{rollout}"),
            Self::External(text) => f.write_str(text),
        }
    }
}

/// One hold of one lock: no other hold has the same token, as the Lease is never deleted, and another Lease of its
/// name has another UID. It is a valid value of a label: `<uid>.<transitions>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// UID of the Lease.
    pub uid: String,
    /// How often the Lease had changed hands.
    pub transitions: i32,
}

impl Token {
    /// The token that writes itself `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let (uid, transitions) = text.rsplit_once('.')?;
        Some(Self {
            uid: Some(uid).filter(|uid| !uid.is_empty())?.to_owned(),
            transitions: transitions.parse().ok()?,
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.uid, self.transitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_and_tokens_are_read_as_they_are_written() {
        for text in [
            "Registry/team/images/r-1",
            "external/4711",
            "Registry//images/r-1",
            "a/b/c/d",
            "",
        ] {
            assert_eq!(Holder::parse(text).to_string(), text);
        }
        let token = Token::parse("8f0c9a4e-1d1b-4b38-a2f5-3f1f5f7b3c11.7").unwrap();

        assert_eq!(token.transitions, 7);
        assert_eq!(Token::parse(&token.to_string()), Some(token.clone()));
        assert!(token.to_string().len() <= 63, "it must fit into a label");
        assert_eq!((Token::parse(".7"), Token::parse("uid.x")), (None, None));
    }

    #[test]
    fn only_roll_outs_of_one_registry_are_of_the_same_registry() {
        let first = Holder::parse("Registry/team/images/1");

        assert!(first.is_of_same_registry(&Holder::parse("Registry/team/images/2")));
        assert!(!first.is_of_same_registry(&Holder::parse("Registry/other/images/1")));
        assert!(!first.is_of_same_registry(&Holder::parse("external/1")));
    }
}

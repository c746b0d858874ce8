//! The names of objects. A name is made once and never used again for other bytes.

use uuid::Uuid;

/// How many folders the objects are spread over: one for each first byte of a name.
pub const SHARDS: u16 = 256;

/// Where all objects are.
pub(super) const FOLDER: &str = "blobs";

/// How long new files go to one folder.
const SHARED_SECONDS: i64 = 4;

/// The folder of a shard.
pub fn shard(number: u8) -> String {
    format!("blobs/{number:02x}")
}

/// The key of the object that an upload will become.
pub fn of_upload(id: Uuid) -> String {
    let name = id.simple().to_string();
    format!("blobs/{}/{name}", &name[..2])
}

/// The same in a folder that uploads of the same few seconds share: their names are made durable together.
pub fn of_upload_at(id: Uuid, seconds: i64) -> String {
    let number = u8::try_from((seconds / SHARED_SECONDS).rem_euclid(SHARDS.into())).unwrap_or_default();
    format!("{}/{}", shard(number), id.simple())
}

/// The key of what one claim writes beside the upload's own object: the bytes after the last part, or a small blob
/// whose own key an earlier claim may have written to.
pub fn of_claim(object_key: &str, claim: u64) -> String {
    format!("{object_key}-{claim}")
}

/// Every key that an upload with so many claims may have written to, apart from `kept`.
pub fn leftovers(object_key: &str, claims: u64, kept: Option<&str>) -> Vec<String> {
    std::iter::once(object_key.to_owned())
        .chain((1..=claims).map(|claim| of_claim(object_key, claim)))
        .filter(|key| Some(key.as_str()) != kept)
        .collect()
}

/// True for the folder of a shard.
pub(super) fn is_shard(key: &str) -> bool {
    key.strip_prefix("blobs/")
        .is_some_and(|number| number.len() == 2 && is_hex(number))
}

/// True for a key that this module could have made.
pub fn is_ours(key: &str) -> bool {
    let Some((folder, name)) = key.rsplit_once('/') else {
        return false;
    };
    let own = of_own(name);
    is_shard(folder) && own.len() == 32 && is_hex(own)
}

/// The keys of which a session must name one, where `key` is of that session: itself, and those that it was made from.
pub fn made_from(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| without_claim(key))
}

fn of_own(name: &str) -> &str {
    made_from(name).last().unwrap_or(name)
}

fn without_claim(key: &str) -> Option<&str> {
    let (before, claim) = key.rsplit_once('-')?;
    let is_number = !claim.is_empty() && claim.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(before)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uploads_key_lies_in_the_folder_of_its_first_byte() {
        let key = of_upload(Uuid::from_u128(0xab00_0000_0000_4000_8000_0000_0000_0001));

        assert_eq!(key, "blobs/ab/ab000000000040008000000000000001");
        assert!(key.starts_with(&shard(0xab)));
    }

    #[test]
    fn uploads_of_one_moment_share_a_folder_and_later_ones_use_another() {
        let at = |seconds| {
            of_upload_at(Uuid::from_u128(7), seconds)
                .rsplit_once('/')
                .unwrap()
                .0
                .to_owned()
        };

        assert_eq!(at(400), at(403));
        assert_ne!(at(400), at(404));
        assert_eq!(at(0), shard(0));
        assert_eq!(at(4 * 255), shard(255));
        assert_eq!(at(4 * 256), shard(0));
    }

    #[test]
    fn leftovers_are_every_key_but_the_one_kept() {
        let all = leftovers("blobs/ab/x", 2, Some("blobs/ab/x-1"));

        assert_eq!(all, ["blobs/ab/x", "blobs/ab/x-2"]);
    }

    #[test]
    fn every_key_that_is_made_is_known_as_ours_and_others_are_not() {
        let key = of_upload(Uuid::from_u128(7));
        for ours in [
            of_upload_at(Uuid::from_u128(7), 400),
            of_claim(&of_claim(&key, 2), 13),
            key,
        ] {
            assert!(is_ours(&ours), "{ours}");
        }
        let name = "ab000000000040008000000000000001";
        for other in [
            format!("blobs/{name}"),
            format!("other/ab/{name}"),
            format!("blobs/abc/{name}"),
            format!("blobs/ab/{name}-"),
            format!("blobs/ab/{name}-x"),
            format!("blobs/ab/{name}0"),
            format!("blobs/ab/{name}.tmp"),
            "blobs/ab/notes.txt".to_owned(),
            String::new(),
        ] {
            assert!(!is_ours(&other), "{other}");
        }
    }

    #[test]
    fn a_key_of_a_claim_is_made_from_those_before_it() {
        let made: Vec<_> = made_from("blobs/ab/x-2-13").collect();

        assert_eq!(made, ["blobs/ab/x-2-13", "blobs/ab/x-2", "blobs/ab/x"]);
    }
}

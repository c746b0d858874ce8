//! The names of objects. A name is made once and never used again for other bytes.

use uuid::Uuid;

/// How many folders the objects are spread over: one for each first byte of a name.
pub const SHARDS: u16 = 256;

/// The folder of a shard.
pub fn shard(number: u8) -> String {
    format!("blobs/{number:02x}")
}

/// The key of the object that an upload will become.
pub fn of_upload(id: Uuid) -> String {
    let name = id.simple().to_string();
    format!("blobs/{}/{name}", &name[..2])
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
    fn leftovers_are_every_key_but_the_one_kept() {
        let all = leftovers("blobs/ab/x", 2, Some("blobs/ab/x-1"));

        assert_eq!(all, ["blobs/ab/x", "blobs/ab/x-2"]);
    }
}

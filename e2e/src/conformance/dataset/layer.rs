//! The bytes of layers.

use std::io::Write;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// An archive with one small file in it; empty when it cannot be written to memory.
pub(super) fn archive(content: &str, compressed: bool) -> Vec<u8> {
    let plain = tar_of(content).unwrap_or_default();
    if compressed {
        gzip(&plain).unwrap_or_default()
    } else {
        plain
    }
}

fn tar_of(content: &str) -> std::io::Result<Vec<u8>> {
    let text = format!("a file of the conformance checks: {content}\n");
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(text.len()).unwrap_or_default());
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "conformance.txt", text.as_bytes())?;
    archive.into_inner()
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let mut bits = 0_usize;
        for place in 0..3 {
            bits = bits << 8 | usize::from(three.get(place).copied().unwrap_or_default());
        }
        for place in 0..4 {
            let used = place <= three.len();
            let six = bits >> (18 - 6 * place) & 63;
            text.push(if used { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));

        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn an_archive_holds_its_file() {
        let plain = archive("content", false);
        let mut archive = tar::Archive::new(plain.as_slice());

        assert_eq!(archive.entries().unwrap().count(), 1);
    }
}

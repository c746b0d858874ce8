//! What a client wrote, as the log shows it: one word, no matter what.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../registry/src/http/shown.rs"]
mod shown;

fuzz_target!(|text: &str| {
    let shown = shown::shown(text);
    assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown:?}");
    assert!(shown.len() <= 1024 + 6, "{}", shown.len());
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(!is_plain || text.len() > 1024 || shown == text);
});

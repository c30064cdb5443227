#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_host::fuzzing::inline_image(data));

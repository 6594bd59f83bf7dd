#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    csync_fuzz::run("frame", data);
});

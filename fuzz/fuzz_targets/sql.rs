#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| staffa_tests::fuzz::run("sql", data));

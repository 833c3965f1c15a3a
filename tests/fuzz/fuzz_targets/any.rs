//! One program for every target: `FUZZ_TARGET` names it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static PROPERTY: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = tests::fuzz::TARGETS.into_iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET is one of tests::fuzz::TARGETS")).1
});

fuzz_target!(|bytes: &[u8]| PROPERTY(bytes));

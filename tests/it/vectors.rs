//! What others measured: facts that lie beside the project where it is built, not in it. Without them there is nothing
//! to check here.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

fn beside(name: &str) -> Option<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/providers");
    fs::read_to_string(folder.join(name)).ok()
}

#[test]
fn segments_agree_with_twilios_calculator() {
    let Some(text) = beside("fixtures/segments_vectors.json") else { return };
    let vectors: Value = serde_json::from_str(&text).expect("JSON");
    for vector in vectors["vectors"].as_array().expect("a list") {
        let found = domain::sms::segments(vector["text"].as_str().expect("a text"));
        assert_eq!(vector["segments"], found.count, "{vector}");
        assert_eq!(vector["encoding"], found.encoding.as_str(), "{vector}");
    }
}

#[test]
fn phone_numbers_agree_with_libphonenumber() {
    let Some(text) = beside("fixtures/corpus.tsv") else { return };
    // Columns: as written, default region, parsed, E.164, possible, valid, type, region.
    let mut checked = 0;
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [_, _, "1", number, "1", "1", ..] = cells[..] else { continue };
        let found = domain::contact::normalise(events::Channel::Sms, number);
        assert_eq!(found.as_deref(), Ok(number), "{line}");
        checked += 1;
    }
    assert!(checked > 1_000);
}

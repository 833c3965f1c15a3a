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
        let found = domain::contact::normalise(events::Channel::Sms, number, None);
        assert_eq!(found.as_deref(), Ok(number), "{line}");
        checked += 1;
    }
    assert!(checked > 1_000);
}

/// By the names of their schemes, each with the keys it was signed with.
#[test]
fn signatures_agree_with_those_of_the_providers_own_libraries() {
    use infra::providers::{Claim, Judgement, judge};
    let Some(text) = beside("vectors/vectors.json") else { return };
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let vectors = file["vectors"].as_array().expect("a list");
    let mut wrong = Vec::new();
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let headers = vector["headers"].as_object().expect("headers").iter();
        let claim = Claim {
            scheme: text("scheme"),
            request: domain::provider::CallbackRequest {
                method: text("method"),
                url: text("url"),
                headers: headers.map(|(n, v)| (n.to_lowercase(), v.as_str().expect("text").to_owned())).collect(),
                body: text("body").into_bytes(),
            },
            secret: text("secret"),
            public_key: text("public_key"),
            certificate: text("cert_pem"),
            now: vector["now"].as_f64().map(|seconds| events::Timestamp((seconds * 1_000.0) as i64)),
        };
        let judged = judge(&claim);
        if judged == Judgement::Unknown || vector["expect"] != (judged == Judgement::Valid) {
            wrong.push(format!("{}: {judged:?}", text("id")));
        }
    }
    assert!(vectors.len() > 100);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

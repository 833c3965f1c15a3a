//! `tidings webhook verify FILE`: checks recorded callbacks with the code of the webhook function.

use std::collections::BTreeMap;
use std::path::Path;

use domain::provider::CallbackRequest;
use events::Timestamp;
use infra::providers::{RecordedRequest, RecordedResult, verify_recorded};
use serde::Deserialize;
use serde_json::Value;

/// A recorded request, and the secret or key that it should be signed with.
#[derive(Deserialize)]
struct Recorded {
    scheme: String,
    #[serde(default = "post")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    secret: Option<String>,
    #[serde(default)]
    public_key: Option<String>,
    #[serde(default)]
    cert_pem: Option<String>,
    /// The time at which time windows are checked, in Unix seconds. Without it they are not checked.
    #[serde(default)]
    now: Option<f64>,
}

fn post() -> String {
    "POST".to_owned()
}

impl From<Recorded> for RecordedRequest {
    fn from(recorded: Recorded) -> RecordedRequest {
        let headers = recorded.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        RecordedRequest {
            scheme: recorded.scheme,
            request: CallbackRequest {
                method: recorded.method,
                url: recorded.url,
                headers,
                body: recorded.body.into_bytes(),
            },
            secret: recorded.secret.unwrap_or_default(),
            public_key: recorded.public_key.unwrap_or_default(),
            certificate: recorded.cert_pem.unwrap_or_default(),
            now: recorded.now.map(|seconds| Timestamp((seconds * 1_000.0) as i64)),
        }
    }
}

/// Verifies every request of a file, and prints a line for each with its id, the result and the reason.
pub fn verify_file(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let all = match value {
        Value::Array(all) => all,
        Value::Object(mut map) => match map.remove("vectors") {
            Some(Value::Array(all)) => all,
            _ => vec![Value::Object(map)],
        },
        _ => return Err(format!("{} holds no requests", path.display())),
    };
    let mut unchecked = 0;
    for (index, value) in all.into_iter().enumerate() {
        let id = value["id"].as_str().map_or_else(|| (index + 1).to_string(), str::to_owned);
        let (result, reason) = match serde_json::from_value::<Recorded>(value) {
            Err(error) => ("not judged", error.to_string()),
            Ok(recorded) => {
                let scheme = recorded.scheme.clone();
                match verify_recorded(&recorded.into()) {
                    RecordedResult::Valid => ("valid", "the signature is right".to_owned()),
                    RecordedResult::Invalid(reason) => ("invalid", reason.to_owned()),
                    RecordedResult::Unknown => ("not judged", format!("there is no scheme {scheme}")),
                }
            }
        };
        unchecked += usize::from(result == "not judged");
        println!("{id}\t{result}\t{reason}");
    }
    match unchecked {
        0 => Ok(()),
        count => Err(format!("{count} could not be judged")),
    }
}

//! Secrets in Parameter Store of Systems Manager. A function reads all of its own in one call when it starts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::Client;
use serde::Deserialize;
use serde_json::json;

/// What an environment variable begins with whose value is in Parameter Store: `ssm:/tidings/prod/contact-key`.
pub const REFERENCE: &str = "ssm:";
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// Maximum number of parameters in one request.
const MAX_NAMES: usize = 10;

/// Why the secrets could not be read. No message contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum ParameterError {
    #[error("no parameter {0} is in Parameter Store: aws ssm put-parameter --type SecureString --name {0} --value …")]
    Missing(String),
    #[error("Parameter Store answered {0}")]
    Refused(String),
    #[error("Parameter Store could not be asked: {0}")]
    Unavailable(String),
}

/// Reads parameters with their values decrypted.
pub struct ParameterStore {
    pub client: Client,
    pub region: String,
    pub credentials: Credentials,
    /// The address of an emulator. Requests go to AWS if it is `None`.
    pub endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    name: String,
    value: String,
}

impl ParameterStore {
    /// Returns the values of parameters by their names.
    ///
    /// # Errors
    ///
    /// [`ParameterError`], also if one of them does not exist.
    pub async fn read(&self, names: &[&str]) -> Result<BTreeMap<String, String>, ParameterError> {
        let mut values = BTreeMap::new();
        for names in names.chunks(MAX_NAMES) {
            let answer = self.request(json!({ "Names": names, "WithDecryption": true }).to_string()).await?;
            values.extend(answer.parameters.into_iter().map(|parameter| (parameter.name, parameter.value)));
        }
        match names.iter().find(|name| !values.contains_key(**name)) {
            Some(missing) => Err(ParameterError::Missing((*missing).to_owned())),
            None => Ok(values),
        }
    }

    /// Sends a request, and once more where that can help.
    async fn request(&self, body: String) -> Result<Answer, ParameterError> {
        let mut attempt = 1;
        loop {
            match self.send(&body).await {
                Err(ParameterError::Unavailable(_)) if attempt < ATTEMPTS => tokio::time::sleep(PAUSE * attempt).await,
                result => return result,
            }
            attempt += 1;
        }
    }

    async fn send(&self, body: &str) -> Result<Answer, ParameterError> {
        let unavailable = |error: &dyn std::fmt::Display| ParameterError::Unavailable(error.to_string());
        let address = match &self.endpoint {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://ssm.{}.amazonaws.com/", self.region),
        };
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.GetParameters")];
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ssm")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unavailable(&error))?;
        let signable =
            SignableRequest::new("POST", &*address, headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
        let signable = signable.map_err(|error| unavailable(&error))?;
        let (instructions, _) = sign(signable, &params.into()).map_err(|error| unavailable(&error))?.into_parts();
        let mut request = self.client.post(&address).timeout(TIMEOUT).body(body.to_owned());
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| unavailable(&error.without_url()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unavailable(&error.without_url()))?;
        if status.is_server_error() || text.contains("ThrottlingException") {
            return Err(ParameterError::Unavailable(status.to_string()));
        }
        if !status.is_success() {
            // The text of an error names what was not permitted.
            return Err(ParameterError::Refused(format!("{status}: {}", text.chars().take(500).collect::<String>())));
        }
        serde_json::from_str(&text).map_err(|error| unavailable(&error))
    }
}

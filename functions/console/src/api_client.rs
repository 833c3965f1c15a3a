//! Calls of the API, as the person who is signed in.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use domain::ports::Principal;
use serde_json::Value;
use tower::ServiceExt;

use crate::refusal::Refusal;

/// Maximum size of an answer, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// The API for one person.
#[derive(Clone)]
pub struct ApiClient {
    pub api: Router,
    pub principal: Principal,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub body: Value,
}

/// One request.
pub struct Call<'a> {
    client: &'a ApiClient,
    request: axum::http::request::Builder,
    path: String,
    body: Option<Value>,
}

impl ApiClient {
    pub fn call(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        Call { client: self, request: Request::builder().method(method), path: path.into(), body: None }
    }

    /// # Errors
    ///
    /// [`Refusal`]: the API's problem.
    pub async fn get(&self, path: impl Into<String>) -> Result<Value, Refusal> {
        Ok(self.call(Method::GET, path).send().await?.body)
    }

    /// # Errors
    ///
    /// [`Refusal`]: the API's problem.
    pub async fn post(&self, path: impl Into<String>, body: Value) -> Result<Value, Refusal> {
        Ok(self.call(Method::POST, path).json(body).send().await?.body)
    }
}

impl Call<'_> {
    /// Adds the parameters that have a value.
    pub fn query<'a>(mut self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let given = parameters.into_iter().filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        if !query.is_empty() {
            self.path = format!("{}?{query}", self.path);
        }
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// # Errors
    ///
    /// [`Refusal`]: the API's problem.
    pub async fn send(self) -> Result<Answer, Refusal> {
        let body = self.body.map(|body| body.to_string());
        let request = self.request.uri(self.path).extension(self.client.principal.clone());
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body)),
            None => request.body(Body::empty()),
        };
        let request = request.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "The address is not complete."))?;
        let response = self.client.api.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let status = response.status();
        let bytes = to_bytes(response.into_body(), MAX_ANSWER).await;
        let bytes = bytes.map_err(|_| Refusal::new(StatusCode::BAD_GATEWAY, "The answer is too large to show."))?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        if status.is_success() { Ok(Answer { body }) } else { Err(Refusal { status, problem: body }) }
    }
}

/// Part of a path: an id as it is in the address of a page.
pub fn segment(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

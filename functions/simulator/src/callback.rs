//! The requests that providers send to our callback addresses.

use serde_json::Value;

/// A request that a provider sends to a callback address.
#[derive(Debug, Clone)]
pub struct Callback {
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Callback {
    pub fn json(url: impl Into<String>, body: &Value) -> Callback {
        let headers = vec![("content-type", "application/json".to_owned())];
        Callback { url: url.into(), headers, body: body.to_string() }
    }

    pub fn form(url: impl Into<String>, fields: &[(&str, &str)]) -> Callback {
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Callback { url: url.into(), headers, body }
    }

    /// Adds a header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Callback {
        self.headers.push((name, value.into()));
        self
    }
}

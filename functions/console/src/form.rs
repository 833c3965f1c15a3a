//! Forms and addresses, as the browser sends them.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use futures_util::StreamExt;

use crate::refusal::Refusal;
use crate::session::{Visit, is_token};

/// Maximum size of a form, in bytes. Its content is percent-encoded.
const MAX_FORM: usize = 1024 * 1024;
/// The most that is read of a form that is too large, in bytes.
const MAX_READ: usize = 16 * MAX_FORM;
/// The field with the session's token.
pub const TOKEN: &str = "_token";

/// Names and values, in their order.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads the query of an address.
    pub fn of_query(query: Option<&str>) -> Fields {
        Fields(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The value of a field without white space around it, or nothing.
    pub fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The value of a field as it was typed.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    /// The text of a larger field, with the line ends that it had before the browser sent it.
    pub fn text(&self, name: &str) -> String {
        self.raw(name).replace("\r\n", "\n")
    }

    /// The same fields without one of them.
    pub fn without(&self, name: &str) -> Fields {
        Fields(self.0.iter().filter(|(given, _)| given != name && given != "when").cloned().collect())
    }

    /// Whether a field has this value.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == value
    }

    pub fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Every value of a field that may be given more than once.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.trim())
    }

    /// The fields whose name begins so, without the beginning: `v.amount` is `amount`.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// The same fields with one more.
    pub fn and(mut self, name: &str, value: &str) -> Fields {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same address with other values. An empty value removes the parameter.
    pub fn with<'a>(&'a self, changes: &[(&'a str, &'a str)]) -> String {
        let kept = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let kept = kept.filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        let pairs = kept.chain(changes.iter().copied()).filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        format!("?{query}")
    }
}

/// A form of one of our own pages.
pub struct Form(pub Fields);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let visit = request.extensions().get::<Visit>().cloned();
        let bytes = read(request.into_body()).await?;
        let fields = Fields(form_urlencoded::parse(&bytes).into_owned().collect());
        if !visit.is_some_and(|visit| is_token(&visit, fields.get(TOKEN))) {
            return Err(Refusal::form_expired());
        }
        Ok(Form(fields))
    }
}

/// Reads a form. One that is too large is read to its end, because a browser that is still sending shows no answer.
async fn read(body: Body) -> Result<Vec<u8>, Refusal> {
    let (mut body, mut bytes, mut length) = (body.into_data_stream(), Vec::new(), 0);
    while let Some(chunk) = body.next().await {
        let lost = |_| Refusal::new(StatusCode::BAD_REQUEST, "The form did not arrive completely. Send it again.");
        let chunk = chunk.map_err(lost)?;
        length += chunk.len();
        if length <= MAX_FORM {
            bytes.extend_from_slice(&chunk);
        } else if MAX_READ < length {
            break;
        }
    }
    if MAX_FORM < length {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "The form is larger than 1 MB."));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_other_parameters() {
        let fields = Fields::of_query(Some("status=failed&q=a%20b&cursor=x"));
        assert_eq!(fields.with(&[("cursor", ""), ("status", "sent")]), "?q=a+b&status=sent");
        assert_eq!((fields.get("q"), fields.get("none")), ("a b", ""));
    }
}

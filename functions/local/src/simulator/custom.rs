//! A provider whose form the tenant described: requests are read, answered and reported on by that description.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::signing::{hex, hmac_sha256, standard};
use super::{Callback, Fields, INVALID, Known, Message, ProviderSimulation, Simulator, Step, answer, form, header};

struct Custom;

/// The value of the field that was described as holding this.
fn described(known: &Known, given: &Fields, placeholder: &str) -> Option<String> {
    let body: Map<String, Value> = serde_json::from_str(known.get("body")).ok()?;
    let (name, _) = body.iter().find(|(_, value)| value.as_str() == Some(placeholder))?;
    given.get(name).cloned()
}

pub async fn call(simulator: &Arc<Simulator>, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let is_it = |known: &Known| known.get("url").splitn(4, '/').nth(3).is_some_and(|rest| path[1..] == *rest);
    let Some(account) = simulator.account("custom", is_it) else {
        return (StatusCode::NOT_FOUND, "no provider here").into_response();
    };
    let authorization = account.get("authorization");
    if authorization != header(headers, "authorization") || authorization.contains(INVALID) {
        return Custom.answer(&account, StatusCode::UNAUTHORIZED, "auth");
    }
    let given = match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(body) => {
            body.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned())).collect()
        }
        Err(_) => form(body),
    };
    let Some(to) = described(&account, &given, "{{to}}") else {
        return Custom.answer(&account, StatusCode::BAD_REQUEST, "permanent");
    };
    let reference = described(&account, &given, "{{reference}}").unwrap_or_default();
    let (tenant, attempt) = reference.split_once('/').map_or((None, None), |(t, a)| (Some(t.into()), Some(a.into())));
    let message = Message {
        tenant,
        attempt,
        subject: described(&account, &given, "{{subject}}"),
        callback: described(&account, &given, "{{callbackUrl}}"),
        key: Some(header(headers, "idempotency-key").to_owned()).filter(|key| !key.is_empty()),
        ..Message::new(account.clone(), to, described(&account, &given, "{{text}}").unwrap_or_default())
    };
    simulator.take(&Custom, message).await
}

/// Puts a value where a JSON pointer points, in objects alone.
fn put(body: &mut Value, pointer: &str, value: Value) {
    let mut place = body;
    for name in pointer.split('/').skip(1) {
        place = &mut place[name];
    }
    *place = value;
}

/// The tenant's word for one of ours.
fn word(known: &Known, setting: &str, ours: &str) -> Option<String> {
    let words: Fields = serde_json::from_str(known.get(setting)).unwrap_or_default();
    words.into_iter().find(|(_, meaning)| meaning == ours).map(|(word, _)| word)
}

impl Custom {
    fn answer(&self, known: &Known, status: StatusCode, class: &str) -> Response {
        let mut body = json!({});
        let pointer = known.get("errorPointer");
        if let Some(code) = word(known, "errorClasses", class).filter(|_| !pointer.is_empty()) {
            put(&mut body, pointer, json!(code));
        }
        answer(status, &body)
    }
}

impl ProviderSimulation for Custom {
    fn taken(&self, message: &Message) -> Response {
        let mut body = json!({});
        let places = [("idPointer", message.id.as_str()), ("successPointer", message.account.get("successValue"))];
        for (setting, value) in places {
            let pointer = message.account.get(setting);
            if !pointer.is_empty() {
                put(&mut body, pointer, json!(value));
            }
        }
        answer(StatusCode::OK, &body)
    }

    /// Told by the status alone: no description can do without it.
    fn refusal(&self, status: StatusCode) -> Response {
        answer(status, &json!({}))
    }

    fn report(&self, simulator: &Simulator, message: &Message, step: Step) -> Option<Callback> {
        let known = &message.account;
        let fact = match step {
            Step::Accepted => "accepted",
            Step::Sent => "sent",
            Step::Delivered => "delivered",
            Step::Bounced => "bounced",
            Step::SoftBounced => "undelivered",
            Step::Opened => "opened",
            Step::Clicked => "clicked",
            Step::Complained => "complained",
            Step::OptedOut => "unsubscribed",
        };
        let or = |setting: &str, default: &str| match known.get(setting) {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        let status = word(known, "statuses", fact).unwrap_or_else(|| fact.to_owned());
        let reference = format!("{}/{}", message.tenant.as_deref()?, message.attempt.as_deref()?);
        let mut body = json!({});
        put(&mut body, &or("statusPointer", "/status"), json!(status));
        put(&mut body, &or("referencePointer", "/reference"), json!(reference));
        let callback = Callback::json(message.callback_url(), &body);
        let key = known.get("callbackKey");
        Some(match known.get("callbackScheme") {
            "hmac-sha256" => {
                let signature = hex(&hmac_sha256(key.as_bytes(), callback.body.as_bytes()));
                callback.with("x-signature", format!("sha256={signature}"))
            }
            "standard-webhooks" => {
                let headers = standard(key, &simulator.unique(), simulator.seconds(), &callback.body);
                headers.into_iter().fold(callback, |callback, (name, value)| callback.with(name, value))
            }
            _ => callback,
        })
    }
}

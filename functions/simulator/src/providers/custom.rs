//! A custom HTTP provider. Requests, responses and reports follow the settings of the tenant's configuration.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{INVALID, Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{Fields, form, header, idempotency_key, split_reference};
use crate::responses::json_response;
use crate::signing::{hex, hmac_sha256, standard_webhook_headers};
use crate::simulator::Simulator;

struct Custom;

/// Returns the value of the request's field for which the configured body has this placeholder.
fn placeholder_value(account: &RegisteredConfig, given: &Fields, placeholder: &str) -> Option<String> {
    let body: Map<String, Value> = serde_json::from_str(account.get("body")).ok()?;
    let (name, _) = body.iter().find(|(_, value)| value.as_str() == Some(placeholder))?;
    given.get(name).cloned()
}

pub async fn call(simulator: &Arc<Simulator>, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let matches =
        |account: &RegisteredConfig| account.get("url").splitn(4, '/').nth(3).is_some_and(|rest| path[1..] == *rest);
    let Some(account) = simulator.account("custom", matches) else {
        return (StatusCode::NOT_FOUND, "no provider here").into_response();
    };
    let authorization = account.get("authorization");
    if authorization != header(headers, "authorization") || authorization.contains(INVALID) {
        return Custom.error_response(&account, StatusCode::UNAUTHORIZED, "auth");
    }
    let given = match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(body) => {
            body.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned())).collect()
        }
        Err(_) => form(body),
    };
    let Some(to) = placeholder_value(&account, &given, "{{to}}") else {
        return Custom.error_response(&account, StatusCode::BAD_REQUEST, "permanent");
    };
    let reference = placeholder_value(&account, &given, "{{reference}}").unwrap_or_default();
    let (tenant, attempt) = split_reference(&reference);
    let message = Message {
        tenant,
        attempt,
        subject: placeholder_value(&account, &given, "{{subject}}"),
        callback: placeholder_value(&account, &given, "{{callbackUrl}}"),
        key: idempotency_key(headers),
        ..Message::new(account.clone(), to, placeholder_value(&account, &given, "{{text}}").unwrap_or_default())
    };
    simulator.receive(&Custom, message).await
}

/// Sets the value at a JSON pointer, which must not lead through arrays.
fn set_at_pointer(body: &mut Value, pointer: &str, value: Value) {
    let mut target = body;
    for name in pointer.split('/').skip(1) {
        target = &mut target[name];
    }
    *target = value;
}

/// Returns the configured name of one of our statuses or error classes.
fn configured_name(account: &RegisteredConfig, setting: &str, ours: &str) -> Option<String> {
    let names: Fields = serde_json::from_str(account.get(setting)).unwrap_or_default();
    names.into_iter().find(|(_, meaning)| meaning == ours).map(|(name, _)| name)
}

impl Custom {
    fn error_response(&self, account: &RegisteredConfig, status: StatusCode, class: &str) -> Response {
        let mut body = json!({});
        let pointer = account.get("errorPointer");
        if let Some(code) = configured_name(account, "errorClasses", class).filter(|_| !pointer.is_empty()) {
            set_at_pointer(&mut body, pointer, json!(code));
        }
        json_response(status, &body)
    }
}

impl ProviderSimulation for Custom {
    fn accepted_response(&self, message: &Message) -> Response {
        let mut body = json!({});
        let values = [("idPointer", message.id.as_str()), ("successPointer", message.account.get("successValue"))];
        for (setting, value) in values {
            let pointer = message.account.get(setting);
            if !pointer.is_empty() {
                set_at_pointer(&mut body, pointer, json!(value));
            }
        }
        json_response(StatusCode::OK, &body)
    }

    /// Responds with the status alone, because it is classified without any settings.
    fn refusal(&self, status: StatusCode) -> Response {
        json_response(status, &json!({}))
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let account = &message.account;
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
        let setting_or = |setting: &str, default: &str| match account.get(setting) {
            "" => default.to_owned(),
            value => value.to_owned(),
        };
        let status = configured_name(account, "statuses", fact).unwrap_or_else(|| fact.to_owned());
        let reference = format!("{}/{}", message.tenant.as_deref()?, message.attempt.as_deref()?);
        let mut body = json!({});
        set_at_pointer(&mut body, &setting_or("statusPointer", "/status"), json!(status));
        set_at_pointer(&mut body, &setting_or("referencePointer", "/reference"), json!(reference));
        let callback = Callback::json(message.callback_url(), &body);
        let key = account.get("callbackKey");
        Some(match account.get("callbackScheme") {
            "hmac-sha256" => {
                let signature = hex(&hmac_sha256(key.as_bytes(), callback.body.as_bytes()));
                callback.with_header("x-signature", format!("sha256={signature}"))
            }
            "standard-webhooks" => {
                let headers = standard_webhook_headers(key, &context.unique_id(), context.seconds(), &callback.body);
                headers.into_iter().fold(callback, |callback, (name, value)| callback.with_header(name, value))
            }
            _ => callback,
        })
    }
}

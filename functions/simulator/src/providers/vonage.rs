//! Vonage SMS: `POST /sms/json`, always 200, and receipts signed over their sorted parameters or with a token.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get as on_get, post};
use domain::sms;
use serde_json::json;

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{basic, form, get, is_phone_number};
use crate::responses::json_response;
use crate::signing::{hex, hmac_sha256, jwt, sha256_hex};
use crate::simulator::Simulator;

struct Vonage;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new().route("/sms/json", post(send)).route("/account/get-balance", on_get(balance))
}

async fn balance(State(simulator): State<Arc<Simulator>>, headers: HeaderMap) -> Response {
    let (key, secret) = basic(&headers);
    match simulator.account("vonage", |account| account.has("apiKey", &key) && account.has("apiSecret", &secret)) {
        Some(_) => json_response(StatusCode::OK, &json!({ "value": 12.5, "autoReload": false })),
        None => json_response(StatusCode::UNAUTHORIZED, &json!({ "error-code": "401" })),
    }
}

/// A refusal has the HTTP status 200 and an error status in the body.
fn refusal_response(status: &str) -> Response {
    let message = json!({ "status": status, "error-text": "simulated" });
    json_response(StatusCode::OK, &json!({ "message-count": "1", "messages": [message] }))
}

async fn send(State(simulator): State<Arc<Simulator>>, raw: Bytes) -> Result<Response, Response> {
    let fields = form(&raw);
    let field = |name: &str| get(&fields, name);
    let (key, secret) = (field("api_key"), field("api_secret"));
    let account =
        simulator.account("vonage", |account| account.has("apiKey", &key) && account.has("apiSecret", &secret));
    let account = account.ok_or_else(|| refusal_response("4"))?;
    let (to, text) = (field("to"), field("text"));
    if to.is_empty() || text.is_empty() || field("from").is_empty() {
        return Err(refusal_response("2"));
    }
    if !is_phone_number(&to) || field("client-ref").len() > 40 {
        return Err(refusal_response("3"));
    }
    let is_gsm = sms::segments(&text).encoding == sms::Encoding::Gsm7;
    if !is_gsm && field("type") != "unicode" {
        return Err(refusal_response("3"));
    }
    let message = Message {
        from: field("from"),
        attempt: fields.get("client-ref").cloned(),
        callback: fields.get("callback").cloned(),
        ..Message::new(account, format!("+{to}"), text)
    };
    Ok(simulator.receive(&Vonage, message).await)
}

impl ProviderSimulation for Vonage {
    fn accepted_response(&self, message: &Message) -> Response {
        let parts = sms::segments(&message.text).count;
        let to = message.to.trim_start_matches('+');
        let part = |n: u16| {
            let id = if n == 0 { message.id.clone() } else { format!("{}{n}", message.id) };
            json!({ "to": to, "message-id": id, "status": "0", "remaining-balance": "12.50", "message-price": "0.03" })
        };
        let messages: Vec<_> = (0..parts).map(part).collect();
        json_response(StatusCode::OK, &json!({ "message-count": parts.to_string(), "messages": messages }))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        refusal_response(match status.as_u16() {
            401 => "4",
            402 => "9",
            429 => "1",
            _ => "3",
        })
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let to = message.to.trim_start_matches('+');
        let receipt = |status, code| {
            let mut parameters = vec![("msisdn", to), ("messageId", message.id.as_str()), ("status", status)];
            parameters.extend([("err-code", code), ("price", "0.03000000"), ("scts", "2611211000")]);
            parameters.extend(message.attempt.as_deref().map(|reference| ("client-ref", reference)));
            parameters
        };
        let parameters = match step {
            Step::Sent => receipt("accepted", "0"),
            Step::Delivered => receipt("delivered", "0"),
            Step::Bounced => receipt("failed", "3"),
            Step::SoftBounced => receipt("failed", "2"),
            Step::OptedOut => return self.reply(context, message, "STOP"),
            Step::Accepted | Step::Opened | Step::Clicked | Step::Complained => return None,
        };
        Some(signed(context, message, parameters))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let (to, id) = (message.to.trim_start_matches('+'), context.unique_id());
        Some(signed(context, message, vec![("msisdn", to), ("messageId", &id), ("text", text), ("type", "text")]))
    }
}

/// A callback with Vonage's signature, by the method that the account is set to.
fn signed(context: &SimulationContext, message: &Message, parameters: Vec<(&str, &str)>) -> Callback {
    let at: String = context.time().replace('T', " ").chars().take(19).collect();
    let (seconds, nonce) = (context.seconds().to_string(), context.unique_id());
    let mut fields = BTreeMap::from([("timestamp", seconds.as_str()), ("nonce", &nonce)]);
    fields.extend([("message-timestamp", at.as_str()), ("api-key", message.account.get("apiKey"))]);
    fields.extend(parameters);
    let secret = message.account.get("signatureSecret");
    if message.account.get("signatureMethod") == "jwt" {
        let callback = Callback::json(message.callback_url(), &json!(fields));
        let hash = sha256_hex(callback.body.as_bytes());
        let claims = json!({ "iss": "Vonage", "iat": context.seconds(), "jti": nonce, "payload_hash": hash });
        return callback.with_header("authorization", format!("Bearer {}", jwt(&claims, secret)));
    }
    let signed: String =
        fields.iter().map(|(name, value)| format!("&{name}={}", value.replace(['&', '='], "_"))).collect();
    let signature = hex(&hmac_sha256(secret.as_bytes(), signed.as_bytes()));
    fields.insert("sig", &signature);
    Callback::form(message.callback_url(), &fields.into_iter().collect::<Vec<_>>())
}

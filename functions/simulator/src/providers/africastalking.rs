//! Africa's Talking: `POST /version1/messaging`, and unsigned reports.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as on_get, post};
use serde_json::json;

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{Fields, form, get, header, is_phone_number};
use crate::responses::json_response;
use crate::simulator::Simulator;

struct AfricasTalking;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new().route("/version1/messaging", post(send)).route("/version1/user", on_get(user))
}

fn account(simulator: &Simulator, headers: &HeaderMap, username: &str) -> Result<Arc<RegisteredConfig>, Response> {
    let key = header(headers, "apikey");
    let account =
        simulator.account("africastalking", |account| account.has("apiKey", key) && account.has("username", username));
    account.ok_or_else(|| (StatusCode::UNAUTHORIZED, "The supplied authentication is invalid").into_response())
}

async fn user(
    State(simulator): State<Arc<Simulator>>,
    headers: HeaderMap,
    Query(query): Query<Fields>,
) -> Result<Response, Response> {
    account(&simulator, &headers, &get(&query, "username"))?;
    Ok(json_response(StatusCode::OK, &json!({ "UserData": { "balance": "KES 1785.50" } })))
}

/// Builds a response with the result for each recipient, or with a message that refuses all of them.
fn send_response(message: &str, recipients: serde_json::Value) -> Response {
    json_response(StatusCode::CREATED, &json!({ "SMSMessageData": { "Message": message, "Recipients": recipients } }))
}

fn recipient_response(to: &str, code: u32, id: &str) -> Response {
    let recipient =
        json!({ "statusCode": code, "number": to, "status": "simulated", "cost": "KES 0.8000", "messageId": id });
    send_response("Sent to 1/1 Total Cost: KES 0.8000", json!([recipient]))
}

async fn send(State(simulator): State<Arc<Simulator>>, headers: HeaderMap, raw: Bytes) -> Result<Response, Response> {
    let fields = form(&raw);
    let account = account(&simulator, &headers, &get(&fields, "username"))?;
    let (to, text) = (get(&fields, "to"), get(&fields, "message"));
    if text.is_empty() || get(&fields, "bulkSMSMode") != "1" {
        return Err(send_response("InvalidRequest", json!([])));
    }
    if !to.starts_with('+') || !is_phone_number(&to[1..]) {
        return Err(recipient_response(&to, 403, "None"));
    }
    let message = Message { from: get(&fields, "from"), ..Message::new(account, to, text) };
    Ok(simulator.receive(&AfricasTalking, message).await)
}

impl ProviderSimulation for AfricasTalking {
    fn message_id(&self, context: &SimulationContext) -> String {
        format!("ATXid_{}", context.unique_id())
    }

    fn accepted_response(&self, message: &Message) -> Response {
        recipient_response(&message.to, 101, &message.id)
    }

    fn refusal(&self, status: StatusCode) -> Response {
        match status.as_u16() {
            401 => (status, "The supplied authentication is invalid").into_response(),
            402 => recipient_response("", 405, "None"),
            429 => (status, "Too many requests").into_response(),
            _ => recipient_response("", 403, "None"),
        }
    }

    fn opted_out(&self, message: &Message) -> Option<Response> {
        Some(recipient_response(&message.to, 406, "None"))
    }

    fn report(&self, _: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let phone = ("phoneNumber", message.to.as_str());
        let report = |status| vec![("id", message.id.as_str()), ("status", status), phone, ("networkCode", "63902")];
        let fields = match step {
            Step::Sent => report("Sent"),
            Step::Delivered => report("Success"),
            Step::SoftBounced => report("AbsentSubscriber"),
            Step::Bounced => {
                let mut failed = report("Failed");
                failed.push(("failureReason", "UserDoesNotExist"));
                failed
            }
            Step::OptedOut => vec![("senderId", message.from.as_str()), phone],
            Step::Accepted | Step::Opened | Step::Clicked | Step::Complained => return None,
        };
        Some(Callback::form(message.callback_url(), &fields))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let (id, at) = (context.unique_id(), context.time());
        let fields = [("from", &*message.to), ("to", &*message.from), ("text", text), ("id", &*id), ("date", &*at)];
        Some(Callback::form(message.callback_url(), &fields))
    }
}

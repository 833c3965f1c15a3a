//! Amazon SES v2 and SNS. Requests are signed with SigV4. Events of SES are sent as notifications of a topic, signed
//! with X.509. Events of SNS are sent as entries of its log.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as on_get, post};
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{Fields, form, get, header, is_phone_number, one_click_url, optional_text, text};
use crate::responses::json_response;
use crate::signing::base64;
use crate::simulator::Simulator;

/// The simulator's private key. Only a process that fetches its certificate from the simulator accepts its signatures.
const KEY: &[u8] = include_bytes!("keys/sns.key.der");
const CERTIFICATE: &str = include_str!("keys/sns.cert.pem");
const CERTIFICATE_PATH: &str = "/SimpleNotificationService-simulator.pem";

struct Ses;
struct Sns;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/v2/email/outbound-emails", post(send))
        .route("/v2/email/account", on_get(quota))
        .route("/", post(publish).get(confirm))
        .route(CERTIFICATE_PATH, on_get(async || CERTIFICATE))
}

/// Handles the SubscribeURL, which confirms a subscription.
async fn confirm(State(simulator): State<Arc<Simulator>>, Query(query): Query<Fields>) -> StatusCode {
    let is_confirmation = get(&query, "Action") == "ConfirmSubscription";
    if is_confirmation && simulator.context.subscriptions.confirm(&get(&query, "Token")) {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// Returns the account whose access key signed the request for this service.
fn account(simulator: &Simulator, provider: &str, service: &str, headers: &HeaderMap) -> Option<Arc<RegisteredConfig>> {
    let given = header(headers, "authorization").strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
    let (credential, rest) = given.split_once(", ")?;
    let scope: Vec<&str> = credential.split('/').collect();
    let [key, _day, region, named, "aws4_request"] = scope[..] else { return None };
    let is_signed = rest.starts_with("SignedHeaders=") && rest.contains("Signature=");
    let matches = |account: &RegisteredConfig| account.has("accessKeyId", key) && account.get("region") == region;
    if named == service && is_signed { simulator.account(provider, matches) } else { None }
}

fn problem(status: StatusCode, name: &'static str) -> Response {
    let mut response = json_response(status, &json!({ "message": "simulated" }));
    response.headers_mut().insert("x-amzn-errortype", axum::http::HeaderValue::from_static(name));
    response
}

fn ses_account(simulator: &Simulator, headers: &HeaderMap) -> Result<Arc<RegisteredConfig>, Response> {
    account(simulator, "ses", "ses", headers)
        .ok_or_else(|| problem(StatusCode::FORBIDDEN, "UnrecognizedClientException"))
}

async fn quota(State(simulator): State<Arc<Simulator>>, headers: HeaderMap) -> Result<Response, Response> {
    ses_account(&simulator, &headers)?;
    let quota = json!({ "Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": 100.0 });
    Ok(json_response(StatusCode::OK, &json!({ "SendQuota": quota, "SendingEnabled": true })))
}

async fn send(State(simulator): State<Arc<Simulator>>, headers: HeaderMap, body: Bytes) -> Result<Response, Response> {
    let account = ses_account(&simulator, &headers)?;
    let bad = || problem(StatusCode::BAD_REQUEST, "BadRequestException");
    let mail: Value = serde_json::from_slice(&body).map_err(|_| bad())?;
    let (to, from) = (text(&mail, "/Destination/ToAddresses/0"), text(&mail, "/FromEmailAddress"));
    if !to.contains('@') || !from.contains('@') || mail.pointer("/Content/Simple/Subject/Data").is_none() {
        return Err(bad());
    }
    let tag = |name: &str| {
        let tags = mail["EmailTags"].as_array().into_iter().flatten();
        tags.filter(|tag| tag["Name"] == name).find_map(|tag| tag["Value"].as_str().map(str::to_owned))
    };
    let optional = |pointer: &str| optional_text(&mail, pointer);
    let header_value = |name: &str| {
        let headers = mail.pointer("/Content/Simple/Headers")?.as_array()?;
        headers.iter().find(|header| header["Name"] == name)?["Value"].as_str()
    };
    let message = Message {
        unsubscribe: one_click_url(header_value("List-Unsubscribe"), header_value("List-Unsubscribe-Post")),
        from,
        subject: optional("/Content/Simple/Subject/Data"),
        html: optional("/Content/Simple/Body/Html/Data"),
        attachments: mail.pointer("/Content/Simple/Attachments").and_then(Value::as_array).cloned().unwrap_or_default(),
        tenant: tag("businessId"),
        attempt: tag("attemptId"),
        ..Message::new(account, to, text(&mail, "/Content/Simple/Body/Text/Data"))
    };
    Ok(simulator.receive(&Ses, message).await)
}

#[async_trait]
impl ProviderSimulation for Ses {
    /// Asks the callback address to confirm its subscription, unless it has.
    async fn prepare_reports(&self, context: &SimulationContext, message: &Message) {
        let url = message.callback_url().to_owned();
        if context.subscriptions.is_confirmed(&url) {
            return;
        }
        let token = context.unique_id();
        context.subscriptions.request(token.clone(), url);
        context.post(subscription_confirmation(context, message, &token)).await;
    }

    fn accepted_response(&self, message: &Message) -> Response {
        json_response(StatusCode::OK, &json!({ "MessageId": message.id }))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        match status.as_u16() {
            401 => problem(StatusCode::FORBIDDEN, "AccessDeniedException"),
            402 => problem(StatusCode::PAYMENT_REQUIRED, "PaymentRequired"),
            429 => problem(status, "TooManyRequestsException"),
            _ => problem(StatusCode::BAD_REQUEST, "MessageRejected"),
        }
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        if !context.subscriptions.is_confirmed(message.callback_url()) {
            return None;
        }
        let at = context.time();
        let (name, part, content) = match step {
            Step::Accepted => ("Send", "send", json!({})),
            Step::Delivered => ("Delivery", "delivery", json!({ "timestamp": at, "smtpResponse": "250 OK" })),
            Step::Bounced => (
                "Bounce",
                "bounce",
                json!({
                    "timestamp": at, "bounceType": "Permanent", "bounceSubType": "General",
                    "bouncedRecipients": [{ "emailAddress": message.to, "status": "5.1.1" }],
                    "feedbackId": context.unique_id(),
                }),
            ),
            Step::SoftBounced => (
                "Bounce",
                "bounce",
                json!({
                    "timestamp": at, "bounceType": "Transient", "bounceSubType": "MailboxFull",
                    "bouncedRecipients": [{ "emailAddress": message.to, "status": "4.2.2" }],
                    "feedbackId": context.unique_id(),
                }),
            ),
            Step::Opened => ("Open", "open", json!({ "timestamp": at })),
            Step::Clicked => ("Click", "click", json!({ "timestamp": at, "link": "https://pay.example.com/" })),
            Step::Complained => {
                ("Complaint", "complaint", json!({ "timestamp": at, "feedbackId": context.unique_id() }))
            }
            Step::Sent | Step::OptedOut => return None,
        };
        let tags = json!({ "businessId": [message.tenant], "attemptId": [message.attempt] });
        let mut event = json!({
            "eventType": name,
            "mail": { "timestamp": at, "messageId": message.id, "destination": [message.to], "tags": tags },
        });
        event[part] = content;
        Some(notification(context, message, &event.to_string()))
    }
}

/// Builds a notification with signature version 2, which covers each field's name and value in this order.
fn notification(context: &SimulationContext, message: &Message, text: &str) -> Callback {
    let (id, at, topic) = (context.unique_id(), context.time(), message.account.get("topicArn"));
    let fields =
        [("Message", text), ("MessageId", &id), ("Timestamp", &at), ("TopicArn", topic), ("Type", "Notification")];
    signed(message, &fields)
}

/// Builds the message that asks an address to confirm its subscription.
fn subscription_confirmation(context: &SimulationContext, message: &Message, token: &str) -> Callback {
    let (id, at, topic) = (context.unique_id(), context.time(), message.account.get("topicArn"));
    let region = message.account.get("region");
    let query = format!("Action=ConfirmSubscription&TopicArn={topic}&Token={token}");
    let subscribe = format!("https://sns.{region}.amazonaws.com/?{query}");
    let fields = [
        ("Message", "You have chosen to subscribe to the topic."),
        ("MessageId", &id),
        ("SubscribeURL", &subscribe),
        ("Timestamp", &at),
        ("Token", token),
        ("TopicArn", topic),
        ("Type", "SubscriptionConfirmation"),
    ];
    signed(message, &fields)
}

fn signed(message: &Message, fields: &[(&str, &str)]) -> Callback {
    let text: String = fields.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect();
    let key = RsaKeyPair::from_pkcs8(KEY).expect("the key of the simulator");
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .expect("the buffer has the length of the key's modulus");
    let mut body = json!({
        "SignatureVersion": "2",
        "Signature": base64(&signature),
        "SigningCertURL": format!("https://sns.{}.amazonaws.com{CERTIFICATE_PATH}", message.account.get("region")),
    });
    fields.iter().for_each(|(name, value)| body[*name] = json!(value));
    let headers = vec![("content-type", "text/plain; charset=UTF-8".to_owned())];
    Callback { url: message.callback_url().to_owned(), headers, body: body.to_string() }
}

fn xml(status: StatusCode, body: String) -> Response {
    (status, [("content-type", "text/xml")], body).into_response()
}

fn sns_problem(status: StatusCode, code: &str) -> Response {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>simulated</Message></Error>");
    xml(status, format!("<ErrorResponse>{error}</ErrorResponse>"))
}

async fn publish(
    State(simulator): State<Arc<Simulator>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    let account = account(&simulator, "sns", "sns", &headers)
        .ok_or_else(|| sns_problem(StatusCode::FORBIDDEN, "InvalidClientTokenId"))?;
    let fields = form(&body);
    let bad = || sns_problem(StatusCode::BAD_REQUEST, "InvalidParameter");
    match (get(&fields, "Action").as_str(), get(&fields, "Version").as_str()) {
        ("GetSMSAttributes", "2010-03-31") => {
            return Ok(xml(StatusCode::OK, "<GetSMSAttributesResponse/>".to_owned()));
        }
        ("Publish", "2010-03-31") => (),
        _ => return Err(bad()),
    }
    let (to, text) = (get(&fields, "PhoneNumber"), get(&fields, "Message"));
    if !to.starts_with('+') || !is_phone_number(&to[1..]) || text.is_empty() {
        return Err(bad());
    }
    let sender = (1..=3).find(|n| get(&fields, &format!("MessageAttributes.entry.{n}.Name")) == "AWS.SNS.SMS.SenderID");
    let from = sender.map(|n| get(&fields, &format!("MessageAttributes.entry.{n}.Value.StringValue")));
    let message = Message { from: from.unwrap_or_default(), ..Message::new(account, to, text) };
    Ok(simulator.receive(&Sns, message).await)
}

impl ProviderSimulation for Sns {
    fn accepted_response(&self, message: &Message) -> Response {
        let result = format!("<PublishResult><MessageId>{}</MessageId></PublishResult>", message.id);
        xml(StatusCode::OK, format!("<PublishResponse>{result}</PublishResponse>"))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        match status.as_u16() {
            401 => sns_problem(StatusCode::FORBIDDEN, "AuthorizationError"),
            402 => sns_problem(StatusCode::PAYMENT_REQUIRED, "PaymentRequired"),
            429 => sns_problem(status, "Throttled"),
            _ => sns_problem(StatusCode::BAD_REQUEST, "InvalidParameter"),
        }
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(sns_problem(StatusCode::BAD_REQUEST, "OptedOut"))
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let (status, reason) = match step {
            Step::Delivered => ("SUCCESS", "Message has been accepted by phone carrier"),
            Step::Bounced => ("FAILURE", "Invalid phone number"),
            Step::SoftBounced => ("FAILURE", "Phone is currently unreachable/unavailable"),
            _ => return None,
        };
        let entry = json!({
            "notification": { "messageId": message.id, "timestamp": context.time() },
            "delivery": { "destination": message.to, "providerResponse": reason },
            "status": status,
        });
        Some(Callback::json(message.callback_url(), &entry))
    }
}

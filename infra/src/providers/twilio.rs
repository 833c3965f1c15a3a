//! Twilio: `POST /2010-04-01/Accounts/{sid}/Messages.json` answers 201 with a `sid`. SMS, WhatsApp and Messenger differ
//! by the form of their addresses. Callbacks do not echo our ids, so the ids travel in the StatusCallback address,
//! which the signature covers.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::communication::AttemptOutcome;
use domain::consent;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef,
    MessageStatus, OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, QueryResult, SendResult,
    SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use reqwest::RequestBuilder;
use serde::Deserialize;

use super::attempt_ids::{append_attempt_ids, attempt_ids_from_query, form_field};
use super::callback::{media_kind, report_with_consent, reports_only, unknown_code};
use super::http::{balance, classify_status, exchange, lenient_number, query_api, unexpected_format};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{
    SIGNATURE_MISMATCH, VerificationKeys, VerifyResult, constant_time_eq, hmac_sha1, hmac_sha256, sha256_hex,
};
use super::text::text_with_links;

pub(super) const REGISTRATION: ProviderRegistration = ProviderRegistration {
    kind: &KIND,
    connect,
    schemes: &[("twilio-hmac-sha1", verify), ("twilio-hmac-sha256-sharedkey", verify)],
};

static KIND: ProviderKind = ProviderKind {
    name: "twilio",
    title: "Twilio",
    channels: &[Channel::Sms, Channel::Whatsapp, Channel::Messenger],
    settings: &[
        SettingSpec::required("accountSid", "AC…"),
        SettingSpec::secret("authToken", "The account's auth token, which signs callbacks too"),
        SettingSpec::optional(
            "from",
            "The number, short code or name that messages come from; a page's id for Messenger",
        ),
        SettingSpec::optional("messagingServiceSid", "MG…, used instead of a number"),
        SettingSpec::optional("mms", "true sends files of SMS as MMS; by default they are sent as links"),
        SettingSpec::optional_secret("sharedKey", "The shared key, if webhooks are signed with one (HMAC-SHA256)"),
    ],
    capabilities: CAPABILITIES,
    signs: "HMAC-SHA1 over address and form; HMAC-SHA256 with a shared key",
};
const CAPABILITIES: Capabilities =
    Capabilities { media: true, templates: true, query: true, balance: true, ..Capabilities::TEXT };

/// Maximum number of media files in one message.
const MAX_MEDIA: usize = 10;

struct Twilio {
    connection: ConnectionSettings,
    base: String,
    account_sid: String,
    auth_token: String,
    from: Option<String>,
    service: Option<String>,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let account_sid = connection.require("accountSid")?;
    if !account_sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(invalid_setting("accountSid", "accountSid is AC and 32 hexadecimal digits."));
    }
    let service = connection.get("messagingServiceSid");
    if service.is_none() {
        connection.require("from")?;
    }
    let from = connection.get("from").map(|from| address(connection.config.channel, &from));
    Ok(Arc::new(Twilio {
        base: connection.base_url("https://api.twilio.com"),
        account_sid,
        auth_token: connection.require("authToken")?,
        from,
        service,
        connection,
    }))
}

/// Adds the prefix that Twilio requires for addresses of this channel.
fn address(channel: Channel, plain: &str) -> String {
    let prefix = match channel {
        Channel::Whatsapp => "whatsapp:",
        Channel::Messenger => "messenger:",
        _ => "",
    };
    format!("{prefix}{}", plain.strip_prefix(prefix).unwrap_or(plain))
}

#[derive(Deserialize)]
struct Message {
    sid: String,
    /// The number of segments, as text.
    #[serde(default, deserialize_with = "lenient_number")]
    num_segments: Option<u16>,
}

#[derive(Deserialize)]
struct ErrorResponse {
    code: u32,
}

#[async_trait]
impl Provider for Twilio {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self
            .authenticated(self.connection.http.client.post(self.url("/Messages.json")))
            .form(&self.fields(outbound));
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        let error_code = exchange.json::<ErrorResponse>().map(|error| error.code);
        let code = error_code.map(|code| code.to_string());
        if let Some(outcome) = classify_status(&exchange, code.as_deref()) {
            let outcome =
                error_code.and_then(|code| refusal_for_code(code, exchange.retry_after_ms())).unwrap_or(outcome);
            return SendResult { opted_out: error_code == Some(21_610), ..outcome.into() };
        }
        let Some(Message { sid, num_segments }) = exchange.json() else { return exchange.unreadable_response() };
        exchange.accepted(sid, num_segments)
    }

    /// Searches the day's messages for one with the same recipient, sender and text that was created at that time.
    ///
    /// Two messages with the same text to the same number within the same minute cannot be distinguished. Either of
    /// them counts as proof for both.
    async fn query_delivery(
        &self,
        outbound: &OutboundMessage,
        since: Timestamp,
        until: Timestamp,
        timeout_ms: u64,
    ) -> QueryResult {
        let Some(mut days) = days(since, until) else { return QueryResult::NoResponse };
        let text = text_with_links(outbound, CAPABILITIES.max_characters);
        loop {
            let Some(day) = days.pop() else { break QueryResult::NotAccepted };
            match self.list_messages(outbound, &day, timeout_ms).await {
                None => break QueryResult::NoResponse,
                Some(messages) => {
                    if let Some(message) = messages.iter().find(|message| message.matches(&text, since, until)) {
                        break QueryResult::Accepted(message.sid.clone());
                    }
                }
            }
        }
    }

    async fn message_status(&self, id: &str, timeout_ms: u64) -> Result<MessageStatus, AccountQueryError> {
        #[derive(Deserialize)]
        struct StatusResponse {
            status: String,
            error_code: Option<u32>,
        }
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(AccountQueryError::Unsupported);
        }
        let url = self.url(&format!("/Messages/{id}.json"));
        let exchange = query_api(self.authenticated(self.connection.http.client.get(url)), timeout_ms).await?;
        let StatusResponse { status: name, error_code } = exchange.json().ok_or_else(unexpected_format)?;
        let code = error_code.map(|code| code.to_string());
        let (fact, event_id) = (fact_of(&name, code.as_deref()), Some(format!("{id}:{name}")));
        Ok(MessageStatus { name, fact, code, event_id })
    }

    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        struct BalanceResponse {
            balance: String,
            currency: String,
        }
        let request = self.authenticated(self.connection.http.client.get(self.url("/Balance.json")));
        let BalanceResponse { balance: amount, currency } =
            query_api(request, timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        balance(amount, currency)
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.authenticated(self.connection.http.client.get(self.url(".json"))), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        let uses_shared_key = request.header(SIGNATURE_SETTINGS).is_some();
        let secret = if uses_shared_key { self.connection.get_or("sharedKey", "") } else { self.auth_token.clone() };
        verify(request, &VerificationKeys { secret, ..VerificationKeys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        Ok(parse_callback(request, now))
    }
}

/// Allowance for the difference between Twilio's clock and ours.
const CLOCK_SKEW_MS: i64 = 60_000;
/// Messages per page. If there is a second page, the query has no result, because only one page is read.
const PAGE_SIZE: &str = "50";

/// Returns the UTC days of two times, with the clock skew added on both sides. Returns `None` if a time is out of
/// range.
fn days(since: Timestamp, until: Timestamp) -> Option<Vec<String>> {
    let day = |at: Timestamp| Some(jiff::Timestamp::from_millisecond(at.0).ok()?.strftime("%Y-%m-%d").to_string());
    let mut days = vec![day(since - CLOCK_SKEW_MS)?, day(until + CLOCK_SKEW_MS)?];
    days.dedup();
    Some(days)
}

#[derive(Deserialize)]
struct ListResponse {
    messages: Vec<ListedMessage>,
    /// The address of the next page, if there is one.
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct ListedMessage {
    sid: String,
    body: String,
    direction: String,
    /// RFC 2822, to the second.
    date_created: String,
}

impl ListedMessage {
    fn matches(&self, text: &str, since: Timestamp, until: Timestamp) -> bool {
        let created_at =
            jiff::fmt::rfc2822::parse(&self.date_created).map(|at| Timestamp(at.timestamp().as_millisecond()));
        self.direction.starts_with("outbound")
            && self.body == text
            && created_at.is_ok_and(|at| since - CLOCK_SKEW_MS <= at && at <= until + CLOCK_SKEW_MS)
    }
}

impl Twilio {
    fn url(&self, rest: &str) -> String {
        format!("{}/2010-04-01/Accounts/{}{rest}", self.base, self.account_sid)
    }

    fn authenticated(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.account_sid, Some(&self.auth_token))
    }

    fn fields(&self, outbound: &OutboundMessage) -> Vec<(&'static str, String)> {
        let channel = self.connection.config.channel;
        let message = &outbound.message;
        let mut fields = vec![("To", address(channel, &outbound.to))];
        fields.extend(self.from.iter().map(|from| ("From", from.clone())));
        fields.extend(self.service.iter().map(|service| ("MessagingServiceSid", service.clone())));
        fields.push(("StatusCallback", append_attempt_ids(&self.connection.callback_url, outbound)));
        if let Some(template) = &message.template {
            let numbered = template.variables.iter().enumerate();
            let variables: serde_json::Map<_, _> =
                numbered.map(|(index, value)| ((index + 1).to_string(), serde_json::json!(value))).collect();
            fields.push(("ContentSid", template.name.clone()));
            fields.push(("ContentVariables", serde_json::Value::Object(variables).to_string()));
            return fields;
        }
        // An MMS costs about ten times as much as an SMS, so files are sent as links unless the tenant asked for MMS.
        let is_plain = channel == Channel::Sms && self.connection.get("mms").as_deref() != Some("true");
        if is_plain || message.media.is_empty() {
            fields.push(("Body", text_with_links(outbound, CAPABILITIES.max_characters)));
            return fields;
        }
        if !message.text.is_empty() {
            fields.push(("Body", domain::sms::truncate(&message.text, CAPABILITIES.max_characters)));
        }
        fields.extend(message.media.iter().take(MAX_MEDIA).map(|link| ("MediaUrl", link.url.clone())));
        fields
    }

    /// Lists the messages to the recipient on one day. Returns `None` if Twilio did not answer with the complete list.
    async fn list_messages(
        &self,
        outbound: &OutboundMessage,
        day: &str,
        timeout_ms: u64,
    ) -> Option<Vec<ListedMessage>> {
        let to = address(self.connection.config.channel, &outbound.to);
        let mut query = vec![("To", to.as_str()), ("DateSent", day), ("PageSize", PAGE_SIZE)];
        query.extend(self.from.as_deref().map(|from| ("From", from)));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let url = format!("{}?{query}", self.url("/Messages.json"));
        let exchange = exchange(self.authenticated(self.connection.http.client.get(url)), timeout_ms).await.ok()?;
        let list = exchange.is_success().then(|| exchange.json::<ListResponse>())??;
        list.next_page_uri.is_none().then_some(list.messages)
    }
}

/// Classifies the error codes that are more precise than the HTTP status. https://www.twilio.com/docs/api/errors
fn refusal_for_code(code: u32, retry_after_ms: Option<i64>) -> Option<AttemptOutcome> {
    let class = match code {
        20_003 | 20_005 | 21_606 | 21_659 | 21_660 | 63_007 => RefusalClass::Auth,
        20_429 | 63_018 => RefusalClass::Throttled,
        30_001 => RefusalClass::Transient,
        21_211 | 21_214 | 21_408 | 21_610 | 21_612 | 21_614 | 21_617 | 21_656 => RefusalClass::Permanent,
        // 63016: more than 24 hours after the recipient's last message, when WhatsApp accepts only templates.
        63_003 | 63_016 | 63_024 | 63_027..=63_029 => RefusalClass::Permanent,
        _ => return None,
    };
    Some(refusal_outcome(class, code.to_string(), retry_after_ms))
}

/// The header that names the key and the algorithm of a request that is signed with a shared key.
const SIGNATURE_SETTINGS: &str = "x-twilio-webhooks-signature-settings";

/// Checks the signature, which covers our configured address and the form's fields. Only the algorithm that the request
/// names is tried.
fn verify(request: &CallbackRequest, keys: &VerificationKeys, _: Option<Timestamp>) -> VerifyResult {
    let signature = request.header("x-twilio-signature").ok_or("no signature header")?;
    let signature = STANDARD.decode(signature).map_err(|_| "the signature is not base64")?;
    if keys.secret.is_empty() {
        return Err("no key is configured");
    }
    let hmac = match request.header(SIGNATURE_SETTINGS) {
        None => hmac_sha1,
        Some(settings) if settings.contains("algorithm=HMAC_SHA256") => hmac_sha256,
        Some(_) => return Err("the signature's algorithm is unknown"),
    };
    let body_hash = form_field(request.query().as_bytes(), "bodySHA256");
    // A JSON body is covered by its hash in the address. Only the fields of a form are signed themselves.
    let fields = match &body_hash {
        Some(hash) => {
            let expected = hash.to_ascii_lowercase();
            constant_time_eq(sha256_hex(&request.body).as_bytes(), expected.as_bytes())
                .map_err(|_| "the body's hash is wrong")?;
            String::new()
        }
        None => signed_fields(&request.body),
    };
    let is_signed = |url: &String| {
        constant_time_eq(&hmac(keys.secret.as_bytes(), &[url.as_bytes(), fields.as_bytes()]), &signature).is_ok()
    };
    if url_variants(&request.url).iter().any(is_signed) { Ok(()) } else { Err(SIGNATURE_MISMATCH) }
}

/// Joins the names and values of all fields, sorted and without repetitions.
fn signed_fields(body: &[u8]) -> String {
    let mut fields: Vec<_> = form_urlencoded::parse(body).collect();
    fields.sort();
    fields.dedup();
    fields.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect()
}

/// Returns the variants of an address that Twilio may have signed: with or without the port, and with some characters
/// escaped or not.
fn url_variants(url: &str) -> Vec<String> {
    let mut variants = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return variants };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let at = if user.is_empty() { "" } else { "@" };
    let default = if scheme == "http" { "80" } else { "443" };
    let other = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        _ => format!("{host}:{default}"),
    };
    variants.push(format!("{scheme}://{user}{at}{other}{path}"));
    // Some of Twilio's services escape characters that others leave unescaped.
    for variant in variants.clone() {
        let Some((before, query)) = variant.split_once('?') else { continue };
        let escaped = query.replace('\'', "%27").replace('!', "%21").replace('(', "%28").replace(')', "%29");
        let plain = query.replace("%27", "'").replace("%21", "!").replace("%28", "(").replace("%29", ")");
        variants
            .extend([escaped, plain].into_iter().filter(|variant| variant != query).map(|q| format!("{before}?{q}")));
    }
    variants
}

fn fact_of(status: &str, code: Option<&str>) -> ReportedStatus {
    match (status, code) {
        ("accepted" | "scheduled" | "queued" | "sending", _) => ReportedStatus::Accepted,
        ("sent" | "partially_delivered", _) => ReportedStatus::Sent,
        ("delivered", _) => ReportedStatus::Delivered,
        ("read", _) => ReportedStatus::Read,
        // The number does not exist or is not a mobile number.
        ("undelivered" | "failed", Some("30005" | "30006" | "21211" | "21614" | "63024")) => ReportedStatus::Bounced,
        ("undelivered" | "failed" | "canceled", _) => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    }
}

/// Reads a status of one of our messages or an incoming message. Twilio sends no time, so the time of receipt is used.
fn parse_callback(request: &CallbackRequest, now: Timestamp) -> ParsedCallback {
    let form = |name: &str| form_field(&request.body, name);
    if let Some(status) = form("MessageStatus") {
        let sid = form("MessageSid").filter(|sid| sid.len() <= 60);
        let message = match (attempt_ids_from_query(request), &sid) {
            (Some(ids), _) => MessageRef::from_attempt(ids),
            (None, Some(sid)) => MessageRef::ProviderMessageId(sid.clone()),
            (None, None) => return ParsedCallback::default(),
        };
        let code = form("ErrorCode").filter(|code| code.len() <= 6 && code.bytes().all(|b| b.is_ascii_digit()));
        let fact = fact_of(&status, code.as_deref());
        let id = sid.map(|sid| format!("{sid}:{status}"));
        let opted_out = code.as_deref() == Some("21610");
        let code = if fact == ReportedStatus::Unknown { unknown_code(&status) } else { code };
        return reports_only(report_with_consent(message, (fact, code), id, now, opted_out));
    }
    let (Some(from), Some(sid)) = (form("From"), form("MessageSid")) else { return ParsedCallback::default() };
    let from = from.split_once(':').map_or(from.as_str(), |(_, address)| address).to_owned();
    let keyword = match form("OptOutType").as_deref() {
        Some("STOP") => Some(consent::ConsentKeyword::Stop.as_str()),
        Some("START") => Some(consent::ConsentKeyword::Start.as_str()),
        Some("HELP") => Some(consent::ConsentKeyword::Help.as_str()),
        _ => None,
    };
    let text = form("Body").filter(|text| !text.is_empty());
    let kind = match (form("MediaContentType0"), form("Latitude"), form("ButtonPayload")) {
        (Some(mime), ..) => media_kind(&mime),
        (_, Some(_), _) => "location",
        (_, _, Some(_)) => "button",
        _ => "text",
    };
    let inbound = InboundMessage { from, provider_message_id: sid, kind, text, keyword, at: now };
    ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() }
}

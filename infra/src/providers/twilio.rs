//! Twilio, Messages: `POST /2010-04-01/Accounts/{sid}/Messages.json`, 201 with `sid`. SMS, WhatsApp and Messenger differ
//! by the form of their addresses. It echoes nothing of ours in its callbacks, so our ids travel in the StatusCallback
//! address, which its signature covers.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::communication::AttemptOutcome;
use domain::consent;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef,
    OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, QueryResult, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use reqwest::RequestBuilder;
use serde::Deserialize;

use super::signatures::{Keys, SIGNATURE_MISMATCH, Verdict, hmac_sha1, hmac_sha256, same, sha256_hex};
use super::{
    ConnectionSettings, Entry, append_attempt_ids, attempt_ids_from_query, balance, classify_status, exchange, fault,
    field, query_api, refused, report_with_consent, reports_only, text_with_links, unexpected_format, unknown_code,
};

pub(super) const ENTRY: Entry =
    Entry { kind: &KIND, connect, schemes: &[("twilio-hmac-sha1", verify), ("twilio-hmac-sha256-sharedkey", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "twilio",
    title: "Twilio",
    channels: &[Channel::Sms, Channel::Whatsapp, Channel::Messenger],
    settings: &[
        SettingSpec::required("accountSid", "AC…"),
        SettingSpec::secret("authToken", "Its auth token; it signs callbacks too"),
        SettingSpec::optional(
            "from",
            "The number, short code or name that messages come from; a page's id for Messenger",
        ),
        SettingSpec::optional("messagingServiceSid", "MG…, instead of a number"),
        SettingSpec::optional("mms", "true: files of SMS go as MMS; else as links"),
        SettingSpec::optional_secret("sharedKey", "Where webhooks are signed with a shared key (HMAC-SHA256)"),
    ],
    capabilities: CAN,
    signs: "HMAC-SHA1 over address and form; HMAC-SHA256 with a shared key",
};
const CAN: Capabilities =
    Capabilities { media: true, templates: true, query: true, balance: true, ..Capabilities::TEXT };

/// Media of one message.
const MAX_MEDIA: usize = 10;

struct Twilio {
    link: ConnectionSettings,
    base: String,
    account_sid: String,
    auth_token: String,
    from: Option<String>,
    service: Option<String>,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let account_sid = link.need("accountSid")?;
    if !account_sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(fault("accountSid", "accountSid is AC and 32 hexadecimal digits."));
    }
    let service = link.get("messagingServiceSid");
    if service.is_none() {
        link.need("from")?;
    }
    let from = link.get("from").map(|from| address(link.account.channel, &from));
    Ok(Arc::new(Twilio {
        base: link.base_url("https://api.twilio.com"),
        account_sid,
        auth_token: link.need("authToken")?,
        from,
        service,
        link,
    }))
}

/// An address in the form of its channel.
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
    /// Text in Twilio's JSON.
    num_segments: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    code: u32,
}

#[async_trait]
impl Provider for Twilio {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.signed(self.link.http.client.post(self.url("/Messages.json"))).form(&self.fields(outbound));
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        let problem = exchange.json::<Problem>().map(|problem| problem.code);
        let code = problem.map_or(exchange.code().to_owned(), |code| code.to_string());
        if let Some(no) = classify_status(&exchange, &code) {
            let answer = problem.and_then(|code| by_code(code, exchange.retry_after_ms())).unwrap_or(no);
            return SendResult { opted_out: problem == Some(21_610), ..answer.into() };
        }
        let Some(Message { sid, num_segments }) = exchange.json() else { return exchange.unreadable_response() };
        exchange.accepted(sid, num_segments.and_then(|segments| segments.parse().ok()))
    }

    /// Looks through the messages of the day: to this number, from ours, with these words, made at that time.
    ///
    /// The same words to the same number within the same minute cannot be told apart: either proves the other.
    async fn query_delivery(
        &self,
        outbound: &OutboundMessage,
        since: Timestamp,
        until: Timestamp,
        timeout_ms: u64,
    ) -> QueryResult {
        let Some(mut days) = days(since, until) else { return QueryResult::NoResponse };
        let text = text_with_links(outbound, CAN.max_characters);
        loop {
            let Some(day) = days.pop() else { break QueryResult::NotAccepted };
            match self.messages_of(outbound, &day, timeout_ms).await {
                None => break QueryResult::NoResponse,
                Some(messages) => {
                    let ours = |m: &&Listed| m.is(&text, since, until);
                    if let Some(message) = messages.iter().find(ours) {
                        break QueryResult::Accepted(message.sid.clone());
                    }
                }
            }
        }
    }

    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        struct Left {
            balance: String,
            currency: String,
        }
        let request = self.signed(self.link.http.client.get(self.url("/Balance.json")));
        let Left { balance: amount, currency } =
            query_api(request, timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        balance(amount, currency)
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.signed(self.link.http.client.get(self.url(".json"))), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        let is_shared = request.header(SETTINGS).is_some();
        let secret = if is_shared { self.link.or("sharedKey", "") } else { self.auth_token.clone() };
        verify(request, &Keys { secret, ..Keys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        Ok(hear(request, now))
    }
}

/// Clocks of two companies may differ by this much.
const CLOCKS_MS: i64 = 60_000;
/// Messages of one page. More than one page to one number in a day is not looked through.
const PAGE: &str = "50";

/// The UTC days that a time falls into.
fn days(since: Timestamp, until: Timestamp) -> Option<Vec<String>> {
    let day = |at: Timestamp| Some(jiff::Timestamp::from_millisecond(at.0).ok()?.strftime("%Y-%m-%d").to_string());
    let mut days = vec![day(since - CLOCKS_MS)?, day(until + CLOCKS_MS)?];
    days.dedup();
    Some(days)
}

#[derive(Deserialize)]
struct List {
    messages: Vec<Listed>,
    /// Where the next page is, if there is one.
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    sid: String,
    body: String,
    direction: String,
    /// RFC 2822, to the second.
    date_created: String,
}

impl Listed {
    fn is(&self, text: &str, since: Timestamp, until: Timestamp) -> bool {
        let made = jiff::fmt::rfc2822::parse(&self.date_created).map(|at| Timestamp(at.timestamp().as_millisecond()));
        self.direction.starts_with("outbound")
            && self.body == text
            && made.is_ok_and(|made| since - CLOCKS_MS <= made && made <= until + CLOCKS_MS)
    }
}

impl Twilio {
    fn url(&self, rest: &str) -> String {
        format!("{}/2010-04-01/Accounts/{}{rest}", self.base, self.account_sid)
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.account_sid, Some(&self.auth_token))
    }

    fn fields(&self, outbound: &OutboundMessage) -> Vec<(&'static str, String)> {
        let channel = self.link.account.channel;
        let message = &outbound.message;
        let mut fields = vec![("To", address(channel, &outbound.to))];
        fields.extend(self.from.iter().map(|from| ("From", from.clone())));
        fields.extend(self.service.iter().map(|service| ("MessagingServiceSid", service.clone())));
        fields.push(("StatusCallback", append_attempt_ids(&self.link.callback_url, outbound)));
        if let Some(template) = &message.template {
            let numbered = template.variables.iter().enumerate();
            let variables: serde_json::Map<_, _> =
                numbered.map(|(place, value)| ((place + 1).to_string(), serde_json::json!(value))).collect();
            fields.push(("ContentSid", template.name.clone()));
            fields.push(("ContentVariables", serde_json::Value::Object(variables).to_string()));
            return fields;
        }
        // A number's plain text costs a tenth of a picture: SMS says where the files are, unless they are wanted.
        let is_plain = channel == Channel::Sms && self.link.get("mms").as_deref() != Some("true");
        if is_plain || message.media.is_empty() {
            fields.push(("Body", text_with_links(outbound, CAN.max_characters)));
            return fields;
        }
        if !message.text.is_empty() {
            fields.push(("Body", domain::sms::truncate(&message.text, CAN.max_characters)));
        }
        fields.extend(message.media.iter().take(MAX_MEDIA).map(|link| ("MediaUrl", link.url.clone())));
        fields
    }

    /// None: no answer, or not all of it.
    async fn messages_of(&self, outbound: &OutboundMessage, day: &str, timeout_ms: u64) -> Option<Vec<Listed>> {
        let to = address(self.link.account.channel, &outbound.to);
        let mut query = vec![("To", to.as_str()), ("DateSent", day), ("PageSize", PAGE)];
        query.extend(self.from.as_deref().map(|from| ("From", from)));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let url = format!("{}?{query}", self.url("/Messages.json"));
        let exchange = exchange(self.signed(self.link.http.client.get(url)), timeout_ms).await.ok()?;
        let list = exchange.is_success().then(|| exchange.json::<List>())??;
        list.next_page_uri.is_none().then_some(list.messages)
    }
}

/// Codes that say more than their HTTP status. https://www.twilio.com/docs/api/errors
fn by_code(code: u32, retry_after_ms: Option<i64>) -> Option<AttemptOutcome> {
    let class = match code {
        20_003 | 20_005 | 21_606 | 21_659 | 21_660 | 63_007 => RefusalClass::Auth,
        20_429 | 63_018 => RefusalClass::Throttled,
        30_001 => RefusalClass::Transient,
        21_211 | 21_214 | 21_408 | 21_610 | 21_612 | 21_614 | 21_617 | 21_656 => RefusalClass::Permanent,
        // 63016: outside of the 24 hours, where only a template is taken.
        63_003 | 63_016 | 63_024 | 63_027..=63_029 => RefusalClass::Permanent,
        _ => return None,
    };
    Some(refused(class, code.to_string(), retry_after_ms))
}

/// Names the key and the algorithm of a request that is signed with a shared key.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";

/// Over our address as configured and the form's fields. The algorithm is the one that the request names, and no other.
fn verify(request: &CallbackRequest, keys: &Keys, _: Option<Timestamp>) -> Verdict {
    let given = request.header("x-twilio-signature").ok_or("no signature header")?;
    let given = STANDARD.decode(given).map_err(|_| "the signature is not base64")?;
    if keys.secret.is_empty() {
        return Err("there is no key to check it with");
    }
    let hmac = match request.header(SETTINGS) {
        None => hmac_sha1,
        Some(settings) if settings.contains("algorithm=HMAC_SHA256") => hmac_sha256,
        Some(_) => return Err("the signature's algorithm is not known"),
    };
    let body_hash = field(request.query().as_bytes(), "bodySHA256");
    // A JSON body is bound by its hash in the address; only a form is part of what is signed.
    let fields = match &body_hash {
        Some(hash) => {
            let given = hash.to_ascii_lowercase();
            same(sha256_hex(&request.body).as_bytes(), given.as_bytes()).map_err(|_| "the body's hash is wrong")?;
            String::new()
        }
        None => signed_fields(&request.body),
    };
    let is_signed = |url: &String| same(&hmac(keys.secret.as_bytes(), &[url.as_bytes(), fields.as_bytes()]), &given);
    match forms_of(&request.url).iter().any(|url| is_signed(url).is_ok()) {
        true => Ok(()),
        false => Err(SIGNATURE_MISMATCH),
    }
}

/// Each field's name and value, sorted; repeated values once.
fn signed_fields(body: &[u8]) -> String {
    let mut fields: Vec<_> = form_urlencoded::parse(body).collect();
    fields.sort();
    fields.dedup();
    fields.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect()
}

/// An address as Twilio may have signed it: with and without its port, with some characters escaped or not.
fn forms_of(url: &str) -> Vec<String> {
    let mut forms = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return forms };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let at = if user.is_empty() { "" } else { "@" };
    let default = if scheme == "http" { "80" } else { "443" };
    let other = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        _ => format!("{host}:{default}"),
    };
    forms.push(format!("{scheme}://{user}{at}{other}{path}"));
    // Some of its services escape what a browser leaves alone, and the other way round.
    for form in forms.clone() {
        let Some((before, query)) = form.split_once('?') else { continue };
        let escaped = query.replace('\'', "%27").replace('!', "%21").replace('(', "%28").replace(')', "%29");
        let plain = query.replace("%27", "'").replace("%21", "!").replace("%28", "(").replace("%29", ")");
        forms.extend([escaped, plain].into_iter().filter(|form| form != query).map(|q| format!("{before}?{q}")));
    }
    forms
}

/// A status of a message of ours, or a message to us. Twilio gives no time, so it is ours.
fn hear(request: &CallbackRequest, now: Timestamp) -> ParsedCallback {
    let form = |name: &str| field(&request.body, name);
    if let Some(status) = form("MessageStatus") {
        let Some(ids) = attempt_ids_from_query(request) else { return ParsedCallback::default() };
        let code = form("ErrorCode").filter(|code| code.len() <= 6 && code.bytes().all(|b| b.is_ascii_digit()));
        let fact = match (status.as_str(), code.as_deref()) {
            ("accepted" | "scheduled" | "queued" | "sending", _) => ReportedStatus::Accepted,
            ("sent" | "partially_delivered", _) => ReportedStatus::Sent,
            ("delivered", _) => ReportedStatus::Delivered,
            ("read", _) => ReportedStatus::Read,
            // The number does not exist, or is no mobile.
            ("undelivered" | "failed", Some("30005" | "30006" | "21211" | "21614" | "63024")) => {
                ReportedStatus::Bounced
            }
            ("undelivered" | "failed" | "canceled", _) => ReportedStatus::Undelivered,
            _ => ReportedStatus::Unknown,
        };
        let sid = form("MessageSid").filter(|sid| sid.len() <= 60);
        let id = sid.map(|sid| format!("{sid}:{status}"));
        let opted_out = code.as_deref() == Some("21610");
        let about = MessageRef::from_attempt(ids);
        let code = if fact == ReportedStatus::Unknown { unknown_code(&status) } else { code };
        return reports_only(report_with_consent(about, (fact, code), id, now, opted_out));
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
        (Some(mime), ..) => super::meta::media_kind(&mime),
        (_, Some(_), _) => "location",
        (_, _, Some(_)) => "button",
        _ => "text",
    };
    let inbound = InboundMessage { from, provider_message_id: sid, kind, text, keyword, at: now };
    ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() }
}

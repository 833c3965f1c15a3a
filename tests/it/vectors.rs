//! Test vectors of other projects. They are files beside the repository on the build machine. Without them these tests
//! check nothing.

use std::fs;
use std::path::PathBuf;

use domain::provider::{CallbackRequest, ParsedCallback};
use events::{Channel, ReportedStatus, Timestamp};
use serde_json::{Value, json};

fn read_fixture(name: &str) -> Option<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/providers");
    fs::read_to_string(folder.join(name)).ok()
}

#[test]
fn segments_agree_with_twilios_calculator() {
    let Some(text) = read_fixture("fixtures/segments_vectors.json") else { return };
    let vectors: Value = serde_json::from_str(&text).expect("JSON");
    for vector in vectors["vectors"].as_array().expect("a list") {
        let found = domain::sms::segments(vector["text"].as_str().expect("a text"));
        assert_eq!(vector["segments"], found.count, "{vector}");
        assert_eq!(vector["encoding"], found.encoding.as_str(), "{vector}");
    }
}

#[test]
fn phone_numbers_agree_with_libphonenumber() {
    let Some(text) = read_fixture("fixtures/corpus.tsv") else { return };
    // Columns: as written, default region, parsed, E.164, possible, valid, type, region.
    let mut checked = 0;
    for line in text.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let [_, _, "1", number, "1", "1", ..] = cells[..] else { continue };
        let found = domain::address::normalise(Channel::Sms, number, None);
        assert_eq!(found.as_deref(), Ok(number), "{line}");
        checked += 1;
    }
    assert!(checked > 1_000);
}

/// Each vector names its signature scheme and carries the keys that it was signed with.
#[test]
fn signatures_agree_with_those_of_the_providers_own_libraries() {
    use infra::providers::{RecordedRequest, RecordedResult, verify_recorded};
    let Some(text) = read_fixture("vectors/vectors.json") else { return };
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let vectors = file["vectors"].as_array().expect("a list");
    let mut wrong = Vec::new();
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let headers = vector["headers"].as_object().expect("headers").iter();
        let recorded = RecordedRequest {
            scheme: text("scheme"),
            request: CallbackRequest {
                method: text("method"),
                url: text("url"),
                headers: headers.map(|(n, v)| (n.to_lowercase(), v.as_str().expect("text").to_owned())).collect(),
                body: text("body").into_bytes(),
            },
            secret: text("secret"),
            public_key: text("public_key"),
            certificate: text("cert_pem"),
            now: vector["now"].as_f64().map(|seconds| Timestamp((seconds * 1_000.0) as i64)),
        };
        let result = verify_recorded(&recorded);
        if result == RecordedResult::Unknown || vector["expect"] != (result == RecordedResult::Valid) {
            wrong.push(format!("{}: {result:?}", text("id")));
        }
    }
    assert!(vectors.len() > 100);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Parses a callback with a provider that has example settings.
fn parse(provider: &str, channel: Channel, request: &CallbackRequest) -> ParsedCallback {
    let settings = tests::harness::example(provider, channel, &[]);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let provider = tests::harness::provider(provider, channel, &settings).expect("connected");
    tests::harness::parsed_callback(&*provider, request, Timestamp(1_800_000_000_000)).expect("read")
}

const OURS: [(&str, &str); 2] = [("businessId", "acme"), ("attemptId", "att_01a1fed6599675bf9c9f22413f949849_1")];

fn post(url: &str, headers: &[(&str, &str)], body: String) -> CallbackRequest {
    let mut request = tests::harness::callback(url, headers, body.as_bytes());
    request.method = "POST".to_owned();
    request
}

fn form(fields: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", value.replace(' ', "+"));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn ours() -> Value {
    json!({ OURS[0].0: OURS[0].1, OURS[1].0: OURS[1].1 })
}

const URL: &str = "https://example.com/webhooks/x/acme.1/s";

/// The callback of a provider for a status. `detail` is the name and value of a further field that decides its meaning.
fn callback_of(
    provider: &str,
    value: &str,
    detail: Option<(&str, &str)>,
) -> Option<(&'static str, Channel, CallbackRequest)> {
    let reference = format!("{}/{}", OURS[0].1, OURS[1].1);
    let with = |mut body: Value, pointers: &[(&str, &str)]| {
        if let Some((name, value)) = detail {
            let (_, pointer) = pointers.iter().find(|(known, _)| *known == name)?;
            let mut field = &mut body;
            for part in pointer.split('/').skip(1) {
                field = match part.parse::<usize>() {
                    Ok(n) => &mut field[n],
                    Err(_) => &mut field[part],
                };
            }
            *field = json!(value);
        }
        Some(body)
    };
    let number = |mut body: Value, pointer: &str| {
        if let Some((_, value)) = detail {
            *body.pointer_mut(pointer)? = json!(value.parse::<i64>().ok()?);
        }
        Some(body)
    };
    let json_post = |body: Value| post(URL, &[], body.to_string());
    Some(match provider {
        "sendgrid" => {
            let mut event = json!({ "event": value, "timestamp": 1_800_000_000, "sg_event_id": "e" });
            OURS.iter().for_each(|(name, value)| event[*name] = json!(value));
            let event = with(event, &[("type", "/type"), ("reason", "/reason")])?;
            ("sendgrid", Channel::Email, json_post(json!([event])))
        }
        "mailgun" => {
            let data = json!({ "event": value, "id": "e", "timestamp": 1_800_000_000.5, "user-variables": ours() });
            let permanent = detail.is_none_or(|(name, _)| name != "severity");
            let mut data = with(data, &[("severity", "/severity"), ("reason", "/reason")])?;
            if permanent {
                data["severity"] = json!("permanent");
            }
            ("mailgun", Channel::Email, json_post(json!({ "signature": {}, "event-data": data })))
        }
        "mandrill" => {
            let events = json!([{ "event": value, "_id": "m", "ts": 1_800_000_000, "msg": { "metadata": ours() } }]);
            ("mandrill", Channel::Email, post(URL, &[], format!("mandrill_events={events}")))
        }
        "ses" => {
            let tags = json!({ "businessId": [OURS[0].1], "attemptId": [OURS[1].1] });
            let mail = json!({ "timestamp": "2026-11-21T10:00:00Z", "tags": tags });
            let event = with(json!({ "eventType": value, "mail": mail }), &[("bounceType", "/bounce/bounceType")])?;
            let envelope = json!({
                "Type": "Notification", "MessageId": "1", "TopicArn": "t", "Message": event.to_string(),
                "Timestamp": "2026-11-21T10:00:00Z", "SignatureVersion": "2", "Signature": "", "SigningCertURL": "",
            });
            ("ses", Channel::Email, json_post(envelope))
        }
        "twilio" => {
            let mut fields = vec![("MessageSid", "SM1"), ("MessageStatus", value)];
            fields.extend(detail.filter(|(name, _)| *name == "ErrorCode").map(|(_, code)| ("ErrorCode", code)));
            let url = format!("{URL}?tenant={}&attempt={}", OURS[0].1, OURS[1].1);
            ("twilio", Channel::Sms, post(&url, &[], form(&fields)))
        }
        "vonage_messages" => {
            let body = json!({ "status": value, "message_uuid": "v", "client_ref": OURS[1].1, "error": {} });
            ("vonage", Channel::Sms, json_post(with(body, &[("code", "/error/title")])?))
        }
        "vonage_sms" => {
            let mut fields = vec![("status", value), ("messageId", "v"), ("client-ref", OURS[1].1)];
            fields.extend(detail.filter(|(name, _)| *name == "err-code").map(|(_, code)| ("err-code", code)));
            ("vonage", Channel::Sms, post(URL, &[], form(&fields)))
        }
        "messagebird" => {
            let mut fields = vec![("id", "b"), ("reference", reference.as_str()), ("status", value)];
            fields.extend(detail.map(|(_, reason)| ("statusReason", reason)));
            let mut request = tests::harness::callback(
                &format!("{URL}?{}", form(&fields)),
                &[("messagebird-signature-jwt", "")],
                b"",
            );
            request.method = "GET".to_owned();
            ("messagebird", Channel::Sms, request)
        }
        "bird" => {
            let data = json!({ "metadata": ours(), "phone_number": "+447700900001" });
            let body = json!({ "type": value, "timestamp": "2026-11-21T10:00:00Z", "data": data });
            ("messagebird", Channel::Sms, json_post(with(body, &[("error.code", "/data/error/code")])?))
        }
        "africastalking" => {
            let mut fields = vec![("id", "a"), ("status", value), ("phoneNumber", "%2B254711000000")];
            fields.extend(detail.map(|(_, reason)| ("failureReason", reason)));
            ("africastalking", Channel::Sms, post(URL, &[], form(&fields)))
        }
        "bulksms" => {
            let message = json!({ "id": "k", "type": "SENT", "status": { "type": value } });
            ("bulksms", Channel::Sms, json_post(json!([with(message, &[("subtype", "/status/subtype")])?])))
        }
        "sns_sms" => {
            let entry = json!({ "notification": { "messageId": "s" }, "delivery": {}, "status": value });
            ("sns", Channel::Sms, json_post(with(entry, &[("providerResponse", "/delivery/providerResponse")])?))
        }
        "whatsapp_cloud" => {
            let status =
                json!({ "id": "w", "status": value, "biz_opaque_callback_data": reference, "errors": [{ "code": 0 }] });
            let mut status = number(status, "/errors/0/code")?;
            if detail.is_none() {
                status.as_object_mut()?.remove("errors");
            }
            let body = json!({ "entry": [{ "changes": [{ "value": { "statuses": [status] } }] }] });
            ("whatsapp", Channel::Whatsapp, json_post(body))
        }
        _ => return None,
    })
}

/// The name and value of each detail in a condition such as `type=bounce`, `reason in {a,b}` or
/// `providerResponse ~ "a","b"`.
fn details(when: Option<&str>) -> Vec<Option<(String, String)>> {
    let Some(when) = when.filter(|when| *when != "other" && !when.contains("absent") && *when != "voice") else {
        return vec![None];
    };
    let condition = when.split(" and ").last().unwrap_or(when);
    let parts =
        condition.split_once(" in {").or_else(|| condition.split_once(" ~ ")).or_else(|| condition.split_once('='));
    let Some((name, values)) = parts else { return Vec::new() };
    // WhatsApp's error codes are written in several ways.
    let name = if name.ends_with("code") && name != "error.code" && name != "err-code" { "code" } else { name };
    let values = values.trim_end_matches('}').split(',').map(|value| value.split(" or ").next().unwrap_or(value));
    values.map(|value| Some((name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))).collect()
}

#[test]
fn statuses_agree_with_the_status_map() {
    let Some(text) = read_fixture("fixtures/status_map.json") else { return };
    let map: Value = serde_json::from_str(&text).expect("JSON");
    let (mut checked, mut wrong) = (0, Vec::new());
    for (provider, rows) in map.as_object().expect("providers") {
        for row in rows["map"].as_array().into_iter().flatten() {
            let value = row["value"].as_str().expect("a status");
            for detail in details(row["when"].as_str()) {
                let pair = detail.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
                // Some rows describe the response to a request, or in words. They have no callback.
                let is_prose = value.contains("held") || value == "accepted" && provider == "whatsapp_cloud";
                let Some((name, channel, request)) = callback_of(provider, value, pair).filter(|_| !is_prose) else {
                    continue;
                };
                let parsed = parse(name, channel, &request);
                let facts: Vec<ReportedStatus> =
                    parsed.delivery_reports.iter().map(|report| report.report.fact).collect();
                let first = facts.first().copied();
                let is_expected = match row["canonical"].as_str() {
                    None => matches!(first, None | Some(ReportedStatus::Deferred | ReportedStatus::Unknown)),
                    Some("queued") => first == Some(ReportedStatus::Accepted),
                    Some("sent") => matches!(first, Some(ReportedStatus::Sent | ReportedStatus::Accepted)),
                    Some("bounced") => matches!(first, Some(ReportedStatus::Bounced | ReportedStatus::Undelivered)),
                    Some("failed") => matches!(
                        first,
                        Some(ReportedStatus::Undelivered | ReportedStatus::Dropped | ReportedStatus::Bounced)
                    ),
                    Some("unsubscribed") => {
                        first == Some(ReportedStatus::Unsubscribed)
                            || parsed.consent_changes.iter().any(|c| c.is_opt_out)
                    }
                    Some(other) => first.is_some_and(|fact| fact.as_str() == other),
                };
                let mut reports = parsed.delivery_reports.iter();
                let suppresses = reports.any(|report| webhook::suppression_reason(&report.report).is_some())
                    || parsed.consent_changes.iter().any(|consent| consent.is_opt_out);
                let has_same_suppression = row["suppress"].as_bool().is_none_or(|suppress| suppress == suppresses);
                checked += 1;
                if !is_expected || !has_same_suppression {
                    wrong.push(format!("{provider} {value} {detail:?}: {facts:?}, expected {row}"));
                }
            }
        }
    }
    assert!(checked > 120, "{checked}");
    // Mandrill names the reason of a reject in the response to the request, not in its callback.
    wrong.retain(|line| !line.starts_with("mandrill reject"));
    assert!(wrong.is_empty(), "{checked} checked\n{}", wrong.join("\n"));
}

#[test]
fn email_events_agree_with_those_of_anymail() {
    let Some(text) = read_fixture("fixtures/anymail_events.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let (mut checked, mut wrong) = (0, Vec::new());
    for case in &cases {
        let mut payload = case["payload"].clone();
        let provider = case["provider"].as_str().expect("a name");
        let list = |payload: &mut Value, put: &dyn Fn(&mut Value)| {
            payload.as_array_mut().expect("a list").iter_mut().for_each(put)
        };
        let body = match provider {
            "sendgrid" => {
                list(&mut payload, &|event| OURS.iter().for_each(|(name, value)| event[*name] = json!(value)));
                payload.to_string()
            }
            "mandrill" => {
                list(&mut payload, &|event| {
                    if event.get("msg").is_some() {
                        event["msg"]["metadata"] = ours();
                    }
                });
                format!("mandrill_events={}", payload.to_string().replace('&', "%26").replace('+', "%2B"))
            }
            // Mailgun's callbacks before 2018 were forms. Such webhooks can no longer be created.
            "mailgun" if payload.get("event-data").is_none() => continue,
            "mailgun" => {
                payload["event-data"]["user-variables"] = ours();
                payload.to_string()
            }
            _ => {
                payload["mail"]["tags"] = json!({ "businessId": [OURS[0].1], "attemptId": [OURS[1].1] });
                json!({
                    "Type": "Notification", "MessageId": "1", "TopicArn": "t", "Message": payload.to_string(),
                    "Timestamp": "2026-11-21T10:00:00Z", "SignatureVersion": "2", "Signature": "", "SigningCertURL": "",
                })
                .to_string()
            }
        };
        let parsed = parse(provider, Channel::Email, &post(URL, &[], body));
        let first = parsed.delivery_reports.first().map(|report| report.report.fact);
        for expected in case["anymail_event_types"].as_array().expect("types") {
            let is_expected = match expected.as_str().expect("a type") {
                "queued" | "sent" => matches!(first, Some(ReportedStatus::Accepted | ReportedStatus::Sent)),
                "rejected" | "failed" => matches!(first, Some(ReportedStatus::Dropped | ReportedStatus::Bounced)),
                "bounced" => matches!(first, Some(ReportedStatus::Bounced | ReportedStatus::Undelivered)),
                "unknown" => matches!(first, None | Some(ReportedStatus::Unknown)),
                other => first.is_some_and(|fact| fact.as_str() == other),
            };
            checked += 1;
            if !is_expected {
                wrong.push(format!("{provider} {}: {first:?}, expected {expected}", case["test"]));
            }
        }
    }
    assert!(checked > 25, "{checked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn metas_examples_of_whatsapp_messages_are_parsed() {
    let Some(text) = read_fixture("fixtures/meta_whatsapp_inbound_official_examples.json") else { return };
    let examples: Value = serde_json::from_str(&text).expect("JSON");
    for (name, example) in examples.as_object().expect("examples") {
        let parsed = parse("whatsapp", Channel::Whatsapp, &post(URL, &[], example.to_string()));
        let value = &example["entry"][0]["changes"][0]["value"];
        let sent = value["messages"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(parsed.inbound.len(), sent.len(), "{name}");
        for (inbound, message) in parsed.inbound.iter().zip(sent) {
            let kind = message["type"].as_str().expect("a type");
            let expected = match kind {
                "text" | "image" | "location" | "button" => kind,
                "interactive" => "button",
                _ => "other",
            };
            assert_eq!(
                (inbound.kind, inbound.text.is_some()),
                (expected, ["text", "button"].contains(&expected) || message["image"]["caption"].is_string()),
                "{name}: {inbound:?}"
            );
            assert_eq!(inbound.from.trim_start_matches('+'), message["from"].as_str().expect("a sender"));
        }
    }
}

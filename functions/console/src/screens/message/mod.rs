//! One message: did they get it, and if not, why not?

mod timeline;

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::future::try_join3;
use serde_json::{Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::screens::person::paths::page_of;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::{Clock, Time};
use crate::words::{self, StatusWord};
use timeline::{Attempt, Moment, attempts, timeline};

/// How often the page is loaded again while the message moves, in seconds.
const REFRESH_S: u32 = 3;

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    shell: Shell,
    id: String,
    heading: String,
    lede: String,
    kind: String,
    status: StatusWord,
    steps: Vec<Step>,
    timeline: Vec<Moment>,
    zone: String,
    attempts: Vec<Attempt>,
    tab: String,
    seen: Seen,
    facts: Vec<Fact>,
    related: Vec<Related>,
    raw: Vec<String>,
    /// What can be done with it, and why something cannot.
    acts: Acts,
    form_key: String,
    /// Whether it may still change by itself soon.
    moves: bool,
}

impl Page for MessagePage {}

/// A step of the progress.
struct Step {
    tone: &'static str,
    name: &'static str,
    time: Option<Time>,
}

/// The message as its recipient sees it.
struct Seen {
    is_email: bool,
    is_erased: bool,
    subject: String,
    text: String,
    html: String,
    to: String,
    variables: String,
}

struct Fact {
    name: &'static str,
    value: String,
    link: Option<String>,
}

struct Related {
    name: &'static str,
    id: String,
}

#[derive(Default)]
struct Acts {
    cancel: bool,
    retry: bool,
    resolve: bool,
}

pub async fn show(visit: Visit, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let path = format!("/api/communications/{}", segment(&id));
    let (row, events, explained) = try_join3(
        visit.api.get(path.as_str()),
        visit.api.get(format!("{path}/events")),
        visit.api.get(format!("{path}/explain")),
    )
    .await?;
    let events: Vec<Value> = events["events"].as_array().cloned().unwrap_or_default();
    let clock = visit.clock();
    let mut tried = attempts(&events, &clock);
    let is_failure =
        |event: &Value| event["type"] == "DeliveryAttemptRefused" || event["type"] == "DeliveryAttemptInDoubt";
    if events.iter().any(is_failure) {
        add_exchanges(&mut tried, &visit.api.get(format!("{path}/attempts")).await?);
    }
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let name = Some(text("recipientName")).filter(|name| !name.is_empty()).unwrap_or_else(|| text("recipientContact"));
    let held = held_until(&row, &events);
    let status = match held {
        Some(_) => words::held(),
        None => words::status(&row),
    };
    let lifecycle = text("lifecycle");
    let moves = ["queued", "sending", "retry_wait", "in_doubt"].contains(&&*lifecycle)
        || (text("status") == "sent" && lifecycle == "sent");
    let heading = heading(&row, &status, &name);
    let tab = Fields::of_query(query.as_deref()).get("tab").to_owned();
    let mut shell = visit.shell(&heading, "messages");
    shell.refresh_s = moves.then_some(REFRESH_S);
    let page = MessagePage {
        lede: lede(&row, &events, held, &explained, &clock),
        heading,
        kind: words::kind(&text("type")),
        steps: steps(&row, &status, &clock),
        timeline: timeline(&events, &clock),
        zone: clock.zone_name(),
        attempts: tried,
        tab: if tab.is_empty() { "seen".to_owned() } else { tab },
        seen: seen(&row),
        facts: facts(&row, &clock),
        related: related(&row),
        raw: events.iter().rev().map(Value::to_string).collect(),
        acts: Acts {
            cancel: ["queued", "scheduled", "retry_wait"].contains(&&*lifecycle),
            retry: ["dead_lettered", "failed"].contains(&&*lifecycle),
            resolve: lifecycle == "in_doubt",
        },
        form_key: visit.form_key.clone(),
        moves,
        status,
        id,
        shell,
    };
    Ok(page.respond())
}

/// Adds what was said to the providers, where an attempt failed.
fn add_exchanges(attempts: &mut [Attempt], said: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for attempt in attempts {
        let found = said["attempts"].as_array().into_iter().flatten();
        let Some(found) = found.into_iter().find(|found| found["attempt"] == attempt.number) else { continue };
        let (request, response) = (&found["request"], &found["response"]);
        if request.is_null() {
            continue;
        }
        let answer = match response["status"].as_u64() {
            Some(status) => format!("{status}\n{}", text(&response["body"])),
            None => "No answer".to_owned(),
        };
        let kind = text(&request["contentType"]);
        attempt.exchange = format!(
            "{} {}\n{kind}\n\n{}\n\n{answer}",
            text(&request["method"]),
            text(&request["url"]),
            text(&request["body"])
        );
    }
}

/// What is true now, with the recipient's name.
fn heading(row: &Value, status: &StatusWord, name: &str) -> String {
    let StatusWord { word, .. } = status;
    if name.is_empty() {
        return word.clone();
    }
    match row["status"].as_str().unwrap_or_default() {
        _ if row["complained"] == true => format!("{word} by {name}"),
        "opened" | "read" | "clicked" => format!("{word} by {name}"),
        "delivered" => format!("{word} to {name}"),
        _ => format!("{word}: {} to {name}", words::kind(row["type"].as_str().unwrap_or_default())),
    }
}

/// Until when quiet hours hold the message, if that is what it waits for.
fn held_until<'a>(row: &Value, events: &'a [Value]) -> Option<&'a str> {
    let timing = ["CommunicationRescheduled", "CommunicationDeferred"];
    let last = events.iter().rfind(|event| timing.contains(&event["type"].as_str().unwrap_or_default()))?;
    let holds = row["status"] == "scheduled" && last["data"]["reason"] == "quiet_hours";
    last["data"]["until"].as_str().filter(|_| holds)
}

fn lede(row: &Value, events: &[Value], held: Option<&str>, explained: &Value, clock: &Clock) -> String {
    if let Some(until) = held.and_then(|until| clock.short(until)) {
        return format!("Until {} ({}).", until.text, clock.zone_name());
    }
    let cancelled = events.iter().rfind(|event| event["type"] == "CommunicationCancelled");
    if let Some(event) = cancelled.filter(|event| event["data"]["reason"] == "requested") {
        let by = words::actor(event["data"]["by"].as_str().or(event["actor"].as_str()).unwrap_or_default());
        let before = if row["attempts"] == 0 { "the first attempt" } else { "anything was sent" };
        return format!("By {by}, before {before}.");
    }
    if row["lifecycle"] == "sending" && !row["deliveredAt"].is_null() {
        let by = row["provider"].as_str().map_or_else(|| "the provider".to_owned(), words::config);
        return format!("Reported by {by}, before it answered the attempt.");
    }
    let pause = &explained["waitsFor"]["pause"];
    if pause.is_object() {
        let text = |name: &str| pause[name].as_str().unwrap_or_default();
        let since = clock.short(text("since")).map_or(String::new(), |since| format!(" since {}", since.text));
        let (channel, by) = (words::channel(text("channel")), words::actor(text("by")));
        return format!("It waits: {channel} is paused{since} by {by} ({}).", text("reason"));
    }
    let detail = words::detail(row, clock);
    let maybe = if row["maybeSent"] == true { " It may have been delivered anyway." } else { "" };
    if detail.is_empty() {
        let summary = explained["summary"].as_str().unwrap_or_default();
        return format!("{summary}{maybe}");
    }
    format!("{detail}{maybe}")
}

fn steps(row: &Value, status: &StatusWord, clock: &Clock) -> Vec<Step> {
    let at = |name: &str| row[name].as_str().and_then(|time| clock.short(time));
    let (sent, delivered) = (at("sentAt"), at("deliveredAt"));
    let seen = at("clickedAt").or_else(|| at("openedAt"));
    let good = |time: &Option<Time>| if time.is_some() { "good" } else { "" };
    let mut steps = vec![
        Step { tone: "good", name: "Accepted", time: at("createdAt") },
        Step { tone: good(&sent), name: "Sent to provider", time: sent },
        Step { tone: good(&delivered), name: "Delivered", time: delivered },
        Step { tone: good(&seen), name: "Opened or read", time: seen },
    ];
    if status.tone == "bad"
        && let Some(stopped) = steps.iter_mut().find(|step| step.tone.is_empty())
    {
        stopped.tone = "bad";
        stopped.time = at("failedAt");
    }
    steps
}

fn seen(row: &Value) -> Seen {
    let text = |pointer: &str| row.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, contact) = (text("/recipientName"), text("/recipientContact"));
    Seen {
        is_email: row["channel"] == "email",
        is_erased: row["rendered"].is_null(),
        subject: text("/rendered/subject"),
        text: text("/rendered/text"),
        html: text("/rendered/html"),
        to: if name.is_empty() { contact } else { format!("{name} <{contact}>") },
        variables: serde_json::to_string_pretty(&row["templateVariables"]).unwrap_or_default(),
    }
}

fn facts(row: &Value, clock: &Clock) -> Vec<Fact> {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let time =
        |name: &str| row[name].as_str().and_then(|time| clock.short(time)).map_or(String::new(), |time| time.text);
    let mut facts = Vec::new();
    let mut add = |name: &'static str, value: String, link: Option<String>| {
        if !value.is_empty() {
            facts.push(Fact { name, value, link });
        }
    };
    add("Recipient", text("recipientContact"), None);
    let id = text("recipientId");
    let person = page_of(&text("recipientType"), &id);
    add("Person", if id.is_empty() { id } else { format!("{} {id}", text("recipientType")) }, Some(person));
    add("Channel", words::channel(&text("channel")).to_owned(), None);
    add("Type", words::kind(&text("type")), None);
    let entity = format!("{} {}", words::sentence_case(&text("entityType")), text("entityId"));
    add(
        "Related to",
        entity.trim().to_owned(),
        Some(format!("/messages?entityType={}&entityId={}", segment(&text("entityType")), segment(&text("entityId")))),
    );
    add("Template", text("templateId"), None);
    add("Priority", words::sentence_case(&text("priority")), None);
    add("Created by", text("createdBy"), None);
    add("Scheduled", time("scheduledAt"), None);
    add("Expires", time("expiresAt"), None);
    if let (Some(micros), Some(currency)) = (row["costMicros"].as_i64(), row["currency"].as_str()) {
        let about = if row["costIsEstimate"] == true { ", by the price list" } else { "" };
        add("Cost", format!("{}{about}", words::money(micros, currency)), None);
    }
    add("Content kept", words::sentence_case(&text("retention")), None);
    facts
}

fn related(row: &Value) -> Vec<Related> {
    let names = [
        ("originalCommunicationId", "The original, which this one repeats"),
        ("fallbackOf", "The message before it, on another channel"),
        ("fallbackId", "The message after it, on another channel"),
    ];
    let found = names.into_iter().filter_map(|(field, name)| Some((name, row[field].as_str()?)));
    found.map(|(name, id)| Related { name, id: id.to_owned() }).collect()
}

/// The email as its recipient sees it: a document of its own, in which nothing runs.
pub async fn mail(visit: Visit, Path(id): Path<String>) -> Result<Response, Refusal> {
    let row = visit.api.get(format!("/api/communications/{}", segment(&id))).await?;
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "This message has no HTML.");
    let html = row.pointer("/rendered/html").and_then(Value::as_str).ok_or_else(missing)?.to_owned();
    let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";
    Ok(([(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy))], Html(html)).into_response())
}

/// Cancels, retries, resends or resolves the message, and shows it again.
pub async fn act(visit: Visit, Path((id, act)): Path<(String, String)>, Form(form): Form) -> Result<Response, Refusal> {
    let path = format!("/api/communications/{}/{act}", segment(&id));
    let body = match &*act {
        "cancel" | "retry" => json!({}),
        "resend" => {
            let given = ["channel", "recipientContact"].into_iter().filter(|name| form.has(name));
            given.map(|name| (name, form.get(name))).collect()
        }
        "resolve" => json!({ "outcome": form.get("outcome") }),
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "A message has no such action.")),
    };
    let call = visit.api.call(Method::POST, path).json(body);
    let call = if act == "resend" { call.header("idempotency-key", form.get("key")) } else { call };
    let answer = call.send().await?;
    let shown = answer.body["id"].as_str().filter(|_| act == "resend").unwrap_or(&id).to_owned();
    Ok(Redirect::to(&format!("/messages/{}", segment(&shown))).into_response())
}

#[cfg(test)]
mod tests {
    use events::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_message_that_was_delivered_before_the_answer_came_is_not_being_sent() {
        let clock = Clock { now: Timestamp(1_796_000_000_000), zone: TimeZone::UTC };
        let mut row =
            json!({ "lifecycle": "sending", "status": "sending", "provider": "sendgrid", "deliveredAt": null });
        let explained = json!({ "summary": "It is being sent." });
        assert_eq!(lede(&row, &[], None, &explained, &clock), "It is being sent.");
        row["deliveredAt"] = json!("2026-11-29T21:00:00Z");
        let expected = "Reported by SendGrid, before it answered the attempt.";
        assert_eq!(lede(&row, &[], None, &explained, &clock), expected);
    }

    #[test]
    fn who_marked_a_message_as_spam_is_its_recipient() {
        let row = json!({ "status": "delivered", "complained": true });
        assert_eq!(heading(&row, &words::status(&row), "Ada"), "Marked as spam by Ada");
    }
}

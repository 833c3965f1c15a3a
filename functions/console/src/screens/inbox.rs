//! The test inbox: what was sent, and what can I do as the recipient?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures_util::future::try_join3;
use serde_json::{Value, json};

use crate::api_client::{ApiClient, segment};
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName, Icon};
use crate::time::{Clock, Time, number};
use crate::words::{self, CHANNELS, StatusWord};

/// How many messages the list shows.
const MAX_ROWS: usize = 100;
/// The longest text of a row, in characters.
const MAX_TEXT: usize = 80;

/// The faults of the simulated providers, with their words.
const FAULTS: [(&str, &str); 10] = [
    ("503", "503, unavailable"),
    ("500", "500, server error"),
    ("429", "429, rate limited"),
    ("timeout", "no answer, not accepted"),
    ("reset", "a closed connection"),
    ("accept_then_timeout", "no answer, but accept"),
    ("accept_then_silence", "no answer, and never report"),
    ("400", "400, refused for good"),
    ("401", "401, bad credentials"),
    ("402", "402, no credit left"),
];

/// Steps of the clock, in milliseconds, with their words.
const STEPS: [(&str, &str); 5] = [
    ("60000", "1 minute"),
    ("900000", "15 minutes"),
    ("3600000", "1 hour"),
    ("86400000", "1 day"),
    ("604800000", "1 week"),
];

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    shell: Shell,
    filters: Fields,
    rows: Vec<Row>,
    count: usize,
    is_filtered: bool,
    one: Option<Opened>,
    error: String,
    done: &'static str,
    providers: Vec<String>,
    faults: Vec<String>,
    now: Option<Time>,
}

impl Page for InboxPage {}

struct Row {
    link: String,
    to: String,
    text: String,
    channel: ChannelName,
    at: Option<Time>,
    is_current: bool,
}

/// The message that is looked at.
struct Opened {
    id: u64,
    heading: String,
    is_email: bool,
    has_html: bool,
    from: String,
    to: String,
    subject: String,
    body: String,
    at: Option<Time>,
    replies: Vec<(String, Option<Time>)>,
    status: Option<StatusWord>,
    message: Option<String>,
    acts: Vec<Act>,
    can_reply: bool,
    route: Vec<(&'static str, String)>,
    callbacks: Vec<Callback>,
    unsubscribe: Option<String>,
    json: String,
}

struct Act {
    name: &'static str,
    icon: Icon,
    label: &'static str,
}

struct Callback {
    at: Option<Time>,
    text: String,
}

/// The inbox, which exists only beside simulated providers.
fn inbox(visit: &Visit) -> Result<&ApiClient, Refusal> {
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "There is no test inbox here: providers are not simulated.");
    visit.dev.as_ref().ok_or_else(missing)
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Ok(page(&visit, Fields::of_query(query.as_deref()), String::new()).await?.respond())
}

async fn page(visit: &Visit, filters: Fields, error: String) -> Result<InboxPage, Refusal> {
    let dev = inbox(visit)?;
    let list =
        dev.call(Method::GET, "/_dev/inbox").query([("to", filters.get("to")), ("channel", filters.get("channel"))]);
    let list = async { Ok(list.send().await?.body) };
    let (list, faults, now) = try_join3(list, dev.get("/_dev/faults"), dev.get("/_dev/clock")).await?;
    let clock = visit.clock();
    let all = list["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let newest = all.first().and_then(|entry| entry["id"].as_u64());
    let chosen = filters.get("id").parse::<u64>().ok().or(newest);
    let one = match chosen {
        Some(id) => Some(opened(visit, dev, id).await?),
        None => None,
    };
    let row = |entry: &Value| row(entry, chosen, &filters, &clock);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fault = |fault: &Value| {
        let kind = fault["kind"].as_str().unwrap_or_default();
        let word = FAULTS.iter().find(|(id, _)| *id == kind).map_or(kind, |(_, word)| word);
        let count = number(fault["count"].as_u64().unwrap_or(0));
        format!("{} responds with {word}, for {count} more calls", words::config(&text(&fault["provider"])))
    };
    Ok(InboxPage {
        shell: visit.shell("Test inbox", "inbox"),
        rows: all.iter().take(MAX_ROWS).map(row).collect(),
        count: all.len(),
        is_filtered: filters.has("to") || filters.has("channel"),
        one,
        error,
        done: done(filters.get("done")),
        providers: faults["providers"].as_array().into_iter().flatten().map(text).collect(),
        faults: faults["faults"].as_array().into_iter().flatten().map(fault).collect(),
        now: now["now"].as_str().and_then(|now| clock.precise(now)),
        filters,
    })
}

fn done(act: &str) -> &'static str {
    match act {
        "open" | "click" | "deliver" | "bounce" | "fail" | "complain" => "The provider reported it.",
        "reply" => "Reply sent.",
        "stop" => "STOP sent. The address is opted out.",
        "cleared" => "The inbox is empty.",
        "faulted" => "Simulation started.",
        "healed" => "All simulations ended, and opt-outs at the simulated providers were forgotten.",
        "advanced" => "The clock was moved. What is due now is being sent.",
        _ => "",
    }
}

fn row(entry: &Value, chosen: Option<u64>, filters: &Fields, clock: &Clock) -> Row {
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let id = entry["id"].as_u64().unwrap_or(0);
    let said = if text("subject").is_empty() { text("body") } else { text("subject") };
    Row {
        link: format!("/inbox{}", filters.with(&[("id", &id.to_string()), ("done", "")])),
        to: text("to").to_owned(),
        text: said.chars().take(MAX_TEXT).collect(),
        channel: ChannelName(text("channel").to_owned()),
        at: clock.short(text("at")),
        is_current: chosen == Some(id),
    }
}

async fn opened(visit: &Visit, dev: &ApiClient, id: u64) -> Result<Opened, Refusal> {
    let entry = dev.get(format!("/_dev/inbox/{id}")).await?;
    let clock = visit.clock();
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let message = entry["communicationId"].as_str().map(str::to_owned);
    let status = match &message {
        Some(message) => visit.api.get(format!("/api/communications/{}", segment(message))).await.ok(),
        None => None,
    };
    let names: Vec<&str> = entry["acts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let channel = text("channel");
    let callback = |callback: &Value| Callback {
        at: callback["at"].as_str().and_then(|at| clock.precise(at)),
        text: format!(
            "POST {}\n{}",
            callback["url"].as_str().unwrap_or_default(),
            callback["body"].as_str().unwrap_or_default()
        ),
    };
    let reply = |reply: &Value| {
        let at = reply["at"].as_str().and_then(|at| clock.short(at));
        (reply["text"].as_str().unwrap_or_default().to_owned(), at)
    };
    let route = [
        ("Provider", words::config(&text("config"))),
        ("Provider ID", text("providerMessageId")),
        ("Sender", text("from")),
        ("Tidings ID", message.clone().unwrap_or_default()),
    ];
    Ok(Opened {
        id,
        heading: format!("{} to {}", words::channel(&channel), text("to")),
        is_email: channel == "email",
        has_html: entry["html"].is_string(),
        from: text("from"),
        to: text("to"),
        subject: text("subject"),
        body: text("body"),
        at: clock.short(&text("at")),
        replies: entry["replies"].as_array().into_iter().flatten().map(reply).collect(),
        status: status.as_ref().map(words::status),
        message: status.and(message),
        acts: acts(&names, &channel),
        can_reply: names.contains(&"reply"),
        route: route.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        callbacks: entry["callbacks"].as_array().into_iter().flatten().map(callback).collect(),
        unsubscribe: entry["unsubscribeUrl"].as_str().map(str::to_owned),
        json: serde_json::to_string_pretty(&entry).unwrap_or_default(),
    })
}

/// The acts that a provider reports, with their words on a channel.
fn acts(names: &[&str], channel: &str) -> Vec<Act> {
    let word = |name: &str| {
        Some(match (name, channel) {
            ("open", "email") => ("open", "s-seen", "Open"),
            // No provider reports that an SMS was read.
            ("open", "sms") => return None,
            ("open", _) => ("open", "s-seen", "Read"),
            ("click", _) => ("click", "s-clicked", "Click a link"),
            ("stop", "email") => ("stop", "s-suppressed", "Unsubscribe"),
            ("stop", "telegram") => ("stop", "s-suppressed", "Block the sender"),
            ("stop", _) => ("stop", "s-suppressed", "Reply STOP"),
            ("complain", _) => ("complain", "s-bounced", "Mark as spam"),
            ("deliver", _) => ("deliver", "s-delivered", "Report delivered"),
            ("bounce", _) => ("bounce", "s-bounced", "Report no such address"),
            ("fail", _) => ("fail", "s-failed", "Report undelivered"),
            _ => return None,
        })
    };
    let known = ["open", "click", "stop", "complain", "deliver", "fail", "bounce"].into_iter();
    let found = known.filter(|name| names.contains(name)).filter_map(word);
    found.map(|(name, icon, label)| Act { name, icon: show::icon(icon), label }).collect()
}

/// Acts as the recipient of a message, or as its provider.
pub async fn act(visit: Visit, Path(id): Path<u64>, Form(form): Form) -> Result<Response, Refusal> {
    let dev = inbox(&visit)?;
    let name = if form.has("do") { form.get("do") } else { "reply" };
    let body = if name == "reply" { json!({ "text": form.get("reply") }) } else { json!({}) };
    let back = format!("/inbox?id={id}");
    match dev.post(format!("/_dev/inbox/{id}/{}", segment(name)), body).await {
        Ok(_) => Ok(Redirect::to(&format!("{back}&done={}", segment(name))).into_response()),
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY => {
            let detail = refusal.faults().first().map_or(refusal.detail().to_owned(), |fault| fault.detail.clone());
            let mut page = page(&visit, Fields::of_query(Some(&format!("id={id}"))), detail).await?;
            page.shell.title = format!("Error: {}", page.shell.title);
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Empties the inbox, starts and ends simulated failures, and moves the clock.
pub async fn control(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let dev = inbox(&visit)?;
    let done = match form.get("do") {
        "clear" => {
            dev.call(Method::DELETE, "/_dev/inbox").send().await?;
            "cleared"
        }
        "fault" => {
            let count = form.get("count").parse::<u32>().unwrap_or(1).clamp(1, 99);
            let body = json!({ "provider": form.get("provider"), "kind": form.get("kind"), "count": count });
            dev.post("/_dev/faults", body).await?;
            "faulted"
        }
        "heal" => {
            dev.call(Method::DELETE, "/_dev/faults").send().await?;
            "healed"
        }
        "advance" => {
            let advance_ms = form.get("ms").parse::<u32>().unwrap_or(0);
            dev.post("/_dev/clock", json!({ "advanceMs": advance_ms })).await?;
            "advanced"
        }
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "The inbox has no such action.")),
    };
    Ok(Redirect::to(&format!("/inbox?done={done}")).into_response())
}

/// An email as it was received: a document of its own, in which nothing runs.
pub async fn mail(visit: Visit, Path(id): Path<u64>) -> Result<Response, Refusal> {
    let entry = inbox(&visit)?.get(format!("/_dev/inbox/{id}")).await?;
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "This message has no HTML.");
    let html = entry["html"].as_str().ok_or_else(missing)?.to_owned();
    let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";
    Ok(([(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy))], Html(html)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_have_the_words_of_their_channel() {
        let labels = |names: &[&str], channel| acts(names, channel).iter().map(|act| act.label).collect::<Vec<_>>();
        assert_eq!(labels(&["deliver", "open", "reply"], "whatsapp"), ["Read", "Report delivered"]);
        assert_eq!(labels(&["stop"], "telegram"), ["Block the sender"]);
        assert_eq!(labels(&["reply"], "sms"), [""; 0]);
    }
}

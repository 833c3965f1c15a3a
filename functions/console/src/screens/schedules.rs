//! Recurring schedules: what is sent by itself, and when next?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join4;
use serde_json::{Map, Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::history::{Entry, entries};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::{Time, local_time, zone_city};
use crate::words::{CHANNELS, StatusWord, TYPES};

#[derive(Template)]
#[template(path = "schedules.html")]
struct SchedulesPage {
    shell: Shell,
    heading: String,
    rows: Vec<Row>,
    given: Fields,
    faults: Vec<(String, String)>,
    upcoming: Vec<String>,
    form_key: String,
}

impl Page for SchedulesPage {}

struct Row {
    id: String,
    name: String,
    rule: String,
    channel: Option<ChannelName>,
    status: StatusWord,
    next: Option<Time>,
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct SchedulePage {
    shell: Shell,
    id: String,
    name: String,
    heading: String,
    rule: String,
    status: StatusWord,
    is_active: bool,
    is_ended: bool,
    revision: String,
    upcoming: Vec<String>,
    past: Vec<Past>,
    history: Vec<Entry>,
}

impl Page for SchedulePage {}

/// An occurrence in the past.
struct Past {
    at: String,
    outcome: String,
    message: Option<String>,
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    Ok(page(&visit, Fields::of_query(query.as_deref()), Vec::new(), Vec::new()).await?.respond())
}

/// Creates a schedule, or shows when it would occur.
pub async fn create(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    if form.is("do", "preview") {
        let answer = visit.api.call(Method::POST, "/api/schedules/preview").query([("n", "6")]);
        return match answer.json(timing_of(&form)).send().await {
            Ok(shown) => Ok(page(&visit, form, Vec::new(), occurrences(&shown.body)).await?.respond()),
            Err(refusal) => refused(&visit, form, refusal).await,
        };
    }
    let call = visit.api.call(Method::POST, "/api/schedules").json(schedule_of(&form));
    match call.header("idempotency-key", form.get("key")).send().await {
        Ok(made) => {
            let id = made.body["id"].as_str().unwrap_or_default();
            Ok(Redirect::to(&format!("/schedules/{}", segment(id))).into_response())
        }
        Err(refusal) => refused(&visit, form, refusal).await,
    }
}

async fn refused(visit: &Visit, form: Fields, refusal: Refusal) -> Result<Response, Refusal> {
    if !refusal.status.is_client_error() || refusal.status == StatusCode::FORBIDDEN {
        return Err(refusal);
    }
    let mut faults: Vec<(String, String)> =
        refusal.faults().into_iter().map(|fault| (field_of(&fault.pointer).to_owned(), fault.detail)).collect();
    if faults.is_empty() {
        faults.push(("f-name".to_owned(), refusal.detail().to_owned()));
    }
    let is_used = refusal.is_form_used();
    let mut page = page(visit, form, faults, Vec::new()).await?;
    if is_used {
        page.form_key.clone_from(&visit.form_key);
    }
    page.shell.title = format!("Error: {}", page.shell.title);
    Ok(page.respond_with(refusal.status))
}

fn field_of(pointer: &str) -> &'static str {
    match pointer.rsplit('/').next().unwrap_or_default() {
        "cron" | "rrule" | "when" => "f-cron",
        "timeZone" => "f-zone",
        "channel" => "f-channel",
        "type" => "f-type",
        "recipientContact" => "f-to",
        "subject" => "f-subject",
        "content" => "f-content",
        _ => "f-name",
    }
}

fn timing_of(form: &Fields) -> Value {
    json!({ "when": { "cron": form.get("cron") }, "timeZone": form.get("timeZone") })
}

fn schedule_of(form: &Fields) -> Value {
    let mut message = Map::new();
    for name in ["channel", "type", "recipientContact"] {
        message.insert(name.to_owned(), json!(form.get(name)));
    }
    for name in ["subject", "content"] {
        if form.has(name) {
            message.insert(name.to_owned(), json!(form.raw(name)));
        }
    }
    let mut schedule = timing_of(form);
    schedule["name"] = json!(form.get("name"));
    schedule["action"] = json!({ "send": message });
    schedule
}

async fn page(
    visit: &Visit,
    given: Fields,
    faults: Vec<(String, String)>,
    upcoming: Vec<String>,
) -> Result<SchedulesPage, Refusal> {
    let found = visit.api.get("/api/schedules").await?;
    let rows: Vec<Row> =
        found["schedules"].as_array().into_iter().flatten().map(|schedule| row_of(visit, schedule)).collect();
    let heading = match rows.len() {
        0 => "No recurring schedules".to_owned(),
        1 => "1 recurring schedule".to_owned(),
        count => format!("{count} recurring schedules"),
    };
    let given = if given.has("type") { given } else { given.and("type", "general_notification") };
    Ok(SchedulesPage {
        shell: visit.shell(&heading, "schedules"),
        heading,
        rows,
        form_key: Some(given.get("key").to_owned()).filter(|key| !key.is_empty()).unwrap_or(visit.form_key.clone()),
        given,
        faults,
        upcoming,
    })
}

fn row_of(visit: &Visit, schedule: &Value) -> Row {
    let text = |name: &str| schedule[name].as_str().unwrap_or_default().to_owned();
    Row {
        id: text("id"),
        name: text("name"),
        rule: rule_of(schedule),
        channel: schedule["channel"].as_str().map(|channel| ChannelName(channel.to_owned())),
        status: status_of(schedule),
        next: schedule.pointer("/nextOccurrence/at").and_then(Value::as_str).and_then(|at| visit.clock().short(at)),
    }
}

fn rule_of(schedule: &Value) -> String {
    let text = |pointer: &str| schedule.pointer(pointer).and_then(Value::as_str);
    let rule = match (text("/when/cron"), text("/when/rrule")) {
        (Some(cron), _) => cron.to_owned(),
        (None, Some(rrule)) => format!("{rrule} at {}", text("/time").unwrap_or_default()),
        (None, None) => String::new(),
    };
    format!("{rule} ({})", zone_city(text("/timeZone").unwrap_or("UTC")))
}

fn status_of(schedule: &Value) -> StatusWord {
    let (tone, icon, word) = match schedule["status"].as_str().unwrap_or_default() {
        "active" => ("good", "s-scheduled", "Active"),
        "paused" => ("stop", "pause", "Paused"),
        _ => ("stop", "s-cancelled", "Ended"),
    };
    StatusWord { tone, icon, word: word.to_owned() }
}

/// Local times, as the schedule names them.
fn occurrences(answer: &Value) -> Vec<String> {
    let occurrences = answer["occurrences"].as_array().into_iter().flatten();
    occurrences.filter_map(|occurrence| Some(local_time(occurrence["nominal"].as_str()?))).collect()
}

pub async fn show(visit: Visit, Path(id): Path<String>) -> Result<Response, Refusal> {
    let path = format!("/api/schedules/{}", segment(&id));
    let upcoming = visit.api.call(Method::GET, format!("{path}/preview")).query([("n", "6")]);
    let (schedule, upcoming, past, history) = try_join4(
        visit.api.get(path.clone()),
        upcoming.send(),
        visit.api.get(format!("{path}/occurrences")),
        visit.api.get(format!("{path}/events")),
    )
    .await?;
    let text = |name: &str| schedule[name].as_str().unwrap_or_default().to_owned();
    let clock = visit.clock();
    let next = schedule.pointer("/nextOccurrence/at").and_then(Value::as_str).and_then(|at| clock.short(at));
    let (name, status) = (text("name"), text("status"));
    let heading = match (&*status, next) {
        ("active", Some(next)) => format!("{name} is sent next at {}", next.text),
        ("paused", _) => format!("{name} is paused"),
        _ => format!("{name} has ended"),
    };
    let page = SchedulePage {
        shell: visit.shell(&heading, "schedules"),
        heading,
        rule: rule_of(&schedule),
        status: status_of(&schedule),
        is_active: status == "active",
        is_ended: status == "ended",
        revision: schedule["revision"].to_string(),
        upcoming: occurrences(&upcoming.body),
        past: past["occurrences"].as_array().into_iter().flatten().map(past_of).collect(),
        history: entries(&history, &clock),
        id: text("id"),
        name,
    };
    Ok(page.respond())
}

fn past_of(occurrence: &Value) -> Past {
    let text = |name: &str| occurrence[name].as_str().unwrap_or_default();
    let outcome = match (text("outcome"), text("reason"), text("code")) {
        ("sent", ..) => "Sent".to_owned(),
        ("waiting", ..) => "Waits".to_owned(),
        ("paused", ..) => "Left out: paused".to_owned(),
        (_, reason, code) => {
            let why = if code.is_empty() { reason } else { code };
            format!("Not sent: {}", why.replace('_', " "))
        }
    };
    Past {
        at: local_time(text("nominal")),
        outcome,
        message: occurrence["communicationId"].as_str().map(str::to_owned),
    }
}

/// Pauses, resumes or deletes the schedule.
pub async fn act(visit: Visit, Path((id, act)): Path<(String, String)>, Form(form): Form) -> Result<Response, Refusal> {
    let path = format!("/api/schedules/{}", segment(&id));
    let (method, path) = match &*act {
        "pause" | "resume" => (Method::POST, format!("{path}/{act}")),
        "delete" => (Method::DELETE, path),
        _ => return Err(Refusal::not_found("A schedule has no such action.")),
    };
    let call = visit.api.call(method.clone(), path).header("if-match", &format!("\"{}\"", form.get("revision")));
    let call = if method == Method::POST { call.json(json!({})) } else { call };
    call.send().await?;
    let shown = if act == "delete" { "/schedules".to_owned() } else { format!("/schedules/{}", segment(&id)) };
    Ok(Redirect::to(&shown).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_the_body_of_a_request() {
        let form = Fields::of_query(Some(
            "name=Daily&cron=0+9+*+*+*&timeZone=Europe/Madrid&channel=sms&type=general&recipientContact=%2B44&content=Hi&subject=",
        ));
        let expected = json!({
            "name": "Daily", "when": { "cron": "0 9 * * *" }, "timeZone": "Europe/Madrid",
            "action": { "send": { "channel": "sms", "type": "general", "recipientContact": "+44", "content": "Hi" } },
        });
        assert_eq!(schedule_of(&form), expected);
        assert_eq!(field_of("/action/send/recipientContact"), "f-to");
    }
}

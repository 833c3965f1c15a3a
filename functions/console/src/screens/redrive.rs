//! Retrying dead letters and cancelling messages: what would happen, before it is done.

use askama::Template;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};

use crate::faults::FormFaults;
use crate::form::{Fields, Form};
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::number;

/// Most dead letters that one request retries.
const MAX_REDRIVE: u64 = 1_000;
const PER_SECOND: &str = "10";
/// What a group of dead letters has in common, as the address and the API name it.
pub const GROUP: [&str; 4] = ["channel", "reason", "cause", "provider"];

#[derive(Template)]
#[template(path = "redrive.html")]
struct RedrivePage {
    shell: Shell,
    heading: String,
    lede: String,
    crumb: (&'static str, &'static str),
    action: &'static str,
    checks: Vec<Check>,
    /// The button, or nothing if nothing can be done.
    button: String,
    hidden: Vec<(String, String)>,
    per_second: Option<String>,
    refusals: Vec<(String, String)>,
    is_final: bool,
    faults: FormFaults,
}

impl Page for RedrivePage {}

struct Check {
    tone: &'static str,
    icon: &'static str,
    text: String,
}

fn check(tone: &'static str, text: String) -> Check {
    let icon = match tone {
        "good" => "check",
        "warn" => "warn",
        _ => "s-suppressed",
    };
    Check { tone, icon, text }
}

/// `1 message` or `17 messages`.
fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{} messages", number(count)) }
}

/// What the API retries: the group or the ids of a form.
fn selection(form: &Fields) -> Map<String, Value> {
    let ids: Vec<&str> = form.all("id").filter(|id| !id.is_empty()).collect();
    if !ids.is_empty() {
        return Map::from_iter([("ids".to_owned(), json!(ids))]);
    }
    let given = GROUP.iter().filter(|name| form.has(name)).map(|name| ((*name).to_owned(), json!(form.get(name))));
    given.chain([("limit".to_owned(), json!(MAX_REDRIVE))]).collect()
}

/// The fields that name the selection, for the form that confirms it.
fn hidden(form: &Fields) -> Vec<(String, String)> {
    let group = GROUP.iter().filter(|name| form.has(name)).map(|name| ((*name).to_owned(), form.get(name).to_owned()));
    group.chain(form.all("id").filter(|id| !id.is_empty()).map(|id| ("id".to_owned(), id.to_owned()))).collect()
}

/// What a retry would do, before it is done.
pub async fn preview(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let per_second = Some(query.get("perSecond")).filter(|rate| !rate.is_empty()).unwrap_or(PER_SECOND);
    let mut body = selection(&query);
    body.insert("dryRun".to_owned(), json!(true));
    body.insert("perSecond".to_owned(), rate(per_second));
    let plan = visit.api.post("/api/dead-letters/redrive", Value::Object(body)).await?;
    Ok(preview_of(&visit, &query, &plan, per_second).respond())
}

fn rate(text: &str) -> Value {
    text.parse::<u64>().map_or_else(|_| json!(text), Value::from)
}

fn preview_of(visit: &Visit, query: &Fields, plan: &Value, per_second: &str) -> RedrivePage {
    let count = |name: &str| plan[name].as_u64().unwrap_or(0);
    let (ready, skipped, twice) = (count("redriven"), count("skipped"), count("maybeSent"));
    let mut checks = Vec::new();
    if 0 < ready {
        let last = visit.clock().precise(plan["lastAt"].as_str().unwrap_or_default());
        let last = last.map_or(String::new(), |at| format!("; the last is due at {}", at.text));
        checks.push(check(
            "good",
            format!("{} will be retried with fresh attempts, oldest first{last}.", messages(ready)),
        ));
    }
    if 0 < skipped {
        let text = format!("{} skipped: not dead letters, or retried or delivered meanwhile.", number(skipped));
        checks.push(check("stop", text));
    }
    match twice {
        0 if 0 < ready => {
            checks
                .push(check("good", "None can arrive twice: every earlier attempt was definitely refused.".to_owned()));
        }
        0 => (),
        twice => checks.push(check("warn", format!("{} may arrive twice: delivery was uncertain.", messages(twice)))),
    }
    if plan["hasMore"] == true {
        checks.push(check(
            "warn",
            format!("These are the newest {}. There are more; retry them afterwards.", number(ready + skipped)),
        ));
    }
    if 0 < ready {
        let text =
            "Who has opted out since, and what was settled since, is not sent: that is checked again at each attempt.";
        checks.push(check("good", text.to_owned()));
    }
    let heading = match ready {
        0 => "No message can be retried".to_owned(),
        ready => format!("Preview: retry {}", messages(ready)),
    };
    RedrivePage {
        shell: visit.shell(&heading, "queue"),
        lede: "Nothing has been started yet.".to_owned(),
        heading,
        crumb: ("/queue", "Queue"),
        action: "/queue/redrive",
        checks,
        button: if ready == 0 { String::new() } else { format!("Retry {}", messages(ready)) },
        hidden: hidden(query),
        per_second: Some(per_second.to_owned()),
        refusals: Vec::new(),
        is_final: false,
        faults: FormFaults::default(),
    }
}

/// Retries what was previewed.
pub async fn redrive(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let mut body = selection(&form);
    if form.has("perSecond") {
        body.insert("perSecond".to_owned(), rate(form.get("perSecond")));
    }
    match visit.api.post("/api/dead-letters/redrive", Value::Object(body)).await {
        Ok(done) => {
            let count = |name: &str| done[name].as_u64().unwrap_or(0);
            let to = format!("/queue?retried={}&skipped={}", count("redriven"), count("skipped"));
            Ok(Redirect::to(&to).into_response())
        }
        Err(refusal) if !refusal.faults().is_empty() => {
            let mut body = selection(&form);
            body.insert("dryRun".to_owned(), json!(true));
            let plan = visit.api.post("/api/dead-letters/redrive", Value::Object(body)).await?;
            let mut page = preview_of(&visit, &form, &plan, form.get("perSecond"));
            page.faults = FormFaults::of(&refusal, "f-perSecond");
            page.shell.title = format!("Error: {}", page.shell.title);
            Ok(page.respond_with(refusal.status))
        }
        Err(refusal) => Err(refusal),
    }
}

/// What cancelling the chosen messages would do, before it is done.
pub async fn preview_cancel(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let ids: Vec<&str> = query.all("id").filter(|id| !id.is_empty()).collect();
    let plan = visit.api.post("/api/communications/cancel", json!({ "ids": ids, "dryRun": true })).await?;
    let count = |name: &str| plan[name].as_u64().unwrap_or(0);
    let (ready, skipped) = (count("cancelled"), count("skipped"));
    let results = || plan["results"].as_array().into_iter().flatten();
    let maybe = results().filter(|result| result["maybeSent"] == true).count() as u64;
    let mut checks = Vec::new();
    if 0 < ready {
        checks.push(check(
            "good",
            format!("{} will be cancelled. An attempt that is running still ends.", messages(ready)),
        ));
    }
    if 0 < skipped {
        checks.push(check("stop", format!("{} skipped. The reasons are below.", number(skipped))));
    }
    if 0 < maybe {
        checks.push(check(
            "warn",
            format!("{} may have been delivered already: an attempt is uncertain.", messages(maybe)),
        ));
    }
    let refusals = results().filter(|result| result["cancelled"] == false).map(|result| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&result["id"]), text(&result["problem"]["detail"]))
    });
    let heading = match ready {
        0 => "No message can be cancelled".to_owned(),
        ready => format!("Preview: cancel {}", messages(ready)),
    };
    let page = RedrivePage {
        shell: visit.shell(&heading, "messages"),
        lede: "Nothing has been cancelled yet. A cancelled message cannot be brought back; “Resend” makes a new one."
            .to_owned(),
        heading,
        crumb: ("/messages", "Messages"),
        action: "/messages/cancel",
        checks,
        button: if ready == 0 { String::new() } else { format!("Cancel {}", messages(ready)) },
        hidden: hidden(&query),
        per_second: None,
        refusals: refusals.collect(),
        is_final: true,
        faults: FormFaults::default(),
    };
    Ok(page.respond())
}

/// Cancels what was previewed.
pub async fn cancel(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let ids: Vec<&str> = form.all("id").filter(|id| !id.is_empty()).collect();
    let done = visit.api.post("/api/communications/cancel", json!({ "ids": ids })).await?;
    let count = |name: &str| done[name].as_u64().unwrap_or(0);
    let to = format!("/messages?cancelled={}&skipped={}", count("cancelled"), count("skipped"));
    Ok(Redirect::to(&to).into_response())
}

/// Leads a selection of the list to its preview.
pub async fn bulk(RawQuery(query): RawQuery) -> Response {
    let query = Fields::of_query(query.as_deref());
    let ids = query.all("id").filter(|id| !id.is_empty()).map(|id| ("id", id));
    let ids = form_urlencoded::Serializer::new(String::new()).extend_pairs(ids).finish();
    let path = match query.get("do") {
        _ if ids.is_empty() => "/messages?none=1".to_owned(),
        "cancel" => format!("/messages/cancel?{ids}"),
        _ => format!("/queue/redrive?{ids}"),
    };
    Redirect::to(&path).into_response()
}

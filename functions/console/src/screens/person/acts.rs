//! What can be done about a person: saving preferences, recording consent, a link to their own page, an export.

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};

use super::matrix::{FIELDS, change, explain};
use super::paths::{page_of, preferences_path};
use super::{Stale, page, refused};
use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::Page;

/// The most pages of messages that one export has. The file says where it goes on.
const MAX_PAGES: usize = 50;

/// Does what a form of the page asks for, and shows the person again.
pub async fn act(
    visit: Visit,
    Path((kind, id, act)): Path<(String, String, String)>,
    Form(form): Form,
) -> Result<Response, Refusal> {
    let body = match &*act {
        "export" => return export(&visit, &kind, &id).await,
        "link" => return link(&visit, &kind, &id, &form).await,
        "preferences" => change(&form),
        "quiet" => quiet_hours(&form),
        "addresses" => addresses(&form),
        "opt-out" => statement(("optedOut", true), ("optedOutReason", &form)),
        "opt-in" => statement(("optedOut", false), ("optInEvidence", &form)),
        "stop" => statement(("doNotContact", true), ("doNotContactReason", &form)),
        "allow" => statement(("doNotContact", false), ("", &form)),
        "again" => serde_json::from_str(form.get("body")).unwrap_or_default(),
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "A person has no such action.")),
    };
    let done = if act == "again" { "preferences" } else { &*act };
    let target = format!("{}?done={done}", page_of(&kind, &id));
    if body.is_empty() {
        return Ok(Redirect::to(&target).into_response());
    }
    let call = visit.api.call(Method::PATCH, preferences_path(&kind, &id)).json(Value::Object(body.clone()));
    match call.header("if-match", &format!("\"{}\"", form.get("revision"))).send().await {
        Ok(_) => Ok(Redirect::to(&target).into_response()),
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            let mut page = page(&visit, &kind, &id).await?;
            page.stale = Some(Stale { wanted: explain(&body), body: Value::Object(body).to_string() });
            page.shell.title = format!("Error: {}", page.shell.title);
            Ok(page.respond_with(StatusCode::PRECONDITION_FAILED))
        }
        Err(refusal) if [400, 422].contains(&refusal.status.as_u16()) => refused(&visit, &kind, &id, &refusal).await,
        Err(refusal) => Err(refusal),
    }
}

/// Empty fields remove the person's own quiet hours.
fn quiet_hours(form: &Fields) -> Map<String, Value> {
    let names = ["start", "end", "timeZone"];
    let given: Map<String, Value> =
        names.into_iter().filter(|name| form.has(name)).map(|name| (name.to_owned(), json!(form.get(name)))).collect();
    let value = if given.is_empty() { Value::Null } else { Value::Object(given) };
    Map::from_iter([("quietHours".to_owned(), value)])
}

/// The addresses that differ from what the form showed. An empty one is removed.
fn addresses(form: &Fields) -> Map<String, Value> {
    let mut body = Map::new();
    for (.., field) in FIELDS {
        let (given, was) = (form.get(field), form.get(&format!("was.{field}")));
        if given != was {
            body.insert(field.to_owned(), if given.is_empty() { Value::Null } else { json!(given) });
        }
    }
    body
}

fn statement((name, value): (&str, bool), (text, form): (&str, &Fields)) -> Map<String, Value> {
    let mut body = Map::from_iter([(name.to_owned(), json!(value))]);
    if form.has("reason") && !text.is_empty() {
        body.insert(text.to_owned(), json!(form.get("reason")));
    }
    body
}

/// Makes a link to the person's own page, and shows it once.
async fn link(visit: &Visit, kind: &str, id: &str, form: &Fields) -> Result<Response, Refusal> {
    let days: u64 = form.get("days").parse().unwrap_or(30);
    let path = format!("{}/link", preferences_path(kind, id));
    match visit.api.post(path, json!({ "days": days })).await {
        Ok(made) => {
            let mut page = page(visit, kind, id).await?;
            page.link = made["url"].as_str().unwrap_or_default().to_owned();
            Ok(page.respond())
        }
        Err(refusal) if [400, 409, 422].contains(&refusal.status.as_u16()) => refused(visit, kind, id, &refusal).await,
        Err(refusal) => Err(refusal),
    }
}

/// Everything about the person, as a file.
async fn export(visit: &Visit, kind: &str, id: &str) -> Result<Response, Refusal> {
    let path = format!("/api/subjects/{}/{}", segment(kind), segment(id));
    let mut all = visit.api.get(path.as_str()).await?;
    for _ in 1..MAX_PAGES {
        let Some(cursor) = all["nextCursor"].as_str().map(str::to_owned) else { break };
        let call = visit.api.call(Method::GET, path.as_str()).query([("cursor", cursor.as_str())]);
        let mut next = call.send().await?.body;
        if let (Some(all), Some(more)) = (all["communications"].as_array_mut(), next["communications"].as_array_mut()) {
            all.append(more);
        }
        all["nextCursor"] = next["nextCursor"].take();
    }
    let name: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{kind}-{name}.json\"")),
    ];
    Ok((headers, serde_json::to_string_pretty(&all).unwrap_or_default()).into_response())
}

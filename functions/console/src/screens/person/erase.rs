//! Erasing a person's data: what goes, what stays, and then a button that says how much.

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join;
use serde_json::Value;

use super::paths::page_of;
use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::number;

#[derive(Template)]
#[template(path = "person-erase.html")]
struct ErasePage {
    shell: Shell,
    path: String,
    api_path: String,
    name: String,
    heading: String,
    goes: Vec<String>,
    stays: Vec<String>,
    button: String,
    /// How many were erased by the form before, if there are more.
    erased: String,
}

impl Page for ErasePage {}

fn subject_path(kind: &str, id: &str) -> String {
    format!("/api/subjects/{}/{}", segment(kind), segment(id))
}

/// `1 message`, `41 messages`.
fn count(number_of: u64, one: &str, many: &str) -> String {
    if number_of == 1 { format!("1 {one}") } else { format!("{} {many}", number(number_of)) }
}

pub async fn show(
    visit: Visit,
    Path((kind, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let path = subject_path(&kind, &id);
    let person = visit.api.get(format!("/api/people/{}/{}", segment(&kind), segment(&id)));
    let (preview, person) = try_join(visit.api.get(format!("{path}/erasure")), person).await?;
    let name = person["name"].as_str().unwrap_or(&id).to_owned();
    let of = |name: &str| preview[name].as_u64().unwrap_or(0);
    let messages = match preview["hasMore"] == true {
        true => format!("the first {}", count(of("communications"), "message", "messages")),
        false => count(of("communications"), "message", "messages"),
    };
    let heading = format!("Erase the personal data of {name}");
    let page = ErasePage {
        shell: visit.shell(&heading, "people"),
        path: page_of(&kind, &id),
        api_path: path,
        goes: goes(&preview, &messages),
        stays: stays(&preview),
        button: format!("Erase data of {messages}"),
        erased: Fields::of_query(query.as_deref()).get("erased").to_owned(),
        heading,
        name,
    };
    Ok(page.respond())
}

fn goes(preview: &Value, messages: &str) -> Vec<String> {
    let of = |name: &str| preview[name].as_u64().unwrap_or(0);
    let mut goes = vec![
        format!("Names, addresses, content, variables and files of {messages}. Those that still wait are not sent."),
        "Preferred addresses, and the texts of opt-ins and opt-outs.".to_owned(),
    ];
    let schedules = of("schedules");
    if 0 < schedules {
        goes.push(format!(
            "The message of {}, which end.",
            count(schedules, "recurring schedule", "recurring schedules")
        ));
    }
    if 0 < of("invoices") {
        goes.push(format!("The data of {}; their reminders end.", count(of("invoices"), "invoice", "invoices")));
    }
    if 0 < of("businessEvents") {
        let events = count(of("businessEvents"), "event", "events");
        goes.push(format!("The data of {events} of your other systems."));
    }
    goes
}

fn stays(preview: &Value) -> Vec<String> {
    let mut stays = vec![
        "The record of what happened to each message, without names, addresses and content.".to_owned(),
        "Whether the person opted out, so that it goes on being respected.".to_owned(),
        "An entry in the audit trail that says who erased the data, and when.".to_owned(),
    ];
    let suppressed = preview["suppressed"].as_u64().unwrap_or(0);
    if 0 < suppressed {
        let entries = count(suppressed, "address", "addresses");
        stays.push(format!("{entries} on the suppression list, unreadable, so that nobody is contacted by mistake."));
    }
    stays
}

pub async fn erase(visit: Visit, Path((kind, id)): Path<(String, String)>, Form(_): Form) -> Result<Response, Refusal> {
    let done = visit.api.call(Method::DELETE, subject_path(&kind, &id)).send().await?.body;
    let page = page_of(&kind, &id);
    let target = match done["hasMore"] == true {
        true => format!("{page}/erase?erased={}", done["erased"].as_u64().unwrap_or(0)),
        false => format!("{page}?done=erased"),
    };
    Ok(Redirect::to(&target).into_response())
}

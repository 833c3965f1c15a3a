//! Search: where is the thing that I have the name of?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use domain::access::{Permission, Reach};
use futures_util::future::{join, join5};
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::refusal::Refusal;
use crate::screens::messages::MessageRow;
use crate::screens::people;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::words;

/// How many of one kind are shown.
const MAX_SHOWN: usize = 8;
/// The longest text that is searched for, in characters.
const MAX_QUERY: usize = 300;

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    shell: Shell,
    heading: String,
    query: String,
    found: Vec<Found>,
    /// Whether the text looks like an address, which only the suppression list is searched by.
    suppressions: Option<String>,
}

impl Page for SearchPage {}

/// Something that was found.
struct Found {
    kind: &'static str,
    name: String,
    detail: String,
    path: String,
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let query: String = query.get("q").chars().take(MAX_QUERY).collect();
    let shell = visit.shell("Search", "");
    let mut found = Vec::new();
    if !query.is_empty() {
        let things = join5(
            message(&visit, &query),
            messages(&visit, &query),
            people(&visit, &query),
            invoices(&visit, &query),
            templates(&visit, &query),
        );
        let (one, messages, people, invoices, templates) = things.await;
        if let Some(one) = one {
            return Ok(Redirect::to(&one).into_response());
        }
        found = [messages, people, invoices, templates].into_iter().flatten().collect();
    }
    found.extend(pages(&shell, &query));
    let heading = match (query.is_empty(), found.len()) {
        (true, _) => "Search".to_owned(),
        (false, 0) => "Nothing has this name".to_owned(),
        (false, 1) => "1 result".to_owned(),
        (false, count) => format!("{count} results"),
    };
    let is_address = query.contains('@') || (query.starts_with('+') && 8 <= query.len());
    let suppressions = (is_address && shell.has("suppressions"))
        .then(|| format!("/suppressions{}", Fields::default().with(&[("contact", &query)])));
    Ok(SearchPage { shell: Shell { title: heading.clone(), ..shell }, heading, query, found, suppressions }.respond())
}

/// The page of the message with this id.
async fn message(visit: &Visit, query: &str) -> Option<String> {
    if !query.starts_with("com_") {
        return None;
    }
    let found = visit.api.get(format!("/api/communications/{}", segment(query))).await.ok()?;
    Some(format!("/messages/{}", segment(found["id"].as_str()?)))
}

/// The messages to the person with this reference, and those that a provider has given this id.
async fn messages(visit: &Visit, query: &str) -> Vec<Found> {
    let by = async |name: &str| {
        let call = visit.api.call(Method::GET, "/api/communications").query([(name, query), ("size", "5")]);
        call.send().await.map(|answer| answer.body).unwrap_or_default()
    };
    let (of_person, of_provider) = join(by("recipientId"), by("providerMessageId")).await;
    let clock = visit.clock();
    let rows = |page: &Value| page["results"].as_array().cloned().unwrap_or_default();
    let all = rows(&of_person).into_iter().chain(rows(&of_provider));
    let row = |row: Value| {
        let row = MessageRow::of(&row, &clock);
        let at = row.accepted.map_or(String::new(), |at| format!(", {}", at.text));
        Found {
            kind: "Message",
            name: format!("{} to {}", row.subject, row.name),
            detail: format!("{}{at}", row.status.word),
            path: format!("/messages/{}", segment(&row.id)),
        }
    };
    all.map(row).take(MAX_SHOWN).collect()
}

async fn people(visit: &Visit, query: &str) -> Vec<Found> {
    if !visit.may(Permission::View, Reach::Tenant) {
        return Vec::new();
    }
    let found = people::with_id(visit, query).await.unwrap_or_default();
    let row = |row: people::PersonRow| Found { kind: "Person", name: row.name, detail: row.kind, path: row.path };
    found.into_iter().map(row).collect()
}

/// The invoices with this number, and those of the customer with this reference.
async fn invoices(visit: &Visit, query: &str) -> Vec<Found> {
    if !visit.may(Permission::View, Reach::Everything) {
        return Vec::new();
    }
    let by = async |name: &str| {
        let call = visit.api.call(Method::GET, "/api/invoices").query([(name, query), ("size", "5")]);
        call.send().await.map(|answer| answer.body).unwrap_or_default()
    };
    let (numbered, of_customer) = join(by("number"), by("customer")).await;
    let rows = |page: &Value| page["results"].as_array().cloned().unwrap_or_default();
    let row = |row: Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let number = Some(text("number")).filter(|number| !number.is_empty()).unwrap_or_else(|| text("sourceId"));
        Found {
            kind: "Invoice",
            name: number,
            detail: format!("{}, customer {}", words::sentence_case(&text("status")), text("customerId")),
            path: format!("/invoices/{}", segment(&text("id"))),
        }
    };
    let mut found: Vec<Found> = rows(&numbered).into_iter().chain(rows(&of_customer)).map(row).collect();
    found.dedup_by(|one, other| one.path == other.path);
    found
}

/// The templates whose name or code has these words.
async fn templates(visit: &Visit, query: &str) -> Vec<Found> {
    let Ok(all) = visit.api.get("/api/communication-templates").await else { return Vec::new() };
    let wanted = query.to_lowercase();
    let row = |row: &Value| {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        let is_it = [text("name"), text("code"), text("id")].iter().any(|it| it.to_lowercase().contains(&wanted));
        is_it.then(|| Found {
            kind: "Template",
            name: text("name").to_owned(),
            detail: format!(
                "{} by {}, {}",
                text("code"),
                words::channel(text("channel")),
                words::locale(text("locale"))
            ),
            path: format!("/templates/{}", segment(text("id"))),
        })
    };
    all["templates"].as_array().into_iter().flatten().filter_map(row).take(MAX_SHOWN).collect()
}

/// The pages of the navigation whose name has these words, or all.
fn pages(shell: &Shell, query: &str) -> Vec<Found> {
    let wanted = query.to_lowercase();
    let links = shell.navigation().into_iter().flat_map(|(_, links)| links);
    let links = links.filter(|link| link.name.to_lowercase().contains(&wanted));
    let page = |link: &crate::shell::Link| Found {
        kind: "Page",
        name: link.name.to_owned(),
        detail: String::new(),
        path: link.path.to_owned(),
    };
    links.map(page).collect()
}

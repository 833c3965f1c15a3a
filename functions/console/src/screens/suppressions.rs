//! The suppression list: may this address be sent to, and if not, why not?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};

use crate::form::{Fields, Form};
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::{Clock, Time};
use crate::words::{self, CHANNELS};

const LIST: &str = "/api/suppressions";

/// How many addresses a page shows.
const PAGE_SIZE: &str = "25";

#[derive(Template)]
#[template(path = "suppressions.html")]
struct SuppressionsPage {
    shell: Shell,
    heading: String,
    lede: String,
    /// What was looked for.
    filters: Fields,
    rows: Vec<Row>,
    older: Option<String>,
    done: &'static str,
    /// The form to add an address, as it was filled in.
    given: Fields,
    faults: Vec<Fault>,
}

impl Page for SuppressionsPage {}

impl SuppressionsPage {
    fn has_fault(&self, field: &str) -> bool {
        self.faults.iter().any(|fault| fault.field == field)
    }
}

struct Fault {
    field: &'static str,
    detail: String,
}

/// An address on the list.
struct Row {
    /// Nothing, if it was erased.
    contact: String,
    channel: String,
    channel_name: ChannelName,
    reason: String,
    since: Option<Time>,
    by: String,
    message: Option<String>,
}

impl Row {
    fn of(entry: &Value, clock: &Clock) -> Row {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        Row {
            contact: text("contact"),
            channel_name: ChannelName(text("channel")),
            channel: text("channel"),
            reason: words::suppression_reason(&text("reason")),
            since: clock.short(&text("createdAt")),
            by: words::actor(&text("createdBy")),
            message: entry["communicationId"].as_str().map(str::to_owned),
        }
    }
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let (page, status) = page(&visit, query, Fields::default(), Vec::new()).await?;
    Ok(page.respond_with(status))
}

async fn page(
    visit: &Visit,
    query: Fields,
    given: Fields,
    mut faults: Vec<Fault>,
) -> Result<(SuppressionsPage, StatusCode), Refusal> {
    let parameters = ["channel", "contact", "cursor"].map(|name| (name, query.get(name)));
    let parameters = parameters.into_iter().chain([("size", PAGE_SIZE)]);
    let (found, status) = match visit.api.call(Method::GET, LIST).query(parameters).send().await {
        Ok(found) => (found.body, StatusCode::OK),
        // What was looked for is no address.
        Err(refusal) if refusal.status == StatusCode::BAD_REQUEST && query.has("contact") => {
            faults.push(Fault { field: "f-find", detail: refusal.detail().to_owned() });
            (json!({ "suppressions": [] }), StatusCode::BAD_REQUEST)
        }
        Err(refusal) => return Err(refusal),
    };
    let clock = visit.clock();
    let rows: Vec<Row> =
        found["suppressions"].as_array().into_iter().flatten().map(|entry| Row::of(entry, &clock)).collect();
    let is_last = found["nextCursor"].is_null() && !query.has("cursor");
    let heading = heading(&query, rows.len(), is_last, faults.is_empty());
    let mut shell = visit.shell(&heading, "suppressions");
    if !faults.is_empty() {
        shell.title = format!("Error: {heading}");
    }
    let page = SuppressionsPage {
        shell,
        lede: "Nothing is sent to these addresses, whatever else is set. Bounces, spam reports and opt-outs add them, and so can you.".to_owned(),
        heading,
        older: found["nextCursor"].as_str().map(|cursor| query.with(&[("cursor", cursor), ("done", "")])),
        done: match query.get("done") {
            "added" => "Address added. Nothing is sent to it from now on.",
            "removed" => "Address removed. Messages to it are sent again.",
            _ => "",
        },
        filters: query,
        rows,
        given,
        faults,
    };
    Ok((page, status))
}

/// What is true of the address that was looked for, or of the list.
fn heading(query: &Fields, count: usize, is_all: bool, is_valid: bool) -> String {
    let contact = query.get("contact");
    match (contact, count) {
        ("", 0) if is_all && !query.has("channel") => "No suppressed addresses".to_owned(),
        ("", 1) if is_all => "1 suppressed address".to_owned(),
        ("", count) if is_all => format!("{count} suppressed addresses"),
        ("", _) => "Suppressed addresses".to_owned(),
        _ if !is_valid => "Suppressed addresses".to_owned(),
        (contact, 0) => format!("{contact} is not suppressed"),
        (contact, _) => format!("{contact} is suppressed"),
    }
}

/// Adds an address.
pub async fn add(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let given = ["channel", "contact", "reason"].into_iter().filter(|name| form.has(name));
    let body: Map<String, Value> = given.map(|name| (name.to_owned(), json!(form.get(name)))).collect();
    match visit.api.post(LIST, Value::Object(body)).await {
        Ok(_) => Ok(Redirect::to("/suppressions?done=added").into_response()),
        Err(refusal) if [400, 422].contains(&refusal.status.as_u16()) => {
            let named = refusal.faults();
            let mut faults: Vec<Fault> =
                named.into_iter().map(|fault| Fault { field: field(&fault.pointer), detail: fault.detail }).collect();
            if faults.is_empty() {
                faults.push(Fault { field: "f-contact", detail: refusal.detail().to_owned() });
            }
            let (page, _) = page(&visit, Fields::default(), form, faults).await?;
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

fn field(pointer: &str) -> &'static str {
    match pointer {
        "/channel" => "f-channel",
        "/reason" => "f-reason",
        _ => "f-contact",
    }
}

/// Removes an address. Somebody else may have done so a moment before.
pub async fn remove(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let of = [("channel", form.get("channel")), ("contact", form.get("contact"))];
    match visit.api.call(Method::DELETE, LIST).query(of).send().await {
        Ok(_) => Ok(Redirect::to("/suppressions?done=removed").into_response()),
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {
            Ok(Redirect::to("/suppressions?done=removed").into_response())
        }
        Err(refusal) => Err(refusal),
    }
}

/// The list as a file.
pub async fn export(visit: Visit, Form(_): Form) -> Result<Response, Refusal> {
    let csv = visit.api.get(format!("{LIST}/export")).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"suppressions.csv\""),
    ];
    Ok((headers, csv.as_str().unwrap_or_default().to_owned()).into_response())
}

//! The audit trail: who changed what, and when?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::Response;
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::refusal::Refusal;
use crate::screens::person::paths::page_of;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::{Clock, Time};
use crate::words;

/// The filters, as the address and the API name them.
const FILTERS: [&str; 5] = ["subject", "actor", "contact", "from", "to"];
/// How many entries a page shows.
const PAGE_SIZE: usize = 50;

/// What entries are about, with the words for it.
const SUBJECTS: [(&str, &str); 14] = [
    ("keys", "API keys"),
    ("channels", "Providers"),
    ("templates", "Templates"),
    ("schedules", "Schedules"),
    ("event_mappings", "Event mappings"),
    ("automations", "Automations"),
    ("defaults", "Default preferences"),
    ("limits", "Limits"),
    ("collections", "Collections"),
    ("debtors", "Customers in collections"),
    ("invoices", "Invoices"),
    ("business_events", "Business events"),
    ("suppressions", "Suppression list"),
    ("subjects", "Personal data"),
];

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    heading: String,
    entries: Vec<Entry>,
    filters: Fields,
    is_filtered: bool,
    older: Option<String>,
    is_first: bool,
    /// Whether there are more entries than the API answers with.
    is_cut: bool,
}

impl Page for AuditPage {}

/// One change.
struct Entry {
    time: Option<Time>,
    by: String,
    by_filter: String,
    what: String,
    subject: String,
    thing: String,
    link: Option<String>,
    data: String,
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let filters = Fields::of_query(query.as_deref());
    let parameters = FILTERS.iter().map(|name| (*name, filters.get(name)));
    let found = visit.api.call(Method::GET, "/api/audit").query(parameters).send().await?.body;
    let all = found["acts"].as_array().map_or(&[][..], Vec::as_slice);
    let start: usize = filters.get("after").parse().unwrap_or(0);
    let clock = visit.clock();
    let entries = all.iter().skip(start).take(PAGE_SIZE).map(|act| entry(act, &filters, &clock)).collect();
    let end = start.saturating_add(PAGE_SIZE);
    let is_cut = found["isComplete"] == false;
    let heading = match (all.len(), is_cut) {
        (1, false) => "1 change".to_owned(),
        (count, false) => format!("{count} changes"),
        (count, true) => format!("More than {count} changes"),
    };
    let page = AuditPage {
        shell: visit.shell(&format!("Audit trail: {heading}"), "audit"),
        heading,
        entries,
        is_filtered: FILTERS.iter().any(|name| filters.has(name)),
        older: (end < all.len()).then(|| filters.with(&[("after", &end.to_string())])),
        is_first: start == 0,
        is_cut: is_cut && all.len() <= end,
        filters,
    };
    Ok(page.respond())
}

fn entry(act: &Value, filters: &Fields, clock: &Clock) -> Entry {
    let text = |name: &str| act[name].as_str().unwrap_or_default();
    let actor = text("actor");
    let (thing, link) = thing(act);
    let subject = SUBJECTS.iter().find(|(id, _)| *id == text("subject"));
    let data = Some(&act["data"]).filter(|data| data.as_object().is_some_and(|data| !data.is_empty()));
    Entry {
        time: clock.precise(text("at")),
        by: words::actor(actor),
        by_filter: filters.with(&[("actor", actor), ("after", "")]),
        what: words::event_name(text("type")),
        subject: subject.map_or_else(|| words::sentence_case(text("subject")), |(_, word)| (*word).to_owned()),
        thing,
        link,
        data: data.and_then(|data| serde_json::to_string_pretty(data).ok()).unwrap_or_default(),
    }
}

/// What was changed: its name, and the page that shows it.
fn thing(act: &Value) -> (String, Option<String>) {
    let data = |name: &str| act["data"][name].as_str().filter(|text| !text.is_empty());
    let id = act["id"].as_str().filter(|id| !id.is_empty());
    let page = |kind: &str, id: &str| Some(format!("/{kind}/{}", segment(id)));
    match act["subject"].as_str().unwrap_or_default() {
        "templates" => {
            let id = id.unwrap_or_default();
            // A deleted template has no page any more.
            let is_deleted = act["type"] == "TemplateDeleted";
            (id.to_owned(), (!is_deleted).then(|| format!("/templates/{}", segment(id))))
        }
        "schedules" => (id.unwrap_or_default().to_owned(), id.and_then(|id| page("schedules", id))),
        "business_events" => match data("event") {
            Some(id) => (id.to_owned(), page("business-events", id)),
            None => (String::new(), None),
        },
        "invoices" => match data("invoice") {
            Some(id) => (id.to_owned(), page("invoices", id)),
            None => (String::new(), None),
        },
        "subjects" => match (data("subjectType"), data("subjectId")) {
            (Some(kind), Some(id)) => (id.to_owned(), Some(page_of(kind, id))),
            _ => ("an address".to_owned(), None),
        },
        "suppressions" => {
            let channel = data("channel").map_or(String::new(), |channel| words::channel(channel).to_owned());
            (channel, Some("/suppressions".to_owned()))
        }
        "collections" => (String::new(), Some("/collections".to_owned())),
        "keys" => (data("name").or(id).unwrap_or_default().to_owned(), Some("/settings/keys".to_owned())),
        "channels" => (id.unwrap_or_default().to_owned(), Some("/settings/providers".to_owned())),
        "limits" => (String::new(), Some("/settings/limits".to_owned())),
        "debtors" => (data("customer").unwrap_or_default().to_owned(), None),
        _ => (id.unwrap_or_default().to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_leads_to_what_it_is_about() {
        let link = |act: Value| thing(&act).1.unwrap_or_default();
        assert_eq!(
            link(json!({ "subject": "templates", "id": "tpl_a.sms.en", "type": "TemplateCreated" })),
            "/templates/tpl_a.sms.en"
        );
        assert_eq!(link(json!({ "subject": "templates", "id": "tpl_a.sms.en", "type": "TemplateDeleted" })), "");
        let erased = json!({ "subject": "subjects", "data": { "subjectType": "customer", "subjectId": "cus 7" } });
        assert_eq!(link(erased), "/people/customer/cus%207");
        assert_eq!(link(json!({ "subject": "keys", "id": "k" })), "/settings/keys");
        assert_eq!(link(json!({ "subject": "invoices", "data": { "invoice": "a/b" } })), "/invoices/a%2Fb");
        assert_eq!(link(json!({ "subject": "debtors", "data": { "customer": "cus-7" } })), "");
    }
}

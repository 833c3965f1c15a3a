//! People: which of them is the one I am looking for?

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::{join, join_all};

use crate::api_client::segment;
use crate::form::Fields;
use crate::refusal::Refusal;
use crate::screens::person::paths::page_of;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::Time;
use crate::words::{self, RECIPIENT_TYPES};

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    shell: Shell,
    heading: String,
    query: String,
    /// Whether the text looks like an address, which people are not found by.
    is_address: bool,
    suppressions_path: String,
    messages_path: String,
    rows: Vec<PersonRow>,
}

impl Page for PeoplePage {}

/// A person in a list.
pub struct PersonRow {
    pub name: String,
    pub kind: String,
    id: String,
    pub path: String,
    last: Option<Time>,
}

/// The people of the newest messages, or those with an id.
pub async fn find(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let fields = Fields::of_query(query.as_deref());
    let query = fields.get("q").to_owned();
    let rows = if query.is_empty() { recent(&visit).await? } else { with_id(&visit, &query).await? };
    if let [only] = &rows[..]
        && !query.is_empty()
    {
        return Ok(Redirect::to(&only.path).into_response());
    }
    let heading = match (query.is_empty(), rows.len()) {
        (true, _) => "People".to_owned(),
        (false, 0) => "Nobody has this reference".to_owned(),
        (false, count) => format!("{count} people have this reference"),
    };
    let is_address = query.contains('@') || (query.starts_with('+') && 8 <= query.len());
    let page = PeoplePage {
        shell: visit.shell(&heading, "people"),
        heading,
        is_address,
        suppressions_path: format!("/suppressions{}", Fields::default().with(&[("contact", &query)])),
        messages_path: format!("/messages{}", Fields::default().with(&[("recipientId", &query)])),
        query,
        rows,
    };
    Ok(page.respond())
}

/// The people whom the newest 100 messages were for.
async fn recent(visit: &Visit) -> Result<Vec<PersonRow>, Refusal> {
    let found = visit.api.call(Method::GET, "/api/communications").query([("size", "100")]).send().await?.body;
    let mut seen = BTreeMap::new();
    for (place, row) in found["results"].as_array().into_iter().flatten().enumerate() {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        if !text("recipientId").is_empty() {
            seen.entry((text("recipientType"), text("recipientId"))).or_insert((place, row));
        }
    }
    let mut rows: Vec<(usize, PersonRow)> = seen
        .into_iter()
        .map(|((kind, id), (place, row))| {
            let name = row["recipientName"].as_str().unwrap_or(id).to_owned();
            let last = row["createdAt"].as_str().and_then(|at| visit.clock().short(at));
            (place, person_row(name, kind, id, last))
        })
        .collect();
    rows.sort_by_key(|(place, _)| *place);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// The people of each type with this id, of whom something is known.
pub async fn with_id(visit: &Visit, id: &str) -> Result<Vec<PersonRow>, Refusal> {
    let look_up = |(kind, _): &(&'static str, &str)| {
        let kind = *kind;
        async move {
            let preferences = format!("/api/communication-preferences/{kind}/{}", segment(id));
            let person = visit.api.get(format!("/api/people/{kind}/{}", segment(id)));
            let (person, preferences) = join(person, visit.api.get(preferences)).await;
            // An id with control characters, for example, is nobody's.
            let (Ok(person), Ok(preferences)) = (person, preferences) else { return None };
            let is_known = preferences["revision"] != 0
                || !person["name"].is_null()
                || person["addresses"].as_array().is_some_and(|all| !all.is_empty());
            is_known.then(|| person_row(person["name"].as_str().unwrap_or(id).to_owned(), kind, id, None))
        }
    };
    Ok(join_all(RECIPIENT_TYPES.iter().map(look_up)).await.into_iter().flatten().collect())
}

fn person_row(name: String, kind: &str, id: &str, last: Option<Time>) -> PersonRow {
    PersonRow { name, kind: words::recipient_type(kind).to_owned(), id: id.to_owned(), path: page_of(kind, id), last }
}

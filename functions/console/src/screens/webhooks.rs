//! Callbacks: what did providers report, was it really them, and which message is it about?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::Response;
use futures_util::future::try_join;
use serde_json::Value;

use crate::api_client::segment;
use crate::form::Fields;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::{Clock, Time};
use crate::words::{self, CALLBACK_STATUSES, StatusWord};

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    shell: Shell,
    heading: String,
    filters: Fields,
    is_filtered: bool,
    providers: Vec<(String, String)>,
    rows: Vec<CallbackRow>,
    older: Option<String>,
    is_first: bool,
}

impl Page for WebhooksPage {}

struct CallbackRow {
    id: String,
    status: StatusWord,
    detail: String,
    provider: String,
    channel_id: String,
    received: Option<Time>,
    /// The ids of the messages that it is about.
    messages: Vec<String>,
    is_bad: bool,
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    shell: Shell,
    row: CallbackRow,
    /// Whether it is an account of the business, which has a page.
    is_own: bool,
    verified: &'static str,
    request: String,
    headers: Vec<(String, String)>,
    body: String,
    is_binary: bool,
    is_truncated: bool,
}

impl Page for WebhookPage {}

fn row(entry: &Value, clock: &Clock) -> CallbackRow {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let status = words::callback_status(&text("status"));
    let detail = text("detail");
    CallbackRow {
        id: segment(&text("id")),
        is_bad: status.tone == "bad",
        status,
        detail: if detail.is_empty() { detail } else { format!("{}.", words::sentence(&detail)) },
        provider: words::config(&text("provider")),
        channel_id: text("channelId"),
        received: clock.precise(&text("receivedAt")),
        messages: entry["communications"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    }
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let filters = Fields::of_query(query.as_deref());
    let parameters = ["provider", "status", "cursor"].map(|name| (name, filters.get(name)));
    let log = visit.api.call(Method::GET, "/api/webhook-log").query(parameters);
    let (log, kinds) = try_join(log.send(), visit.api.get("/api/channels/kinds")).await?;
    let clock = visit.clock();
    let rows: Vec<CallbackRow> =
        log.body["callbacks"].as_array().into_iter().flatten().map(|entry| row(entry, &clock)).collect();
    let older = log.body["nextCursor"].as_str().map(|cursor| filters.with(&[("cursor", cursor)]));
    let is_filtered = filters.has("provider") || filters.has("status");
    let bad = rows.iter().filter(|row| row.is_bad).count();
    let heading = match (rows.len(), bad, older.is_some()) {
        (0, ..) if is_filtered => "No callbacks match on this page".to_owned(),
        (0, ..) => "No callbacks yet".to_owned(),
        (1, 0, false) => "1 callback, and it was verified".to_owned(),
        (count, 0, false) => format!("{count} callbacks, none rejected"),
        (count, 0, true) => format!("The newest {count} callbacks, none rejected"),
        (count, bad, _) => format!("{bad} of {count} callbacks rejected or unreadable"),
    };
    let heading = if filters.has("cursor") { heading.replace("The newest ", "") } else { heading };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kinds = kinds["providers"].as_array().into_iter().flatten();
    let page = WebhooksPage {
        shell: visit.shell("Callbacks", "webhooks"),
        heading,
        is_filtered,
        providers: kinds.map(|kind| (text(&kind["provider"]), text(&kind["title"]))).collect(),
        rows,
        older,
        is_first: !filters.has("cursor"),
        filters,
    };
    Ok(page.respond())
}

/// One callback, as it was received.
pub async fn show(visit: Visit, Path(id): Path<String>) -> Result<Response, Refusal> {
    let entry = visit.api.get(format!("/api/webhook-log/{}", segment(&id))).await?;
    let text = |name: &str| entry[name].as_str().unwrap_or_default();
    let row = row(&entry, &visit.clock());
    let own = visit.api.get(format!("/api/channels/{}", segment(&row.channel_id))).await;
    let headers = entry["headers"].as_object().into_iter().flatten();
    let page = WebhookPage {
        shell: visit.shell(&format!("Callback from {}", row.provider), "webhooks"),
        verified: match entry["verified"] == true {
            true => "Its signature is valid, so it is from the provider",
            false => "Its signature is missing or wrong, so nothing of it was used",
        },
        request: format!("{} {}", text("method"), text("path")),
        headers: headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        body: text("body").chars().take(MAX_SHOWN).collect(),
        is_own: own.is_ok(),
        is_binary: text("bodyEncoding") == "base64",
        is_truncated: entry["truncated"] == true || MAX_SHOWN < text("body").chars().count(),
        row,
    };
    Ok(page.respond())
}

/// How much of a body is shown, in characters.
const MAX_SHOWN: usize = 10_000;

//! Providers: does each account work, and which one is tried first?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join3;
use serde_json::{Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::{self, Clock, Time};
use crate::words::{self, CHANNELS, StatusWord};

const PATH: &str = "/settings/providers";

#[derive(Template)]
#[template(path = "providers.html")]
struct ProvidersPage {
    shell: Shell,
    heading: String,
    lede: String,
    done: &'static str,
    groups: Vec<ChannelGroup>,
    /// The channels that no account serves.
    missing: String,
    kinds: Vec<KindChoice>,
}

impl Page for ProvidersPage {}

/// The accounts of one channel, in the order they are tried.
struct ChannelGroup {
    id: &'static str,
    name: ChannelName,
    is_own: bool,
    rows: Vec<AccountRow>,
}

struct AccountRow {
    id: String,
    name: String,
    detail: String,
    status: StatusWord,
    cause: String,
    since: Option<Time>,
    is_own: bool,
    is_first: bool,
    is_enabled: bool,
    is_paused: bool,
    /// The order of the channel with this account one place higher.
    order: String,
    remaining: u64,
    burst: u64,
    per_second: u64,
}

struct KindChoice {
    id: String,
    title: String,
}

pub async fn list(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let (statuses, own, kinds) = try_join3(
        visit.api.get("/api/providers"),
        visit.api.get("/api/channels"),
        visit.api.get("/api/channels/kinds"),
    )
    .await?;
    let groups = groups(&statuses, &own, &visit.clock());
    let all = || groups.iter().flat_map(|group| &group.rows);
    let (paused, disabled) = (all().filter(|row| row.is_paused).count(), all().filter(|row| !row.is_enabled).count());
    let missing = CHANNELS.iter().filter(|(id, _)| !groups.iter().any(|group| group.id == *id));
    let missing: Vec<&str> = missing.map(|(_, word)| *word).collect();
    let heading = match (all().count(), paused) {
        (0, _) => "No accounts yet".to_owned(),
        (1, 0) => "1 account, and it is healthy".to_owned(),
        (count, 0) => format!("{count} accounts, none paused"),
        (count, 1) => format!("1 of {count} accounts is paused"),
        (count, paused) => format!("{paused} of {count} accounts are paused"),
    };
    let off = match disabled {
        0 => String::new(),
        1 => " 1 is disabled.".to_owned(),
        disabled => format!(" {disabled} are disabled."),
    };
    let page = ProvidersPage {
        shell: visit.shell("Providers", "providers"),
        heading,
        lede: format!("Your accounts, in the order they are tried: if one fails, the next is tried.{off}"),
        done: match query.get("done") {
            "added" => "Account added. New messages use it.",
            "deleted" => "Account deleted. Its saved credentials are gone.",
            "enabled" => "Account in use again.",
            "disabled" => "Account disabled. Workers notice within 15 seconds.",
            "ordered" => "Order saved. Workers notice within 15 seconds.",
            _ => "",
        },
        groups,
        missing: missing.join(", "),
        kinds: kind_choices(&kinds),
    };
    Ok(page.respond())
}

fn kind_choices(kinds: &Value) -> Vec<KindChoice> {
    let choice = |kind: &Value| {
        let channels = kind["channels"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let channels: Vec<&str> = channels.map(words::channel).collect();
        KindChoice {
            id: kind["provider"].as_str().unwrap_or_default().to_owned(),
            title: format!("{} ({})", kind["title"].as_str().unwrap_or_default(), channels.join(", ")),
        }
    };
    kinds["providers"].as_array().into_iter().flatten().map(choice).collect()
}

fn groups(statuses: &Value, own: &Value, clock: &Clock) -> Vec<ChannelGroup> {
    let statuses = statuses["providers"].as_array().map_or(&[][..], Vec::as_slice);
    let own = own["channels"].as_array().map_or(&[][..], Vec::as_slice);
    let group = |(id, _): &(&'static str, &str)| {
        let of_channel: Vec<&Value> = statuses.iter().filter(|status| status["channel"] == *id).collect();
        let ids: Vec<&str> = of_channel.iter().filter_map(|status| status["id"].as_str()).collect();
        let row = |(place, status): (usize, &&Value)| {
            let config = own.iter().find(|config| config["id"] == status["id"]);
            account_row(status, config, place, higher(&ids, place), clock)
        };
        let rows: Vec<AccountRow> = of_channel.iter().enumerate().map(row).collect();
        let is_own = rows.iter().any(|row| row.is_own);
        (!rows.is_empty()).then(|| ChannelGroup { id, name: ChannelName((*id).to_owned()), is_own, rows })
    };
    CHANNELS.iter().filter_map(group).collect()
}

/// The ids with the one at a place one place higher.
fn higher(ids: &[&str], place: usize) -> String {
    let mut ids = ids.to_vec();
    if 0 < place && place < ids.len() {
        ids.swap(place - 1, place);
    }
    ids.join(",")
}

fn account_row(status: &Value, config: Option<&Value>, place: usize, order: String, clock: &Clock) -> AccountRow {
    let text = |name: &str| status[name].as_str().unwrap_or_default();
    let is_enabled = status["enabled"] == true;
    let is_paused = is_enabled && text("state") != "closed";
    let provider = words::config(text("provider"));
    let (name, detail) = match config {
        Some(config) => (config["name"].as_str().unwrap_or_default().to_owned(), provider),
        None => (words::config(text("id")), "an account of this installation".to_owned()),
    };
    let count = |name: &str| status[name].as_u64().unwrap_or(0);
    AccountRow {
        id: segment(text("id")),
        name,
        detail,
        status: words::provider_state(is_enabled, text("state")),
        cause: if is_paused { words::pause_cause(text("cause")).to_owned() } else { String::new() },
        since: if is_paused { clock.short(text("since")) } else { None },
        is_own: config.is_some(),
        is_first: place == 0,
        is_enabled,
        is_paused,
        order,
        remaining: count("remaining"),
        burst: count("burst"),
        per_second: count("perSecond"),
    }
}

/// Sets the order of a channel's own accounts.
pub async fn order(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let order: Vec<&str> = form.get("order").split(',').collect();
    visit.api.post("/api/channels/order", json!({ "channel": form.get("channel"), "order": order })).await?;
    Ok(back("ordered"))
}

/// Enables or disables an account, or tries it first.
pub async fn act(visit: Visit, Path((id, act)): Path<(String, String)>, Form(_): Form) -> Result<Response, Refusal> {
    let (name, done) = match act.as_str() {
        "enable" => ("enable", "enabled"),
        "disable" => ("disable", "disabled"),
        "first" => ("switch", "ordered"),
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "An account has no such action.")),
    };
    visit.api.post(format!("/api/providers/{}/{name}", segment(&id)), json!({})).await?;
    Ok(back(done))
}

pub fn back(done: &str) -> Response {
    Redirect::to(&format!("{PATH}?done={done}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_moves_up_by_one_place() {
        let ids = ["a", "b", "c"];
        assert_eq!([higher(&ids, 0), higher(&ids, 2)], ["a,b,c", "a,c,b"]);
    }
}

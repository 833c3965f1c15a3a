//! The overview: is anything wrong?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use domain::access::{Permission, Reach};
use futures_util::future::try_join3;
use jiff::ToSpan;
use serde_json::Value;

use crate::chart::Chart;
use crate::form::Fields;
use crate::refusal::Refusal;
use crate::screens::messages::MessageRow;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::{self, Clock, Time, duration, number};
use crate::words::{self, StatusWord};

/// The ranges in days that can be chosen, with their names.
const RANGES: [(&str, &str); 4] = [("1", "24h"), ("7", "7d"), ("30", "30d"), ("90", "90d")];
const DEFAULT_RANGE: &str = "30";
/// How many reasons and recent failures are shown.
const MAX_SHOWN: usize = 5;
#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    heading: String,
    lede: String,
    range: String,
    notes: Vec<Note>,
    figures: Vec<Figure>,
    chart: Chart,
    reasons: Vec<Reason>,
    speeds: Vec<Speed>,
    providers: Vec<ProviderLine>,
    failures: Vec<MessageRow>,
    is_empty: bool,
    /// Whether this is a process on one machine.
    is_local: bool,
}

impl Page for OverviewPage {}

/// Something that needs a person.
struct Note {
    tone: &'static str,
    icon: &'static str,
    what: String,
    more: String,
    button: &'static str,
    link: &'static str,
}

struct Figure {
    name: &'static str,
    value: String,
    small: String,
    /// The list of what it counts, if there is one.
    link: Option<String>,
}

struct Reason {
    text: String,
    code: String,
    count: u64,
    share: String,
}

struct Speed {
    name: &'static str,
    half: String,
    most: String,
    nearly_all: String,
}

struct ProviderLine {
    channel: ChannelName,
    name: String,
    status: StatusWord,
    since: Option<Time>,
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    if !visit.may(Permission::Stats, Reach::Tenant) {
        return Ok(Redirect::to("/messages").into_response());
    }
    let query = Fields::of_query(query.as_deref());
    let range = RANGES.iter().find(|(days, _)| *days == query.get("range")).map_or(DEFAULT_RANGE, |(days, _)| days);
    let clock = visit.clock();
    let today = jiff::Timestamp::from_millisecond(visit.now.0).unwrap_or_default();
    let days: i64 = range.parse().unwrap_or(30);
    let from = today.checked_sub((24 * (days - 1)).hours()).unwrap_or(today).to_string();
    let stats = visit.api.call(Method::GET, "/api/communications/stats").query([("startDate", from.as_str())]);
    let failed = visit.api.call(Method::GET, "/api/communications").query([("status", "failed"), ("size", "5")]);
    let (stats, queue, failed) =
        try_join3(stats.send(), visit.api.get("/api/communications/queue/status"), failed.send()).await?;
    let (stats, failed) = (stats.body, failed.body);
    let notes = notes(&queue, &clock);
    let total = stats["total"].as_u64().unwrap_or(0);
    let heading = match notes.len() {
        0 => "Everything is running normally".to_owned(),
        1 => "1 item needs attention".to_owned(),
        count => format!("{count} items need attention"),
    };
    let failures = failed["results"].as_array().into_iter().flatten().take(MAX_SHOWN);
    let page = OverviewPage {
        shell: visit.shell(&heading, "overview"),
        lede: lede(&stats, total, days, notes.is_empty()),
        heading,
        range: range.to_owned(),
        notes,
        figures: figures(&stats, total),
        chart: Chart::of(&stats, &clock, days),
        reasons: reasons(&stats),
        speeds: speeds(&stats),
        providers: providers(&queue, &clock),
        failures: failures.map(|row| MessageRow::of(row, &clock)).collect(),
        is_empty: total == 0,
        is_local: visit.dev.is_some(),
    };
    Ok(page.respond())
}

fn count(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

fn notes(queue: &Value, clock: &Clock) -> Vec<Note> {
    let mut notes = Vec::new();
    for pause in queue["paused"].as_array().into_iter().flatten() {
        let text = |name: &str| pause[name].as_str().unwrap_or_default();
        let since = clock.short(text("since")).map_or(String::new(), |since| format!(" since {}", since.text));
        notes.push(Note {
            tone: "warn",
            icon: "pause",
            what: format!("{} is paused{since}", words::channel(text("channel"))),
            more: format!("by {}: {}. What is due waits.", words::actor(text("by")), text("reason")),
            button: "Resume…",
            link: "/queue#pauses",
        });
    }
    for provider in queue["providers"].as_array().into_iter().flatten().filter(|one| one["state"] == "open") {
        let text = |name: &str| provider[name].as_str().unwrap_or_default();
        let name = words::account(text("id"), text("provider"));
        let since = provider["since"].as_str().and_then(|since| clock.short(since));
        let since = since.map_or(String::new(), |since| format!(" since {}", since.text));
        notes.push(Note {
            tone: "bad",
            icon: "s-failed",
            what: format!("{name} paused{since}"),
            more: "after repeated failures. Messages go to the next account, or wait until it answers again."
                .to_owned(),
            button: "View queue",
            link: "/queue",
        });
    }
    let dead = count(queue, "deadLettered");
    if dead > 0 {
        let (what, more) = match dead {
            1 => ("1 dead letter.".to_owned(), "Tidings has stopped trying to send it. You decide what happens next."),
            _ => (
                format!("{} dead letters.", number(dead)),
                "Tidings has stopped trying to send them. You decide what happens next.",
            ),
        };
        notes.push(Note {
            tone: "warn",
            icon: "queue",
            what,
            more: more.to_owned(),
            button: "Review dead letters",
            link: "/queue",
        });
    }
    let doubtful = count(queue, "inDoubt");
    if doubtful > 0 {
        let what = format!("{} uncertain.", number(doubtful));
        let more =
            "The provider did not answer, so it may or may not have accepted them. Tidings waits for its callback.";
        notes.push(Note {
            tone: "warn",
            icon: "s-doubt",
            what,
            more: more.to_owned(),
            button: "View queue",
            link: "/queue",
        });
    }
    if queue["healthy"] == false {
        let what = "Due messages are not being looked for.".to_owned();
        let more = "The scheduled sweep has not run as it should. New messages are still sent.";
        notes.push(Note {
            tone: "bad",
            icon: "warn",
            what,
            more: more.to_owned(),
            button: "View queue",
            link: "/queue",
        });
    }
    notes
}

fn lede(stats: &Value, total: u64, days: i64, is_well: bool) -> String {
    let days = if days == 1 { "in the last 24 hours".to_owned() } else { format!("in the last {days} days") };
    let rest = if is_well { "" } else { "Everything else is running normally. " };
    if total == 0 {
        return format!("{rest}No messages were accepted {days}.");
    }
    let rate = percent(stats["deliveryRate"].as_f64());
    let half = stats["deliveryTimeMs"]["p50"]
        .as_i64()
        .map_or(String::new(), |ms| format!(", half of them within {}", duration(ms)));
    format!(
        "{rest}{} messages were accepted {days}. Of those sent to a provider, {rate} are confirmed delivered{half}.",
        number(total)
    )
}

fn percent(rate: Option<f64>) -> String {
    format!("{:.1}%", 100.0 * rate.unwrap_or(0.0))
}

fn figures(stats: &Value, total: u64) -> Vec<Figure> {
    let sent = count(stats, "totalSent");
    let rate = |name: &str| percent(stats[name].as_f64());
    let day = |name: &str| stats[name].as_str().unwrap_or_default();
    let listed = |filters: &[(&str, &str)]| {
        let dates = [("from", day("startDate")), ("to", day("endDate"))];
        Some(format!("/messages{}", Fields::default().with(&[filters, &dates].concat())))
    };
    let figure = |name, value, small: &str, link| Figure { name, value, small: small.to_owned(), link };
    let waiting = format!("{} not sent or waiting", number(total.saturating_sub(sent)));
    vec![
        figure("Accepted", number(total), "by Tidings", listed(&[])),
        figure("Sent to provider", number(sent), &waiting, listed(&[("lifecycle", "sent")])),
        // No list has all of those that were delivered or opened once, whatever became of them since.
        figure("Delivered", rate("deliveryRate"), "of sent", None),
        figure("Failed", rate("failureRate"), "of all", listed(&[("status", "failed")])),
        figure("Opened", rate("openRate"), "some automatic", None),
        figure("Opted out", rate("unsubscribeRate"), "of delivered", None),
    ]
}

/// The last days. The API leaves out those without messages.
fn reasons(stats: &Value) -> Vec<Reason> {
    let counts = stats["byReason"].as_object().into_iter().flatten();
    let mut counts: Vec<(&String, u64)> = counts.filter_map(|(code, count)| Some((code, count.as_u64()?))).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = counts.first().map_or(1, |(_, count)| *count).max(1);
    let reason = |(code, count): (&String, u64)| Reason {
        text: words::explain_reason(code, None),
        code: code.clone(),
        count,
        share: format!("{:.1}", 100.0 * count as f64 / most as f64),
    };
    counts.into_iter().take(MAX_SHOWN).map(reason).collect()
}

fn speeds(stats: &Value) -> Vec<Speed> {
    let of = |name, times: &str| {
        let within = |share: &str| stats[times][share].as_i64().map(duration);
        Some(Speed { name, half: within("p50")?, most: within("p95")?, nearly_all: within("p99")? })
    };
    [
        of("From due time to accepted by provider", "sendTimeMs"),
        of("From accepted by provider to delivered", "deliveryTimeMs"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn providers(queue: &Value, clock: &Clock) -> Vec<ProviderLine> {
    let line = |provider: &Value| {
        let text = |name: &str| provider[name].as_str().unwrap_or_default();
        let word = |tone, icon, word: &str| StatusWord { tone, icon, word: word.to_owned() };
        let status = match (provider["enabled"] == false, text("state")) {
            (true, _) => word("stop", "pause", "Switched off"),
            (_, "open") => word("bad", "s-failed", "Paused after failures"),
            (_, "half_open") => word("warn", "s-retry", "Being tried again"),
            _ => word("good", "s-delivered", "Healthy"),
        };
        let since = clock.short(text("since")).filter(|_| status.tone != "good");
        ProviderLine {
            channel: ChannelName(text("channel").to_owned()),
            name: words::account(text("id"), text("provider")),
            status,
            since,
        }
    };
    queue["providers"].as_array().into_iter().flatten().map(line).collect()
}

//! The queue and its dead letters: what needs a decision from me, and can it be retried?

use askama::Template;
use axum::extract::RawQuery;
use axum::response::{IntoResponse, Redirect, Response};
use domain::access::{Permission, Reach};
use futures_util::future::try_join3;
use serde_json::{Value, json};

use crate::api_client::segment;
use crate::faults::FormFaults;
use crate::form::{Fields, Form};
use crate::refusal::Refusal;
use crate::screens::redrive::GROUP;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::{self, Clock, Time, number};
use crate::words::{self, CHANNELS, StatusWord};

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    shell: Shell,
    heading: String,
    lede: String,
    done: String,
    faults: FormFaults,
    pauses: Vec<PauseRow>,
    /// The channels that can be paused, with their words.
    pausable: Vec<(&'static str, &'static str)>,
    /// Whether the reader may pause and resume channels.
    may_pause: bool,
    chosen: String,
    reason: String,
    figures: Vec<Figure>,
    causes: Vec<Cause>,
    /// How many dead letters were counted, if there are more.
    counted: Option<u64>,
    accounts: Vec<Account>,
    hours: Vec<Due>,
    minutes: Vec<Due>,
    /// Messages whose time has come.
    overdue: u64,
}

impl Page for QueuePage {}

/// The messages that become due in a time.
struct Due {
    from: Option<Time>,
    count: u64,
    /// `12`, or `500 or more`.
    text: String,
    /// The most of one of these times.
    most: u64,
}

/// A channel by which nothing is sent.
struct PauseRow {
    id: String,
    word: &'static str,
    channel: ChannelName,
    since: Option<Time>,
    by: String,
    reason: String,
}

struct Figure {
    name: &'static str,
    value: u64,
    href: &'static str,
}

/// Dead letters with one cause.
struct Cause {
    name: String,
    code: String,
    channel: ChannelName,
    oldest: Option<Time>,
    newest: Option<Time>,
    advice: &'static str,
    count: u64,
    /// Whether all of them can be retried without a closer look.
    is_safe: bool,
    /// The address of the preview, and of the list.
    query: String,
    list: String,
}

/// An account at a provider and what is left of its rate.
struct Account {
    name: String,
    id: String,
    channel: ChannelName,
    status: StatusWord,
    remaining: u64,
    burst: u64,
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let mut page = load(&visit).await?;
    page.done = done(&Fields::of_query(query.as_deref()));
    Ok(page.respond())
}

async fn load(visit: &Visit) -> Result<QueuePage, Refusal> {
    let (queue, letters, upcoming) = try_join3(
        visit.api.get("/api/communications/queue/status"),
        visit.api.get("/api/dead-letters/causes"),
        visit.api.get("/api/communications/queue/upcoming"),
    )
    .await?;
    let count = |name: &str| queue[name].as_u64().unwrap_or(0);
    let clock = visit.clock();
    let causes: Vec<Cause> =
        letters["causes"].as_array().into_iter().flatten().map(|group| cause(group, &clock)).collect();
    let safe: u64 = causes.iter().filter(|cause| cause.is_safe).map(|cause| cause.count).sum();
    let is_complete = letters["isComplete"] == true;
    let counted = letters["total"].as_u64().unwrap_or(0);
    let dead = if is_complete { counted } else { count("deadLettered").max(counted) };
    let heading = match dead {
        0 => "No dead letters".to_owned(),
        1 => format!("1 dead letter, {} ready to retry", number(safe)),
        dead => format!("{} dead letters, {} ready to retry", number(dead), number(safe)),
    };
    let pauses: Vec<PauseRow> =
        queue["paused"].as_array().into_iter().flatten().map(|pause| pause_row(pause, &clock)).collect();
    let heading = match &pauses[..] {
        [] => heading,
        [pause] => format!("{} is paused; {}", pause.word, words::lower_first(&heading)),
        pauses => format!("{} channels are paused; {}", pauses.len(), words::lower_first(&heading)),
    };
    let is_paused = |id: &str| pauses.iter().any(|pause| pause.id == id);
    let pausable = CHANNELS.into_iter().filter(|(id, _)| !is_paused(id)).collect();
    let sweep = queue["lastSweepAt"].as_str().and_then(|at| clock.precise(at));
    let sweep = sweep.map_or(String::new(), |at| format!(" Due messages were last looked for at {}.", at.text));
    let figure = |name, field, href| Figure { name, value: count(field), href };
    Ok(QueuePage {
        shell: visit.shell(&heading, "queue"),
        lede: format!(
            "Dead letters are messages that Tidings has stopped trying to send. Someone decides what happens next.{sweep}"
        ),
        heading,
        done: String::new(),
        faults: FormFaults::default(),
        may_pause: visit.may(Permission::Keys, Reach::Everything),
        pausable,
        pauses,
        chosen: String::new(),
        reason: String::new(),
        figures: vec![
            figure("Waiting", "pending", "/messages?lifecycle=queued"),
            // The API counts messages whose delivery is uncertain as being processed.
            Figure {
                value: count("processing").saturating_sub(count("inDoubt")),
                ..figure("Sending", "processing", "/messages?lifecycle=sending")
            },
            figure("Retrying", "retryWaiting", "/messages?lifecycle=retry_wait"),
            figure("Delivery uncertain", "inDoubt", "/messages?lifecycle=in_doubt"),
            figure("Scheduled or held", "scheduled", "/messages?lifecycle=scheduled"),
            Figure { name: "Dead letters", value: dead, href: "#letters" },
        ],
        causes,
        counted: (!is_complete).then_some(counted),
        hours: due(&upcoming["hours"], &clock),
        minutes: due(&upcoming["minutes"], &clock),
        overdue: upcoming["overdue"].as_u64().unwrap_or(0),
        accounts: queue["providers"].as_array().into_iter().flatten().map(account).collect(),
    })
}

/// The times in which messages become due.
fn due(slots: &Value, clock: &Clock) -> Vec<Due> {
    let count = |slot: &Value| slot["messages"].as_u64().unwrap_or(0);
    let slots = || slots.as_array().into_iter().flatten();
    let most = slots().map(count).max().unwrap_or(0);
    let row = |slot: &Value| Due {
        from: clock.short(slot["from"].as_str().unwrap_or_default()),
        count: count(slot),
        text: match slot["isComplete"] == false {
            true => format!("{} or more", number(count(slot))),
            false => number(count(slot)),
        },
        most,
    };
    slots().filter(|slot| 0 < count(slot)).map(row).collect()
}

fn pause_row(pause: &Value, clock: &Clock) -> PauseRow {
    let text = |name: &str| pause[name].as_str().unwrap_or_default();
    PauseRow {
        id: text("channel").to_owned(),
        word: words::channel(text("channel")),
        channel: ChannelName(text("channel").to_owned()),
        since: clock.short(text("since")),
        by: words::actor(text("by")),
        reason: text("reason").to_owned(),
    }
}

/// Pauses a channel.
pub async fn pause(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let channel = form.get("channel");
    let path = format!("/api/limits/channels/{}/pause", segment(channel));
    match visit.api.post(path, json!({ "reason": form.get("reason") })).await {
        Ok(_) => Ok(Redirect::to(&format!("/queue?paused={}", segment(channel))).into_response()),
        Err(refusal) if !refusal.faults().is_empty() => {
            let mut page = load(&visit).await?;
            page.shell.title = format!("Error: {}", page.shell.title);
            page.faults = FormFaults::of(&refusal, "f-reason");
            (page.chosen, page.reason) = (channel.to_owned(), form.get("reason").to_owned());
            Ok(page.respond_with(refusal.status))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Resumes a channel.
pub async fn resume(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let channel = form.get("channel");
    visit.api.post(format!("/api/limits/channels/{}/resume", segment(channel)), json!({})).await?;
    Ok(Redirect::to(&format!("/queue?resumed={}", segment(channel))).into_response())
}

fn account(status: &Value) -> Account {
    let text = |name: &str| status[name].as_str().unwrap_or_default();
    Account {
        name: words::account(text("id"), text("provider")),
        id: text("id").to_owned(),
        channel: ChannelName(text("channel").to_owned()),
        status: words::provider_state(status["enabled"] == true, text("state")),
        remaining: status["remaining"].as_u64().unwrap_or(0),
        burst: status["burst"].as_u64().unwrap_or(0),
    }
}

/// What the form before did.
fn done(query: &Fields) -> String {
    if query.has("paused") {
        return format!("{} is paused. What is due waits.", words::channel(query.get("paused")));
    }
    if query.has("resumed") {
        return format!("{} sends again.", words::channel(query.get("resumed")));
    }
    match (query.get("retried"), query.get("skipped")) {
        ("", _) => String::new(),
        (retried, "" | "0") => format!("{retried} queued for another attempt."),
        (retried, skipped) => {
            format!("{retried} queued for another attempt; {skipped} skipped, because they changed meanwhile.")
        }
    }
}

fn cause(group: &Value, clock: &Clock) -> Cause {
    let text = |name: &str| group[name].as_str().unwrap_or_default();
    let (advice, is_safe) = advice(text("reason"));
    let (name, code) = match text("reason") == text("cause") {
        true => (words::explain_reason(text("reason"), group["provider"].as_str()), text("reason").to_owned()),
        false => {
            let code = format!("{} ({})", text("reason"), text("cause"));
            (words::explain_reason(&code, group["provider"].as_str()), code)
        }
    };
    let given = GROUP.iter().map(|name| (*name, text(name))).filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    let listed = [("lifecycle", lifecycle_of(text("reason"))), ("reason", text("cause"))];
    let listed = listed.into_iter().chain([("channel", text("channel")), ("provider", text("provider"))]);
    let listed = listed.filter(|(_, value)| !value.is_empty());
    Cause {
        name,
        code,
        channel: ChannelName(text("channel").to_owned()),
        oldest: clock.short(text("oldestAt")),
        newest: clock.short(text("newestAt")).filter(|_| text("oldestAt") != text("newestAt")),
        advice,
        count: group["count"].as_u64().unwrap_or(0),
        is_safe,
        query,
        list: form_urlencoded::Serializer::new(String::new()).extend_pairs(listed).finish(),
    }
}

/// Held doubts are dead letters that failed.
fn lifecycle_of(reason: &str) -> &'static str {
    if reason == "in_doubt" { "failed" } else { "dead_lettered" }
}

/// What to do, and whether all can be retried at once.
fn advice(code: &str) -> (&'static str, bool) {
    match code {
        "retries_exhausted" => ("Every attempt was refused. Recommended: retry all.", true),
        "expired" => {
            ("They expired before they could be sent. Recommended: no action, unless they still matter.", false)
        }
        "in_doubt" => {
            ("The provider never confirmed them. Recommended: review each one; a retry may arrive twice.", false)
        }
        "poison" => ("Their processing failed repeatedly. Recommended: look at one, then retry.", false),
        _ => ("Recommended: look at one of them first.", false),
    }
}

//! The queue and its dead letters: what needs a decision from me, and can it be retried?

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join;
use serde_json::{Value, json};

use crate::form::{Fields, Form};
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show::{self, ChannelName};
use crate::time::{self, number};
use crate::words;

/// How many dead letters are grouped: the newest.
const MAX_LETTERS: &str = "100";

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    shell: Shell,
    heading: String,
    lede: String,
    done: String,
    figures: Vec<Figure>,
    causes: Vec<Cause>,
    /// Whether there are more dead letters than are grouped.
    has_more: bool,
}

impl Page for QueuePage {}

struct Figure {
    name: &'static str,
    value: u64,
}

/// Dead letters with one cause.
struct Cause {
    name: String,
    code: String,
    channel: String,
    channel_name: ChannelName,
    advice: &'static str,
    count: u64,
    /// Whether all of them can be retried without a closer look.
    is_safe: bool,
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let letters = visit.api.call(Method::GET, "/api/dead-letters").query([("size", MAX_LETTERS)]);
    let (queue, letters) = try_join(visit.api.get("/api/communications/queue/status"), letters.send()).await?;
    let letters = letters.body;
    let count = |name: &str| queue[name].as_u64().unwrap_or(0);
    let causes = causes(&letters);
    let safe: u64 = causes.iter().filter(|cause| cause.is_safe).map(|cause| cause.count).sum();
    let dead = count("deadLettered");
    let heading = match dead {
        0 => "No dead letters".to_owned(),
        1 => format!("1 dead letter, {} ready to retry", number(safe)),
        dead => format!("{} dead letters, {} ready to retry", number(dead), number(safe)),
    };
    let sweep = queue["lastSweepAt"].as_str().and_then(|at| visit.clock().precise(at));
    let sweep = sweep.map_or(String::new(), |at| format!(" Due messages were last looked for at {}.", at.text));
    let page = QueuePage {
        shell: visit.shell(&heading, "queue"),
        lede: format!(
            "Dead letters are messages that Tidings has stopped trying to send. Someone decides what happens next.{sweep}"
        ),
        heading,
        done: done(&query),
        figures: vec![
            Figure { name: "Waiting", value: count("pending") },
            Figure { name: "Sending", value: count("processing") },
            Figure { name: "Retrying", value: count("retryWaiting") },
            Figure { name: "Delivery uncertain", value: count("inDoubt") },
            Figure { name: "Scheduled or held", value: count("scheduled") },
            Figure { name: "Dead letters", value: dead },
        ],
        causes,
        has_more: letters["hasMore"] == true,
    };
    Ok(page.respond())
}

/// What the form before did.
fn done(query: &Fields) -> String {
    match (query.get("retried"), query.get("skipped")) {
        ("", _) => String::new(),
        (retried, "" | "0") => format!("{retried} queued for another attempt."),
        (retried, skipped) => {
            format!("{retried} queued for another attempt; {skipped} skipped, because they changed meanwhile.")
        }
    }
}

fn causes(letters: &Value) -> Vec<Cause> {
    let mut groups: BTreeMap<(String, String), u64> = BTreeMap::new();
    for letter in letters["results"].as_array().into_iter().flatten() {
        let text = |name: &str| letter[name].as_str().unwrap_or_default();
        let reason = text("reason").split(" (").next().unwrap_or_default().to_owned();
        *groups.entry((reason, text("channel").to_owned())).or_default() += 1;
    }
    let cause = |((code, channel), count): ((String, String), u64)| {
        let (advice, is_safe) = advice(&code);
        Cause {
            name: words::explain_reason(&code, None),
            channel_name: ChannelName(channel.clone()),
            code,
            channel,
            advice,
            count,
            is_safe,
        }
    };
    let mut causes: Vec<Cause> = groups.into_iter().map(cause).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    causes
}

/// What to do, and whether all can be retried at once.
fn advice(code: &str) -> (&'static str, bool) {
    match code {
        "retries_exhausted" => ("Every attempt was refused, so none can arrive twice. Recommended: retry all.", true),
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

/// Retries the dead letters of one cause.
pub async fn redrive(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let body = json!({
        "reason": form.get("reason"), "channel": form.get("channel"), "limit": 1_000,
    });
    let done = visit.api.post("/api/dead-letters/redrive", body).await?;
    let count = |name: &str| done[name].as_u64().unwrap_or(0);
    Ok(Redirect::to(&format!("/queue?retried={}&skipped={}", count("redriven"), count("skipped"))).into_response())
}

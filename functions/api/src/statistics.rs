//! Statistics over HTTP: of messages, and of what they brought in.

use std::collections::{BTreeMap, BTreeSet};

use application::Caller;
use application::invoices::{self, BusinessStatistics};
use application::messages::{self, Slot, Statistics, Upcoming};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::stats::{Counters, percentile_ms, utc_day};
use events::{MessageType, Timestamp};
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::show_time;
use crate::invoices::problem as invoice_problem;
use crate::message_problem::problem;
use crate::query::QueryParams;
use crate::{Shared, json};

const DAY_MS: i64 = 24 * 3_600_000;
/// Maximum number of days of one statistics request.
const MAX_DAYS: i64 = 366;

/// The days that a request asks for: the last 30 without any.
fn range_of(query: RawQuery, now: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
    let mut query = QueryParams::parse(query)?;
    let to = query.time("endDate", false).unwrap_or(now);
    let from = query.time("startDate", false).unwrap_or(to - 29 * DAY_MS);
    if to < from {
        query.add_error("endDate", "before_start", "endDate is before startDate.".to_owned());
    }
    if MAX_DAYS * DAY_MS < to.millis_since(from) {
        query.add_error("startDate", "too_long", format!("The range must be at most {MAX_DAYS} days."));
    }
    query.finish()?;
    Ok((from, to))
}

pub(crate) async fn stats(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let (from, to) = range_of(query, api.app.host.now())?;
    let Statistics { days, sum } = messages::statistics(&api.app, &caller, from, to).await.map_err(problem)?;
    let get = |name: &str| sum.get(name).copied().unwrap_or(0);
    let rate = |part: i64, whole: i64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let sent = get("sent");
    let average = |ms: &str, of: i64| if of == 0 { Value::Null } else { json!(get(ms) as f64 / of as f64) };
    let percentiles = |times: &str| {
        let of = |percent| percentile_ms(&sum, times, percent);
        json!({ "p50": of(50), "p95": of(95), "p99": of(99) })
    };
    let body = json!({
        "startDate": utc_day(from),
        "endDate": utc_day(to),
        "total": get("total"),
        "totalSent": sent,
        "byChannel": group(&sum, "channel."),
        "byStatus": group(&sum, "status."),
        "byType": group(&sum, "type."),
        "byProvider": group(&sum, "provider."),
        "byTemplate": group(&sum, "template."),
        "byReason": group(&sum, "reason.total."),
        "reasonsByChannel": nested_group(&sum, "reason.channel."),
        "reasonsByProvider": nested_group(&sum, "reason.provider."),
        "costMicros": group(&sum, "cost.total."),
        "estimatedCostMicros": group(&sum, "cost.estimated."),
        "costByChannel": nested_group(&sum, "cost.channel."),
        "costByType": nested_group(&sum, "cost.type."),
        "costByProvider": nested_group(&sum, "cost.provider."),
        "byDay": days.iter().map(|(day, counters)| json!({
            "day": day,
            "total": counters.get("total").copied().unwrap_or(0),
            "byChannel": group(counters, "channel."),
            "sent": counters.get("sent").copied().unwrap_or(0),
            "delivered": counters.get("delivered").copied().unwrap_or(0),
            "costMicros": group(counters, "cost.total."),
            "byReason": group(counters, "reason.total."),
        })).collect::<Vec<_>>(),
        "deliveryRate": rate(get("delivered"), sent),
        "failureRate": rate(get("status.failed"), get("total")),
        "bounceRate": rate(get("status.bounced"), sent),
        "openRate": rate(get("opened"), get("delivered")),
        "clickRate": rate(get("clicked"), get("delivered")),
        "complaintRate": rate(get("complained"), get("delivered")),
        "unsubscribeRate": rate(get("unsubscribed"), get("delivered")),
        "retries": get("retries"),
        "averageSendTimeMs": average("accept_to_sent_ms", sent),
        "sendTimeMs": percentiles("accept_to_sent"),
        "averageDeliveryTimeMs": average("sent_to_delivered_ms", get("sent_to_delivered")),
        "deliveryTimeMs": percentiles("sent_to_delivered"),
    });
    Ok(json(StatusCode::OK, &body))
}

fn group(sum: &Counters, prefix: &str) -> BTreeMap<String, i64> {
    let named = sum.iter().filter_map(|(name, amount)| Some((name.strip_prefix(prefix)?.to_owned(), *amount)));
    named.collect()
}

/// Counters with two names: a channel or provider, and a currency or reason.
fn nested_group(sum: &Counters, prefix: &str) -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut groups: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for (name, amount) in group(sum, prefix) {
        if let Some((outer, inner)) = name.split_once('.') {
            groups.entry(outer.to_owned()).or_default().insert(inner.to_owned(), amount);
        }
    }
    groups
}

/// What sending and reminding brought in.
pub(crate) async fn business(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let (from, to) = range_of(query, api.app.host.now())?;
    let statistics = invoices::statistics(&api.app, &caller, from, to).await.map_err(invoice_problem)?;
    let BusinessStatistics { invoices, links, messages } = statistics;
    let notices = format!("type.{}", MessageType::CollectionNotice.as_str());
    let notice_costs = format!("cost.{notices}.");
    let figures = |invoices: &Counters, links: &Counters, messages: &Counters| {
        let of = |counters: &Counters, name: &str| counters.get(name).copied().unwrap_or(0);
        json!({
            "invoices": {
                "total": of(invoices, "total"),
                "sentAutomatically": of(invoices, "sent.automatic"),
                "sentManually": of(invoices, "sent.manual"),
                "settled": of(invoices, "stage.settled"),
                "settledAfterNotice": of(invoices, "settled_after_notice"),
            },
            "paymentLinks": {
                "created": of(links, "created"),
                "opened": of(links, "opened"),
                "used": of(links, "used"),
            },
            "collections": {
                "notices": of(messages, &notices),
                "stepsIssued": of(invoices, "steps.issued"),
                "stepsSkipped": group(invoices, "skipped."),
                "paidAfterNoticeMinor": group(invoices, "collected."),
                "costMicros": group(messages, &notice_costs),
            },
        })
    };
    let mut body = figures(&invoices.sum, &links.sum, &messages.sum);
    body["startDate"] = json!(utc_day(from));
    body["endDate"] = json!(utc_day(to));
    body["collections"]["paymentsByDaysAfterNotice"] = json!(group(&invoices.sum, "after_notice."));
    let days: BTreeSet<&String> =
        [&invoices, &links, &messages].into_iter().flat_map(|statistics| statistics.days.keys()).collect();
    let none = Counters::new();
    let by_day = days.into_iter().map(|day| {
        let of = |statistics: &'_ Statistics| statistics.days.get(day).unwrap_or(&none).clone();
        let mut figures = figures(&of(&invoices), &of(&links), &of(&messages));
        figures["day"] = json!(day);
        figures
    });
    body["byDay"] = by_day.collect();
    Ok(json(StatusCode::OK, &body))
}

fn present_slot(slot: &Slot) -> Value {
    json!({
        "from": show_time(slot.from),
        "until": show_time(slot.until),
        "messages": slot.count,
        "isComplete": slot.is_complete,
    })
}

/// How many messages become due in the minutes of the next hour and in the hours of the next day.
pub(crate) async fn upcoming(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let Upcoming { overdue, minutes, hours } = messages::upcoming(&api.app, &caller).await.map_err(problem)?;
    let body = json!({
        "overdue": overdue.as_ref().map_or(0, |slot| slot.count),
        "minutes": minutes.iter().map(present_slot).collect::<Vec<_>>(),
        "hours": hours.iter().map(present_slot).collect::<Vec<_>>(),
        "asOf": show_time(api.app.host.now()),
    });
    Ok(json(StatusCode::OK, &body))
}

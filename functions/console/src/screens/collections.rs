//! Collections: who had a reminder, who did not, and why?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use domain::access::{Permission, Reach};
use futures_util::future::{try_join, try_join3};
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::form::{Fields, Form};
use crate::invoice_words::{outcome_word, owed, stage_word, step_name};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::{Time, number, zone_city};
use crate::words::{self, StatusWord};

/// The days of the figures, with today.
const DAYS: i64 = 89;
/// Number of invoices on one page.
const SIZE: &str = "50";
/// The settings that the form has, beside the ladder.
const SETTINGS: [&str; 3] = ["time", "until", "timeZone"];
/// The beginning of the names of fields with the days of a step.
const STEP: &str = "step.";

#[derive(Template)]
#[template(path = "collections.html")]
struct CollectionsPage {
    shell: Shell,
    heading: String,
    lede: String,
    is_on: bool,
    note: String,
    figures: Vec<Figure>,
    filter: String,
    rows: Vec<Row>,
    older: Option<String>,
    is_first: bool,
    settings: Settings,
    faults: Vec<String>,
    checked: Option<Time>,
    findings: Vec<String>,
}

impl Page for CollectionsPage {}

struct Figure {
    name: &'static str,
    value: String,
    small: String,
    link: &'static str,
}

struct Row {
    id: String,
    number: String,
    customer: String,
    owed: String,
    due: String,
    status: StatusWord,
    last: Option<(String, StatusWord, Option<Time>)>,
}

struct Settings {
    revision: String,
    time: String,
    until: String,
    zone: String,
    steps: Vec<Step>,
}

struct Step {
    id: String,
    days: String,
    channels: String,
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    Ok(page(&visit, &query, None, Vec::new(), String::new()).await?.respond())
}

/// Saves the settings.
pub async fn save(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let current = visit.api.get("/api/collections").await?;
    let call = visit.api.call(Method::PATCH, "/api/collections").json(change_of(&form, &current));
    let revision = format!("\"{}\"", form.get("revision"));
    let refusal = match call.header("if-match", &revision).send().await {
        Ok(_) => return Ok(Redirect::to("/collections?saved=1").into_response()),
        Err(refusal) => refusal,
    };
    let query = Fields::default();
    let page = match refusal.status {
        StatusCode::PRECONDITION_FAILED => {
            let note = "This changed while you were editing. The form has your values; the reminder schedule below is \
                        the one of now. Save again to replace it.";
            page(&visit, &query, Some(&form), Vec::new(), note.to_owned()).await?
        }
        status if status.is_client_error() && status != StatusCode::FORBIDDEN => {
            let mut faults: Vec<String> = refusal.faults().into_iter().map(|fault| fault.detail).collect();
            if faults.is_empty() {
                faults.push(refusal.detail().to_owned());
            }
            let mut page = page(&visit, &query, Some(&form), faults, String::new()).await?;
            page.shell.title = format!("Error: {}", page.shell.title);
            page
        }
        _ => return Err(refusal),
    };
    Ok(page.respond_with(refusal.status))
}

/// Switches reminders on or off.
pub async fn switch(visit: Visit, Path(state): Path<String>, Form(_): Form) -> Result<Response, Refusal> {
    let path = match &*state {
        "on" => "/api/collections/enable",
        "off" => "/api/collections/disable",
        _ => return Err(Refusal::not_found("Reminders are on or off.")),
    };
    visit.api.post(path, json!({})).await?;
    Ok(Redirect::to(&format!("/collections?switched={state}")).into_response())
}

/// The change of the settings that a form asks for. Steps keep what the form does not have.
fn change_of(form: &Fields, current: &Value) -> Value {
    let mut change = Map::new();
    for name in SETTINGS {
        change.insert(name.to_owned(), json!(form.get(name)));
    }
    let mut ladder = current["ladder"].as_array().cloned().unwrap_or_default();
    for step in &mut ladder {
        let given = form.get(&format!("{STEP}{}", step["id"].as_str().unwrap_or_default())).to_owned();
        step["afterDays"] = given.parse::<i64>().map_or_else(|_| json!(given), |days| json!(days));
    }
    change.insert("ladder".to_owned(), Value::Array(ladder));
    Value::Object(change)
}

async fn page(
    visit: &Visit,
    query: &Fields,
    given: Option<&Fields>,
    faults: Vec<String>,
    note: String,
) -> Result<CollectionsPage, Refusal> {
    let filter = match query.get("show") {
        known @ ("open" | "disagrees") => known,
        _ => "overdue",
    };
    let list = visit.api.call(Method::GET, "/api/invoices").query([
        ("overdue", if filter == "overdue" { "true" } else { "" }),
        ("disagrees", if filter == "disagrees" { "true" } else { "" }),
        ("size", SIZE),
        ("cursor", query.get("cursor")),
    ]);
    let from = visit.clock().today().and_then(|today| today.checked_sub(DAYS.days()).ok());
    let from = from.map_or_else(String::new, |day| day.to_string());
    let business = visit.api.call(Method::GET, "/api/stats/business").query([("startDate", &*from)]);
    let settings = try_join(visit.api.get("/api/collections"), visit.api.get("/api/collections/status"));
    // Not everybody who may see invoices may see what they came to.
    let business = async {
        match visit.may(Permission::Stats, Reach::Everything) {
            true => business.send().await.map(|answer| Some(answer.body)),
            false => Ok(None),
        }
    };
    let (list, (settings, status), business) = try_join3(list.send(), settings, business).await?;
    let list = list.body;
    let is_on = settings["enabled"] == true;
    let rows: Vec<Row> = list["results"].as_array().into_iter().flatten().map(|row| row_of(visit, row)).collect();
    let heading = match (is_on, filter) {
        (false, _) => "Reminders are off".to_owned(),
        (true, "overdue") => overdue_heading(&rows, list["hasMore"] == true),
        (true, "disagrees") => format!("{} invoices disagree with their payments", rows.len()),
        (true, _) => "All invoices".to_owned(),
    };
    let note = match (note.is_empty(), query.get("switched"), query.has("saved")) {
        (false, ..) => note,
        (true, "on", _) => "Reminders are on. Invoices that are due today or later are taken up.".to_owned(),
        (true, "off", _) => "Reminders are off. Messages that wait are suppressed.".to_owned(),
        (true, _, true) => "Reminder schedule saved.".to_owned(),
        (true, ..) => String::new(),
    };
    Ok(CollectionsPage {
        shell: visit.shell(&heading, "collections"),
        lede: lede(&settings),
        heading,
        is_on,
        note,
        figures: business.map_or_else(Vec::new, |business| figures(&business)),
        filter: filter.to_owned(),
        older: list["nextCursor"].as_str().map(|cursor| query.with(&[("cursor", cursor)])),
        is_first: !query.has("cursor"),
        rows,
        settings: settings_of(&settings, given),
        faults,
        checked: status.pointer("/check/at").and_then(Value::as_str).and_then(|at| visit.clock().short(at)),
        findings: findings(&status["check"]),
    })
}

fn overdue_heading(rows: &[Row], has_more: bool) -> String {
    let reminded = rows.iter().filter(|row| row.last.is_some()).count();
    match rows.len() {
        0 => "No invoice is overdue".to_owned(),
        1 => format!("1 invoice is overdue, {reminded} had a reminder"),
        count if has_more => format!("More than {count} invoices are overdue"),
        count => format!("{count} invoices are overdue, {reminded} had a reminder"),
    }
}

fn lede(settings: &Value) -> String {
    let text = |name: &str| settings[name].as_str().unwrap_or_default();
    match settings["enabled"] == true {
        true => format!(
            "Customers are reminded at {} in their own time zone ({} where it is not known), and never after they \
             have paid. Each invoice gets each step once.",
            text("time"),
            zone_city(text("timeZone"))
        ),
        false => {
            "Nobody is reminded of what they owe. Switching reminders on takes up the invoices that are due today \
                  or later; older ones are not touched."
                .to_owned()
        }
    }
}

fn figures(business: &Value) -> Vec<Figure> {
    let count = |pointer: &str| number(business.pointer(pointer).and_then(Value::as_u64).unwrap_or(0));
    let paid = business.pointer("/collections/paidAfterNoticeMinor").and_then(Value::as_object);
    let paid = paid.into_iter().flatten().filter_map(|(currency, minor)| owed(minor.as_i64()?, currency));
    let paid: Vec<String> = paid.collect();
    let small = |text: &str| text.to_owned();
    vec![
        Figure {
            name: "Invoices",
            value: count("/invoices/total"),
            small: small("new in 90 days"),
            link: "/collections?show=open",
        },
        Figure {
            name: "Reminders",
            value: count("/collections/notices"),
            small: small("in 90 days"),
            link: "/messages?type=collection_notice",
        },
        Figure {
            name: "Settled after a reminder",
            value: count("/invoices/settledAfterNotice"),
            small: if paid.is_empty() { small("in 90 days") } else { paid.join(", ") },
            link: "/collections?show=open",
        },
        Figure {
            name: "Payment links used",
            value: count("/paymentLinks/used"),
            small: format!("of {} opened", count("/paymentLinks/opened")),
            link: "/messages?type=payment_link",
        },
    ]
}

fn row_of(visit: &Visit, row: &Value) -> Row {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let last = &row["lastStep"];
    let last_text = |name: &str| last[name].as_str().unwrap_or_default();
    let named = Some(text("number")).filter(|number| !number.is_empty()).unwrap_or_else(|| text("sourceId"));
    Row {
        id: text("id"),
        number: named,
        customer: text("customerId"),
        owed: row["owedMinor"].as_i64().and_then(|minor| owed(minor, &text("currency"))).unwrap_or_default(),
        due: due(&text("dueOn"), visit),
        status: stage_word(&text("status")),
        last: (!last.is_null()).then(|| {
            let at = visit.clock().day(last_text("at"));
            (step_name(last_text("step")), outcome_word(last_text("outcome"), last["reason"].as_str()), at)
        }),
    }
}

/// How long an invoice is overdue, or when it is due.
fn due(due_on: &str, visit: &Visit) -> String {
    let (Ok(due), Some(today)) = (due_on.parse::<Date>(), visit.clock().today()) else { return String::new() };
    match (today - due).get_days() {
        0 => "due today".to_owned(),
        1 => "1 day overdue".to_owned(),
        days @ 2.. => format!("{days} days overdue"),
        _ => format!("due {}", due.strftime("%-d %b %Y")),
    }
}

fn settings_of(current: &Value, given: Option<&Fields>) -> Settings {
    let value = |name: &str| match given {
        Some(given) => given.get(name).to_owned(),
        None => current[name].as_str().unwrap_or_default().to_owned(),
    };
    let steps = current["ladder"].as_array().into_iter().flatten().map(|step| {
        let id = step["id"].as_str().unwrap_or_default().to_owned();
        let channels = step["channels"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let joined = if step["mode"] == "all" { " and " } else { ", then " };
        let days = given.map(|given| given.get(&format!("{STEP}{id}")).to_owned());
        Step {
            days: days.unwrap_or_else(|| step["afterDays"].to_string()),
            channels: channels.map(words::channel).collect::<Vec<_>>().join(joined),
            id,
        }
    });
    Settings {
        revision: current["revision"].to_string(),
        time: value("time"),
        until: value("until"),
        zone: value("timeZone"),
        steps: steps.collect(),
    }
}

/// What the hourly check found that needs a person.
fn findings(check: &Value) -> Vec<String> {
    let count = |pointer: &str| check.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let found = [
        (count("/lost"), "reminders were late and have been started again"),
        (count("/disagreements/count"), "invoices have a balance that their payments do not explain"),
        (count("/unconfirmed/count"), "invoices are missing from the last statement of their source"),
        (count("/parkedEvents"), "business events were not understood"),
    ];
    found.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", number(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_changes_the_days_of_steps_and_keeps_the_rest() {
        let current = json!({ "ladder": [{ "id": "d1", "afterDays": 1, "channels": ["email"], "mode": "escalate" }] });
        let form = Fields::of_query(Some("time=10:00&until=18:00&timeZone=Europe/Madrid&step.d1=3"));
        let change = change_of(&form, &current);
        assert_eq!(
            change["ladder"],
            json!([{ "id": "d1", "afterDays": 3, "channels": ["email"], "mode": "escalate" }])
        );
        assert_eq!((&change["time"], &change["timeZone"]), (&json!("10:00"), &json!("Europe/Madrid")));
        let wrong = change_of(&Fields::of_query(Some("step.d1=soon")), &current);
        assert_eq!(wrong["ladder"][0]["afterDays"], "soon", "the API says what is wrong with it");
    }
}

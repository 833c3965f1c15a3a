//! Limits and quiet hours: how much may this business send, what may it cost, and when does it not send?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join;
use serde_json::{Map, Value, json};

use crate::faults::FormFaults;
use crate::form::{Fields, Form};
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::Time;
use crate::words;

/// The beginning of the names of fields for the caps of currencies.
const CAP: &str = "cap.";
const DEFAULTS: &str = "/api/communication-preferences/defaults";
const BAD_AMOUNT: &str = "Write an amount such as 25 or 25.50";

#[derive(Template)]
#[template(path = "limits.html")]
struct LimitsPage {
    shell: Shell,
    heading: String,
    done: &'static str,
    faults: FormFaults,
    revision: u64,
    burst: String,
    per_second: String,
    /// What is left of the rate now, of how much.
    left: Option<(u64, u64)>,
    caps: Vec<CapField>,
    new_currency: String,
    new_cap: String,
    spend: Vec<SpendRow>,
    resets: Option<Time>,
    changed: Option<Time>,
    changed_by: String,
    quiet: QuietHours,
    has_quiet: bool,
    /// What somebody else saved while this was edited.
    theirs: Option<String>,
}

impl Page for LimitsPage {}

struct CapField {
    id: String,
    currency: String,
    amount: String,
}

struct SpendRow {
    currency: String,
    spent: String,
    cap: String,
    /// Per cent of the cap, or nothing without a cap.
    share: Option<u64>,
}

#[derive(Default)]
struct QuietHours {
    start: String,
    end: String,
    zone: String,
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// An amount in millionths as it is typed: `25.5`.
fn decimal(micros: i64) -> String {
    let digits = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// An amount as it was typed, in millionths.
fn micros(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || 6 < part.len() || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    format!("{whole}{part:0<6}").parse().ok()
}

async fn load(visit: &Visit) -> Result<LimitsPage, Refusal> {
    let (limits, defaults) = try_join(visit.api.get("/api/limits"), visit.api.get(DEFAULTS)).await?;
    let clock = visit.clock();
    let number = |name: &str| limits["rate"][name].as_u64();
    let quiet = &defaults["quietHours"];
    let cap = |(currency, micros): (&String, &Value)| CapField {
        id: format!("f-dailySpendCapsMicros-{currency}"),
        currency: currency.clone(),
        amount: micros.as_i64().map_or(String::new(), decimal),
    };
    let caps: Vec<CapField> = limits["dailySpendCapsMicros"].as_object().into_iter().flatten().map(cap).collect();
    let rate = match (number("perSecond"), caps.len()) {
        (None, 0) => "No limits of your own".to_owned(),
        (None, 1) => "1 spend cap, no rate limit of your own".to_owned(),
        (None, count) => format!("{count} spend caps, no rate limit of your own"),
        (Some(rate), 0) => format!("At most {rate} messages per second, no spend cap"),
        (Some(rate), 1) => format!("At most {rate} messages per second, 1 spend cap"),
        (Some(rate), count) => format!("At most {rate} messages per second, {count} spend caps"),
    };
    let left = &limits["effectiveRate"];
    Ok(LimitsPage {
        shell: visit.shell("Limits and quiet hours", "limits"),
        heading: rate,
        done: "",
        faults: FormFaults::default(),
        revision: limits["revision"].as_u64().unwrap_or(0),
        burst: number("burst").map_or(String::new(), |burst| burst.to_string()),
        per_second: number("perSecond").map_or(String::new(), |rate| rate.to_string()),
        left: left["remaining"].as_u64().zip(left["burst"].as_u64()),
        caps,
        new_currency: String::new(),
        new_cap: String::new(),
        spend: limits["spentToday"].as_array().into_iter().flatten().map(spend_row).collect(),
        resets: clock.short(limits["resetsAt"].as_str().unwrap_or_default()),
        changed: clock.short(limits["updatedAt"].as_str().unwrap_or_default()),
        changed_by: limits["updatedBy"].as_str().map(words::actor).unwrap_or_default(),
        has_quiet: quiet.is_object(),
        quiet: QuietHours {
            start: text_of(&quiet["start"]),
            end: text_of(&quiet["end"]),
            zone: text_of(&quiet["timeZone"]),
        },
        theirs: None,
    })
}

fn spend_row(spend: &Value) -> SpendRow {
    let currency = text_of(&spend["currency"]);
    let (spent, cap) = (spend["spentMicros"].as_i64().unwrap_or(0), spend["capMicros"].as_i64());
    SpendRow {
        spent: words::money(spent, &currency),
        cap: cap.map_or_else(|| "no cap".to_owned(), |cap| words::money(cap, &currency)),
        share: cap.map(|cap| if cap <= spent { 100 } else { (spent.max(0) * 100 / cap) as u64 }),
        currency,
    }
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let mut page = load(&visit).await?;
    page.done = match query.get("done") {
        "limits" => "Limits saved. Workers notice within 15 seconds.",
        "quiet" => "Quiet hours saved. Messages that are due then wait until they end.",
        _ => "",
    };
    Ok(page.respond())
}

/// What the form asks of the API, with the fields that hold no amount.
fn body_of(form: &Fields) -> (Value, Vec<String>) {
    let (mut body, mut caps, mut wrong) = (Map::new(), Map::new(), Vec::new());
    let number = |name: &str| form.get(name).parse::<u64>().map_or_else(|_| json!(form.get(name)), Value::from);
    let rate = match form.has("burst") || form.has("perSecond") {
        true => json!({ "burst": number("burst"), "perSecond": number("perSecond") }),
        false => Value::Null,
    };
    body.insert("rate".to_owned(), rate);
    for (currency, amount) in form.under(CAP) {
        match amount.trim() {
            "" => drop(caps.insert(currency.to_owned(), Value::Null)),
            amount => match micros(amount) {
                Some(micros) => drop(caps.insert(currency.to_owned(), json!(micros))),
                None => wrong.push(format!("f-dailySpendCapsMicros-{currency}")),
            },
        }
    }
    if form.has("newCurrency") || form.has("newCap") {
        match micros(form.get("newCap")) {
            Some(micros) => drop(caps.insert(form.get("newCurrency").to_uppercase(), json!(micros))),
            None => wrong.push("f-newCap".to_owned()),
        }
    }
    body.insert("dailySpendCapsMicros".to_owned(), Value::Object(caps));
    (Value::Object(body), wrong)
}

/// Saves the rate and the caps.
pub async fn submit(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let (body, wrong) = body_of(&form);
    if !wrong.is_empty() {
        let faults = wrong.into_iter().map(|id| (id, BAD_AMOUNT.to_owned()));
        return again(&visit, &form, FormFaults::new(faults), false).await;
    }
    let call = visit.api.call(Method::PATCH, "/api/limits").json(body);
    match call.header("if-match", &format!("\"{}\"", form.get("revision"))).send().await {
        Ok(_) => Ok(Redirect::to("/settings/limits?done=limits").into_response()),
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            again(&visit, &form, FormFaults::default(), true).await
        }
        Err(refusal) if refusal.status.is_client_error() && refusal.status != StatusCode::FORBIDDEN => {
            let new = format!("f-dailySpendCapsMicros-{}", form.get("newCurrency").to_uppercase());
            let faults = FormFaults::of(&refusal, "f-rate").moved(&new, "f-newCurrency");
            again(&visit, &form, faults.moved("f-dailySpendCapsMicros", "f-newCurrency"), false).await
        }
        Err(refusal) => Err(refusal),
    }
}

/// The page with what was typed.
async fn again(visit: &Visit, form: &Fields, faults: FormFaults, is_stale: bool) -> Result<Response, Refusal> {
    let mut page = load(visit).await?;
    if is_stale {
        let caps = page.caps.iter().map(|cap| format!("{} {} a day", cap.amount, cap.currency));
        let rate = match page.per_second.as_str() {
            "" => "no rate limit".to_owned(),
            rate => format!("{rate} per second after a burst of {}", page.burst),
        };
        page.theirs = Some([rate].into_iter().chain(caps).collect::<Vec<_>>().join(", "));
    } else {
        page.shell.title = format!("Error: {}", page.shell.title);
    }
    let typed = |name: &str| form.get(name).to_owned();
    (page.burst, page.per_second) = (typed("burst"), typed("perSecond"));
    (page.new_currency, page.new_cap) = (typed("newCurrency"), typed("newCap"));
    for cap in &mut page.caps {
        cap.amount = typed(&format!("{CAP}{}", cap.currency));
    }
    page.faults = faults;
    let status = if is_stale { StatusCode::PRECONDITION_FAILED } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(page.respond_with(status))
}

/// Saves or removes the quiet hours of everybody who has none of their own.
pub async fn submit_quiet(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let quiet = match form.get("do") {
        "remove" => Value::Null,
        _ => json!({ "start": form.get("start"), "end": form.get("end"), "timeZone": form.get("zone") }),
    };
    match visit.api.call(Method::PATCH, DEFAULTS).json(json!({ "quietHours": quiet })).send().await {
        Ok(_) => Ok(Redirect::to("/settings/limits?done=quiet").into_response()),
        Err(refusal) if refusal.status.is_client_error() && refusal.status != StatusCode::FORBIDDEN => {
            let mut page = load(&visit).await?;
            page.shell.title = format!("Error: {}", page.shell.title);
            let typed = |name: &str| form.get(name).to_owned();
            page.quiet = QuietHours { start: typed("start"), end: typed("end"), zone: typed("zone") };
            page.faults = FormFaults::of(&refusal, "f-quietHours-start").moved("f-quietHours", "f-quietHours-start");
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_typed_as_people_write_them() {
        let read = ["25", "25.5", "0,000001", "", "1.2345678", "-1", "x"].map(micros);
        assert_eq!(read, [Some(25_000_000), Some(25_500_000), Some(1), None, None, None, None]);
        assert_eq!([25_000_000, 25_500_000, 1].map(decimal), ["25", "25.5", "0.000001"]);
    }

    #[test]
    fn an_empty_field_removes_a_limit() {
        let form = Fields::of_query(Some("burst=&perSecond=&cap.USD=&cap.EUR=9.5&newCurrency=kes&newCap=1"));
        let expected = json!({
            "rate": null, "dailySpendCapsMicros": { "USD": null, "EUR": 9_500_000, "KES": 1_000_000 },
        });
        assert_eq!(body_of(&form), (expected, Vec::new()));
        assert_eq!(body_of(&Fields::of_query(Some("cap.USD=lots"))).1, ["f-dailySpendCapsMicros-USD"]);
    }
}

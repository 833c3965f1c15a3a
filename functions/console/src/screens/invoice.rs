//! One invoice: what is owed, which reminders went out, and why not the others?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join3;
use serde_json::{Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::history::{Entry, entries};
use crate::invoice_words::{outcome_word, owed, stage_word, step_name};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::screens::person::paths::page_of;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::{Time, local_time_and_place};
use crate::words::{self, CHANNELS, StatusWord};

#[derive(Template)]
#[template(path = "invoice.html")]
struct InvoicePage {
    shell: Shell,
    id: String,
    number: String,
    heading: String,
    lede: String,
    status: StatusWord,
    done: &'static str,
    steps: Vec<Step>,
    payments: Vec<Payment>,
    history: Vec<Entry>,
    facts: Vec<(&'static str, String)>,
    customer: String,
    customer_link: String,
    sent: Option<String>,
    link: Option<LinkState>,
    /// Reminders that a person can send now.
    open_steps: Vec<(String, String)>,
    is_held: bool,
    is_disputed: bool,
    is_open: bool,
    form_key: String,
}

impl Page for InvoicePage {}

/// A step of the reminder schedule.
struct Step {
    name: String,
    due: String,
    outcome: StatusWord,
    text: String,
    messages: Vec<String>,
}

struct Payment {
    id: String,
    /// Empty for one that failed and was never reported as received.
    amount: String,
    at: Option<Time>,
    has_failed: bool,
}

struct LinkState {
    state: String,
    openings: String,
    expires: Option<Time>,
}

pub async fn show(visit: Visit, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let path = format!("/api/invoices/{}", segment(&id));
    let (invoice, explained, history) = try_join3(
        visit.api.get(path.clone()),
        visit.api.get(format!("{path}/explain")),
        visit.api.get(format!("{path}/events")),
    )
    .await?;
    let query = Fields::of_query(query.as_deref());
    let clock = visit.clock();
    let text = |name: &str| invoice[name].as_str().unwrap_or_default().to_owned();
    let number = Some(text("number")).filter(|number| !number.is_empty()).unwrap_or_else(|| text("sourceId"));
    let summary = explained["summary"].as_str().unwrap_or_default().trim_end_matches('.').to_owned();
    let steps: Vec<Step> = explained["steps"].as_array().into_iter().flatten().map(step).collect();
    let stage = text("status");
    let is_open = ["open", "collecting", "paused", "promised", "ladder_over"].contains(&&*stage);
    let open = explained["steps"].as_array().into_iter().flatten().filter(|step| step["verdict"] == "waits");
    let open = open.filter_map(|step| step["step"].as_str()).map(|id| (id.to_owned(), step_name(id)));
    let page = InvoicePage {
        shell: visit.shell(&format!("{number}: {summary}"), "collections"),
        heading: summary,
        lede: lede(&invoice),
        status: stage_word(&stage),
        done: done(query.get("done")),
        steps,
        payments: payments(&visit, &invoice),
        history: entries(&history, &clock),
        facts: facts(&invoice),
        customer_link: page_of("customer", &text("customerId")),
        customer: text("customerId"),
        sent: invoice.pointer("/sent/communicationId").and_then(Value::as_str).map(str::to_owned),
        link: (!invoice["paymentLink"].is_null()).then(|| LinkState {
            state: words::sentence_case(invoice["paymentLink"]["state"].as_str().unwrap_or_default()),
            openings: invoice["paymentLink"]["openings"].to_string(),
            expires: invoice["paymentLink"]["expiresAt"].as_str().and_then(|at| clock.short(at)),
        }),
        open_steps: if is_open { open.collect() } else { Vec::new() },
        is_held: !invoice["hold"].is_null(),
        is_disputed: stage == "disputed",
        is_open,
        form_key: visit.form_key.clone(),
        id: text("id"),
        number,
    };
    Ok(page.respond())
}

fn lede(invoice: &Value) -> String {
    let currency = invoice["currency"].as_str().unwrap_or_default();
    let amount = |name: &str| invoice[name].as_i64().and_then(|minor| owed(minor, currency));
    let (Some(left), Some(total)) = (amount("owedMinor"), amount("totalMinor")) else {
        return "It is not issued yet, so nothing is owed.".to_owned();
    };
    let due = invoice["dueOn"].as_str().map_or_else(String::new, |day| format!(" It was due on {}.", plain_day(day)));
    let due = if invoice["overdue"] == true { due } else { due.replace("was due", "is due") };
    match invoice["owedMinor"].as_i64() {
        Some(0) => format!("Nothing is owed of {total}."),
        _ if left == total => format!("{total} is owed.{due}"),
        _ => format!("{left} of {total} is owed.{due}"),
    }
}

fn plain_day(day: &str) -> String {
    day.parse::<jiff::civil::Date>().map_or_else(|_| day.to_owned(), |day| day.strftime("%-d %b %Y").to_string())
}

fn done(act: &str) -> &'static str {
    match act {
        "pause" => "Reminders paused.",
        "resume" => "Reminders go on.",
        "promise" => "Promise noted. No reminder leaves until then.",
        "dispute" => "Saved. The history shows it.",
        "remind" => "The reminder leaves within a minute, or at the next time that reminders can leave.",
        "send" => "Invoice sent.",
        "send-requested" => "The invoice is printed first. It leaves in a moment.",
        "payment-link" => "Payment link sent.",
        "restart" => "The reminders begin again tomorrow.",
        _ => "",
    }
}

fn step(step: &Value) -> Step {
    let text = |name: &str| step[name].as_str().unwrap_or_default();
    let (verdict, code) = (text("verdict"), text("code"));
    let messages = step["communicationIds"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Step {
        name: step_name(text("step")),
        due: local_time_and_place(text("due")),
        outcome: outcome_word(verdict, Some(code)),
        text: text("text").to_owned(),
        messages: messages.map(str::to_owned).collect(),
    }
}

fn payments(visit: &Visit, invoice: &Value) -> Vec<Payment> {
    let payment = |payment: &Value| Payment {
        id: payment["id"].as_str().unwrap_or_default().to_owned(),
        amount: payment["amountMinor"]
            .as_i64()
            .and_then(|minor| owed(minor, payment["currency"].as_str().unwrap_or_default()))
            .unwrap_or_default(),
        at: payment["receivedAt"].as_str().and_then(|at| visit.clock().short(at)),
        has_failed: !payment["failedAt"].is_null(),
    };
    let list = |name: &str| invoice[name].as_array().into_iter().flatten();
    let is_received = |id: &Value| list("payments").any(|payment| payment["id"] == *id);
    let only_failed = list("failedPayments").filter(|failed| !is_received(&failed["id"]));
    list("payments").chain(only_failed).map(payment).collect()
}

fn facts(invoice: &Value) -> Vec<(&'static str, String)> {
    let text = |name: &str| invoice[name].as_str().unwrap_or_default().to_owned();
    let day = |name: &str| invoice[name].as_str().map(plain_day).unwrap_or_default();
    let hold = match invoice.pointer("/hold/kind").and_then(Value::as_str) {
        Some(kind) => {
            let until = invoice.pointer("/hold/until").and_then(Value::as_str);
            let until = until.map_or_else(|| "until resumed".to_owned(), |day| format!("until {}", plain_day(day)));
            format!("{} {until}", words::sentence_case(kind))
        }
        None => String::new(),
    };
    let facts = [
        ("Issued", day("issuedOn")),
        ("Due", day("dueOn")),
        ("Agreed", hold),
        ("From", text("namespace")),
        ("ID there", text("sourceId")),
        ("State there", words::sentence_case(&text("sourceStatus"))),
    ];
    facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Pauses, resumes, reminds and sends, and shows the invoice again.
pub async fn act(visit: Visit, Path((id, act)): Path<(String, String)>, Form(form): Form) -> Result<Response, Refusal> {
    let body = match &*act {
        "resume" | "restart" => json!({}),
        "pause" if form.has("until") => json!({ "until": form.get("until") }),
        "pause" => json!({}),
        "promise" => json!({ "on": form.get("on") }),
        "dispute" => json!({ "resolved": form.is("resolved", "true") }),
        "remind" => json!({ "step": form.get("step") }),
        "send" | "payment-link" if form.has("channel") => json!({ "channel": form.get("channel") }),
        "send" | "payment-link" => json!({}),
        _ => return Err(Refusal::not_found("An invoice has no such action.")),
    };
    let path = format!("/api/invoices/{}/{act}", segment(&id));
    let call = visit.api.call(Method::POST, path).json(body);
    let call = if form.has("key") { call.header("idempotency-key", form.get("key")) } else { call };
    let answer = call.send().await?;
    let done = if answer.body["status"] == "requested" { format!("{act}-requested") } else { act };
    Ok(Redirect::to(&format!("/invoices/{}?done={done}", segment(&id))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_one_sentence() {
        let invoice = json!({
            "currency": "EUR", "totalMinor": 10_000, "owedMinor": 4_000, "dueOn": "2027-03-27", "overdue": true,
        });
        assert_eq!(lede(&invoice), "€40.00 of €100.00 is owed. It was due on 27 Mar 2027.");
        assert_eq!(
            lede(&json!({ "currency": "EUR", "totalMinor": 10_000, "owedMinor": 0 })),
            "Nothing is owed of €100.00."
        );
    }
}

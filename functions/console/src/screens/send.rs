//! Send a message: will it go, and what will it look like?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::refusal::{FieldFault, Refusal};
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::Clock;
use crate::words::{self, CHANNELS, TYPES};

/// The beginning of the names of fields for a template's variables.
const VARIABLE: &str = "v.";

#[derive(Template)]
#[template(path = "send.html")]
struct SendPage {
    shell: Shell,
    given: Fields,
    templates: Vec<TemplateChoice>,
    variables: Vec<Variable>,
    faults: Vec<Fault>,
    checked: Option<Checked>,
    /// Whether the form has sent another message before.
    was_used: bool,
    form_key: String,
    zone: String,
}

impl Page for SendPage {}

struct TemplateChoice {
    id: String,
    name: String,
    is_chosen: bool,
}

/// A variable of the chosen template, as it was filled in.
struct Variable {
    name: String,
    value: String,
}

/// Something that stops the message, with the field where it is mended.
struct Fault {
    field: String,
    detail: String,
}

/// The result of a check without sending.
struct Checked {
    verdict: String,
    checks: Vec<Check>,
    subject: String,
    text: String,
    is_email: bool,
}

/// One check: passed, later because of it, or not at all.
struct Check {
    tone: &'static str,
    icon: &'static str,
    text: String,
    /// The field where it is mended.
    field: Option<String>,
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let given = Fields::of_query(query.as_deref());
    let page = page(&visit, given, Vec::new(), None).await?;
    Ok(page.respond())
}

/// Sends the message, or checks it without sending.
pub async fn submit(visit: Visit, RawQuery(query): RawQuery, Form(form): Form) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    // A live preview names its act in the address.
    let act = if query.has("do") { query.get("do") } else { form.get("do") }.to_owned();
    if act == "fields" {
        return Ok(page(&visit, form, Vec::new(), None).await?.respond());
    }
    let message = match message_of(&form, &visit.zone) {
        Ok(message) => message,
        Err(fault) if act == "send" => return faulty(&visit, form, vec![fault]).await,
        Err(_) => message_of(&form.without("at"), &visit.zone).unwrap_or_default(),
    };
    if act == "check" {
        let call = visit.api.call(Method::POST, "/api/communications/send").query([("dryRun", "true")]).json(message);
        return match call.header("idempotency-key", form.get("key")).send().await {
            Ok(said) => {
                let checked = checked(&said.body, &visit.clock());
                Ok(page(&visit, form, Vec::new(), Some(checked)).await?.respond())
            }
            // A live preview says what is missing beside the preview, without an error page.
            Err(refusal) if query.has("do") && refusal.status.is_client_error() => {
                Ok(page(&visit, form, Vec::new(), Some(incomplete(&refusal))).await?.respond())
            }
            Err(refusal) if refusal.status.is_client_error() => refused(&visit, form, &refusal).await,
            Err(refusal) => Err(refusal),
        };
    }
    let send = visit.api.call(Method::POST, "/api/communications/send").json(message);
    match send.header("idempotency-key", form.get("key")).send().await {
        Ok(sent) => {
            let id = sent.body["id"].as_str().unwrap_or_default();
            Ok(Redirect::to(&format!("/messages/{}", segment(id))).into_response())
        }
        Err(refusal) if refusal.status.is_client_error() => refused(&visit, form, &refusal).await,
        Err(refusal) => Err(refusal),
    }
}

/// The form again, with what stops the message.
async fn refused(visit: &Visit, form: Fields, refusal: &Refusal) -> Result<Response, Refusal> {
    if refusal.is_form_used() {
        return used(visit, form).await;
    }
    let named = refusal.faults();
    let mut faults: Vec<Fault> = named.iter().map(fault).collect();
    if faults.is_empty() {
        faults.push(Fault { field: "f-to".to_owned(), detail: refusal.detail().to_owned() });
    }
    faulty(visit, form, faults).await
}

/// The form again with a new key, because it has sent another message before.
async fn used(visit: &Visit, form: Fields) -> Result<Response, Refusal> {
    let mut page = page(visit, form, Vec::new(), None).await?;
    page.was_used = true;
    page.form_key.clone_from(&visit.form_key);
    page.shell.title = format!("Error: {}", page.shell.title);
    Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
}

async fn faulty(visit: &Visit, form: Fields, faults: Vec<Fault>) -> Result<Response, Refusal> {
    let mut page = page(visit, form, faults, None).await?;
    page.shell.title = format!("Error: {}", page.shell.title);
    Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
}

fn fault(FieldFault { pointer, detail }: &FieldFault) -> Fault {
    let mut parts = pointer
        .trim_start_matches('/')
        .split('/')
        .skip_while(|part| part.parse::<usize>().is_ok() || *part == "communications");
    let field = match parts.next().unwrap_or_default() {
        "channel" => "f-channel",
        "type" => "f-type",
        "templateId" => "f-template",
        "templateVariables" => "f-variables",
        "subject" => "f-subject",
        "content" => "f-content",
        "scheduledAt" | "expiresAt" => "f-at",
        _ => "f-to",
    };
    Fault { field: field.to_owned(), detail: detail.clone() }
}

/// The body of the API's request.
fn message_of(form: &Fields, zone: &TimeZone) -> Result<Value, Fault> {
    let mut body = Map::new();
    for name in ["channel", "type", "recipientContact", "recipientName", "recipientId", "recipientType", "templateId"] {
        if form.has(name) {
            body.insert(name.to_owned(), json!(form.get(name)));
        }
    }
    if form.has("templateId") {
        let variables = form.under(VARIABLE).filter(|(_, value)| !value.trim().is_empty());
        let variables: Map<String, Value> = variables.map(|(name, value)| (name.to_owned(), variable(value))).collect();
        body.insert("templateVariables".to_owned(), Value::Object(variables));
    } else {
        for name in ["subject", "content"] {
            if form.has(name) {
                body.insert(name.to_owned(), json!(form.raw(name)));
            }
        }
    }
    if form.is("when", "later") {
        let at = instant(form.get("at"), zone).ok_or_else(|| Fault {
            field: "f-at".to_owned(),
            detail: "Give the day and the time, such as 2026-12-05 09:00".to_owned(),
        })?;
        body.insert("scheduledAt".to_owned(), json!(at));
    }
    Ok(Value::Object(body))
}

/// A time of the reader's clock, or with an offset of its own.
fn instant(given: &str, zone: &TimeZone) -> Option<String> {
    if let Ok(exact) = given.parse::<jiff::Timestamp>() {
        return Some(exact.to_string());
    }
    let civil: jiff::civil::DateTime = given.replace(' ', "T").parse().ok()?;
    Some(civil.to_zoned(zone.clone()).ok()?.timestamp().to_string())
}

/// Amounts are numbers, lists and objects are JSON, and everything else is text.
fn variable(given: &str) -> Value {
    let given = given.trim();
    let parsed = serde_json::from_str::<Value>(given).ok();
    parsed.filter(|value| value.is_number() || value.is_array() || value.is_object()).unwrap_or_else(|| json!(given))
}

/// What the API says would happen.
fn checked(said: &Value, clock: &Clock) -> Checked {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = said["errors"].as_array().map_or(&[][..], Vec::as_slice);
    let field_of = |detail: &str| {
        let error = errors.iter().find(|error| error["detail"] == detail)?;
        Some(fault(&FieldFault { pointer: text(&error["pointer"]), detail: String::new() }).field)
    };
    let check = |check: &Value| {
        let (tone, icon) = match check["result"].as_str().unwrap_or_default() {
            "passed" => ("good", "check"),
            "delayed" => ("warn", "s-scheduled"),
            _ => ("bad", "s-failed"),
        };
        let detail = text(&check["detail"]);
        let shown = match check["check"].as_str().unwrap_or_default() {
            "route" if tone == "good" => {
                format!("Sent via {}.", words::config(said["provider"].as_str().unwrap_or_default()))
            }
            "duplicates" if errors.iter().any(|error| error["code"] == "idempotency_key_reused") => {
                "This form has already sent a message. Sending it asks you once more.".to_owned()
            }
            _ => detail.clone(),
        };
        Check { tone, icon, field: field_of(&detail), text: shown }
    };
    let mut checks: Vec<Check> = said["checks"].as_array().into_iter().flatten().map(check).collect();
    if said["rendered"].is_object() {
        checks.push(Check {
            tone: "good",
            icon: "check",
            text: format!("{}.", cost(&said["estimatedCost"])),
            field: None,
        });
    }
    let at = said["wouldSendAt"].as_str().and_then(|at| clock.short(at));
    let is_delayed = checks.iter().any(|check| check.tone == "warn");
    let verdict = match (said["wouldSend"] == true, at) {
        (true, Some(at)) if is_delayed || said["wouldSendAt"].as_str().is_some_and(|at| is_later(at, clock)) => {
            format!("It would be sent at {}.", at.text)
        }
        (true, _) => "Nothing stops this message.".to_owned(),
        (false, _) => "It would not be sent.".to_owned(),
    };
    let rendered = &said["rendered"];
    Checked {
        verdict,
        checks,
        subject: text(&rendered["subject"]),
        text: text(&rendered["text"]),
        is_email: said["channel"] == "email",
    }
}

/// What is missing before anything can be said about the message.
fn incomplete(refusal: &Refusal) -> Checked {
    let check = |named: &FieldFault| {
        let Fault { field, detail } = fault(named);
        Check { tone: "bad", icon: "s-failed", text: detail, field: Some(field) }
    };
    Checked {
        verdict: "It is not complete yet.".to_owned(),
        checks: refusal.faults().iter().map(check).collect(),
        subject: String::new(),
        text: String::new(),
        is_email: false,
    }
}

/// Whether a time is more than a minute ahead.
fn is_later(at: &str, clock: &Clock) -> bool {
    at.parse::<jiff::Timestamp>().is_ok_and(|at| clock.now.0 + 60_000 < at.as_millisecond())
}

fn cost(cost: &Value) -> String {
    match (cost["costMicros"].as_i64(), cost["currency"].as_str()) {
        (Some(micros), Some(currency)) => format!("About {}", words::money(micros, currency)),
        _ => "No price is known".to_owned(),
    }
}

async fn page(visit: &Visit, given: Fields, faults: Vec<Fault>, checked: Option<Checked>) -> Result<SendPage, Refusal> {
    let found = visit.api.get("/api/communication-templates").await?;
    let all = found["templates"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fits = |template: &&Value| {
        !given.has("channel") || template["channel"].is_null() || template["channel"] == given.get("channel")
    };
    let choice = |template: &Value| TemplateChoice {
        name: format!(
            "{} ({}, {})",
            text(&template["name"]),
            words::channel(template["channel"].as_str().unwrap_or_default()),
            text(&template["locale"])
        ),
        is_chosen: given.is("templateId", template["id"].as_str().unwrap_or_default()),
        id: text(&template["id"]),
    };
    let chosen = all.iter().find(|template| {
        given.has("templateId") && given.is("templateId", template["id"].as_str().unwrap_or_default())
    });
    let names = chosen.and_then(|template| template["availableVariables"].as_array()).into_iter().flatten();
    let variable = |name: &Value| {
        let name = text(name);
        Variable { value: given.raw(&format!("{VARIABLE}{name}")).to_owned(), name }
    };
    Ok(SendPage {
        shell: visit.shell("Send a message", "send"),
        zone: visit.clock().zone_name(),
        templates: all.iter().filter(fits).map(choice).collect(),
        variables: names.map(variable).collect(),
        faults,
        checked,
        was_used: false,
        // A form that comes back keeps its key, so that sending it twice sends once.
        form_key: Some(given.get("key").to_owned())
            .filter(|key| !key.is_empty())
            .unwrap_or_else(|| visit.form_key.clone()),
        given,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_the_body_of_a_request() {
        let form = Fields::of_query(Some(
            "channel=sms&recipientContact=+%2B44+&templateId=tpl&v.amount=248.50&v.number=INV-7&v.items=[1]&v.none=&subject=x",
        ));
        let expected = json!({
            "channel": "sms", "recipientContact": "+44", "templateId": "tpl",
            "templateVariables": { "amount": 248.5, "number": "INV-7", "items": [1] },
        });
        assert_eq!(message_of(&form, &TimeZone::UTC).ok(), Some(expected));
    }

    #[test]
    fn times_are_those_of_the_readers_clock() {
        let amsterdam = TimeZone::get("Europe/Amsterdam").expect("a zone");
        assert_eq!(instant("2026-12-05T09:00", &amsterdam).as_deref(), Some("2026-12-05T08:00:00Z"));
        assert_eq!(instant("2026-12-05T09:00:00+05:00", &amsterdam).as_deref(), Some("2026-12-05T04:00:00Z"));
        assert_eq!(instant("tomorrow", &amsterdam), None);
    }

    #[test]
    fn a_fault_leads_to_its_field() {
        let at = |pointer: &str| fault(&FieldFault { pointer: pointer.to_owned(), detail: String::new() }).field;
        assert_eq!(
            [at("/communications/0/content"), at("/templateVariables"), at("/recipientContact")],
            ["f-content", "f-variables", "f-to"]
        );
    }
}

//! Send a message: will it go, and what will it look like?

use askama::Template;
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::refusal::{FieldFault, Refusal};
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
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
    form_key: String,
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
    cost: String,
    preview: Preview,
}

#[derive(Default)]
struct Preview {
    subject: String,
    text: String,
    length: String,
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let given = Fields::of_query(query.as_deref());
    let page = page(&visit, given, Vec::new(), None).await?;
    Ok(page.respond())
}

/// Sends the message, or checks it without sending.
pub async fn submit(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    if form.is("do", "fields") {
        return Ok(page(&visit, form, Vec::new(), None).await?.respond());
    }
    let message = message_of(&form);
    if form.is("do", "check") {
        let body = json!({ "communications": [message], "validateOnly": true });
        let answer = visit.api.post("/api/communications/batch", body).await?;
        let result = &answer["results"][0];
        let problem = &result["problem"];
        if !problem.is_null() {
            let refusal = Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, problem: problem.clone() };
            return refused(&visit, form, &refusal).await;
        }
        let preview = preview(&visit, &form, &message).await?;
        let checked = Checked { cost: cost(&result["estimatedCost"]), preview };
        return Ok(page(&visit, form, Vec::new(), Some(checked)).await?.respond());
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
    let named = refusal.faults();
    let mut faults: Vec<Fault> = named.iter().map(fault).collect();
    if faults.is_empty() {
        faults.push(Fault { field: "f-to".to_owned(), detail: refusal.detail().to_owned() });
    }
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
        "scheduledAt" => "f-at",
        _ => "f-to",
    };
    Fault { field: field.to_owned(), detail: detail.clone() }
}

/// The body of the API's request.
fn message_of(form: &Fields) -> Value {
    let mut body = Map::new();
    for name in ["channel", "type", "recipientContact", "recipientName", "recipientId", "templateId"] {
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
    if form.has("scheduledAt") {
        body.insert("scheduledAt".to_owned(), json!(form.get("scheduledAt")));
    }
    Value::Object(body)
}

/// Amounts are numbers, lists and objects are JSON, and everything else is text.
fn variable(given: &str) -> Value {
    let given = given.trim();
    let parsed = serde_json::from_str::<Value>(given).ok();
    parsed.filter(|value| value.is_number() || value.is_array() || value.is_object()).unwrap_or_else(|| json!(given))
}

/// What the recipient would see. Without a template it is the text itself.
async fn preview(visit: &Visit, form: &Fields, message: &Value) -> Result<Preview, Refusal> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !form.has("templateId") {
        return Ok(Preview {
            subject: text(&message["subject"]),
            text: text(&message["content"]),
            ..Preview::default()
        });
    }
    let path = format!("/api/communication-templates/{}/preview", segment(form.get("templateId")));
    let shown = visit.api.post(path, json!({ "variables": message["templateVariables"] })).await?;
    let segments = &shown["segments"];
    let length = segments["count"].as_u64().map_or(String::new(), |count| {
        format!("{count} SMS {}, {}", if count == 1 { "segment" } else { "segments" }, text(&segments["encoding"]))
    });
    Ok(Preview { subject: text(&shown["subject"]), text: text(&shown["text"]), length })
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
        templates: all.iter().filter(fits).map(choice).collect(),
        variables: names.map(variable).collect(),
        faults,
        checked,
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
        assert_eq!(message_of(&form), expected);
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

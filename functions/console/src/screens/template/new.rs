//! A new template, from nothing or from another one.

use askama::Template;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};

use super::check::Content;
use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::refusal::{FieldFault, Refusal};
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::words::{CHANNELS, TYPES};

#[derive(Template)]
#[template(path = "template-new.html")]
struct NewTemplatePage {
    shell: Shell,
    given: Draft,
    faults: Vec<FieldFault>,
    source: String,
}

impl Page for NewTemplatePage {}

/// The fields of the form.
#[derive(Default)]
struct Draft {
    name: String,
    code: String,
    channel: String,
    locale: String,
    kind: String,
    description: String,
    content: Content,
}

impl NewTemplatePage {
    fn fault(&self, field: &str) -> String {
        let pointer = format!("/{field}");
        self.faults.iter().find(|fault| fault.pointer == pointer).map_or(String::new(), |fault| fault.detail.clone())
    }
}

pub async fn show(visit: Visit, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let mut given = Draft { kind: "general_notification".to_owned(), ..Draft::default() };
    let mut source = String::new();
    if query.has("from") {
        let from = visit.api.get(format!("/api/communication-templates/{}", segment(query.get("from")))).await?;
        source = from["name"].as_str().unwrap_or_default().to_owned();
        given = copy_of(&from, query.get("channel"));
    }
    Ok(page(&visit, given, Vec::new(), source).respond())
}

/// A form that is filled from a template. Its code stays if the channel differs or the system's template is replaced.
fn copy_of(from: &Value, channel: &str) -> Draft {
    let text = |name: &str| from[name].as_str().unwrap_or_default().to_owned();
    let channel = if channel.is_empty() { text("channel") } else { channel.to_owned() };
    let is_same = from["isSystem"] == false && channel == text("channel");
    let code = if is_same { format!("{}_copy", text("code")) } else { text("code") };
    let mut content = Content::of(from);
    if channel == "email" && content.subject.is_empty() {
        content.subject = text("name");
    }
    Draft {
        name: if is_same { format!("{} (copy)", text("name")) } else { text("name") },
        code,
        channel,
        locale: text("locale"),
        kind: text("type"),
        description: text("description"),
        content,
    }
}

fn page(visit: &Visit, given: Draft, faults: Vec<FieldFault>, source: String) -> NewTemplatePage {
    let mut shell = visit.shell("New template", "templates");
    if !faults.is_empty() {
        shell.title = format!("Error: {}", shell.title);
    }
    NewTemplatePage { shell, given, faults, source }
}

pub async fn create(visit: Visit, Form(form): Form) -> Result<Response, Refusal> {
    let text = |name: &str| form.get(name).to_owned();
    let given = Draft {
        name: text("name"),
        code: text("code"),
        channel: text("channel"),
        locale: text("locale"),
        kind: text("type"),
        description: text("description"),
        content: Content { subject: text("subjectTemplate"), body: form.text("bodyTemplate") },
    };
    let mut body: Map<String, Value> = given.content.fields(&given.channel);
    let fields = [
        ("name", &given.name),
        ("code", &given.code),
        ("channel", &given.channel),
        ("locale", &given.locale),
        ("type", &given.kind),
        ("description", &given.description),
    ];
    body.extend(
        fields.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), json!(value))),
    );
    body.retain(|_, value| value != "");
    match visit.api.post("/api/communication-templates", Value::Object(body)).await {
        Ok(created) => {
            let id = created["id"].as_str().unwrap_or_default();
            Ok(Redirect::to(&format!("/templates/{}?done=created", segment(id))).into_response())
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let mut faults = refusal.faults();
            if faults.is_empty() {
                let detail = refusal.detail().to_owned();
                faults.push(FieldFault { pointer: "/code".to_owned(), detail });
            }
            let page = page(&visit, given, faults, String::new());
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_a_free_name_and_an_override_keeps_it() {
        let mut from = json!({ "name": "Offer", "code": "offer", "channel": "sms", "locale": "en", "isSystem": false });
        assert_eq!(copy_of(&from, "").code, "offer_copy");
        let on_email = copy_of(&from, "email");
        assert_eq!((on_email.code.as_str(), on_email.content.subject.as_str()), ("offer", "Offer"));
        from["isSystem"] = json!(true);
        assert_eq!(copy_of(&from, "").code, "offer");
    }
}

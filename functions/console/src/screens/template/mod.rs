//! One template: can I publish it, and what will change?

mod check;
pub mod delete;
mod diff;
mod editor;
mod mail;
pub mod new;
mod paths;
pub mod versions;

use axum::extract::RawQuery;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use crate::api_client::segment;
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::{FieldFault, Refusal};
use crate::session::Visit;
use crate::shell::Page;
use check::Content;
use editor::{Edited, Note, load};
use paths::{page_of, path_of};

pub use mail::{mail, mail_of_form};

pub async fn show(visit: Visit, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let note = match query.get("done") {
        "created" => "Template created. New messages can use it.",
        "published" => "Published. New messages use this version.",
        "restored" => "Restored as a new version. New messages use it.",
        "saved" => "Draft saved. No message uses it until you publish it.",
        "discarded" => "Draft discarded.",
        "gone" => "There is no draft any more: it was published or discarded meanwhile.",
        "archived" => "Archived. New messages no longer use it.",
        "activated" => "New messages use it again.",
        _ => "",
    };
    let note = (!note.is_empty()).then(|| Note::good(note));
    let loaded = load(&visit, &id).await?;
    let edited = Edited { sample: query.get("sample").to_owned(), ..Edited::stored(&loaded) };
    Ok(loaded.page(&visit, edited, note, Vec::new()).await?.respond())
}

/// Saves, previews or sends what is in the editor.
pub async fn submit(
    visit: Visit,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    Form(form): Form,
) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let mut edited = Edited::of_form(&form);
    let act = if query.has("do") { query.get("do") } else { form.get("do") };
    if form.has("insert") {
        edited.content.body.push_str(&format!("{{{{{}}}}}", form.get("insert")));
        return again(&visit, &id, edited, None, Vec::new()).await;
    }
    match act {
        "save" | "publish" => save(&visit, &id, edited, act == "publish").await,
        "test" => send_test(&visit, &id, edited, &form).await,
        "sample" => save_sample(&visit, &id, edited, &form).await,
        "describe" => describe(&visit, &id, edited, &form).await,
        _ => again(&visit, &id, edited, None, Vec::new()).await,
    }
}

/// The editor again, with what was typed.
async fn again(
    visit: &Visit,
    id: &str,
    edited: Edited,
    note: Option<Note>,
    faults: Vec<FieldFault>,
) -> Result<Response, Refusal> {
    let status = if faults.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let loaded = load(visit, id).await?;
    Ok(loaded.page(visit, edited, note, faults).await?.respond_with(status))
}

async fn save(visit: &Visit, id: &str, edited: Edited, is_publication: bool) -> Result<Response, Refusal> {
    let template = visit.api.get(path_of(id)).await?;
    let mut body = edited.content.fields(template["channel"].as_str().unwrap_or_default());
    if let Ok(base) = edited.base.parse::<u32>() {
        body.insert("baseVersion".to_owned(), json!(base));
    }
    let put = visit.api.call(Method::PUT, format!("{}/draft", path_of(id))).json(Value::Object(body));
    match put.header("if-match", &format!("\"{}\"", edited.draft)).send().await {
        Ok(_) if is_publication => Ok(Redirect::to(&format!("{}/publish", page_of(id))).into_response()),
        Ok(_) => {
            let sample = segment(&edited.sample);
            Ok(Redirect::to(&format!("{}?done=saved&sample={sample}", page_of(id))).into_response())
        }
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            let loaded = load(visit, id).await?;
            let page = loaded.stale_page(visit, edited).await?;
            Ok(page.respond_with(StatusCode::PRECONDITION_FAILED))
        }
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY => {
            again(visit, id, edited, None, refusal.faults()).await
        }
        Err(refusal) => Err(refusal),
    }
}

/// Sends what is in the editor to one address, as a message of the template's type.
async fn send_test(visit: &Visit, id: &str, edited: Edited, form: &Fields) -> Result<Response, Refusal> {
    let loaded = load(visit, id).await?;
    let template = &loaded.template;
    let Content { subject, body } = &edited.content;
    let mut message = json!({
        "channel": template["channel"], "type": template["type"], "recipientContact": form.get("testTo"),
        "content": body, "templateVariables": loaded.sample(&edited.sample).cloned().unwrap_or_else(|| json!({})),
    });
    if template["channel"] == "email" {
        message["subject"] = json!(subject);
    }
    if let Some(locale) = template["locale"].as_str().filter(|locale| *locale != "default") {
        message["locale"] = json!(locale);
    }
    let send = visit.api.call(Method::POST, "/api/communications/send").json(message);
    match send.header("idempotency-key", form.get("key")).send().await {
        Ok(sent) => {
            let link = format!("/messages/{}", segment(sent.body["id"].as_str().unwrap_or_default()));
            let note = Note { link: Some(link), ..Note::good("Test accepted for sending.") };
            Ok(loaded.page(visit, edited, Some(note), Vec::new()).await?.respond())
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let pointer = |fault: &FieldFault| match fault.pointer.as_str() {
                pointer @ ("/templateVariables" | "/content" | "/subject") => pointer.to_owned(),
                _ => "/testTo".to_owned(),
            };
            let faults = refusal.faults();
            let mut faults: Vec<FieldFault> = faults
                .iter()
                .map(|fault| FieldFault { pointer: pointer(fault), detail: fault.detail.clone() })
                .collect();
            if faults.is_empty() {
                faults.push(FieldFault { pointer: "/testTo".to_owned(), detail: refusal.detail().to_owned() });
            }
            let page = loaded.page(visit, edited, None, faults).await?;
            Ok(page.respond_with(StatusCode::UNPROCESSABLE_ENTITY))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Adds or replaces one sample.
async fn save_sample(visit: &Visit, id: &str, mut edited: Edited, form: &Fields) -> Result<Response, Refusal> {
    let loaded = load(visit, id).await?;
    let name = form.get("sampleName");
    let fault = |detail: &str| vec![FieldFault { pointer: "/sample".to_owned(), detail: detail.to_owned() }];
    let variables = match serde_json::from_str::<Value>(form.get("sampleVariables")) {
        Ok(variables @ Value::Object(_)) => variables,
        Ok(_) => {
            return again(visit, id, edited, None, fault("Sample data is a JSON object with a name for each value"))
                .await;
        }
        Err(error) => {
            return again(
                visit,
                id,
                edited,
                None,
                fault(&format!("Sample data is not complete JSON: line {}", error.line())),
            )
            .await;
        }
    };
    let is_kept = |sample: &&Value| sample["name"] != name && !loaded.is_example(sample);
    let mut samples: Vec<Value> = loaded.samples.iter().filter(is_kept).cloned().collect();
    samples.push(json!({ "name": name, "variables": variables }));
    let put = visit.api.call(Method::PUT, format!("{}/samples", path_of(id))).json(json!({ "samples": samples }));
    match put.send().await {
        Ok(_) => {
            edited.sample = name.to_owned();
            again(visit, id, edited, Some(Note::good("Sample data saved.")), Vec::new()).await
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let detail = refusal.faults().first().map_or(refusal.detail().to_owned(), |fault| fault.detail.clone());
            again(visit, id, edited, None, fault(&detail)).await
        }
        Err(refusal) => Err(refusal),
    }
}

/// Changes name and description.
async fn describe(visit: &Visit, id: &str, edited: Edited, form: &Fields) -> Result<Response, Refusal> {
    let given = ["name", "description", "type"].into_iter().filter(|name| form.has(name));
    let body: Value = given.map(|name| (name, form.get(name))).collect();
    match visit.api.call(Method::PATCH, path_of(id)).json(body).send().await {
        Ok(_) => again(visit, id, edited, Some(Note::good("Name and type saved.")), Vec::new()).await,
        Err(refusal) if refusal.status == StatusCode::UNPROCESSABLE_ENTITY => {
            again(visit, id, edited, None, refusal.faults()).await
        }
        Err(refusal) => Err(refusal),
    }
}

/// Archives the template, uses it again, or discards its draft.
pub async fn act(visit: Visit, Path((id, act)): Path<(String, String)>, Form(form): Form) -> Result<Response, Refusal> {
    let done = match &*act {
        "archive" => {
            visit.api.post(format!("{}/deactivate", path_of(&id)), json!({})).await?;
            "archived"
        }
        "activate" => {
            visit.api.post(format!("{}/activate", path_of(&id)), json!({})).await?;
            "activated"
        }
        "discard" => {
            let call = visit.api.call(Method::DELETE, format!("{}/draft", path_of(&id)));
            call.header("if-match", &format!("\"{}\"", form.get("draft"))).send().await?;
            "discarded"
        }
        _ => return Err(Refusal::new(StatusCode::NOT_FOUND, "A template has no such action.")),
    };
    Ok(Redirect::to(&format!("{}?done={done}", page_of(&id))).into_response())
}

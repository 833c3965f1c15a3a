//! Deleting a template: what uses it, and then a button that says what goes.

use askama::Template;
use axum::http::Method;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::{join_all, join4};
use serde_json::Value;

use super::paths::{page_of, path_of};
use crate::api_client::segment;
use crate::form::Form;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::time::number;
use crate::words;

/// The most schedules that are looked at.
const MAX_SCHEDULES: usize = 100;

/// The longest name that a button has, in characters.
const MAX_NAME: usize = 24;

#[derive(Template)]
#[template(path = "template-delete.html")]
struct DeletePage {
    shell: Shell,
    heading: String,
    name: String,
    /// The name, if it fits on a button.
    short: String,
    path: String,
    api_path: String,
    uses: Vec<Use>,
    /// How many messages were accepted with it. Not every reader may know.
    sent: Option<String>,
    is_active: bool,
}

impl Page for DeletePage {}

/// Something that sends with the template.
struct Use {
    text: String,
    path: String,
}

pub async fn show(visit: Visit, Path(id): Path<String>) -> Result<Response, Refusal> {
    let (template, schedules, automations, collections) = join4(
        visit.api.get(path_of(&id)),
        visit.api.get("/api/schedules"),
        visit.api.get("/api/automations"),
        visit.api.get("/api/collections"),
    )
    .await;
    let template = template?;
    if template["isSystem"] == true {
        return Err(Refusal::new(axum::http::StatusCode::CONFLICT, "A template of the system cannot be deleted."));
    }
    let text = |name: &str| template[name].as_str().unwrap_or_default().to_owned();
    let code = text("code");
    let is_it = |value: &Value| value.as_str().is_some_and(|name| name == id || name == code);
    let mut uses = Vec::new();
    // What the reader may not see is not theirs to know.
    // The list does not say what is sent. A business has few schedules.
    let ids = schedules.iter().flat_map(|all| all["schedules"].as_array().into_iter().flatten());
    let ids = ids.filter_map(|schedule| schedule["id"].as_str()).take(MAX_SCHEDULES);
    let read = ids.map(|id| visit.api.get(format!("/api/schedules/{}", segment(id))));
    for schedule in join_all(read).await.into_iter().flatten() {
        if is_it(&schedule["action"]["send"]["templateId"]) {
            let name = schedule["name"].as_str().unwrap_or_default();
            let path = format!("/schedules/{}", segment(schedule["id"].as_str().unwrap_or_default()));
            uses.push(Use { text: format!("The schedule {name} sends it"), path });
        }
    }
    for automation in automations.iter().flat_map(|all| all["automations"].as_array().into_iter().flatten()) {
        if is_it(&automation["template"]) {
            let kind = words::kind(automation["type"].as_str().unwrap_or_default());
            uses.push(Use { text: format!("{kind}: business events send it"), path: "/business-events".to_owned() });
        }
    }
    for step in collections.iter().flat_map(|all| all["ladder"].as_array().into_iter().flatten()) {
        if is_it(&step["template"]) {
            let step = step["id"].as_str().unwrap_or_default();
            uses.push(Use {
                text: format!("The reminder {step} of collections sends it"),
                path: "/collections".to_owned(),
            });
        }
    }
    let heading = format!("Delete the template {}", text("name"));
    let page = DeletePage {
        shell: visit.shell(&heading, "templates"),
        heading,
        short: Some(text("name")).filter(|name| name.chars().count() <= MAX_NAME).unwrap_or_default(),
        name: text("name"),
        path: page_of(&id),
        api_path: path_of(&id),
        uses,
        sent: template["usageCount"].as_u64().map(|count| match count {
            1 => "1 message was".to_owned(),
            count => format!("{} messages were", number(count)),
        }),
        is_active: template["isActive"] == true,
    };
    Ok(page.respond())
}

pub async fn delete(visit: Visit, Path(id): Path<String>, Form(_): Form) -> Result<Response, Refusal> {
    visit.api.call(Method::DELETE, path_of(&id)).send().await?;
    Ok(Redirect::to("/templates?done=deleted").into_response())
}

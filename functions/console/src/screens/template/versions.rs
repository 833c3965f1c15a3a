//! Versions of a template: what one says, what restoring it would change, and what publishing the draft would change.

use askama::Template;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::try_join;
use serde_json::{Value, json};

use super::check::Content;
use super::diff::{Line, diff};
use super::paths::{page_of, path_of};
use crate::api_client::segment;
use crate::form::Form;
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;

#[derive(Template)]
#[template(path = "template-version.html")]
struct VersionPage {
    shell: Shell,
    id: String,
    name: String,
    heading: String,
    lede: String,
    /// What publishing or restoring changes, compared with the version in use.
    changes: Vec<Line>,
    latest: u64,
    next: u64,
    content: Content,
    errors: Vec<String>,
    /// Where the form leads, or nothing if there is nothing to do.
    action: String,
    button: String,
    draft: u64,
    is_stale: bool,
}

impl Page for VersionPage {}

/// One version, compared with the one in use.
pub async fn show(visit: Visit, Path((id, version)): Path<(String, u32)>) -> Result<Response, Refusal> {
    Ok(version_page(&visit, &id, version).await?.respond())
}

async fn version_page(visit: &Visit, id: &str, version: u32) -> Result<VersionPage, Refusal> {
    let path = path_of(id);
    let (template, old) =
        try_join(visit.api.get(path.as_str()), visit.api.get(format!("{path}?version={version}"))).await?;
    let name = template["name"].as_str().unwrap_or_default().to_owned();
    let latest = template["version"].as_u64().unwrap_or(1);
    let content = Content::of(&old);
    let changes = diff(&Content::of(&template).whole(), &content.whole());
    let is_latest = u64::from(version) == latest;
    let (lede, button) = match (is_latest, changes.is_empty()) {
        (true, _) => ("It is in use.".to_owned(), String::new()),
        (_, true) => (format!("It has the same content as version {latest}, which is in use."), String::new()),
        (..) => (
            format!(
                "Version {latest} is in use. Restoring publishes this content as version {}; no version is lost.",
                latest + 1
            ),
            format!("Restore version {version} as version {}", latest + 1),
        ),
    };
    let heading = format!("Version {version} of {name}");
    Ok(VersionPage {
        shell: visit.shell(&heading, "templates"),
        action: if button.is_empty() { String::new() } else { format!("{}/versions/{version}", page_of(id)) },
        id: segment(id),
        name,
        heading,
        lede,
        changes,
        latest,
        next: latest + 1,
        content,
        errors: Vec::new(),
        button,
        draft: 0,
        is_stale: false,
    })
}

/// Publishes an old version's content as the next version.
pub async fn restore(
    visit: Visit,
    Path((id, version)): Path<(String, u32)>,
    Form(form): Form,
) -> Result<Response, Refusal> {
    let path = path_of(&id);
    let old = visit.api.get(format!("{path}?version={version}")).await?;
    let body = Content::of(&old).fields(old["channel"].as_str().unwrap_or_default());
    let call = visit.api.call(Method::PATCH, path).json(Value::Object(body));
    match call.header("if-match", &format!("\"{}\"", form.get("base"))).send().await {
        Ok(_) => Ok(Redirect::to(&format!("{}?done=restored", page_of(&id))).into_response()),
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            let mut page = version_page(&visit, &id, version).await?;
            page.is_stale = true;
            Ok(page.respond_with(StatusCode::PRECONDITION_FAILED))
        }
        Err(refusal) => Err(refusal),
    }
}

/// What publishing the draft would change.
pub async fn preview(visit: Visit, Path(id): Path<String>) -> Result<Response, Refusal> {
    Ok(publish_page(&visit, &id).await?.respond())
}

async fn publish_page(visit: &Visit, id: &str) -> Result<VersionPage, Refusal> {
    let path = path_of(id);
    let (template, draft) = try_join(visit.api.get(path.as_str()), visit.api.get(format!("{path}/draft"))).await?;
    let name = template["name"].as_str().unwrap_or_default().to_owned();
    let latest = template["version"].as_u64().unwrap_or(1);
    let text = |error: &Value| error["detail"].as_str().unwrap_or_default().to_owned();
    let errors: Vec<String> = draft["errors"].as_array().into_iter().flatten().map(text).collect();
    let content = Content::of(&draft);
    let changes = diff(&Content::of(&template).whole(), &content.whole());
    let is_ready = errors.is_empty() && !changes.is_empty();
    let heading = match (is_ready, changes.is_empty()) {
        (true, _) => format!("Version {} is ready to publish", latest + 1),
        (_, true) => format!("The draft is the same as version {latest}"),
        (..) => format!("Version {} cannot be published yet", latest + 1),
    };
    let base = draft["baseVersion"].as_u64().unwrap_or(latest);
    let newer = match base < latest {
        true => {
            format!(" The draft was begun from version {base}; the changes below are compared with version {latest}.")
        }
        false => String::new(),
    };
    Ok(VersionPage {
        shell: visit.shell(&heading, "templates"),
        lede: format!("New messages use it at once. Messages that were accepted before keep their version.{newer}"),
        action: if is_ready { format!("{}/publish", page_of(id)) } else { String::new() },
        id: segment(id),
        name,
        heading,
        changes,
        latest,
        next: latest + 1,
        content,
        errors,
        button: format!("Publish version {}", latest + 1),
        draft: draft["number"].as_u64().unwrap_or(0),
        is_stale: false,
    })
}

/// A second click finds that the draft was published already, or that somebody has discarded it.
fn without_draft(id: &str) -> Response {
    Redirect::to(&format!("{}?done=gone", page_of(id))).into_response()
}

/// Publishes the draft that the reader compared.
pub async fn publish(visit: Visit, Path(id): Path<String>, Form(form): Form) -> Result<Response, Refusal> {
    let base = form.get("base").parse::<u32>().unwrap_or(0).max(1);
    let call =
        visit.api.call(Method::POST, format!("{}/draft/publish", path_of(&id))).json(json!({ "baseVersion": base }));
    match call.header("if-match", &format!("\"{}\"", form.get("draft"))).send().await {
        Ok(_) => Ok(Redirect::to(&format!("{}?done=published", page_of(&id))).into_response()),
        Err(refusal) if [StatusCode::PRECONDITION_FAILED, StatusCode::CONFLICT].contains(&refusal.status) => {
            match publish_page(&visit, &id).await {
                Ok(mut page) => {
                    page.is_stale = true;
                    Ok(page.respond_with(refusal.status))
                }
                Err(missing) if missing.status == StatusCode::NOT_FOUND => Ok(without_draft(&id)),
                Err(refusal) => Err(refusal),
            }
        }
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => Ok(without_draft(&id)),
        Err(refusal) => Err(refusal),
    }
}

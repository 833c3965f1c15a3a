//! Drafts and sample data of templates over HTTP.

use application::Caller;
use application::templates::{self, FullDraft, NewDraft, Sample, TemplateContent, TemplateFault};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use problem::{FieldError, Problem};
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing};
use crate::headers::{if_match, json_with_etag};
use crate::template_view::{MAX_BODY, MAX_SUBJECT, present_tenant_template, show_error, summary, with_content};
use crate::{Shared, json, read_body};

/// Maximum number of samples of one template.
const MAX_SAMPLES: usize = 10;
/// Maximum size of the variables of one sample, as JSON in bytes.
const MAX_SAMPLE: usize = 20_000;

fn present(full: FullDraft) -> Response {
    let FullDraft { template, draft, content, faults } = full;
    let errors = faults.into_iter().map(|fault| show_error(FieldError::from(TemplateFault::Content(fault))));
    let errors: Vec<Value> = errors.collect();
    let mut shown = with_content(summary(&draft), &content);
    shown["id"] = json!(template.id);
    shown["version"] = json!(template.latest.version);
    shown["valid"] = json!(errors.is_empty());
    shown["errors"] = json!(errors);
    json_with_etag(StatusCode::OK, &shown, "number")
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(present(templates::draft(&api.app, &caller, &id).await?))
}

/// Saves a draft. Faults of its content are part of the answer and no error.
pub(crate) async fn put(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let subject = fields.text("subjectTemplate", MAX_SUBJECT);
    let body = fields.required("bodyTemplate", |f| f.text("bodyTemplate", MAX_BODY));
    let base = read_base(&mut fields);
    fields.finish()?;
    let content = TemplateContent { subject, body: body.ok_or_else(missing)? };
    let new = NewDraft { expected: if_match(&headers, "a draft's")?, base, content };
    Ok(present(templates::save_draft(&api.app, &caller, &id, new).await?))
}

fn read_base(fields: &mut BodyReader) -> Option<u32> {
    fields.number("baseVersion", 1..=u64::from(u32::MAX)).and_then(|base| u32::try_from(base).ok())
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    templates::discard_draft(&api.app, &caller, &id, if_match(&headers, "a draft's")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the draft the next version. `baseVersion` is the version that the caller compared it with.
pub(crate) async fn publish(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let base = read_base(&mut fields);
    fields.finish()?;
    let expected = if_match(&headers, "a draft's")?;
    let (own, text) = templates::publish(&api.app, &caller, &id, expected, base).await?;
    Ok(json_with_etag(StatusCode::OK, &with_content(present_tenant_template(&caller, &own), &text), "version"))
}

pub(crate) async fn samples(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let samples = templates::samples(&api.app, &caller, &id).await?;
    Ok(present_samples(&id, &samples))
}

fn present_samples(id: &str, samples: &[Sample]) -> Response {
    json(StatusCode::OK, &json!({ "id": id, "samples": samples }))
}

/// Replaces all sample data.
pub(crate) async fn put_samples(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let samples = fields.required("samples", |fields| fields.items("samples", MAX_SAMPLES, read_sample));
    let names = samples.iter().flatten().map(|sample| &sample.name);
    if names.clone().enumerate().any(|(at, name)| names.clone().skip(at + 1).any(|other| other == name)) {
        fields.add_error("samples", "repeated", "Two samples have the same name.");
    }
    fields.finish()?;
    let samples = samples.ok_or_else(missing)?;
    templates::set_samples(&api.app, &caller, &id, &samples).await?;
    Ok(present_samples(&id, &samples))
}

fn read_sample(fields: &mut BodyReader) -> Option<Sample> {
    let name = fields.required("name", |f| f.reference("name", 100));
    let variables = fields.required("variables", |f| f.object("variables"));
    if variables.as_ref().is_some_and(|variables| MAX_SAMPLE < variables.to_string().len()) {
        fields.add_error("variables", "too_long", format!("variables must be at most {MAX_SAMPLE} bytes as JSON."));
    }
    Some(Sample { name: name?, variables: variables? })
}

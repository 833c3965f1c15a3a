//! The suppression list over HTTP, also as CSV.

use std::borrow::Cow;

use application::Caller;
use application::suppression::SuppressionEntry;
use application::suppressions::{self, ImportRow, SuppressionPage};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::Channel;
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::query::QueryParams;
use crate::{Shared, json, read_body};

/// Maximum number of rows of one import.
const MAX_ROWS: usize = 1_000;

fn present(entry: &SuppressionEntry) -> Value {
    json!({
        "channel": entry.channel,
        "contact": entry.contact,
        "reason": entry.reason,
        "createdAt": show_time(entry.at),
        "createdBy": entry.by,
        "communicationId": entry.communication,
    })
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    let (contact, before) = (query.text("contact"), query.text("cursor"));
    let size = query.number("size", 1..=100).unwrap_or(100) as usize;
    if contact.is_some() && before.is_some() {
        query.add_error("cursor", "bad_cursor", "With contact there is one page. Omit cursor.".to_owned());
    }
    query.finish()?;
    let SuppressionPage { entries, next } = match contact {
        Some(contact) => suppressions::find(&api.app, &caller, channel, &contact).await?,
        None => suppressions::list(&api.app, &caller, channel, before.as_deref(), size).await?,
    };
    let entries: Vec<Value> = entries.iter().map(present).collect();
    Ok(json(StatusCode::OK, &json!({ "suppressions": entries, "nextCursor": next })))
}

pub(crate) async fn add(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let contact = fields.required("contact", |f| f.text("contact", 320));
    let reason = fields.reference("reason", 100);
    if let Some((channel, contact)) = channel.zip(contact.as_deref())
        && let Err(error) = domain::address::normalise(channel, contact, None)
    {
        fields.add_error("contact", "not_an_address", format!("contact {error}."));
    }
    fields.finish()?;
    let (Some(channel), Some(contact)) = (channel, contact) else {
        return Err(missing());
    };
    let entry = suppressions::add(&api.app, &caller, channel, &contact, reason).await?;
    Ok(json(StatusCode::CREATED, &present(&entry)))
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<StatusCode, Problem> {
    let mut query = QueryParams::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    let contact = query.text("contact");
    query.finish()?;
    let (Some(channel), Some(contact)) = (channel, contact) else {
        let detail = "channel and contact are required, such as ?channel=email&contact=ada@example.com.";
        return Err(Problem::new(ProblemKind::Malformed, detail));
    };
    suppressions::remove(&api.app, &caller, channel, &contact).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The rows of a CSV file with the columns channel, contact and reason.
fn read_rows(body: &[u8]) -> Result<Vec<ImportRow>, Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(body);
    let names = reader.headers().map_err(not_csv)?.clone();
    let column = |name: &str| names.iter().position(|known| known.eq_ignore_ascii_case(name));
    let (Some(channel), Some(contact)) = (column("channel"), column("contact")) else {
        let detail = "The first line must name the columns channel, contact and reason.";
        return Err(Problem::new(ProblemKind::Malformed, detail));
    };
    let reason = column("reason");
    let mut rows = Vec::new();
    for (index, record) in reader.records().enumerate() {
        if MAX_ROWS <= index {
            let detail = format!("An import has at most {MAX_ROWS} rows. Nothing was added.");
            return Err(Problem::new(ProblemKind::TooLarge, detail));
        }
        let record = record.map_err(not_csv)?;
        let cell = |column: usize| read_cell(record.get(column).unwrap_or_default()).to_owned();
        let (channel, contact, reason) = (cell(channel), cell(contact), reason.map(cell));
        rows.push(ImportRow { line: index + 2, channel, contact, reason });
    }
    Ok(rows)
}

/// The first characters that make spreadsheets calculate a cell instead of showing it.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A cell that spreadsheets show as text, with an apostrophe before what they would calculate.
fn write_cell(text: &str) -> Cow<'_, str> {
    if text.starts_with(FORMULA_STARTS) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text of a cell that [`write_cell`] wrote.
fn read_cell(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| text.starts_with(FORMULA_STARTS)).unwrap_or(cell)
}

fn not_csv(error: csv::Error) -> Problem {
    Problem::new(ProblemKind::Malformed, format!("Not CSV: {error}. Nothing was added."))
}

/// Adds the rows of a CSV file. A file that cannot be read, or that is too long, adds no row.
pub(crate) async fn import(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let body = read_body(body).await?;
    let result = suppressions::import(&api.app, &caller, body.len(), read_rows(&body)?).await?;
    let refused = result.refused.iter().map(|(line, error)| json!({ "line": line, "detail": error.to_string() }));
    let refused: Vec<Value> = refused.collect();
    Ok(json(StatusCode::OK, &json!({ "added": result.added, "refused": refused })))
}

/// The columns of an import, and when and by whom each entry was added.
pub(crate) async fn export(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |error: csv::Error| Problem::new(ProblemKind::Internal, error.to_string());
    writer.write_record(["channel", "contact", "reason", "createdAt", "createdBy"]).map_err(broken)?;
    for entry in suppressions::export(&api.app, &caller).await? {
        let (contact, at) = (entry.contact.as_deref().unwrap_or_default(), show_time(entry.at));
        let cells = [entry.channel.as_str(), contact, &entry.reason, &at, &entry.by].map(write_cell);
        writer.write_record(cells.iter().map(|cell| cell.as_bytes())).map_err(broken)?;
    }
    let bytes = writer.into_inner().map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"suppressions.csv\""),
    ];
    Ok((StatusCode::OK, headers, bytes).into_response())
}

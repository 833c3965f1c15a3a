//! The forms in which events arrive over HTTP: CloudEvents 1.0 (structured, binary, batch), and our short form.

use application::business_events::{NewEvent, StoredEvent};
use axum::http::{HeaderMap, header};
use domain::business_event::{Envelope, parse, parse_binary};
use events::{DataFault, IntakeChannel};
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Map, Value};

use super::faults::field_errors;

/// Maximum number of events of one batch.
const MAX_BATCH: usize = 100;

/// What a request holds.
pub(super) enum Events {
    One(Result<NewEvent, Problem>),
    Batch(Vec<Result<NewEvent, Problem>>),
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(ProblemKind::Malformed, format!("The body is not JSON: {error}."))
}

/// Reads the events of a request.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Events, Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if headers.contains_key("ce-specversion") || headers.contains_key("ce-id") {
        return Ok(Events::One(from_binary(headers, value)));
    }
    match value {
        Value::Array(items) if items.is_empty() || MAX_BATCH < items.len() => {
            let detail = format!("A batch must have 1 to {MAX_BATCH} events.");
            let code = if items.is_empty() { "empty" } else { "too_many" };
            Err(Problem::invalid(vec![FieldError { pointer: String::new(), code, detail }]))
        }
        Value::Array(items) => Ok(Events::Batch(items.into_iter().map(|item| new(parse(item))).collect())),
        _ if media.starts_with("application/cloudevents-batch") => {
            Err(Problem::new(ProblemKind::Malformed, "A batch of CloudEvents must be a JSON array."))
        }
        value => Ok(Events::One(new(parse(value)))),
    }
}

/// An event in the binary form. Its body is the data, so pointers of faults begin there.
fn from_binary(headers: &HeaderMap, data: Value) -> Result<NewEvent, Problem> {
    let mut attributes = Map::new();
    for (name, value) in headers {
        if let (Some(name), Ok(value)) = (name.as_str().strip_prefix("ce-"), value.to_str()) {
            attributes.insert(name.to_owned(), value.into());
        }
    }
    new(parse_binary(attributes, data))
}

fn new(parsed: Result<Envelope, Vec<DataFault>>) -> Result<NewEvent, Problem> {
    let Envelope { id, kind, version, source, time, data } =
        parsed.map_err(|faults| Problem::invalid(field_errors(&faults)))?;
    Ok(NewEvent {
        source,
        event_id: id,
        occurred_at: time,
        via: IntakeChannel::Http,
        stored: StoredEvent { kind, version, data },
    })
}

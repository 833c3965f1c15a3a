//! What is known about one person, over HTTP.

use application::Caller;
use application::person_profile::{self, KnownAddress, PersonProfile, ProfileError};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use problem::Problem;
use serde_json::{Value, json};

use crate::message_problem::problem as message_problem;
use crate::preferences::recipient;
use crate::{Shared, json};

fn present((kind, id): (&str, &str), known: &PersonProfile) -> Value {
    let address = |KnownAddress { channel, contact, source, suppressed_for }: &KnownAddress| {
        json!({
            "channel": channel, "contact": contact, "source": source.as_str(), "suppressedFor": suppressed_for,
        })
    };
    json!({
        "entityType": kind,
        "entityId": id,
        "name": known.name,
        "locale": known.locale,
        "timeZone": known.time_zone,
        "roles": known.roles,
        "isRemoved": known.is_removed,
        "addresses": known.addresses.iter().map(address).collect::<Vec<_>>(),
    })
}

/// What is known about a recipient, and which of their addresses can be sent to.
pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let of = recipient(&kind, id.clone())?;
    let known = person_profile::get(&api.app, &caller, &of).await.map_err(|error| match error {
        ProfileError::Forbidden(forbidden) => forbidden.into(),
        ProfileError::Messages(error) => message_problem(error),
        ProfileError::Store(error) => Problem::from(error),
    })?;
    Ok(json(StatusCode::OK, &present((&kind, &id), &known)))
}

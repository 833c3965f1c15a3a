//! Preferences over HTTP: how people want to be contacted, and the history of their choices.

use std::collections::BTreeMap;

use application::Caller;
use application::consent;
use application::preferences::{self, PreferenceError, PreferenceFault, PreferredAddresses};
use application::statements::StatementTexts;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::data_subject;
use domain::preferences::{DEFAULT_CHANNELS, DEFAULTS, PreferenceChange, Preferences, Statement};
use events::{Channel, MessageType, PreferenceEvent, Recipient, RecipientType, RecordedEvent};
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, show_time};
use crate::headers::{if_match, json_with_etag};
use crate::message_body::{NamedType, read_quiet_hours, type_names};
use crate::query::QueryParams;
use crate::{Api, Shared, json, read_body};

/// (channel, the field that says whether it is wanted, the field of its address).
const FIELDS: [(Channel, &str, &str); 5] = [
    (Channel::Email, "emailEnabled", "preferredEmail"),
    (Channel::Sms, "smsEnabled", "preferredPhone"),
    (Channel::Whatsapp, "whatsappEnabled", "preferredWhatsapp"),
    (Channel::Messenger, "messengerEnabled", "preferredMessengerId"),
    (Channel::Telegram, "telegramEnabled", "preferredTelegramId"),
];

/// The default validity of a link to the preference page, in days.
const LINK_DAYS: u64 = 30;
const DAY_MS: i64 = 24 * 3_600_000;

/// A fault at its field of the body.
fn field_error(fault: &PreferenceFault) -> FieldError {
    let (field, code, detail) = match fault {
        PreferenceFault::Address(channel, error) => {
            let field = FIELDS.iter().find(|(of, ..)| of == channel).map_or("", |(.., preferred)| preferred);
            (field, "not_an_address", format!("{field} {error}."))
        }
        PreferenceFault::NotForDefaults => {
            let detail = "Defaults can only set channels, types and quiet hours.".to_owned();
            ("", "not_for_defaults", detail)
        }
    };
    FieldError { pointer: format!("/{field}"), code, detail }
}

/// The defaults have no id.
fn kind_and_id(person: &str) -> (&str, &str) {
    person.split_once(':').unwrap_or((person, ""))
}

/// `customer` and an id, as messages name their recipients.
pub(crate) fn recipient(kind: &str, id: String) -> Result<Recipient, Problem> {
    let kind: Option<RecipientType> = kind.parse().ok();
    let is_id = !id.is_empty() && id.chars().count() <= 255 && !id.chars().any(char::is_control);
    kind.filter(|_| is_id).map(|kind| Recipient { kind, id: Some(id) }).ok_or_else(|| {
        let kinds = RecipientType::names().join(", ");
        Problem::new(ProblemKind::NotFound, format!("Only a {kinds} has preferences."))
    })
}

fn recipient_key(kind: &str, id: String) -> Result<String, Problem> {
    let missing = || Problem::new(ProblemKind::NotFound, "A recipient without an id has no preferences.");
    data_subject::of_recipient(&recipient(kind, id)?).ok_or_else(missing)
}

pub(crate) fn present(
    (kind, id): (&str, &str),
    preferences: &Preferences,
    addresses: &BTreeMap<Channel, String>,
) -> Value {
    let stated_at = |statement: &Option<Statement>| statement.as_ref().map(|statement| show_time(statement.at));
    let reason = |statement: &Option<Statement>| statement.as_ref().and_then(|statement| statement.reason.clone());
    let mut shown = json!({
        "entityType": kind,
        "entityId": id,
        "preferences": preferences.types,
        "defaultChannels": DEFAULT_CHANNELS,
        "quietHours": preferences.quiet_hours.as_ref().map(|quiet| {
            json!({ "start": quiet.start, "end": quiet.end, "timeZone": quiet.time_zone })
        }),
        "optedOut": preferences.opted_out.is_some(),
        "optedOutAt": stated_at(&preferences.opted_out),
        "optedOutReason": reason(&preferences.opted_out),
        "optedInAt": stated_at(&preferences.opted_in),
        "optInEvidence": reason(&preferences.opted_in),
        "doNotContact": preferences.do_not_contact.is_some(),
        "doNotContactReason": reason(&preferences.do_not_contact),
        "createdAt": preferences.created_at.map(show_time),
        "updatedAt": preferences.updated_at.map(show_time),
        "updatedBy": preferences.updated_by,
        "revision": preferences.revision,
    });
    for (channel, enabled, preferred) in FIELDS {
        shown[enabled] = json!(preferences.accepts_channel(channel));
        shown[preferred] = json!(addresses.get(&channel));
    }
    shown
}

impl Api {
    async fn show_preferences(&self, caller: &Caller, person: &str) -> Result<Response, Problem> {
        let (preferences, addresses) = preferences::get(&self.app, caller, person).await?;
        Ok(json_with_etag(StatusCode::OK, &present(kind_and_id(person), &preferences, &addresses), "revision"))
    }

    /// The preferences of a person, with `withDefaults` as they apply to messages.
    async fn read_preferences(&self, caller: &Caller, person: &str, query: RawQuery) -> Result<Response, Problem> {
        let mut query = QueryParams::parse(query)?;
        let with_defaults = query.flag("withDefaults");
        query.finish()?;
        if with_defaults != Some(true) {
            return self.show_preferences(caller, person).await;
        }
        let (preferences, addresses) = preferences::effective(&self.app, caller, person).await?;
        Ok(json_with_etag(StatusCode::OK, &present(kind_and_id(person), &preferences, &addresses), "revision"))
    }

    /// A missing field does not change. Null removes a value.
    async fn change_preferences(
        &self,
        caller: &Caller,
        person: &str,
        (headers, body): (HeaderMap, Body),
    ) -> Result<Response, Problem> {
        let expected = if_match(&headers, "the preferences'")?;
        let mut fields = BodyReader::parse(&read_body(body).await?)?;
        if fields.is_empty() {
            fields.add_error("", "empty", "At least one preference is required.");
        }
        let (mut channels, mut channels_reset) = (BTreeMap::new(), Vec::new());
        let mut addresses = PreferredAddresses::new();
        for (channel, enabled, preferred) in FIELDS {
            if fields.is_null(enabled) {
                channels_reset.push(channel);
            }
            channels.extend(fields.flag(enabled).map(|wanted| (channel, wanted)));
            if fields.is_null(preferred) {
                addresses.insert(channel, None);
            } else if let Some(text) = fields.text(preferred, 320) {
                addresses.insert(channel, Some(text));
            }
        }
        let types = read_types(&mut fields);
        let quiet_hours_lifted = fields.is_null("quietHours");
        let quiet_hours = read_quiet_hours(&mut fields);
        let (opted_out, opted_out_reason) = (fields.flag("optedOut"), fields.text("optedOutReason", 1_000));
        let opt_in_evidence = fields.text("optInEvidence", 1_000);
        let (do_not_contact, do_not_contact_reason) =
            (fields.flag("doNotContact"), fields.text("doNotContactReason", 1_000));
        let change = PreferenceChange {
            expected,
            channels,
            channels_reset,
            types,
            quiet_hours,
            quiet_hours_lifted,
            opted_out,
            do_not_contact,
            ..PreferenceChange::default()
        };
        let texts = StatementTexts { opted_out_reason, opt_in_evidence, do_not_contact_reason };
        for fault in preferences::check(person, &change, &texts, &addresses).err().unwrap_or_default() {
            fields.push(field_error(&fault));
        }
        fields.finish()?;
        let changed = preferences::change(&self.app, caller, person, change, texts, &addresses).await;
        changed.map_err(|error| match error {
            PreferenceError::Invalid(faults) => Problem::invalid(faults.iter().map(field_error).collect()),
            error => error.into(),
        })?;
        self.show_preferences(caller, person).await
    }
}

/// `{"invoice": ["email", "whatsapp"], "payment_link": null}`
fn read_types(fields: &mut BodyReader) -> BTreeMap<MessageType, Option<Vec<Channel>>> {
    let given = fields.object("preferences").unwrap_or_default();
    let mut types = BTreeMap::new();
    for (name, channels) in given.as_object().into_iter().flatten() {
        let place = format!("preferences/{name}");
        let Ok(kind) = name.parse().map(|NamedType(kind)| kind) else {
            let detail = format!("{name} is not a message type. The types are: {}.", type_names().join(", "));
            fields.add_error(&place, "not_a_type", detail);
            continue;
        };
        let read = |channels: &Vec<Value>| {
            channels.iter().map(|channel| channel.as_str()?.parse().ok()).collect::<Option<Vec<Channel>>>()
        };
        match (channels, channels.as_array().and_then(read)) {
            (Value::Null, _) => drop(types.insert(kind, None)),
            (_, Some(channels)) => drop(types.insert(kind, Some(channels))),
            (_, None) => {
                let detail = format!("{name} must be a list of: {}.", Channel::names().join(", "));
                fields.add_error(&place, "not_channels", detail);
            }
        }
    }
    types
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
    query: RawQuery,
) -> Result<Response, Problem> {
    api.read_preferences(&caller, &recipient_key(&kind, id)?, query).await
}

pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.change_preferences(&caller, &recipient_key(&kind, id)?, (headers, body)).await
}

/// The address of the page where a person changes their own preferences.
pub(crate) async fn link(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let person = recipient_key(&kind, id)?;
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let days = fields.number("days", 1..=365).unwrap_or(LINK_DAYS);
    fields.finish()?;
    let (url, until) = preferences::link(&api.app, &caller, &person, days as i64 * DAY_MS)?;
    let shown = json!({ "url": url, "expiresAt": show_time(until) });
    Ok(json(StatusCode::CREATED, &shown))
}

pub(crate) async fn get_defaults(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    api.show_preferences(&caller, DEFAULTS).await
}

pub(crate) async fn patch_defaults(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.change_preferences(&caller, DEFAULTS, (headers, body)).await
}

pub(crate) async fn get_contact(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    api.read_preferences(&caller, &recipient_key("contact", id)?, query).await
}

pub(crate) async fn patch_contact(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    api.change_preferences(&caller, &recipient_key("contact", id)?, (headers, body)).await
}

/// The history of a person's preferences. With `asOf`, the preferences at that time.
pub(crate) async fn history(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path((kind, id)): Path<(String, String)>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let as_of = query.time("asOf", false);
    query.finish()?;
    let person = recipient_key(&kind, id)?;
    let records = preferences::history(&api.app, &caller, &person).await?;
    let until = |record: &&RecordedEvent<PreferenceEvent>| as_of.is_none_or(|as_of| record.meta.at <= as_of);
    let steps =
        records.iter().filter(until).enumerate().map(|(place, record)| crate::present::decision(place + 1, record));
    let body = json!({
        "asOf": as_of.map(show_time),
        "preferences": present(kind_and_id(&person), &consent::as_of(&records, as_of), &BTreeMap::new()),
        "events": steps.collect::<Vec<_>>(),
    });
    Ok(json(StatusCode::OK, &body))
}

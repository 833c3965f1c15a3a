//! The body of a send request, read into a [`NewMessage`]. Values of the wrong shape become faults of the message.

use application::messages::{
    AttachmentRef, ChannelChoice, Fault, Field, IdempotencyKey, NOT_A_LOCATION, NewContent, NewMessage, NewStep,
};
use domain::message::{Button, Location, MediaKind, ProviderTemplate};
use domain::quiet_hours;
use domain::text::check_values;
use events::{
    Channel, EntityRef, FallbackCondition, InDoubtPolicy, MessageType, MissingFilePolicy, Priority, QuietHours,
    RecipientType, RetentionClass,
};
use problem::FieldError;
use serde_json::Value;

use crate::MAX_BODY;
use crate::fields::BodyReader;

/// Maximum number of fallback steps.
const MAX_STEPS: usize = 4;
const MAX_ATTACHMENTS: usize = 10;
const MAX_BUTTONS: usize = 10;
/// Maximum size of a message's metadata in bytes of JSON.
const MAX_METADATA: usize = 4_000;
/// The allowed wait before a fallback step, in milliseconds.
pub(crate) const STEP_WAIT_RANGE_MS: std::ops::RangeInclusive<i64> = 60_000..=7 * 24 * 3_600_000;

/// Reads a whole body. Its hash is the message's fingerprint.
pub(crate) fn read_message(mut fields: BodyReader, idempotency_key: Option<IdempotencyKey>) -> NewMessage {
    let fingerprint = fields.hash();
    let steps = fields.list("fallback", MAX_STEPS);
    let mut message = NewMessage {
        channel: read_channel(&mut fields),
        kind: read_type(&mut fields),
        recipient_type: fields.choice("recipientType", &RecipientType::names()),
        recipient_id: fields.reference("recipientId", 255),
        recipient_name: fields.reference("recipientName", 255),
        to: fields.text("recipientContact", 320),
        content: read_content(&mut fields),
        locale: fields.reference("locale", 35),
        entity: read_entity(&mut fields),
        scheduled_at: fields.time("scheduledAt"),
        expires_at: fields.time("expiresAt"),
        attachments: read_attachments(&mut fields),
        priority: fields.choice("priority", &Priority::names()),
        on_missing_file: fields.choice::<MissingFilePolicy>("onMissingFile", &MissingFilePolicy::names()),
        in_doubt: fields.choice::<InDoubtPolicy>("inDoubt", &InDoubtPolicy::names()),
        max_attempts: fields.number("maxAttempts", 1..=10).map(|number| number as u8),
        quiet_hours: read_quiet_hours(&mut fields),
        retention: fields.choice::<RetentionClass>("retention", &RetentionClass::names()),
        location: read_location(&mut fields),
        buttons: read_buttons(&mut fields),
        fallback: Vec::new(),
        metadata: read_metadata(&mut fields),
        source: None,
        unless_settled: Vec::new(),
        without_document: None,
        via: None,
        idempotency_key,
        fingerprint,
        faults: Vec::new(),
    };
    message.faults = input_faults(fields.into_errors());
    for (index, step) in steps.into_iter().enumerate() {
        let (step, errors) = read_step(step);
        let at_step =
            |error: FieldError| FieldError { pointer: format!("/fallback/{index}{}", error.pointer), ..error };
        message.fallback.push(step);
        message.faults.extend(input_faults(errors.into_iter().map(at_step).collect()));
    }
    message
}

/// Errors in the shape of a body, as faults of a message.
pub(crate) fn input_faults(errors: Vec<FieldError>) -> Vec<Fault> {
    let fault = |FieldError { pointer, code, detail }| Fault { step: None, field: Field::Input(pointer), code, detail };
    errors.into_iter().map(fault).collect()
}

fn read_step(value: Value) -> (NewStep, Vec<FieldError>) {
    let Ok(mut fields) = BodyReader::of(value) else {
        let detail = "A fallback step must be {\"channel\": …, \"after\": \"30m\", \"unless\": \"delivered\"}.";
        let error = FieldError { pointer: String::new(), code: "not_a_step", detail: detail.to_owned() };
        return (NewStep::default(), vec![error]);
    };
    let step = NewStep {
        after_ms: fields.duration("after", STEP_WAIT_RANGE_MS),
        unless: fields.choice::<FallbackCondition>("unless", &FallbackCondition::names()),
        channel: read_channel(&mut fields),
        to: fields.text("recipientContact", 320),
        content: read_content(&mut fields),
    };
    (step, fields.into_errors())
}

fn read_content(fields: &mut BodyReader) -> NewContent {
    NewContent {
        subject: fields.text("subject", 500),
        text: fields.text("content", MAX_BODY),
        template: fields.reference("templateId", 100),
        variables: fields.object("templateVariables"),
        provider_template: read_provider_template(fields),
    }
}

fn read_channel(fields: &mut BodyReader) -> Option<ChannelChoice> {
    struct Named(ChannelChoice);
    impl std::str::FromStr for Named {
        type Err = <Channel as std::str::FromStr>::Err;
        fn from_str(text: &str) -> Result<Self, Self::Err> {
            match text {
                "auto" => Ok(Named(ChannelChoice::Auto)),
                other => other.parse().map(|channel| Named(ChannelChoice::Fixed(channel))),
            }
        }
    }
    fields.choice("channel", &Channel::names()).map(|Named(choice)| choice)
}

/// A message type by any of its names. The sources also call `general_notification` `general`.
pub(crate) struct NamedType(pub MessageType);

const GENERAL: &str = "general";

impl std::str::FromStr for NamedType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            GENERAL => Ok(NamedType(MessageType::GeneralNotification)),
            other => other.parse().map(NamedType),
        }
    }
}

/// Every name of a message type.
pub(crate) fn type_names() -> Vec<&'static str> {
    MessageType::names().into_iter().chain([GENERAL]).collect()
}

/// The field `type`.
pub(crate) fn read_type(fields: &mut BodyReader) -> Option<MessageType> {
    fields.choice("type", &type_names()).map(|NamedType(kind)| kind)
}

/// Reads the entity. An id without a type is an error.
fn read_entity(fields: &mut BodyReader) -> Option<EntityRef> {
    let (kind, id) = (fields.reference("entityType", 50), fields.reference("entityId", 255));
    (kind.is_some() || id.is_some()).then(|| EntityRef { kind: kind.unwrap_or_default(), id })
}

fn read_location(fields: &mut BodyReader) -> Option<Location> {
    let location = serde_json::from_value::<Location>(fields.object("location")?).ok();
    if location.is_none() {
        fields.add_error("location", "not_a_location", NOT_A_LOCATION);
    }
    location
}

/// Reads the caller's own data about the message.
fn read_metadata(fields: &mut BodyReader) -> Option<Value> {
    let metadata = fields.object("metadata")?;
    let fault = match check_values(&metadata) {
        Some(fault) => Some((fault.code(), fault.to_string())),
        None if MAX_METADATA < metadata.to_string().len() => {
            Some(("too_long", format!("must be at most {MAX_METADATA} bytes of JSON")))
        }
        None => None,
    };
    if let Some((code, detail)) = fault {
        fields.add_error("metadata", code, format!("metadata {detail}."));
        return None;
    }
    Some(metadata)
}

/// Reads the buttons. A value that is not a button becomes an empty one, which `compose` reports.
fn read_buttons(fields: &mut BodyReader) -> Vec<Button> {
    let none = || Button { text: String::new(), url: None, data: None };
    let items = fields.list("buttons", MAX_BUTTONS).into_iter();
    items.map(|item| serde_json::from_value(item).unwrap_or_else(|_| none())).collect()
}

/// Reads the attachments. A value that is not an attachment becomes an empty one, which `compose` reports.
fn read_attachments(fields: &mut BodyReader) -> Vec<AttachmentRef> {
    let items = fields.list("attachments", MAX_ATTACHMENTS).into_iter();
    items.map(|item| read_attachment(&item).unwrap_or_default()).collect()
}

fn read_attachment(item: &Value) -> Option<AttachmentRef> {
    let item = item.as_object()?;
    let mut attachment = AttachmentRef::default();
    for (name, value) in item.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str()?.to_owned();
        match name.as_str() {
            "attachmentId" => attachment.attachment_id = Some(text),
            "filename" => attachment.filename = Some(text),
            "fileUrl" => attachment.file_url = Some(text),
            "kind" => attachment.kind = Some(text.parse::<MediaKind>().ok()?),
            _ => return None,
        }
    }
    let is_known = |name: &String| ["attachmentId", "filename", "fileUrl", "kind"].contains(&name.as_str());
    item.keys().all(is_known).then_some(attachment)
}

fn read_provider_template(fields: &mut BodyReader) -> Option<ProviderTemplate> {
    let template = serde_json::from_value::<ProviderTemplate>(fields.object("providerTemplate")?).ok();
    if template.is_none() {
        let detail = "providerTemplate must be {\"name\": …, \"language\": \"en\", \"variables\": [\"…\"]}.";
        fields.add_error("providerTemplate", "not_a_template", detail);
    }
    template
}

pub(crate) fn read_quiet_hours(fields: &mut BodyReader) -> Option<QuietHours> {
    let input = fields.object("quietHours")?;
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let hours = QuietHours { start: text("start"), end: text("end"), time_zone: text("timeZone") };
    let is_known = |name: &String| ["start", "end", "timeZone"].contains(&name.as_str());
    if let Some(unknown) = input.as_object().and_then(|input| input.keys().find(|name| !is_known(name))) {
        let detail = format!("quietHours has no field {unknown}. Its fields are start, end and timeZone.");
        fields.add_error("quietHours", "unknown_field", detail);
        return None;
    }
    match quiet_hours::check(&hours) {
        Ok(()) => Some(hours),
        Err((name, error)) => {
            fields.add_error(&format!("quietHours/{name}"), "not_quiet_hours", format!("quietHours.{name} {error}."));
            None
        }
    }
}

//! Parts of a message: its times, its files, its buttons and its rendering.

use std::collections::BTreeMap;

use domain::file_name;
use domain::message::{AttachmentLink, Button, Location, MediaKind};
use domain::public_url;
use domain::quiet_hours;
use domain::render::RenderError;
use domain::text;
use events::{Attachment, EntityRef, QuietHours, TenantId, Timestamp};

use super::new_message::{AttachmentRef, Faults, Field, NewMessage};
use crate::attachments::{UploadState, UploadedFile};
use crate::links::{LinkKeys, file_token};
use crate::templates::is_locale;

/// A time that is less than this in the past means now, because clocks differ.
const CLOCK_TOLERANCE_MS: i64 = 5 * 60_000;
/// The furthest into the future that a message may be scheduled.
const MAX_SCHEDULE_AHEAD_MS: i64 = 366 * 24 * 3_600_000;
/// How long a link to an uploaded file is valid after its message was due, in milliseconds.
const FILE_LINK_TTL_MS: i64 = 30 * 24 * 3_600_000;

/// When a message is sent, and when it expires. `None` means now, and the default of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendTime {
    pub at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

impl SendTime {
    pub fn check(at: Option<Timestamp>, expires_at: Option<Timestamp>, now: Timestamp, faults: &mut Faults) -> Self {
        if at.is_some_and(|at| at < now - CLOCK_TOLERANCE_MS) {
            faults.add(Field::ScheduledAt, "in_the_past", "scheduledAt is in the past.");
        }
        if at.is_some_and(|at| now + MAX_SCHEDULE_AHEAD_MS < at) {
            faults.add(Field::ScheduledAt, "too_far", "scheduledAt is more than a year away.");
        }
        if expires_at.is_some_and(|expires_at| expires_at <= at.unwrap_or(now).max(now)) {
            faults.add(Field::ExpiresAt, "in_the_past", "expiresAt must be after the time of sending.");
        }
        SendTime { at: at.filter(|at| now < *at), expires_at }
    }
}

/// Creates links to uploaded files.
pub(super) struct FileLinks<'a> {
    pub files: &'a BTreeMap<String, UploadedFile>,
    pub public_url: &'a str,
    pub link_keys: &'a LinkKeys,
    pub tenant: &'a TenantId,
    /// When the message is due.
    pub due: Timestamp,
}

impl FileLinks<'_> {
    /// A link is valid until a month after the message was due.
    fn url(&self, id: &str) -> String {
        let token = file_token(self.link_keys, self.tenant, id, self.due + FILE_LINK_TTL_MS);
        format!("{}/files/{token}", self.public_url)
    }

    pub fn check(&self, refs: &[AttachmentRef], faults: &mut Faults) -> Vec<AttachmentLink> {
        let links = refs.iter().enumerate().map(|(index, attachment)| self.link(index, attachment, faults));
        links.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn link(&self, index: usize, attachment: &AttachmentRef, faults: &mut Faults) -> Option<AttachmentLink> {
        let AttachmentRef { attachment_id, filename, file_url, kind } = attachment;
        let is_short = |text: &str, limit: usize| !text.is_empty() && text.chars().count() <= limit;
        let name = match filename.as_deref().map(file_name::last_segment) {
            Some(None) => {
                faults.add(Field::AttachmentName(index), "not_a_file_name", NOT_A_FILE_NAME);
                return None;
            }
            name => name.flatten().map(str::to_owned),
        };
        match (attachment_id, file_url, name) {
            (Some(id), None, name) if is_short(id, 40) => {
                let (code, detail) = match self.files.get(id) {
                    Some(file) if file.state == UploadState::Ready => {
                        let filename = name.unwrap_or_else(|| file.filename.clone());
                        if !file_name::fits(&filename, &file.mime) {
                            let ends = file_name::extensions(&file.mime).join(", .");
                            let detail = format!("The name of a file of this type ends with .{ends}.");
                            faults.add(Field::AttachmentName(index), "not_the_type", detail);
                            return None;
                        }
                        return Some(AttachmentLink {
                            filename,
                            file_url: self.url(id),
                            kind: kind.or_else(|| file.mime.split('/').next()?.parse::<MediaKind>().ok()),
                            attachment: Some(id.clone()),
                        });
                    }
                    None => ("unknown_attachment", "No attachment has this id. POST /api/attachments creates one."),
                    Some(file) if file.state == UploadState::Refused => {
                        ("refused", "The uploaded file does not match its declared size, type or checksum.")
                    }
                    Some(_) => ("not_uploaded", "The file was not uploaded yet. PUT it to its upload URL."),
                };
                faults.add(Field::AttachmentId(index), code, detail);
                None
            }
            (None, Some(url), Some(filename)) if is_short(url, 2_000) && url.starts_with("https://") => {
                match public_url::check(url) {
                    Ok(url) if !file_name::fits_path(&filename, url.path()) => {
                        let detail = "The name of a file ends like the type of the file, such as .pdf.";
                        faults.add(Field::AttachmentName(index), "not_the_type", detail);
                        None
                    }
                    Ok(url) => Some(AttachmentLink { filename, file_url: url.into(), kind: *kind, attachment: None }),
                    Err(reason) => {
                        let detail = format!("fileUrl must be a public https address: {reason}.");
                        faults.add(Field::AttachmentUrl(index), "not_public", detail);
                        None
                    }
                }
            }
            _ => {
                let detail = "An attachment must be {\"attachmentId\": …} of an uploaded file, or {\"filename\": …, \
                              \"fileUrl\": \"https://…\"}, with a kind of image, video, audio or file where its name \
                              does not say it.";
                faults.add(Field::Attachment(index), "not_an_attachment", detail);
                None
            }
        }
    }

    /// The attachments as the event records them, without names and addresses.
    pub fn recorded(&self, links: &[AttachmentLink]) -> Vec<Attachment> {
        let record = |(index, link): (usize, &AttachmentLink)| {
            let file = link.attachment.as_ref().and_then(|id| self.files.get(id));
            Attachment {
                key: index.to_string(),
                sha256: file.and_then(|file| file.sha256.clone()),
                mime: file.map(|file| file.mime.clone()),
                size_bytes: file.map(|file| file.size),
            }
        };
        links.iter().enumerate().map(record).collect()
    }
}

/// The detail of the fault of an invalid file name.
pub const NOT_A_FILE_NAME: &str =
    "filename must be 1 to 255 characters that can be seen, such as invoice.pdf, without folders.";

/// Checks the characters of the texts of a message or of a change.
pub(super) fn check_texts(
    subject: Option<&str>,
    body: Option<&str>,
    variables: Option<&serde_json::Value>,
    faults: &mut Faults,
) {
    let found = [
        (Field::Subject, "subject", subject.and_then(text::check_line)),
        (Field::Content, "content", body.and_then(text::check_body)),
        (Field::Variables, "templateVariables", variables.and_then(text::check_values)),
    ];
    for (field, name, fault) in found {
        if let Some(fault) = fault.filter(|fault| !faults.has_inherited(&field, fault.code())) {
            faults.add(field, fault.code(), format!("{name} {fault}."));
        }
    }
    // Such content was meant for variables, and would be sent with its braces.
    let has_tag = |text: &str| text.split_once("{{").is_some_and(|(_, rest)| rest.contains("}}"));
    for (field, name, text) in [(Field::Subject, "subject", subject), (Field::Content, "content", body)] {
        let code = "no_variables";
        if variables.is_none() && text.is_some_and(has_tag) && !faults.has_inherited(&field, code) {
            let detail = format!(
                "{name} contains {{{{…}}}} but there are no templateVariables. Provide them, or an empty object and \\{{{{ for \
                 braces as they are."
            );
            faults.add(field, code, detail);
        }
    }
}

/// Checks the recipient's name and the locale.
pub(super) fn check_name_and_locale(message: &NewMessage, faults: &mut Faults) {
    if let Some(fault) = message.recipient_name.as_deref().and_then(text::check_line) {
        faults.add(Field::RecipientName, fault.code(), format!("recipientName {fault}."));
    }
    if message.locale.as_deref().is_some_and(|locale| !is_locale(locale)) {
        faults.add(Field::Locale, "not_a_locale", "locale must be a language tag such as es or es-MX.");
    }
}

pub(super) fn check_location(location: Option<&Location>, faults: &mut Faults) {
    let is_on_earth = |place: &Location| place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0;
    if location.is_some_and(|place| !is_on_earth(place)) {
        faults.add(Field::Location, "not_a_location", NOT_A_LOCATION);
    }
}

/// The detail of the fault of an invalid location.
pub const NOT_A_LOCATION: &str =
    "location must be {\"latitude\": -1.29, \"longitude\": 36.8, \"name\"?, \"address\"?}.";

pub(super) fn check_buttons(buttons: &[Button], faults: &mut Faults) {
    for (index, button) in buttons.iter().enumerate() {
        let has_one_effect = button.url.is_some() != button.data.is_some();
        let is_safe = button.url.as_ref().is_none_or(|url| url.starts_with("https://") && url.len() <= 2_000);
        let is_text = (1..=64).contains(&button.text.chars().count()) && text::check_line(&button.text).is_none();
        if !(is_text && has_one_effect && is_safe) {
            let detail = "A button must be {\"text\": …, \"url\": \"https://…\"} or {\"text\": …, \"data\": …}.";
            faults.add(Field::Button(index), "not_a_button", detail);
        }
    }
}

pub(super) fn check_entity(entity: Option<&EntityRef>, faults: &mut Faults) {
    if entity.is_some_and(|entity| entity.kind.is_empty()) {
        faults.add(Field::EntityType, "required", "entityId needs an entityType.");
    }
}

pub(super) fn check_quiet_hours(quiet_hours: Option<&QuietHours>, faults: &mut Faults) {
    if let Some(Err((name, error))) = quiet_hours.map(quiet_hours::check) {
        faults.add(Field::QuietHours(name), "not_quiet_hours", format!("quietHours.{name} {error}."));
    }
}

/// Adds a rendering error as a fault of the field that must be corrected.
pub(super) fn render_fault(error: &RenderError, has_template: bool, faults: &mut Faults) {
    let field = match error {
        RenderError::MissingVariables(_) => Field::Variables,
        RenderError::UnknownTemplate(_) | RenderError::WrongChannel(_) => Field::Template,
        RenderError::Template(_)
        | RenderError::TooComplex(_)
        | RenderError::TooManySteps
        | RenderError::Blank
        | RenderError::Direction
            if has_template =>
        {
            Field::Variables
        }
        RenderError::Template(_)
        | RenderError::TooComplex(_)
        | RenderError::TooManySteps
        | RenderError::TooLarge
        | RenderError::Empty
        | RenderError::Blank
        | RenderError::Direction => Field::Content,
    };
    faults.add(field, error.kind(), format!("The message cannot be rendered: {error}."));
}

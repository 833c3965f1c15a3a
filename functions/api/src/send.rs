//! `POST /api/communications/send`: from a body to an accepted communication.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::files::{State as Stage, UploadedFile};
use application::hash::contact_hash;
use application::problem::{FieldError, Kind, Problem};
use application::{CommandContext, Loaded};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use domain::access::key_allows_channel;
use domain::communication::{Command, Rejection};
use domain::communication_view::row;
use domain::explain::suppressed as suppressed_by;
use domain::ports::{AddressKey, AttachmentLink, ContentKey, MessageContent, Principal, StreamKey};
use domain::provider_configs::Channels;
use domain::render::{Button, CompiledTemplate, Location, MediaKind, ProviderTemplate, RenderError, words};
use domain::status::status;
use domain::templates::Templates;
use domain::{address, policy, quiet_hours};
use events::{
    Attachment, Channel, CommunicationId, DoubtPolicy, EntityRef, Fallback, FallbackStep, MessageType, Mode, Priority,
    QuietHours, Recipient, RecipientType, Requested, Retention, Source, SuppressReason, Template, TenantId, Timestamp,
    Unless,
};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::channels::{ALLOWED_COUNTRIES, DEFAULT_REGION};
use crate::fields::{Fields, invalid, missing, show_time};
use crate::{Api, Shared, json, not_found, origin, read_body, show};

/// Characters of an idempotency key, at most.
const MAX_KEY: usize = 255;
/// A time this little in the past is now: clocks differ.
const CLOCK_TOLERANCE_MS: i64 = 5 * 60_000;
/// The furthest that a message may be scheduled.
const MAX_SCHEDULE_AHEAD_MS: i64 = 366 * 24 * 3_600_000;

/// How long a link to an uploaded file is good after its message was due, in milliseconds.
const FILE_LINK_TTL_MS: i64 = 30 * 24 * 3_600_000;
/// Steps of a fallback, at most.
const MAX_STEPS: usize = 4;
/// How long a step may be waited for.
const STEP_WAIT_RANGE_MS: std::ops::RangeInclusive<i64> = 60_000..=7 * 24 * 3_600_000;
/// What a step may say for itself.
const STEP_FIELDS: [&str; 7] =
    ["channel", "recipientContact", "subject", "content", "templateId", "templateVariables", "providerTemplate"];

/// What a team's key is told of anybody else's address.
pub(crate) const NOT_ON_TEAM: &str = "This key writes to the addresses of its team alone.";

/// What was accepted and whose words it carries.
pub(crate) struct Accepted {
    pub request: Requested,
    pub content: MessageContent,
    /// Of each step of its fallback.
    pub next: Vec<MessageContent>,
}

pub(crate) async fn send(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let idempotency = idempotency_key(&headers)?;
    let body = read_body(body).await?;
    let fields = Fields::parse(&body)?;
    let request_hash = fields.hash();
    let origin = origin(&caller, &headers);
    let (key, loaded) = match api.begin(&caller, idempotency, &request_hash, &origin).await? {
        IdempotencyCheck::First(key, loaded) => (key, loaded),
        IdempotencyCheck::Replay(key, loaded) => return api.replayed(&key, &loaded).await,
    };
    let known = api.decided(&caller).await?;
    let accepted = api.read(&caller, &known, fields, request_hash).await?;
    let content = accepted.content.clone();
    let after = api.accept(&key, loaded, accepted, &origin).await?;
    api.accepted(&key, &after, Some(content)).await
}

/// Messages of one batch, at most.
const BATCH: usize = 100;
/// Messages of a batch accepted side by side.
const MAX_CONCURRENT_SENDS: usize = 16;

/// Many at once, each by itself: one that is refused does not hold up the others. `validateOnly` accepts none.
pub(crate) async fn batch(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let dry = fields.flag("validateOnly").unwrap_or(false);
    let all =
        fields.required("communications", |fields| Some(fields.list("communications", BATCH))).unwrap_or_default();
    if all.is_empty() {
        fields.wrong("communications", "empty", "communications must hold at least one.");
    }
    fields.finish()?;
    let origin = origin(&caller, &headers);
    let known = api.decided(&caller).await?;
    let one = async |value: &Value| -> Result<Value, Problem> {
        let mut fields = Fields::of(value.clone())?;
        let idempotency = fields.reference("idempotencyKey", MAX_KEY);
        let idempotency = idempotency.map(|key| check_key(Some(&key))).transpose()?;
        let request_hash = fields.hash();
        if dry {
            api.read(&caller, &known, fields, request_hash).await?;
            return Ok(json!({ "valid": true }));
        }
        let (key, after, replayed) = match api.begin(&caller, idempotency, &request_hash, &origin).await? {
            IdempotencyCheck::Replay(key, loaded) => (key, loaded, true),
            IdempotencyCheck::First(key, loaded) => {
                let accepted = api.read(&caller, &known, fields, request_hash).await?;
                let after = api.accept(&key, loaded, accepted, &origin).await?;
                (key, after, false)
            }
        };
        let status = status(after.state.requested()?).as_str();
        Ok(json!({ "id": key.id, "status": status, "idempotentReplayed": replayed }))
    };
    let mut results = Vec::with_capacity(all.len());
    let mut refused = 0;
    for some in all.chunks(MAX_CONCURRENT_SENDS) {
        for done in join_all(some.iter().map(one)).await {
            refused += usize::from(done.is_err());
            let mut result = done.unwrap_or_else(|problem| json!({ "problem": problem.body() }));
            result["index"] = json!(results.len());
            results.push(result);
        }
    }
    let accepted = if dry { 0 } else { results.len() - refused };
    Ok(json(StatusCode::OK, &json!({ "accepted": accepted, "refused": refused, "results": results })))
}

/// Whether a request is the first with its idempotency key.
pub(crate) enum IdempotencyCheck {
    First(StreamKey, Loaded),
    /// The same request came before.
    Replay(StreamKey, Loaded),
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    check_key(value.to_str().ok()).map(Some)
}

fn check_key(text: Option<&str>) -> Result<String, Problem> {
    let text = text.map(str::trim);
    let visible = |text: &&str| {
        !text.is_empty() && text.len() <= MAX_KEY && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
    };
    let wrong = || {
        let detail = "Idempotency-Key must be 1 to 255 visible ASCII characters, such as invoice-1234/send.";
        Problem::new(Kind::Malformed, detail)
    };
    text.filter(visible).map(str::to_owned).ok_or_else(wrong)
}

/// Where the words lie of each step of a fallback.
pub(crate) fn fallback_content_keys(key: &StreamKey, request: &Requested) -> Vec<ContentKey> {
    let (mut key, mut places) = (key.clone(), Vec::new());
    for step in request.fallback.iter().flat_map(|fallback| &fallback.steps) {
        key.id = CommunicationId::for_fallback_of(&key.tenant, key.id);
        let asked = Requested { contact_hash: step.contact_hash.clone(), ..request.clone() };
        places.push(ContentKey::of(&key, &asked, &request.request_hash));
    }
    places
}

/// A message of ours own making, read as one that came.
pub(crate) async fn parse_internal_message(
    api: &Api,
    caller: &Principal,
    body: Value,
    request_hash: String,
) -> Result<Accepted, Problem> {
    let known = api.decided(caller).await?;
    api.read(caller, &known, Fields::of(body)?, request_hash).await
}

/// The uploaded files that a message names, by their ids.
type Files = BTreeMap<String, UploadedFile>;

/// What the tenant decided, which a message is read by.
pub(crate) struct TenantConfig {
    pub channels: Arc<Channels>,
    pub templates: Arc<Templates>,
}

/// What a configuration of the tenant's says of all of its phone numbers.
fn phone_number_setting<'a>(channels: &'a Channels, setting: &str) -> Option<&'a str> {
    channels.configs.values().find_map(|config| config.settings.get(setting)).map(String::as_str)
}

/// Everything but the words.
fn read(
    api: &Api,
    caller: &Principal,
    (TenantConfig { channels, templates }, files): (&TenantConfig, &Files),
    mut fields: Fields,
    request_hash: String,
) -> Result<Accepted, Problem> {
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let kind = fields.required("type", read_type);
    let recipient = Recipient {
        kind: fields.choice("recipientType", &RecipientType::names()).unwrap_or(RecipientType::Customer),
        id: fields.reference("recipientId", 255),
    };
    let recipient_name = fields.reference("recipientName", 255);
    let contact = fields.required("recipientContact", |f| f.text("recipientContact", 320));
    if let Some(channel) = channel.filter(|channel| !key_allows_channel(caller.channels.as_deref(), *channel)) {
        let detail = format!("This key may not send by {}.", channel.as_str());
        fields.wrong("channel", "channel_not_allowed", detail);
    }
    if let Some(channel) = channel.filter(|channel| !api.serves(caller, channels, *channel)) {
        let detail = format!("No provider is set up for {} yet: POST /api/channels adds one.", channel.as_str());
        fields.wrong("channel", "channel_unavailable", detail);
    }
    let contact =
        channel.zip(contact).and_then(|(channel, contact)| read_contact(&mut fields, channel, &contact, channels));
    let hash = contact.as_ref().map(|contact| contact_hash(&api.contact_key, &caller.tenant, contact));
    if hash.as_ref().is_some_and(|hash| !caller.can_send_to(hash)) {
        fields.wrong("recipientContact", "not_on_team", NOT_ON_TEAM);
    }
    let subject = fields.text("subject", 500);
    let content = fields.text("content", crate::MAX_BODY);
    let locale = fields.reference("locale", 35);
    let template = channel.and_then(|channel| read_template(&mut fields, templates, channel, locale.as_deref()));
    let variables = fields.object("templateVariables");
    let entity = read_entity(&mut fields);
    let schedule = Schedule::read(&mut fields, api.host.now());
    // A link is good for as long as its message, and a month more.
    let links_until = schedule.at.unwrap_or_else(|| api.host.now()) + FILE_LINK_TTL_MS;
    let link = |id: &str| api.file_url(&caller.tenant, id, links_until);
    let attachments = read_attachments(&mut fields, files, link);
    let priority = fields.choice("priority", &Priority::names()).unwrap_or(Priority::Normal);
    let in_doubt: Option<DoubtPolicy> = fields.choice("inDoubt", &DoubtPolicy::names());
    let max_attempts = fields.number("maxAttempts", 1..=10).map_or(policy::MAX_ATTEMPTS, |n| n as u8);
    let quiet_hours = read_quiet_hours(&mut fields);
    let retention: Option<Retention> = fields.choice("retention", &Retention::names());
    let location = read_location(&mut fields);
    let buttons = read_buttons(&mut fields);
    let provider_template = read_provider_template(&mut fields);
    let is_email = channel == Some(Channel::Email);
    let says_enough = !is_email && (!attachments.is_empty() || location.is_some() || provider_template.is_some());
    match (&content, &template) {
        (Some(_), Some(_)) => fields.wrong("content", "ambiguous", "Give content or templateId, not both."),
        (None, None) if !says_enough => fields.wrong("content", "required", "Give content or a templateId."),
        _ => (),
    }
    if channel == Some(Channel::Email) && template.is_none() && subject.is_none() {
        fields.wrong("subject", "required", "An email without a template needs a subject.");
    }
    let (Some(channel), Some(kind), Some((contact, contact_hash))) = (channel, kind, contact.zip(hash)) else {
        return Err(fields.finish().err().unwrap_or_else(missing));
    };
    fields.finish()?;
    let due = schedule.at.unwrap_or_else(|| api.host.now());
    let accepted = Accepted {
        request: Requested {
            channel,
            kind,
            priority,
            source: Source::Api,
            recipient,
            contact_hash,
            template,
            locale,
            attachments: attachments.iter().enumerate().map(|(place, link)| attachment(place, link, files)).collect(),
            entity,
            scheduled_at: schedule.at,
            expires_at: schedule.expires_at.unwrap_or_else(|| policy::expires_at(kind, due)),
            quiet_hours,
            in_doubt: in_doubt.unwrap_or_else(|| policy::in_doubt(kind)),
            max_attempts,
            campaign: None,
            rule: None,
            resend_of: None,
            fallback: None,
            fallback_of: None,
            retention,
            via: None,
            request_hash,
            requested_by: caller.actor.clone(),
            mode: caller.mode,
        },
        content: MessageContent {
            recipient_contact: contact,
            recipient_name,
            subject,
            shown_subject: None,
            content,
            variables,
            attachments,
            location,
            buttons,
            provider_template,
        },
        next: Vec::new(),
    };
    Ok(accepted)
}

/// `general` is what the source documents also call `general_notification`.
pub(crate) fn read_type(fields: &mut Fields) -> Option<MessageType> {
    struct Named(MessageType);
    impl std::str::FromStr for Named {
        type Err = ();
        fn from_str(text: &str) -> Result<Self, ()> {
            match text {
                "general" => Ok(Named(MessageType::GeneralNotification)),
                other => other.parse().map(Named),
            }
        }
    }
    fields.choice("type", &MessageType::names()).map(|Named(kind)| kind)
}

pub(crate) fn read_contact(fields: &mut Fields, channel: Channel, text: &str, channels: &Channels) -> Option<String> {
    // The country of numbers that are written without their code.
    let region = phone_number_setting(channels, DEFAULT_REGION);
    let normal = match address::normalise(channel, text, region) {
        Ok(normal) => normal,
        Err(error) => {
            fields.wrong("recipientContact", "not_an_address", format!("recipientContact {error}."));
            return None;
        }
    };
    // Whoever gets hold of a key can make money with SMS to far countries.
    let countries = phone_number_setting(channels, ALLOWED_COUNTRIES).or(region);
    if channel == Channel::Sms && countries.is_some_and(|countries| !address::is_of(&normal, countries)) {
        let detail = "SMS to this country is not allowed; a channel's setting allowedCountries names those that are.";
        fields.wrong("recipientContact", "country_not_allowed", detail);
        return None;
    }
    Some(normal)
}

fn read_location(fields: &mut Fields) -> Option<Location> {
    let given = fields.object("location")?;
    let location = serde_json::from_value::<Location>(given).ok();
    let location = location.filter(|place| place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0);
    if location.is_none() {
        let detail = "location is {\"latitude\": -1.29, \"longitude\": 36.82, \"name\"?, \"address\"?}.";
        fields.wrong("location", "not_a_location", detail);
    }
    location
}

fn read_buttons(fields: &mut Fields) -> Vec<Button> {
    let mut buttons = Vec::new();
    for (place, item) in fields.list("buttons", 10).into_iter().enumerate() {
        let button = serde_json::from_value::<Button>(item).ok().filter(|button| {
            let is_one = button.url.is_some() != button.data.is_some();
            let is_safe = button.url.as_ref().is_none_or(|url| url.starts_with("https://") && url.len() <= 2_000);
            (1..=64).contains(&button.text.chars().count()) && is_one && is_safe
        });
        match button {
            Some(button) => buttons.push(button),
            None => {
                let detail = "A button is {\"text\": …, \"url\": \"https://…\"} or {\"text\": …, \"data\": …}.";
                fields.wrong(&format!("buttons/{place}"), "not_a_button", detail);
            }
        }
    }
    buttons
}

fn read_provider_template(fields: &mut Fields) -> Option<ProviderTemplate> {
    let given = fields.object("providerTemplate")?;
    let template = serde_json::from_value::<ProviderTemplate>(given).ok();
    if template.is_none() {
        let detail = "providerTemplate is {\"name\": …, \"language\": \"en\", \"variables\": [\"…\"]}.";
        fields.wrong("providerTemplate", "not_a_template", detail);
    }
    template
}

fn read_template(
    fields: &mut Fields,
    templates: &Templates,
    channel: Channel,
    locale: Option<&str>,
) -> Option<Template> {
    let id = fields.reference("templateId", 100)?;
    let found = templates.resolve(&id, channel, locale);
    if found.is_none() {
        let detail = format!("There is no active template {id}; GET /api/communication-templates lists them.");
        fields.wrong("templateId", "unknown_template", detail);
    }
    found
}

fn read_entity(fields: &mut Fields) -> Option<EntityRef> {
    let (kind, id) = (fields.reference("entityType", 50), fields.reference("entityId", 255));
    if kind.is_none() && id.is_some() {
        fields.wrong("entityType", "required", "entityId needs an entityType.");
    }
    kind.map(|kind| EntityRef { kind, id })
}

pub(crate) fn read_quiet_hours(fields: &mut Fields) -> Option<QuietHours> {
    let given = fields.object("quietHours")?;
    let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let hours = QuietHours { start: text("start"), end: text("end"), time_zone: text("timeZone") };
    let known = |name: &String| ["start", "end", "timeZone"].contains(&name.as_str());
    if let Some(unknown) = given.as_object().and_then(|given| given.keys().find(|name| !known(name))) {
        fields.wrong(
            "quietHours",
            "unknown_field",
            format!("quietHours has no {unknown}; it has start, end and timeZone."),
        );
        return None;
    }
    match quiet_hours::check(&hours) {
        Ok(()) => Some(hours),
        Err((name, error)) => {
            fields.wrong(&format!("quietHours/{name}"), "not_quiet_hours", format!("quietHours.{name} {error}."));
            None
        }
    }
}

fn read_attachments(fields: &mut Fields, files: &Files, link: impl Fn(&str) -> String) -> Vec<AttachmentLink> {
    let mut links = Vec::new();
    for (place, item) in fields.list("attachments", 10).into_iter().enumerate() {
        let text = |name: &str, most: usize| {
            let text = item.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control))
        };
        let has = |name: &str| item.get(name).is_some_and(|value| !value.is_null());
        let names = ["filename", "fileUrl", "kind", "attachmentId"];
        let known = item.as_object().is_some_and(|item| item.keys().all(|name| names.contains(&name.as_str())));
        let kind = item.get("kind").filter(|kind| !kind.is_null());
        let kind = kind.map(|kind| kind.as_str().and_then(|kind| kind.parse::<MediaKind>().ok()));
        let is_sound = known && kind != Some(None) && (!has("filename") || text("filename", 255).is_some());
        let url = text("fileUrl", 2_000).filter(|url| url.starts_with("https://"));
        let id = text("attachmentId", 40);
        match (id, url, text("filename", 255)) {
            (Some(id), None, name) if is_sound && !has("fileUrl") => match files.get(id) {
                Some(file) if file.state == Stage::Ready => links.push(AttachmentLink {
                    filename: name.unwrap_or(&file.filename).to_owned(),
                    file_url: link(id),
                    kind: kind.flatten().or_else(|| file.mime.split('/').next()?.parse().ok()),
                    attachment: Some(id.to_owned()),
                }),
                other => {
                    let (code, detail) = match other {
                        None => ("unknown_attachment", "There is no such attachment: POST /api/attachments makes one."),
                        Some(file) if file.state == Stage::Refused => ("refused", "It is not what it was said to be."),
                        Some(_) => ("not_uploaded", "Nothing was uploaded yet: PUT it to the address that was given."),
                    };
                    fields.wrong(&format!("attachments/{place}/attachmentId"), code, detail);
                }
            },
            (None, Some(file_url), Some(filename)) if is_sound && !has("attachmentId") => {
                let (filename, file_url) = (filename.to_owned(), file_url.to_owned());
                links.push(AttachmentLink { filename, file_url, kind: kind.flatten(), attachment: None });
            }
            _ => {
                let detail = "An attachment is {\"attachmentId\": …} of one that was uploaded, or {\"filename\": …, \
                              \"fileUrl\": \"https://…\"}, with a kind of image, video, audio or file where its name \
                              does not say it.";
                fields.wrong(&format!("attachments/{place}"), "not_an_attachment", detail);
            }
        }
    }
    links
}

fn attachment(place: usize, link: &AttachmentLink, files: &Files) -> Attachment {
    let file = link.attachment.as_ref().and_then(|id| files.get(id));
    Attachment {
        key: place.to_string(),
        sha256: file.and_then(|file| file.sha256.clone()),
        mime: file.map(|file| file.mime.clone()),
        size_bytes: file.map(|file| file.size),
    }
}

/// When, and until when.
pub(crate) struct Schedule {
    pub at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}

impl Schedule {
    pub fn read(fields: &mut Fields, now: Timestamp) -> Self {
        let at = fields.time("scheduledAt");
        let expires_at = fields.time("expiresAt");
        if at.is_some_and(|at| at < now - CLOCK_TOLERANCE_MS) {
            fields.wrong("scheduledAt", "in_the_past", "scheduledAt is in the past.");
        }
        if at.is_some_and(|at| now + MAX_SCHEDULE_AHEAD_MS < at) {
            fields.wrong("scheduledAt", "too_far", "scheduledAt is more than a year away.");
        }
        if expires_at.is_some_and(|expires_at| expires_at <= at.unwrap_or(now).max(now)) {
            fields.wrong("expiresAt", "in_the_past", "expiresAt must be after the time of sending.");
        }
        Schedule { at: at.filter(|at| now < *at), expires_at }
    }
}

/// Renders once as it will be sent, so that what cannot be said is refused now and not in the night.
fn with_words(mut accepted: Accepted, text: Option<&CompiledTemplate>) -> Result<Accepted, Problem> {
    let Accepted { request, content, .. } = &accepted;
    match words(request, content, text) {
        Ok(message) => {
            accepted.content.shown_subject = message.subject;
            Ok(accepted)
        }
        Err(error) => {
            let pointer = match &error {
                RenderError::MissingVariables(_) => "/templateVariables",
                RenderError::UnknownTemplate(_) | RenderError::WrongChannel(_) => "/templateId",
                RenderError::Template(_) if request.template.is_some() => "/templateVariables",
                RenderError::Template(_) | RenderError::TooLarge | RenderError::Empty => "/content",
            };
            let detail = format!("Cannot be rendered: {error}.");
            Err(invalid(vec![FieldError { pointer: pointer.to_owned(), code: error.kind(), detail }]))
        }
    }
}

impl Api {
    /// Where people read a file who have a link in a message.
    fn file_url(&self, tenant: &TenantId, id: &str, until: Timestamp) -> String {
        format!("{}/files/{}", self.own.public_url, application::hash::file_token(&self.contact_key, tenant, id, until))
    }

    /// What the tenant decided, at most 15 seconds old.
    pub(crate) async fn decided(&self, caller: &Principal) -> Result<TenantConfig, Problem> {
        let channels = self.directory.channels(&self.own, &caller.tenant);
        let templates = self.library.templates(&self.own, &caller.tenant);
        let (channels, templates) = join(channels, templates).await;
        Ok(TenantConfig { channels: channels?, templates: templates? })
    }

    async fn read(
        &self,
        caller: &Principal,
        known: &TenantConfig,
        mut fields: Fields,
        request_hash: String,
    ) -> Result<Accepted, Problem> {
        let known = (known, &self.uploaded(caller, &fields).await?);
        let asked = fields.has("fallback").then(|| fields.clone());
        let steps = fields.list("fallback", MAX_STEPS);
        let accepted = self.read_one(caller, known, fields, request_hash).await?;
        match asked.filter(|_| !steps.is_empty()) {
            Some(asked) => self.read_fallback(caller, known, &asked, steps, accepted).await,
            None => Ok(accepted),
        }
    }

    async fn read_one(
        &self,
        caller: &Principal,
        known: (&TenantConfig, &Files),
        mut fields: Fields,
        request_hash: String,
    ) -> Result<Accepted, Problem> {
        self.choose(caller, known.0, &mut fields).await?;
        self.with_words(caller, read(self, caller, known, fields, request_hash)?).await
    }

    /// Each step is read as a message of its own: what it does not say is as in the first.
    async fn read_fallback(
        &self,
        caller: &Principal,
        known: (&TenantConfig, &Files),
        asked: &Fields,
        given: Vec<Value>,
        mut accepted: Accepted,
    ) -> Result<Accepted, Problem> {
        let (first, mut errors, mut steps) = (&accepted.request, Vec::new(), Vec::new());
        let mut due = first.scheduled_at.unwrap_or_else(|| self.host.now());
        let mut before = vec![(first.channel, first.contact_hash.clone())];
        for (place, given) in given.into_iter().enumerate() {
            let read = self.read_step(caller, known, (asked, first), given, due).await;
            match read {
                Ok((step, content)) => {
                    due = due + step.after_ms.unwrap_or(0);
                    let to = (step.channel, step.contact_hash.clone());
                    if before.contains(&to) {
                        let detail =
                            "This step is by the same channel to the same address as one before it.".to_owned();
                        let pointer = format!("/fallback/{place}/channel");
                        errors.push(FieldError { pointer, code: "repeated", detail });
                    }
                    before.push(to);
                    steps.push(step);
                    accepted.next.push(content);
                }
                Err(problem) if problem.errors.is_empty() => return Err(problem),
                Err(problem) => errors.extend(problem.errors.into_iter().map(|error| {
                    let pointer = format!("/fallback/{place}{}", error.pointer);
                    FieldError { pointer, ..error }
                })),
            }
        }
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let from = first.scheduled_at.unwrap_or_else(|| self.host.now());
        accepted.request.fallback = Some(Fallback { from, steps });
        Ok(accepted)
    }

    async fn read_step(
        &self,
        caller: &Principal,
        known: (&TenantConfig, &Files),
        (asked, first): (&Fields, &Requested),
        given: Value,
        due: Timestamp,
    ) -> Result<(FallbackStep, MessageContent), Problem> {
        let not_a_step = |_| {
            let detail =
                "A step of fallback is {\"channel\": …, \"after\": \"30m\", \"unless\": \"delivered\"}.".to_owned();
            invalid(vec![FieldError { pointer: String::new(), code: "not_a_step", detail }])
        };
        let mut own = Fields::of(given).map_err(not_a_step)?;
        let after_ms = own.duration("after", STEP_WAIT_RANGE_MS);
        let unless: Option<Unless> = own.choice("unless", &Unless::names());
        if unless == Some(Unless::Read) && after_ms.is_none() {
            own.wrong("after", "required", "unless read needs a time to wait for it, such as after 30m.");
        }
        if after_ms.is_some_and(|after| first.expires_at <= due + after) {
            let detail = format!("It would be too late: the message expires at {}.", show_time(first.expires_at));
            own.wrong("after", "too_late", detail);
        }
        let mut step = asked.clone();
        let channel = own.raw("channel").and_then(Value::as_str).and_then(|name| name.parse().ok());
        // WhatsApp has the number of the telephone.
        let by_number = |channel| matches!(channel, Channel::Sms | Channel::Whatsapp);
        if !(channel.is_some_and(by_number) && by_number(first.channel)) {
            step.forget("recipientContact");
        }
        if own.has("content") || own.has("templateId") {
            ["content", "templateId"].iter().for_each(|field| step.forget(field));
        }
        ["channel", "scheduledAt", "expiresAt", "fallback"].iter().for_each(|field| step.forget(field));
        for field in STEP_FIELDS {
            own.move_field(&mut step, field);
        }
        own.finish()?;
        let Accepted { request, content, .. } = self.read_one(caller, known, step, first.request_hash.clone()).await?;
        let Requested { channel, contact_hash, template, .. } = request;
        let unless = unless.unwrap_or(Unless::Delivered);
        Ok((FallbackStep { channel, contact_hash, template, after_ms, unless }, content))
    }

    /// The words of a message's template, where that is the tenant's own.
    pub(crate) async fn text_of(
        &self,
        tenant: &TenantId,
        request: &Requested,
    ) -> Result<Option<Arc<CompiledTemplate>>, Problem> {
        Ok(self.library.words(&self.own, tenant, request.channel, request.template.as_ref()).await?)
    }

    pub(crate) async fn with_words(&self, caller: &Principal, accepted: Accepted) -> Result<Accepted, Problem> {
        let text = self.text_of(&caller.tenant, &accepted.request).await?;
        with_words(accepted, text.as_deref())
    }

    /// Whether there is anything that could carry it. Test messages always find a stand-in.
    pub(crate) fn serves(&self, caller: &Principal, channels: &Channels, channel: Channel) -> bool {
        let is_own = !channels.own(channel).is_empty();
        let deployment =
            || self.accounts.iter().any(|account| account.channel == channel && account.mode == caller.mode);
        is_own || deployment() || (caller.mode == Mode::Test && self.has_sandbox)
    }

    /// The stream that a request is for: of its idempotency key, or a fresh one. Live and test keys never meet.
    pub(crate) async fn begin(
        &self,
        caller: &Principal,
        idempotency: Option<String>,
        request_hash: &str,
        origin: &CommandContext,
    ) -> Result<IdempotencyCheck, Problem> {
        let tenant = caller.tenant.clone();
        let Some(idempotency) = idempotency else {
            let id = CommunicationId::fresh(self.host.now(), self.host.random());
            return Ok(IdempotencyCheck::First(StreamKey { tenant, id }, Loaded::default()));
        };
        let named = match caller.mode {
            Mode::Live => idempotency,
            // No header can hold a zero byte.
            Mode::Test => format!("test\0{idempotency}"),
        };
        let key = StreamKey { id: CommunicationId::from_idempotency_key(&tenant, &named), tenant };
        let loaded = self.executor(origin).load(&key).await?;
        let Ok(communication) = loaded.state.requested() else { return Ok(IdempotencyCheck::First(key, loaded)) };
        if communication.request.request_hash != request_hash {
            return Err(Rejection::KeyReused.into());
        }
        Ok(IdempotencyCheck::Replay(key, loaded))
    }

    /// The answer to a request that came before, as things stand now.
    pub(crate) async fn replayed(&self, key: &StreamKey, loaded: &Loaded) -> Result<Response, Problem> {
        let mut response = self.accepted(key, loaded, None).await?;
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
        Ok(response)
    }

    /// Vault first, then the stream, then the hint: a crash between leaves nothing half accepted.
    pub(crate) async fn accept(
        &self,
        key: &StreamKey,
        loaded: Loaded,
        Accepted { mut request, content, next }: Accepted,
        origin: &CommandContext,
    ) -> Result<Loaded, Problem> {
        let contact = AddressKey {
            tenant: key.tenant.clone(),
            channel: request.channel,
            contact_hash: request.contact_hash.clone(),
        };
        let preferences = self.defaults.for_recipient(&self.own, &key.tenant, &request.recipient);
        let (suppressed, preferences) = join(self.store.is_suppressed(&contact), preferences).await;
        // What may go on by another channel begins by this one all the same: the record says why it went on.
        let goes_on = request.fallback.is_some();
        if suppressed? && !goes_on {
            let detail = "This recipient bounced, complained or opted out. Nothing was accepted.";
            return Err(Problem::new(Kind::RecipientSuppressed, detail));
        }
        if let Some(preferences) = preferences? {
            let refused = preferences.refuses(request.channel, request.kind);
            let is_final = |why: &SuppressReason| {
                !goes_on || !matches!(why, SuppressReason::ChannelDisabled | SuppressReason::TypeDisabled)
            };
            if let Some(why) = refused.filter(is_final) {
                let detail = format!("Refused, for {} ({}). Nothing was accepted.", suppressed_by(why), why.as_str());
                return Err(Problem::new(Kind::RecipientSuppressed, detail));
            }
            request.quiet_hours = request.quiet_hours.or(preferences.quiet_hours);
        }
        let until = self.retain_until(request.retention, request.scheduled_at);
        let place = ContentKey::of(key, &request, &request.request_hash);
        self.vault.put(&place, &content, until).await?;
        for (place, content) in fallback_content_keys(key, &request).iter().zip(&next) {
            self.vault.put(place, content, until).await?;
        }
        let after = self.executor(origin).execute_loaded(key, loaded, Command::Request(Box::new(request))).await?;
        if after.appended > 0 {
            self.hint(key, &after).await;
        }
        Ok(after)
    }

    pub(crate) async fn accepted(
        &self,
        key: &StreamKey,
        loaded: &Loaded,
        content: Option<MessageContent>,
    ) -> Result<Response, Problem> {
        let communication = loaded.state.requested()?;
        let folded = row(key.id, &loaded.records).ok_or_else(not_found)?;
        let content = match content {
            Some(content) => Some(content),
            None => self.content(key, loaded).await?,
        };
        let due = communication.due_at.unwrap_or(folded.created_at);
        let due = quiet_hours::held_until(&communication.request, due).unwrap_or(due);
        let mut body = json!({
            "id": key.id,
            "status": folded.status,
            "estimatedSendTime": show_time(due),
            "communication": show::stored(key, &folded, content.as_ref()),
        });
        if let Some(original) = communication.request.resend_of {
            body["originalCommunicationId"] = json!(original);
        }
        let mut response = json(StatusCode::CREATED, &body);
        if let Ok(location) = HeaderValue::from_str(&format!("/api/communications/{}", key.id)) {
            response.headers_mut().insert("location", location);
        }
        Ok(response)
    }

    /// The personal data of a loaded communication; none once erased.
    pub(crate) async fn content(&self, key: &StreamKey, loaded: &Loaded) -> Result<Option<MessageContent>, Problem> {
        let communication = loaded.state.requested()?;
        let place = ContentKey::of(key, &communication.request, &communication.content);
        Ok(self.vault.get(&place, self.host.now()).await?)
    }
}

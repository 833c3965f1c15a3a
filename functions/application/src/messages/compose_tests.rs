//! Many faults at once, and each channel.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use domain::message::{Button, Location, ProviderTemplate};
use domain::ports::Principal;
use events::{Channel, EntityRef, FallbackCondition, MessageType, Mode, QuietHours, Role, Timestamp};

use super::*;
use crate::attachments::{UploadState, UploadedFile};
use crate::caller::Caller;
use crate::hash::contact_hash;
use crate::links::LinkKeys;
use crate::messages::{AttachmentRef, ChannelChoice, KnownRecipient, NewContent};

const NOW: Timestamp = Timestamp(1_795_000_000_000);
const HOUR_MS: i64 = 3_600_000;
const KEY: &[u8] = &[7; 32];
static LINK_KEYS: LazyLock<LinkKeys> = LazyLock::new(|| LinkKeys::new(vec![8; 32]));

fn caller() -> Caller {
    Caller::new(Principal::admin("acme".parse().expect("a tenant"), "billing", Mode::Live))
}

fn known(caller: &Caller) -> Known<'_> {
    Known {
        now: NOW,
        caller,
        configs: Arc::default(),
        templates: Arc::default(),
        locale: None,
        sms_countries: None,
        available: Channel::ALL.to_vec(),
        files: BTreeMap::new(),
        recipient: KnownRecipient::default(),
        contact_key: KEY,
        link_keys: &LINK_KEYS,
        public_url: "https://tidings.test",
    }
}

fn text(text: &str) -> NewContent {
    NewContent { text: Some(text.to_owned()), ..NewContent::default() }
}

fn message(channel: Channel, to: &str) -> NewMessage {
    NewMessage {
        channel: Some(ChannelChoice::Fixed(channel)),
        kind: Some(MessageType::Invoice),
        to: Some(to.to_owned()),
        content: text("Your invoice is ready."),
        fingerprint: "hash".to_owned(),
        ..NewMessage::default()
    }
}

fn step(channel: Channel, to: &str) -> NewStep {
    NewStep { channel: Some(ChannelChoice::Fixed(channel)), to: Some(to.to_owned()), ..NewStep::default() }
}

fn composed(message: &NewMessage) -> Composed {
    compose(message, &known(&caller())).expect("no faults")
}

/// (step, field, code) of each fault.
fn faults(message: &NewMessage, known: &Known<'_>) -> Vec<(Option<usize>, Field, &'static str)> {
    let faults = compose(message, known).expect_err("faults");
    faults.into_iter().map(|fault| (fault.step, fault.field, fault.code)).collect()
}

#[test]
fn each_channel_takes_its_own_kind_of_address() {
    for (channel, to, normal) in [
        (Channel::Sms, "+44 7700 900001", "+447700900001"),
        (Channel::Whatsapp, "+447700900001", "+447700900001"),
        (Channel::Messenger, "1234567890123456", "1234567890123456"),
        (Channel::Telegram, "12345678", "12345678"),
    ] {
        let Composed { request, content, fallback_contents, .. } = composed(&message(channel, to));
        assert_eq!((request.channel, content.recipient_contact.as_str()), (channel, normal));
        assert_eq!(request.contact_hash, contact_hash(KEY, &"acme".parse().expect("a tenant"), normal));
        assert_eq!((request.requested_by.as_str(), request.request_hash.as_str()), ("billing", "hash"));
        assert!(request.fallback.is_none() && fallback_contents.is_empty());
        assert_eq!(
            faults(&message(channel, "?"), &known(&caller())),
            [(None, Field::To, "not_an_address")],
            "{channel:?}"
        );
    }
    let mut email = message(Channel::Email, "Ada@Example.com");
    assert_eq!(faults(&email, &known(&caller())), [(None, Field::Subject, "required")]);
    email.content.subject = Some("Invoice {{number}}".to_owned());
    email.content.variables = Some(serde_json::json!({ "number": 7 }));
    assert_eq!(composed(&email).content.subject.as_deref(), Some("Invoice {{number}}"));
}

#[test]
fn a_message_of_nothing_says_everything_that_is_missing() {
    assert_eq!(
        faults(&NewMessage::default(), &known(&caller())),
        [
            (None, Field::Type, "required"),
            (None, Field::Channel, "required"),
            (None, Field::To, "required"),
            (None, Field::Content, "required"),
        ]
    );
}

#[test]
fn faults_of_every_part_are_found_at_once() {
    let mut wrong = message(Channel::Sms, "12");
    wrong.scheduled_at = Some(NOW - HOUR_MS);
    wrong.expires_at = Some(NOW - HOUR_MS);
    wrong.entity = Some(EntityRef { kind: String::new(), id: Some("7".to_owned()) });
    wrong.quiet_hours =
        Some(QuietHours { start: "21:00".to_owned(), end: "21:00".to_owned(), time_zone: "UTC".to_owned() });
    wrong.location = Some(Location { latitude: 91.0, longitude: 0.0, name: None, address: None });
    wrong.buttons = vec![Button { text: "Pay".to_owned(), url: None, data: None }];
    wrong.attachments = vec![
        AttachmentRef::default(),
        AttachmentRef { attachment_id: Some("att_1".to_owned()), ..AttachmentRef::default() },
    ];
    wrong.fallback = vec![
        NewStep { unless: Some(FallbackCondition::Read), ..step(Channel::Email, "nobody") },
        NewStep { after_ms: Some(HOUR_MS), ..step(Channel::Telegram, "12345678") },
    ];
    wrong.faults = vec![Fault {
        step: None,
        field: Field::Input("/colour".to_owned()),
        code: "unknown_field",
        detail: "Unknown field colour.".to_owned(),
    }];
    assert_eq!(
        faults(&wrong, &known(&caller())),
        [
            (None, Field::Input("/colour".to_owned()), "unknown_field"),
            (None, Field::ScheduledAt, "in_the_past"),
            (None, Field::ExpiresAt, "in_the_past"),
            (None, Field::Attachment(0), "not_an_attachment"),
            (None, Field::AttachmentId(1), "unknown_attachment"),
            (None, Field::Location, "not_a_location"),
            (None, Field::Button(0), "not_a_button"),
            (None, Field::EntityType, "required"),
            (None, Field::QuietHours("end"), "not_quiet_hours"),
            (None, Field::To, "not_an_address"),
            (Some(0), Field::To, "not_an_address"),
            (Some(0), Field::Subject, "required"),
            (Some(0), Field::After, "required"),
            (Some(1), Field::After, "too_late"),
        ]
    );
}

#[test]
fn a_key_sends_by_its_channels_and_to_its_team_alone() {
    let tenant: events::TenantId = "acme".parse().expect("a tenant");
    let mut principal = Principal { role: Role::Sender, ..Principal::admin(tenant.clone(), "billing", Mode::Live) };
    principal.channels = Some(vec![Channel::Sms]);
    principal.team = Some(vec![contact_hash(KEY, &tenant, "+447700900001")]);
    let caller = Caller::new(principal);
    assert!(compose(&message(Channel::Sms, "+447700900001"), &known(&caller)).is_ok());
    let other = message(Channel::Whatsapp, "+447700900002");
    assert_eq!(
        faults(&other, &known(&caller)),
        [(None, Field::Channel, "channel_not_allowed"), (None, Field::To, "not_on_team")]
    );
    let unserved = Known { available: Vec::new(), ..known(&caller) };
    assert_eq!(
        faults(&message(Channel::Sms, "+447700900001"), &unserved),
        [(None, Field::Channel, "channel_unavailable")]
    );
}

#[test]
fn shared_accounts_send_sms_only_to_the_listed_countries() {
    let caller = caller();
    let to = |country| Known { sms_countries: Some(country), ..known(&caller) };
    let british = message(Channel::Sms, "+447700900001");
    for country in ["KE", ""] {
        assert_eq!(faults(&british, &to(country)), [(None, Field::To, "country_not_allowed")], "{country}");
    }
    assert!(compose(&british, &to("KE, GB")).is_ok() && compose(&british, &to("*")).is_ok());
    let whatsapp = message(Channel::Whatsapp, "+447700900001");
    assert!(compose(&whatsapp, &to("KE")).is_ok(), "only SMS");
    let stepped = NewMessage { fallback: vec![step(Channel::Sms, "+447700900001")], ..whatsapp };
    assert_eq!(faults(&stepped, &to("KE")), [(Some(0), Field::To, "country_not_allowed")]);
}

#[test]
fn a_channel_is_chosen_by_preference_and_address() {
    let caller = caller();
    let mut auto = message(Channel::Sms, "");
    (auto.channel, auto.to) = (Some(ChannelChoice::Auto), None);
    let mut known = known(&caller);
    assert_eq!(faults(&auto, &known), [(None, Field::Channel, "no_channel")]);
    let wanted = vec![Channel::Messenger, Channel::Whatsapp, Channel::Sms];
    known.recipient.preferences.types.insert(MessageType::Invoice, wanted);
    known.recipient.addresses =
        [Channel::Whatsapp, Channel::Sms].map(|channel| (channel, "+447700900001".to_owned())).into();
    assert_eq!(compose(&auto, &known).expect("a channel").request.channel, Channel::Whatsapp);
    known.available.retain(|channel| *channel != Channel::Whatsapp);
    assert_eq!(compose(&auto, &known).expect("a channel").request.channel, Channel::Sms);
    auto.to = Some("+447700900009".to_owned());
    assert_eq!(compose(&auto, &known).expect("a channel").content.recipient_contact, "+447700900009");
    auto.kind = None;
    assert_eq!(faults(&auto, &known), [(None, Field::Type, "required")], "the type decides on the channel");
    let fixed = NewMessage { to: None, ..message(Channel::Sms, "") };
    assert_eq!(compose(&fixed, &known).expect("an address").content.recipient_contact, "+447700900001");
}

#[test]
fn a_step_is_as_the_message_where_it_says_nothing() {
    let mut chain = message(Channel::Sms, "+447700900001");
    chain.scheduled_at = Some(NOW + HOUR_MS);
    chain.content.subject = Some("Invoice".to_owned());
    chain.fallback = vec![
        NewStep { to: None, after_ms: Some(HOUR_MS), ..step(Channel::Whatsapp, "") },
        NewStep { content: text("By email"), ..step(Channel::Email, "ada@example.com") },
    ];
    let Composed { request, fallback_contents, .. } = composed(&chain);
    let fallback = request.fallback.expect("a fallback");
    assert_eq!(fallback.from, NOW + HOUR_MS);
    let steps: Vec<_> = fallback.steps.iter().map(|step| (step.channel, step.after_ms, step.unless)).collect();
    assert_eq!(
        steps,
        [
            (Channel::Whatsapp, Some(HOUR_MS), FallbackCondition::Delivered),
            (Channel::Email, None, FallbackCondition::Delivered)
        ]
    );
    let texts: Vec<_> = fallback_contents.iter().map(|content| content.content.as_deref()).collect();
    assert_eq!(texts, [Some("Your invoice is ready."), Some("By email")]);
    assert_eq!(fallback_contents[0].recipient_contact, "+447700900001", "WhatsApp has the number of the telephone");
    assert_eq!(fallback_contents[1].subject.as_deref(), Some("Invoice"));
    chain.fallback.push(step(Channel::Sms, "+447700900001"));
    chain.fallback.push(NewStep { to: None, ..step(Channel::Telegram, "") });
    assert_eq!(
        faults(&chain, &known(&caller())),
        [(Some(3), Field::To, "required"), (Some(2), Field::Channel, "repeated")]
    );
}

#[test]
fn what_a_step_inherits_is_at_fault_once() {
    let mut chain = message(Channel::Sms, "+447700900001");
    chain.content = NewContent { template: Some("tpl_none".to_owned()), ..NewContent::default() };
    chain.fallback = vec![step(Channel::Telegram, "12345678")];
    assert_eq!(faults(&chain, &known(&caller())), [(None, Field::Template, "unknown_template")]);
    chain.content = NewContent::default();
    assert_eq!(faults(&chain, &known(&caller())), [(None, Field::Content, "required")]);
}

#[test]
fn a_file_a_place_or_a_providers_template_is_enough_to_say() {
    let file = UploadedFile {
        filename: "invoice.pdf".to_owned(),
        mime: "application/pdf".to_owned(),
        size: 9,
        sha256: Some("ab".to_owned()),
        shared: false,
        state: UploadState::Ready,
        reason: None,
        mode: Mode::Live,
        at: NOW,
        by: "key:billing".to_owned(),
        until: NOW + HOUR_MS,
    };
    let caller = caller();
    let mut known = known(&caller);
    known.files.insert("att_1".to_owned(), file);
    let mut with_file = NewMessage { content: NewContent::default(), ..message(Channel::Whatsapp, "+447700900001") };
    with_file.attachments = vec![AttachmentRef { attachment_id: Some("att_1".to_owned()), ..AttachmentRef::default() }];
    let Composed { request, content, .. } = compose(&with_file, &known).expect("no faults");
    assert_eq!((request.attachments.len(), content.attachments[0].filename.as_str()), (1, "invoice.pdf"));
    assert!(content.attachments[0].file_url.starts_with("https://tidings.test/files/acme/att_1/"));
    let with_template = NewMessage {
        content: NewContent {
            provider_template: Some(ProviderTemplate {
                name: "invoice".to_owned(),
                language: "en".to_owned(),
                variables: Vec::new(),
            }),
            ..NewContent::default()
        },
        ..message(Channel::Whatsapp, "+447700900001")
    };
    assert!(compose(&with_template, &known).is_ok());
    with_file.channel = Some(ChannelChoice::Fixed(Channel::Email));
    with_file.to = Some("ada@example.com".to_owned());
    assert_eq!(faults(&with_file, &known), [(None, Field::Content, "required"), (None, Field::Subject, "required")]);
}

#[test]
fn content_and_a_template_exclude_each_other() {
    let mut both = message(Channel::Sms, "+447700900001");
    both.content.template = Some("tpl_general".to_owned());
    assert_eq!(faults(&both, &known(&caller())), [(None, Field::Content, "ambiguous")]);
}

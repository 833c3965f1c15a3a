use events::{Channel, EventMetadata, MessageType, RecordedEvent, TemplateEvent, Timestamp};

use super::*;
use crate::aggregate::fold;

fn create(code: &str, locale: &str) -> Command {
    Command::Create {
        code: code.to_owned(),
        channel: Channel::Sms,
        locale: locale.to_owned(),
        kind: MessageType::Invoice,
        name: "Invoice".to_owned(),
        description: None,
        text: "hash".to_owned(),
        variables: Vec::new(),
        is_active: true,
        others: 0,
    }
}

fn change(expected: Option<u32>, text: &str) -> Command {
    let text = Some((text.to_owned(), Vec::new()));
    Command::Change { expected, kind: None, name: None, description: None, text, is_active: None }
}

fn recorded(event: TemplateEvent) -> RecordedEvent<TemplateEvent> {
    let meta = EventMetadata {
        at: Timestamp(1),
        command: "c".to_owned(),
        correlation: None,
        causation: None,
        actor: "key:ops".to_owned(),
        traceparent: None,
    };
    RecordedEvent { version: 1, meta, event }
}

fn history(commands: Vec<Command>) -> Vec<RecordedEvent<TemplateEvent>> {
    let mut records = Vec::new();
    for command in commands {
        let events = fold(TemplateState::default(), &records).decide(command).expect("decided");
        records.extend(events.into_iter().map(recorded));
    }
    records
}

fn after(commands: Vec<Command>) -> TemplateState {
    fold(TemplateState::default(), &history(commands))
}

#[test]
fn a_code_channel_and_locale_have_only_one_template() {
    let exists = Rejection::Exists("tpl_invoice.sms.es".to_owned());
    assert_eq!(after(vec![create("invoice", "es")]).decide(create("invoice", "es")), Err(exists));
}

#[test]
fn a_tenant_has_at_most_five_hundred_templates() {
    let Command::Create { code, channel, locale, kind, name, description, text, variables, is_active, .. } =
        create("invoice", "es")
    else {
        unreachable!("a creation")
    };
    let others = MAX_TEMPLATES;
    let command =
        Command::Create { code, channel, locale, kind, name, description, text, variables, is_active, others };
    assert_eq!(TemplateState::default().decide(command), Err(Rejection::TooMany));
}

#[test]
fn only_new_content_becomes_a_new_version() {
    let state = after(vec![create("invoice", "es")]);
    assert_eq!(state.decide(change(Some(1), "hash")), Ok(Vec::new()));
    let revised = TemplateEvent::TemplateRevised {
        template: "tpl_invoice.sms.es".to_owned(),
        version: 2,
        text: "other".to_owned(),
        variables: Vec::new(),
    };
    assert_eq!(state.decide(change(Some(1), "other")), Ok(vec![revised]));
    assert_eq!(state.decide(change(Some(7), "other")), Err(Rejection::Changed(1)));
}

#[test]
fn version_numbers_are_never_reused() {
    let commands = vec![create("invoice", "es"), change(None, "other"), Command::Delete, create("invoice", "es")];
    let latest = after(commands.clone()).template.map(|template| template.latest.version);
    assert_eq!(latest, Some(3));
    let all: Vec<u32> = versions(&history(commands)).iter().map(|version| version.version).collect();
    assert_eq!(all, [1, 2, 3]);
}

#[test]
fn one_command_can_change_and_deactivate_a_template() {
    let command = Command::Change {
        expected: None,
        kind: None,
        name: Some("Other".to_owned()),
        description: None,
        text: Some(("other".to_owned(), Vec::new())),
        is_active: Some(false),
    };
    let events = after(vec![create("invoice", "es")]).decide(command.clone()).expect("decided");
    let names: Vec<&str> = events.iter().map(TemplateEvent::name).collect();
    assert_eq!(names, ["TemplateDescribed", "TemplateRevised", "TemplateDeactivated"]);
    assert_eq!(after(vec![create("invoice", "es"), command.clone()]).decide(command), Ok(Vec::new()));
}

#[test]
fn the_tenants_own_templates_come_first_and_locales_fall_back() {
    let template = |code: &str, locale: &str| after(vec![create(code, locale)]).template.expect("a template");
    let own: TemplateCatalogue =
        [template("invoice", "es"), template("invoice", "es-MX"), template("other", "default")].into_iter().collect();
    let id = |templates: &TemplateCatalogue, reference: &str, locale: Option<&str>| {
        templates.resolve(reference, Channel::Sms, locale).map(|pinned| pinned.id)
    };
    let none = TemplateCatalogue::default();
    for (templates, reference, locale, expected) in [
        (&own, "invoice", Some("es-MX"), Some("tpl_invoice.sms.es-MX")),
        (&own, "invoice", Some("es-AR"), Some("tpl_invoice.sms.es")),
        (&own, "tpl_invoice.sms.es", None, Some("tpl_invoice.sms.es")),
        // Without a template of its own for the language, the tenant gets the system template.
        (&own, "invoice", Some("en-GB"), Some("tpl_invoice_sms")),
        (&own, "other", Some("fr"), Some("tpl_other.sms.default")),
        (&own, "nothing", None, None),
        (&none, "invoice", Some("es-AR"), Some("tpl_invoice_sms.es")),
        (&none, "tpl_invoice_sms", Some("es"), Some("tpl_invoice_sms.es")),
        (&none, "tpl_invoice_sms.es", Some("en"), Some("tpl_invoice_sms.es")),
        (&none, "tpl_invoice_sms", None, Some("tpl_invoice_sms")),
        (&none, "tpl_general", Some("es"), Some("tpl_general.es")),
    ] {
        assert_eq!(id(templates, reference, locale).as_deref(), expected, "{reference} {locale:?}");
    }
    let mut inactive = own.clone();
    inactive.templates.get_mut("tpl_invoice.sms.es-MX").expect("a template").is_active = false;
    assert_eq!(id(&inactive, "invoice", Some("es-MX")).as_deref(), Some("tpl_invoice.sms.es"));
}

fn draft(expected: Option<u32>, text: &str) -> Command {
    Command::SaveDraft { expected, base: None, text: text.to_owned() }
}

fn publish(expected: u32, base: Option<u32>) -> Command {
    Command::Publish { expected, base, variables: vec!["name".to_owned()] }
}

#[test]
fn a_draft_changes_nothing_until_it_is_published() {
    let drafted = after(vec![create("invoice", "es"), draft(Some(0), "new")]);
    let template = drafted.template.as_ref().expect("a template");
    assert_eq!((template.latest.version, template.latest.text.as_str()), (1, "hash"));
    let published = after(vec![create("invoice", "es"), draft(None, "new"), publish(1, None)]);
    let template = published.template.expect("a template");
    assert_eq!((template.latest.version, template.latest.text.as_str(), template.draft), (2, "new", None));
}

#[test]
fn a_draft_that_others_replaced_is_not_overwritten() {
    let drafted = after(vec![create("invoice", "es"), draft(None, "one"), draft(Some(1), "two")]);
    let changed = Err(Rejection::DraftChanged(DraftNumber(2)));
    assert_eq!(drafted.decide(draft(Some(1), "three")), changed);
    assert_eq!(drafted.decide(draft(Some(0), "three")), changed);
    assert_eq!(drafted.decide(publish(1, None)), changed);
    assert_eq!(drafted.decide(draft(Some(2), "two")), Ok(Vec::new()), "the same draft is already saved");
    let discarded = after(vec![create("invoice", "es"), draft(None, "one"), Command::DiscardDraft { expected: None }]);
    assert_eq!(discarded.decide(draft(Some(1), "x")), Err(Rejection::DraftChanged(DraftNumber(0))));
    assert_eq!(discarded.decide(publish(1, None)), Err(Rejection::NoDraft));
    let again = fold(
        discarded.clone(),
        &discarded.decide(draft(Some(0), "x")).expect("events").into_iter().map(recorded).collect::<Vec<_>>(),
    );
    assert_eq!(again.template.expect("a template").draft.expect("a draft").draft, 2, "numbers are never reused");
}

#[test]
fn a_draft_follows_the_version_that_its_author_saw() {
    let revised = after(vec![create("invoice", "es"), draft(None, "mine"), change(None, "theirs")]);
    assert_eq!(revised.decide(publish(1, None)), Err(Rejection::Changed(2)));
    let published = revised.decide(publish(1, Some(2))).expect("events");
    assert!(matches!(&published[..], [TemplateEvent::TemplateRevised { version: 3, .. }]), "{published:?}");
    let same = after(vec![create("invoice", "es"), draft(None, "hash")]);
    assert!(matches!(
        &same.decide(publish(1, None)).expect("events")[..],
        [TemplateEvent::TemplateDraftDiscarded { .. }]
    ));
}

#[test]
fn sample_data_is_replaced_as_a_whole() {
    let samples = || Command::SetSamples { samples: "s1".to_owned() };
    let state = after(vec![create("invoice", "es"), samples()]);
    assert_eq!(state.decide(samples()), Ok(Vec::new()));
    assert_eq!(state.template.expect("a template").samples.as_deref(), Some("s1"));
}

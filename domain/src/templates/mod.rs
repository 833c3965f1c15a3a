//! A tenant's templates: which there are, in which versions, and which one a message is given.

mod builtin;

pub use builtin::{SystemTemplate, all, find};

use std::collections::BTreeMap;

use events::{Channel, MessageType, TemplateEvent, TemplateRef as Pinned, Timestamp};

/// Templates of one tenant, at most.
pub const MAX_TEMPLATES: usize = 500;
/// The locale of those that name none.
pub const DEFAULT_LOCALE: &str = "default";

/// One version: its words are a document of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub version: u32,
    /// The hash of its words.
    pub text: String,
    pub variables: Vec<String>,
    pub at: Timestamp,
    pub by: String,
}

/// One template of the tenant's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub id: String,
    pub code: String,
    pub channel: Channel,
    pub locale: String,
    pub kind: MessageType,
    pub name: String,
    pub description: Option<String>,
    /// Never empty.
    pub versions: Vec<Version>,
    pub is_active: bool,
    pub created_at: Timestamp,
    pub created_by: String,
    pub updated_at: Timestamp,
    pub updated_by: String,
}

impl Template {
    pub fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }
}

/// Everything a tenant decided, folded from its journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Templates {
    pub all: BTreeMap<String, Template>,
    /// The versions of those deleted: messages that were accepted with them are sent, and made anew they go on counting.
    retired: BTreeMap<String, Vec<Version>>,
}

/// What is asked of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create {
        code: String,
        channel: Channel,
        locale: String,
        kind: MessageType,
        name: String,
        description: Option<String>,
        text: String,
        variables: Vec<String>,
        is_active: bool,
    },
    /// What is not named stays. New words are a new version.
    Change {
        template: String,
        /// The version that the caller has seen.
        expected: Option<u32>,
        kind: Option<MessageType>,
        name: Option<String>,
        description: Option<String>,
        text: Option<(String, Vec<String>)>,
    },
    Activate {
        template: String,
    },
    Deactivate {
        template: String,
    },
    Delete {
        template: String,
    },
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such template")]
    Unknown,
    #[error("there is a template of this code, channel and locale: {0}")]
    Exists(String),
    #[error("there are {MAX_TEMPLATES} templates already")]
    TooMany,
    #[error("it has changed: version {0} is the newest")]
    Changed(u32),
}

/// A template's id says what it is for: a code, a channel and a locale have one.
pub fn template_id(code: &str, channel: Channel, locale: &str) -> String {
    format!("tpl_{code}.{}.{locale}", channel.as_str())
}

/// `es-MX`, then `es`, then what is there for everybody.
fn locales<'a>(locale: Option<&'a str>, last: &'static str) -> impl Iterator<Item = &'a str> {
    let language = locale.and_then(|locale| locale.split_once('-')).map(|(language, _)| language);
    [locale, language, Some(last)].into_iter().flatten()
}

impl Templates {
    /// What follows from a command; nothing where it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Rejection`]
    pub fn decide(&self, command: Command) -> Result<Vec<TemplateEvent>, Rejection> {
        let known = |id: &str| self.all.get(id).ok_or(Rejection::Unknown);
        Ok(match command {
            Command::Create { code, channel, locale, kind, name, description, text, variables, is_active } => {
                let template = template_id(&code, channel, &locale);
                if self.all.contains_key(&template) {
                    return Err(Rejection::Exists(template));
                }
                if MAX_TEMPLATES <= self.all.len() {
                    return Err(Rejection::TooMany);
                }
                let last = self.retired.get(&template).and_then(|versions| versions.last());
                let version = last.map_or(0, |last| last.version) + 1;
                let created = TemplateEvent::TemplateCreated {
                    template: template.clone(),
                    code,
                    channel,
                    locale,
                    kind,
                    name,
                    description,
                };
                let mut events = vec![
                    created,
                    TemplateEvent::TemplateRevised { template: template.clone(), version, text, variables },
                ];
                if !is_active {
                    events.push(TemplateEvent::TemplateDeactivated { template });
                }
                events
            }
            Command::Change { template, expected, kind, name, description, text } => {
                let old = known(&template)?;
                let newest = old.newest().map_or(0, |version| version.version);
                if expected.is_some_and(|expected| expected != newest) {
                    return Err(Rejection::Changed(newest));
                }
                let kind = kind.filter(|kind| *kind != old.kind);
                let name = name.filter(|name| *name != old.name);
                let description = description.filter(|description| Some(description) != old.description.as_ref());
                let mut events = Vec::new();
                if kind.is_some() || name.is_some() || description.is_some() {
                    let template = template.clone();
                    events.push(TemplateEvent::TemplateDescribed { template, kind, name, description });
                }
                let is_new = |(text, _): &(String, Vec<String>)| old.newest().is_none_or(|newest| newest.text != *text);
                events.extend(text.filter(is_new).map(|(text, variables)| {
                    let version = newest + 1;
                    TemplateEvent::TemplateRevised { template, version, text, variables }
                }));
                events
            }
            Command::Activate { template } => match known(&template)?.is_active {
                true => Vec::new(),
                false => vec![TemplateEvent::TemplateActivated { template }],
            },
            Command::Deactivate { template } => match known(&template)?.is_active {
                true => vec![TemplateEvent::TemplateDeactivated { template }],
                false => Vec::new(),
            },
            Command::Delete { template } => {
                known(&template)?;
                vec![TemplateEvent::TemplateDeleted { template }]
            }
        })
    }

    pub fn evolve(&mut self, event: &TemplateEvent, actor: &str, at: Timestamp) {
        match event {
            TemplateEvent::TemplateCreated { template, code, channel, locale, kind, name, description } => {
                let new = Template {
                    id: template.clone(),
                    code: code.clone(),
                    channel: *channel,
                    locale: locale.clone(),
                    kind: *kind,
                    name: name.clone(),
                    description: description.clone(),
                    versions: Vec::new(),
                    is_active: true,
                    created_at: at,
                    created_by: actor.to_owned(),
                    updated_at: at,
                    updated_by: actor.to_owned(),
                };
                self.all.insert(template.clone(), new);
            }
            TemplateEvent::TemplateDeleted { template } => {
                let gone = self.all.remove(template).map(|gone| gone.versions).unwrap_or_default();
                self.retired.entry(template.clone()).or_default().extend(gone);
            }
            TemplateEvent::TemplateRevised { template, .. }
            | TemplateEvent::TemplateDescribed { template, .. }
            | TemplateEvent::TemplateActivated { template }
            | TemplateEvent::TemplateDeactivated { template } => {
                if let Some(known) = self.all.get_mut(template) {
                    known.change(event, actor, at);
                }
            }
        }
    }

    /// The hash of a version's words, of one that was deleted too.
    pub fn text_of(&self, template: &str, version: u32) -> Option<&str> {
        let versions =
            self.all.get(template).map(|known| &known.versions).into_iter().chain(self.retired.get(template));
        versions.flatten().find(|known| known.version == version).map(|known| known.text.as_str())
    }

    /// The template that a message is given: by its id, or by its code in the best locale there is. The tenant's own come
    /// before the built-in ones.
    pub fn resolve(&self, reference: &str, channel: Channel, locale: Option<&str>) -> Option<Pinned> {
        if let Some(own) = self.all.get(reference).filter(|own| own.is_active && own.channel == channel) {
            return pinned(own);
        }
        let named = find(reference);
        // Of another channel: it says so itself, when it is rendered.
        if let Some(other) = named.filter(|named| named.channel.is_some_and(|of| of != channel)) {
            return Some(Pinned { id: other.id.to_owned(), version: other.version });
        }
        let code = named.map_or(reference, |builtin| builtin.code);
        let chain = locales(locale, DEFAULT_LOCALE).chain(["en"]);
        let own = chain.filter_map(|locale| self.all.get(&template_id(code, channel, locale)));
        let own = own.filter(|own| own.is_active).find_map(pinned);
        let builtin = || {
            // One that was named with its locale is that one.
            let exact = named.filter(|builtin| builtin.id == reference && builtin.locale != "en");
            let best = locales(locale, "en").find_map(|locale| builtin::of(code, channel, locale));
            let found = exact.or(best).or(named)?;
            Some(Pinned { id: found.id.to_owned(), version: found.version })
        };
        own.or_else(builtin)
    }
}

fn pinned(own: &Template) -> Option<Pinned> {
    Some(Pinned { id: own.id.clone(), version: own.newest()?.version })
}

impl Template {
    fn change(&mut self, event: &TemplateEvent, actor: &str, at: Timestamp) {
        (self.updated_at, self.updated_by) = (at, actor.to_owned());
        match event {
            TemplateEvent::TemplateRevised { version, text, variables, .. } => self.versions.push(Version {
                version: *version,
                text: text.clone(),
                variables: variables.clone(),
                at,
                by: actor.to_owned(),
            }),
            TemplateEvent::TemplateDescribed { kind, name, description, .. } => {
                self.kind = kind.unwrap_or(self.kind);
                name.iter().for_each(|name| self.name.clone_from(name));
                self.description = description.clone().or(self.description.take());
            }
            TemplateEvent::TemplateActivated { .. } => self.is_active = true,
            TemplateEvent::TemplateDeactivated { .. } => self.is_active = false,
            TemplateEvent::TemplateCreated { .. } | TemplateEvent::TemplateDeleted { .. } => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }

    fn after(commands: Vec<Command>) -> Templates {
        let mut templates = Templates::default();
        for command in commands {
            for event in templates.decide(command).expect("decided") {
                templates.evolve(&event, "key:ops", Timestamp(1));
            }
        }
        templates
    }

    #[test]
    fn a_code_a_channel_and_a_locale_have_one_template() {
        let templates = after(vec![create("invoice", "es")]);
        let exists = Rejection::Exists("tpl_invoice.sms.es".to_owned());
        assert_eq!(templates.decide(create("invoice", "es")), Err(exists));
        assert!(templates.decide(create("invoice", "es-MX")).is_ok());
    }

    #[test]
    fn new_words_are_a_new_version_and_the_same_words_are_none() {
        let id = "tpl_invoice.sms.es".to_owned();
        let templates = after(vec![create("invoice", "es")]);
        let change = |expected, text: &str| Command::Change {
            template: id.clone(),
            expected,
            kind: None,
            name: None,
            description: None,
            text: Some((text.to_owned(), Vec::new())),
        };
        assert_eq!(templates.decide(change(Some(1), "hash")), Ok(Vec::new()));
        let revised = TemplateEvent::TemplateRevised {
            template: id.clone(),
            version: 2,
            text: "other".to_owned(),
            variables: Vec::new(),
        };
        assert_eq!(templates.decide(change(Some(1), "other")), Ok(vec![revised]));
        assert_eq!(templates.decide(change(Some(7), "other")), Err(Rejection::Changed(1)));
        let again =
            after(vec![create("invoice", "es"), Command::Delete { template: id.clone() }, create("invoice", "es")]);
        assert_eq!(again.all[&id].newest().map(|newest| newest.version), Some(2), "versions are never used again");
    }

    #[test]
    fn the_tenants_own_come_first_and_locales_fall_back() {
        let own = after(vec![create("invoice", "es"), create("invoice", "es-MX"), create("other", "default")]);
        let id = |templates: &Templates, reference: &str, locale: Option<&str>| {
            templates.resolve(reference, Channel::Sms, locale).map(|pinned| pinned.id)
        };
        let none = Templates::default();
        for (templates, reference, locale, expected) in [
            (&own, "invoice", Some("es-MX"), Some("tpl_invoice.sms.es-MX")),
            (&own, "invoice", Some("es-AR"), Some("tpl_invoice.sms.es")),
            (&own, "tpl_invoice.sms.es", None, Some("tpl_invoice.sms.es")),
            // The built-in one in the person's language, where the tenant has none for it.
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
        for event in
            inactive.decide(Command::Deactivate { template: "tpl_invoice.sms.es-MX".to_owned() }).expect("known")
        {
            inactive.evolve(&event, "key:ops", Timestamp(2));
        }
        assert_eq!(id(&inactive, "invoice", Some("es-MX")).as_deref(), Some("tpl_invoice.sms.es"));
    }
}

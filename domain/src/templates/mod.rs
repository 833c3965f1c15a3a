//! A tenant's own template. Each combination of code, channel and locale has its own stream. The catalogue of all
//! templates chooses the template of a message.

mod builtin;
mod catalogue;
mod samples;
#[cfg(test)]
mod tests;

pub use builtin::{SystemTemplate, all, find};
pub use catalogue::TemplateCatalogue;
pub use samples::samples_of_system;

use events::{Channel, MessageType, RecordedEvent, StreamKind, TemplateEvent, Timestamp};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Erasure};

/// Maximum number of templates of one tenant.
pub const MAX_TEMPLATES: usize = 500;
/// The locale of templates without an explicit one.
pub const DEFAULT_LOCALE: &str = "default";

/// One version. Its content is a separate document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateVersion {
    pub version: u32,
    /// The hash of its content.
    pub text: String,
    pub variables: Vec<String>,
    pub at: Timestamp,
    pub by: String,
}

/// Content that is not published yet. Its content is a separate document, which may have faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateDraft {
    /// Counts the drafts of the template.
    pub draft: u32,
    /// The version that it was written from.
    pub base: u32,
    /// The hash of its content.
    pub text: String,
    pub at: Timestamp,
    pub by: String,
}

/// One template of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    pub id: String,
    pub code: String,
    pub channel: Channel,
    pub locale: String,
    pub kind: MessageType,
    pub name: String,
    pub description: Option<String>,
    /// The version for new messages. Older ones are in the stream's history.
    pub latest: TemplateVersion,
    pub draft: Option<TemplateDraft>,
    /// The hash of the sample data of previews.
    pub samples: Option<String>,
    pub is_active: bool,
    pub created_at: Timestamp,
    pub created_by: String,
    pub updated_at: Timestamp,
    pub updated_by: String,
}

/// The state of a template's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TemplateState {
    /// `None` before it is created and after it is deleted.
    pub template: Option<Template>,
    /// The last version number that was used. A template that is created again continues from it.
    last_version: u32,
    /// The last number of a draft that was used.
    last_draft: u32,
}

/// A command to a template.
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
        /// The number of templates that the tenant already has.
        others: usize,
    },
    /// Changes the template. Fields that are `None` do not change. New content becomes a new version.
    Change {
        /// The version that the change is based on.
        expected: Option<u32>,
        kind: Option<MessageType>,
        name: Option<String>,
        description: Option<String>,
        text: Option<(String, Vec<String>)>,
        is_active: Option<bool>,
    },
    /// Saves a draft. No message uses it.
    SaveDraft {
        /// The number of the draft that it replaces, or 0 if there must be none.
        expected: Option<u32>,
        /// The version that it was written from. `None` means that of the draft before it, or the newest.
        base: Option<u32>,
        text: String,
    },
    DiscardDraft {
        expected: Option<u32>,
    },
    /// Makes the content of the draft the next version.
    Publish {
        /// The number of the draft.
        expected: u32,
        /// The version that it follows. `None` means the one that the draft was written from.
        base: Option<u32>,
        variables: Vec<String>,
    },
    SetSamples {
        samples: String,
    },
    Delete,
}

/// Why a command is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("there is no such template")]
    Unknown,
    #[error("a template with this code, channel and locale already exists: {0}")]
    Exists(String),
    #[error("the tenant already has {MAX_TEMPLATES} templates")]
    TooMany,
    #[error("the template has changed: the newest version is {0}")]
    Changed(u32),
    #[error("the template has no draft")]
    NoDraft,
    #[error("the draft has changed: {0}")]
    DraftChanged(DraftNumber),
}

/// The number of the newest draft, or 0 if there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraftNumber(pub u32);

impl std::fmt::Display for DraftNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("there is none any more"),
            draft => write!(f, "the newest one is {draft}"),
        }
    }
}

/// The id of the only template for a code, a channel and a locale.
pub fn template_id(code: &str, channel: Channel, locale: &str) -> String {
    format!("tpl_{code}.{}.{locale}", channel.as_str())
}

impl Aggregate for TemplateState {
    const KIND: StreamKind = StreamKind::TEMPLATE;
    const ERASURE: Erasure = Erasure::NoPersonalData;
    const SNAPSHOT_VERSION: u16 = 2;

    type Event = TemplateEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<TemplateEvent>, Rejection> {
        match command {
            Command::Create { .. } => self.create(command),
            Command::Change { .. } => self.existing()?.change(command),
            Command::SaveDraft { expected, base, text } => self.save_draft(expected, base, text),
            Command::DiscardDraft { expected } => self.existing()?.discard_draft(expected),
            Command::Publish { expected, base, variables } => self.existing()?.publish(expected, base, variables),
            Command::SetSamples { samples } => Ok(self.existing()?.set_samples(samples)),
            Command::Delete => {
                let template = self.existing()?.id.clone();
                Ok(vec![TemplateEvent::TemplateDeleted { template }])
            }
        }
    }

    fn evolve(mut self, record: &RecordedEvent<TemplateEvent>) -> Self {
        let RecordedEvent { meta, event, .. } = record;
        let (at, actor) = (meta.at, meta.actor.clone());
        if let Some(template) = self.template.as_mut().filter(|_| !concerns_draft(event)) {
            (template.updated_at, template.updated_by) = (at, actor.clone());
        }
        match (event.clone(), &mut self.template) {
            (TemplateEvent::TemplateCreated { template: id, code, channel, locale, kind, name, description }, _) => {
                let latest = TemplateVersion {
                    version: self.last_version,
                    text: String::new(),
                    variables: Vec::new(),
                    at,
                    by: actor.clone(),
                };
                self.template = Some(Template {
                    id,
                    code,
                    channel,
                    locale,
                    kind,
                    name,
                    description,
                    latest,
                    draft: None,
                    samples: None,
                    is_active: true,
                    created_at: at,
                    created_by: actor.clone(),
                    updated_at: at,
                    updated_by: actor,
                });
            }
            (TemplateEvent::TemplateRevised { version, text, variables, .. }, Some(template)) => {
                template.draft = template.draft.take().filter(|draft| draft.text != text);
                template.latest = TemplateVersion { version, text, variables, at, by: actor };
                self.last_version = version;
            }
            (TemplateEvent::TemplateDescribed { kind, name, description, .. }, Some(template)) => {
                template.kind = kind.unwrap_or(template.kind);
                template.name = name.unwrap_or_else(|| template.name.clone());
                template.description = description.or_else(|| template.description.take());
            }
            (TemplateEvent::TemplateActivated { .. }, Some(template)) => template.is_active = true,
            (TemplateEvent::TemplateDeactivated { .. }, Some(template)) => template.is_active = false,
            (TemplateEvent::TemplateDrafted { draft, base, text, .. }, Some(template)) => {
                template.draft = Some(TemplateDraft { draft, base, text, at, by: actor });
                self.last_draft = draft;
            }
            (TemplateEvent::TemplateDraftDiscarded { .. }, Some(template)) => template.draft = None,
            (TemplateEvent::TemplateSamplesChanged { samples, .. }, Some(template)) => template.samples = Some(samples),
            (TemplateEvent::TemplateDeleted { .. }, _) => self.template = None,
            // Events of a template that was deleted change nothing.
            (
                TemplateEvent::TemplateRevised { .. }
                | TemplateEvent::TemplateDescribed { .. }
                | TemplateEvent::TemplateActivated { .. }
                | TemplateEvent::TemplateDeactivated { .. }
                | TemplateEvent::TemplateDrafted { .. }
                | TemplateEvent::TemplateDraftDiscarded { .. }
                | TemplateEvent::TemplateSamplesChanged { .. },
                None,
            ) => (),
        }
        self
    }

    fn is_listed(&self) -> bool {
        self.template.is_some()
    }
}

/// Whether an event changes nothing that messages use.
fn concerns_draft(event: &TemplateEvent) -> bool {
    match event {
        TemplateEvent::TemplateDrafted { .. }
        | TemplateEvent::TemplateDraftDiscarded { .. }
        | TemplateEvent::TemplateSamplesChanged { .. } => true,
        TemplateEvent::TemplateCreated { .. }
        | TemplateEvent::TemplateRevised { .. }
        | TemplateEvent::TemplateDescribed { .. }
        | TemplateEvent::TemplateActivated { .. }
        | TemplateEvent::TemplateDeactivated { .. }
        | TemplateEvent::TemplateDeleted { .. } => false,
    }
}

impl TemplateState {
    fn existing(&self) -> Result<&Template, Rejection> {
        self.template.as_ref().ok_or(Rejection::Unknown)
    }

    fn save_draft(
        &self,
        expected: Option<u32>,
        base: Option<u32>,
        text: String,
    ) -> Result<Vec<TemplateEvent>, Rejection> {
        let template = self.existing()?;
        template.check_draft(expected)?;
        let latest = template.latest.version;
        let base = base.or(template.draft.as_ref().map(|draft| draft.base)).unwrap_or(latest);
        if latest < base {
            return Err(Rejection::Changed(latest));
        }
        if template.draft.as_ref().is_some_and(|draft| draft.text == text && draft.base == base) {
            return Ok(Vec::new());
        }
        let draft = self.last_draft + 1;
        Ok(vec![TemplateEvent::TemplateDrafted { template: template.id.clone(), draft, base, text }])
    }

    fn create(&self, command: Command) -> Result<Vec<TemplateEvent>, Rejection> {
        let Command::Create { code, channel, locale, kind, name, description, text, variables, is_active, others } =
            command
        else {
            return Ok(Vec::new());
        };
        let template = template_id(&code, channel, &locale);
        if self.template.is_some() {
            return Err(Rejection::Exists(template));
        }
        if MAX_TEMPLATES <= others {
            return Err(Rejection::TooMany);
        }
        let version = self.last_version + 1;
        let mut events = vec![
            TemplateEvent::TemplateCreated {
                template: template.clone(),
                code,
                channel,
                locale,
                kind,
                name,
                description,
            },
            TemplateEvent::TemplateRevised { template: template.clone(), version, text, variables },
        ];
        if !is_active {
            events.push(TemplateEvent::TemplateDeactivated { template });
        }
        Ok(events)
    }
}

impl Template {
    /// The draft's number must be the expected one, and 0 if there is none.
    fn check_draft(&self, expected: Option<u32>) -> Result<(), Rejection> {
        let current = self.draft.as_ref().map_or(0, |draft| draft.draft);
        match expected.filter(|expected| *expected != current) {
            Some(_) => Err(Rejection::DraftChanged(DraftNumber(current))),
            None => Ok(()),
        }
    }

    fn discard_draft(&self, expected: Option<u32>) -> Result<Vec<TemplateEvent>, Rejection> {
        if self.draft.is_none() {
            return Ok(Vec::new());
        }
        self.check_draft(expected)?;
        Ok(vec![TemplateEvent::TemplateDraftDiscarded { template: self.id.clone() }])
    }

    fn publish(
        &self,
        expected: u32,
        base: Option<u32>,
        variables: Vec<String>,
    ) -> Result<Vec<TemplateEvent>, Rejection> {
        let draft = self.draft.as_ref().ok_or(Rejection::NoDraft)?;
        self.check_draft(Some(expected))?;
        let latest = self.latest.version;
        if base.unwrap_or(draft.base) != latest {
            return Err(Rejection::Changed(latest));
        }
        let (template, text) = (self.id.clone(), draft.text.clone());
        // The same content is no new version.
        if text == self.latest.text {
            return Ok(vec![TemplateEvent::TemplateDraftDiscarded { template }]);
        }
        Ok(vec![TemplateEvent::TemplateRevised { template, version: latest + 1, text, variables }])
    }

    fn set_samples(&self, samples: String) -> Vec<TemplateEvent> {
        if self.samples.as_ref() == Some(&samples) {
            return Vec::new();
        }
        vec![TemplateEvent::TemplateSamplesChanged { template: self.id.clone(), samples }]
    }

    fn change(&self, command: Command) -> Result<Vec<TemplateEvent>, Rejection> {
        let Command::Change { expected, kind, name, description, text, is_active } = command else {
            return Ok(Vec::new());
        };
        let latest = self.latest.version;
        if expected.is_some_and(|expected| expected != latest) {
            return Err(Rejection::Changed(latest));
        }
        let template = || self.id.clone();
        let kind = kind.filter(|kind| *kind != self.kind);
        let name = name.filter(|name| *name != self.name);
        let description = description.filter(|description| Some(description) != self.description.as_ref());
        let mut events = Vec::new();
        if kind.is_some() || name.is_some() || description.is_some() {
            events.push(TemplateEvent::TemplateDescribed { template: template(), kind, name, description });
        }
        if let Some((text, variables)) = text.filter(|(text, _)| *text != self.latest.text) {
            events.push(TemplateEvent::TemplateRevised { template: template(), version: latest + 1, text, variables });
        }
        match is_active.filter(|is_active| *is_active != self.is_active) {
            Some(true) => events.push(TemplateEvent::TemplateActivated { template: template() }),
            Some(false) => events.push(TemplateEvent::TemplateDeactivated { template: template() }),
            None => (),
        }
        Ok(events)
    }
}

/// All versions in a template's history, oldest first. Versions of a template that was deleted and created again are
/// included.
pub fn versions(history: &[RecordedEvent<TemplateEvent>]) -> Vec<TemplateVersion> {
    let version = |record: &RecordedEvent<TemplateEvent>| match &record.event {
        TemplateEvent::TemplateRevised { version, text, variables, .. } => Some(TemplateVersion {
            version: *version,
            text: text.clone(),
            variables: variables.clone(),
            at: record.meta.at,
            by: record.meta.actor.clone(),
        }),
        TemplateEvent::TemplateCreated { .. }
        | TemplateEvent::TemplateDescribed { .. }
        | TemplateEvent::TemplateActivated { .. }
        | TemplateEvent::TemplateDeactivated { .. }
        | TemplateEvent::TemplateDrafted { .. }
        | TemplateEvent::TemplateDraftDiscarded { .. }
        | TemplateEvent::TemplateSamplesChanged { .. }
        | TemplateEvent::TemplateDeleted { .. } => None,
    };
    history.iter().filter_map(version).collect()
}

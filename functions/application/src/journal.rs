//! Journals: load, decide, append; again when somebody else was first.

use domain::ports::{AppendError, ClockAndRng, JournalKey, Journals, StoreError};
use domain::provider_configs::{self, Channels};
use domain::templates::{self, Templates};
use events::{EventFamily, EventMetadata, RecordedEvent, TenantId};

use crate::problem::{Kind, Problem};

/// Lost races in a row before a command is given up.
const MAX_CONFLICT_RETRIES: usize = 8;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum JournalError<R> {
    /// The decision said no.
    #[error("{0}")]
    Rejected(R),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("unknown whether stored: {0}")]
    Unknown(String),
    #[error("others were always first")]
    Contended,
    #[error("its history is full")]
    Full,
}

impl<R: std::fmt::Display> From<JournalError<R>> for Problem {
    fn from(error: JournalError<R>) -> Problem {
        match error {
            JournalError::Rejected(why) => Problem::new(Kind::Conflict, format!("Not possible: {why}.")),
            JournalError::Store(error) => error.into(),
            JournalError::Unknown(_) => {
                Problem::new(Kind::Unavailable, "It is not known whether this was stored. Look, then try again.")
            }
            JournalError::Contended => {
                Problem::new(Kind::Unavailable, "Others changed it at the same time. Try again.")
            }
            JournalError::Full => Problem::new(Kind::Conflict, "Its history is full."),
        }
    }
}

/// # Errors
///
/// [`StoreError`]: the store does not answer, or holds what this version cannot read.
pub async fn read<E: EventFamily>(journals: &dyn Journals, key: &JournalKey) -> Result<Vec<RecordedEvent<E>>, StoreError> {
    let stream = journals.read_journal(key).await?;
    let records = stream.lines.iter().map(|line| events::decode(line));
    records.collect::<Result<_, _>>().map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// Decides on the whole journal and appends what follows. No events: nothing is written.
///
/// # Errors
///
/// [`JournalError`]
pub async fn execute<E: EventFamily, R>(
    (journals, host): (&dyn Journals, &dyn ClockAndRng),
    key: &JournalKey,
    actor: &str,
    decide: impl Fn(&[RecordedEvent<E>]) -> Result<Vec<E>, R>,
) -> Result<Vec<RecordedEvent<E>>, JournalError<R>> {
    for _ in 0..MAX_CONFLICT_RETRIES {
        let mut records = read::<E>(journals, key).await?;
        let events = decide(&records).map_err(JournalError::Rejected)?;
        if events.is_empty() {
            return Ok(records);
        }
        let writer = format!("{:016x}", host.random() as u64);
        let meta = EventMetadata {
            at: host.now(),
            command: writer.clone(),
            correlation: None,
            causation: None,
            actor: actor.to_owned(),
            traceparent: None,
        };
        let lines = events.iter().map(|event| events::encode(event, &meta)).collect();
        match journals.append_journal(key, records.len() as u64, lines, &writer).await {
            Ok(()) => {
                records.extend(events.into_iter().map(|event| RecordedEvent { version: 1, meta: meta.clone(), event }));
                return Ok(records);
            }
            Err(AppendError::Conflict) => (),
            Err(AppendError::NotApplied(why)) => return Err(StoreError::Unavailable(why).into()),
            Err(AppendError::TooLarge) => return Err(JournalError::Full),
            Err(AppendError::Unknown(why)) => {
                let found = journals.read_journal(key).await?;
                if found.writer == writer {
                    return Ok(read::<E>(journals, key).await?);
                }
                return Err(JournalError::Unknown(why));
            }
        }
    }
    Err(JournalError::Contended)
}

fn fold(records: &[RecordedEvent<events::ProviderConfigEvent>]) -> Channels {
    let mut channels = Channels::default();
    for RecordedEvent { meta, event, .. } in records {
        channels.evolve(event, &meta.actor, meta.at);
    }
    channels
}

/// What a tenant decided about its provider configurations.
///
/// # Errors
///
/// As [`read`].
pub async fn channels(journals: &dyn Journals, tenant: &TenantId) -> Result<Channels, StoreError> {
    Ok(fold(&read(journals, &JournalKey::channels(tenant)).await?))
}

fn fold_templates(records: &[RecordedEvent<events::TemplateEvent>]) -> Templates {
    let mut templates = Templates::default();
    for RecordedEvent { meta, event, .. } in records {
        templates.evolve(event, &meta.actor, meta.at);
    }
    templates
}

/// What a tenant decided about its templates.
///
/// # Errors
///
/// As [`read`].
pub async fn templates(journals: &dyn Journals, tenant: &TenantId) -> Result<Templates, StoreError> {
    Ok(fold_templates(&read(journals, &JournalKey::templates(tenant)).await?))
}

/// Another such decision; what it came to.
///
/// # Errors
///
/// [`JournalError`]
pub async fn change_templates(
    ports: (&dyn Journals, &dyn ClockAndRng),
    tenant: &TenantId,
    actor: &str,
    command: templates::Command,
) -> Result<Templates, JournalError<templates::Rejection>> {
    let decide = |records: &[RecordedEvent<events::TemplateEvent>]| fold_templates(records).decide(command.clone());
    Ok(fold_templates(&execute(ports, &JournalKey::templates(tenant), actor, decide).await?))
}

/// Another such decision; what it came to.
///
/// # Errors
///
/// [`JournalError`]
pub async fn change_provider_configs(
    ports: (&dyn Journals, &dyn ClockAndRng),
    tenant: &TenantId,
    actor: &str,
    command: provider_configs::Command,
) -> Result<Channels, JournalError<provider_configs::Rejection>> {
    let decide = |records: &[RecordedEvent<events::ProviderConfigEvent>]| fold(records).decide(command.clone());
    Ok(fold(&execute(ports, &JournalKey::channels(tenant), actor, decide).await?))
}

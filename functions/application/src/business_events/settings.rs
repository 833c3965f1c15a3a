//! Use cases of mappings and automations.

use std::collections::BTreeMap;

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateId;
use domain::business_event::{
    AUTOMATIONS, AutomationState, ChangeAutomation, Changed, Interpreted, MappingState, SetMapping, built_in,
    interpret, mapping_faults,
};
use domain::ports::StoreError;
use domain::templates::TemplateState;
use events::{AutomationSettings, EventMapping, MessageType, TenantId};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError};

/// Why a use case of mappings or automations had no effect.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such mapping or automation")]
    NotFound,
    /// What is wrong, by the field.
    #[error("the mapping is not valid")]
    Invalid(BTreeMap<String, &'static str>),
    /// No template has the code.
    #[error("there is no template {0}")]
    UnknownTemplate(String),
    #[error(transparent)]
    Execute(#[from] ExecuteError<Changed>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A mapping that applies to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMapping {
    pub mapping: EventMapping,
    /// `None` for one that is built in.
    pub version: Option<u32>,
}

/// The zone of days that are given as instants.
pub(super) fn zone_of(mapping: Option<&EventMapping>) -> TimeZone {
    let named = mapping.and_then(|mapping| mapping.time_zone.as_deref());
    named.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}

/// The mapping of a source: the tenant's own, or else the one that is built in.
///
/// # Errors
///
/// [`StoreError`]
pub(super) async fn mapping_of(app: &App, tenant: &TenantId, source: &str) -> Result<Option<FoundMapping>, StoreError> {
    let state = execute::load(&*app.store, &AggregateId::<MappingState>::new(tenant, source)).await?.state;
    let own = state.mapping.map(|mapping| FoundMapping { mapping, version: Some(state.version) });
    Ok(own.or_else(|| Some(FoundMapping { mapping: built_in(source)?, version: None })))
}

/// The mapping of a source.
///
/// # Errors
///
/// [`SettingsError`]
pub async fn find_mapping(app: &App, caller: &Caller, source: &str) -> Result<FoundMapping, SettingsError> {
    caller.authorise(Permission::Automate, Reach::Tenant)?;
    mapping_of(app, &caller.principal.tenant, source).await?.ok_or(SettingsError::NotFound)
}

/// Sets the mapping of a source, from the next event on.
///
/// # Errors
///
/// [`SettingsError`]
pub async fn set_mapping(
    app: &App,
    caller: &Caller,
    source: &str,
    expected: Option<u32>,
    mapping: EventMapping,
) -> Result<FoundMapping, SettingsError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    let faults = mapping_faults(&mapping);
    if !faults.is_empty() {
        return Err(SettingsError::Invalid(faults));
    }
    let key = AggregateId::<MappingState>::new(&caller.principal.tenant, source);
    let command = SetMapping { source: source.to_owned(), expected, mapping };
    let state = app.executor(&caller.context()).execute(&key, command).await?.state;
    let mapping = state.mapping.ok_or(SettingsError::NotFound)?;
    Ok(FoundMapping { mapping, version: Some(state.version) })
}

/// Reads an event by a mapping, the given one or that of the source. Nothing is stored.
///
/// # Errors
///
/// [`SettingsError`]
pub async fn try_mapping(
    app: &App,
    caller: &Caller,
    source: &str,
    mapping: Option<EventMapping>,
    (kind, version, data): (&str, u16, &Value),
) -> Result<Interpreted, SettingsError> {
    caller.authorise(Permission::Automate, Reach::Tenant)?;
    let mapping = match mapping {
        Some(mapping) => Some(mapping),
        None => mapping_of(app, &caller.principal.tenant, source).await?.map(|found| found.mapping),
    };
    if let Some(faults) = mapping.as_ref().map(mapping_faults).filter(|faults| !faults.is_empty()) {
        return Err(SettingsError::Invalid(faults));
    }
    Ok(interpret(mapping.as_ref(), (kind, version), data, &zone_of(mapping.as_ref())))
}

/// The settings of the automations that the tenant changed.
pub(super) async fn automations(
    app: &App,
    tenant: &TenantId,
) -> Result<BTreeMap<MessageType, AutomationSettings>, StoreError> {
    let changed = execute::list::<AutomationState>(&*app.store, tenant).await?;
    Ok(changed.into_iter().filter_map(|(_, state)| Some((state.kind?, state.settings))).collect())
}

/// Every automation with its settings.
///
/// # Errors
///
/// [`SettingsError`]
pub async fn list_automations(
    app: &App,
    caller: &Caller,
) -> Result<Vec<(MessageType, AutomationSettings)>, SettingsError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let mut changed = automations(app, &caller.principal.tenant).await?;
    Ok(AUTOMATIONS.iter().map(|kind| (*kind, changed.remove(kind).unwrap_or_default())).collect())
}

/// Whether a template has this code or id: one of the tenant's, active or not, or a built-in one.
async fn is_template(app: &App, tenant: &TenantId, name: &str) -> Result<bool, StoreError> {
    if domain::templates::all().iter().any(|builtin| builtin.code == name || builtin.id == name) {
        return Ok(true);
    }
    let own = execute::list::<TemplateState>(&*app.store, tenant).await?;
    Ok(own.into_iter().filter_map(|(_, state)| state.template).any(|own| own.code == name || own.id == name))
}

/// Changes the settings of an automation. `change` returns the new ones.
///
/// # Errors
///
/// [`SettingsError`]
pub async fn change_automation(
    app: &App,
    caller: &Caller,
    kind: MessageType,
    change: impl FnOnce(AutomationSettings) -> AutomationSettings,
) -> Result<AutomationSettings, SettingsError> {
    caller.authorise(Permission::Automate, Reach::Everything)?;
    if !AUTOMATIONS.contains(&kind) {
        return Err(SettingsError::NotFound);
    }
    let key = AggregateId::<AutomationState>::new(&caller.principal.tenant, kind.as_str());
    let loaded = execute::load(&*app.store, &key).await?;
    let settings = change(loaded.state.settings.clone());
    if let Some(template) = settings.template.as_ref().filter(|_| settings.template != loaded.state.settings.template)
        && !is_template(app, &caller.principal.tenant, template).await?
    {
        return Err(SettingsError::UnknownTemplate(template.clone()));
    }
    let command = ChangeAutomation { kind, settings };
    let changed = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await;
    let changed = changed.map_err(|error| error.map_rejection(|never| match never {}))?;
    Ok(changed.state.settings)
}

//! The tenant's own provider configurations over HTTP. Credentials are encrypted and never returned.

use application::Caller;
use application::callback_log::{self, CallbackEntry};
use application::messages::{Fault, Field, MessageError};
use application::provider_account::{self, CachedBalance};
use application::provider_configs::{
    self, ConfigDetails, NewProviderConfig, OrderFault, ProviderConfigChange, ProviderConfigError,
};
use application::provider_settings::CheckedSettings;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::provider::{AccountQueryError, ProviderKind};
use domain::provider_configs::{TenantProviderConfig, TenantProviderConfigs};
use events::Channel;
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, read_rate, show_time};
use crate::message_problem::{pointer, problem, problem_of_faults};
use crate::query::QueryParams;
use crate::send::accepted_response;
use crate::{Api, Shared, json, read_body};

impl Api {
    async fn config(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(TenantProviderConfigs, TenantProviderConfig), Problem> {
        provider_configs::find(&self.app, caller, id).await.map_err(Problem::from)
    }

    async fn show_channel(
        &self,
        caller: &Caller,
        configs: &TenantProviderConfigs,
        config: &TenantProviderConfig,
    ) -> Result<Value, Problem> {
        let ConfigDetails { credentials, rate, throttle, callback_url } =
            provider_configs::details(&self.app, caller, config).await?;
        let kind = provider_configs::kind(&self.app, &config.provider);
        let place = configs.for_channel(config.channel).iter().position(|own| own.id == config.id).unwrap_or_default();
        Ok(json!({
            "id": config.id,
            "provider": config.provider,
            "channel": config.channel,
            "name": config.name,
            "settings": config.settings,
            "credentials": credentials,
            "credentialsVersion": config.secret,
            "rate": { "burst": rate.burst, "perSecond": rate.per_second },
            "enabled": !configs.disabled.contains(&config.id),
            "place": place + 1,
            "state": throttle.state(self.app.host.now()),
            "webhookUrl": callback_url,
            "capabilities": kind.map(|kind| json!(kind.capabilities)),
            "callbacksSigned": kind.map(|kind| kind.signs),
            "createdAt": show_time(config.added_at),
            "updatedAt": show_time(config.changed_at),
            "updatedBy": config.changed_by,
        }))
    }

    /// `to_pointer` is the field of the body that the address came from.
    pub(crate) async fn send_test(
        &self,
        caller: &Caller,
        config: &TenantProviderConfig,
        (to_pointer, to): (&str, Option<String>),
        text: Option<String>,
    ) -> Result<Response, Problem> {
        let accepted = provider_account::send_test(&self.app, caller, config, to, text).await?;
        let at_field = |fault: &Fault| match fault.field {
            Field::To => to_pointer.to_owned(),
            _ => pointer(fault),
        };
        let accepted = accepted.map_err(|error| match error {
            MessageError::Invalid(faults) => problem_of_faults(&faults, at_field),
            error => problem(error),
        })?;
        accepted_response(&self.app, &accepted).await
    }

    async fn config_response(&self, caller: &Caller, id: &str, status: StatusCode) -> Result<Response, Problem> {
        let (configs, config) = self.config(caller, id).await?;
        Ok(json(status, &self.show_channel(caller, &configs, &config).await?))
    }
}

fn read_settings(fields: &mut BodyReader, kind: &'static ProviderKind) -> Option<CheckedSettings> {
    let given = fields.object("settings")?;
    let mut settings = CheckedSettings::new(kind);
    for (name, value) in given.as_object().into_iter().flatten() {
        let text = match value {
            Value::String(text) if text.len() <= 8_000 => Some(text.clone()),
            // A value that is itself JSON can be given as an object.
            Value::Object(_) => Some(value.to_string()),
            _ => None,
        };
        if let Err(fault) = settings.set(name, text) {
            fields.push(fault.into());
        }
    }
    Some(settings)
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let kinds = provider_configs::kinds(&api.app, &caller)?;
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let provider = fields.required("provider", |f| f.one_of("provider", &names));
    let kind = kinds.into_iter().find(|kind| provider.as_deref() == Some(kind.name));
    let channel: Option<Channel> = fields.choice("channel", &Channel::names());
    let channel = channel.or_else(|| kind.filter(|kind| kind.channels.len() == 1).map(|kind| kind.channels[0]));
    if kind.is_some() && channel.is_none() {
        let channels: Vec<&str> = kind.into_iter().flat_map(|kind| kind.channels).map(|c| c.as_str()).collect();
        fields.add_error("channel", "required", format!("channel must be one of: {}.", channels.join(", ")));
    }
    let name = fields.reference("name", 100);
    let settings = kind.and_then(|kind| fields.required("settings", |f| read_settings(f, kind)));
    let rate = read_rate(&mut fields);
    fields.finish()?;
    let (Some(channel), Some(settings)) = (channel, settings) else {
        return Err(missing());
    };
    let new = NewProviderConfig { channel, name, settings, rate, is_enabled: true };
    let id = provider_configs::add(&api.app, &caller, new).await?;
    api.config_response(&caller, &id, StatusCode::CREATED).await
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let channel: Option<Channel> = query.choice("channel", &Channel::names());
    query.finish()?;
    let configs = provider_configs::all(&api.app, &caller).await?;
    let mut shown = Vec::new();
    for of in Channel::ALL.iter().filter(|of| channel.is_none_or(|channel| channel == **of)) {
        for config in configs.for_channel(*of) {
            shown.push(api.show_channel(&caller, &configs, config).await?);
        }
    }
    Ok(json(StatusCode::OK, &json!({ "channels": shown })))
}

/// The supported providers and the settings that each needs.
pub(crate) async fn kinds(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let kinds = provider_configs::kinds(&api.app, &caller)?.into_iter().map(|kind| {
        let settings = kind.settings.iter().map(|setting| {
            json!({
                "name": setting.name,
                "required": setting.is_required,
                "secret": setting.is_secret,
                "about": setting.description,
            })
        });
        json!({
            "provider": kind.name,
            "title": kind.title,
            "channels": kind.channels,
            "settings": settings.collect::<Vec<_>>(),
            "capabilities": kind.capabilities,
            "callbacksSigned": kind.signs,
        })
    });
    Ok(json(StatusCode::OK, &json!({ "providers": kinds.collect::<Vec<_>>() })))
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    api.config_response(&caller, &id, StatusCode::OK).await
}

/// A missing field does not change. Settings are merged, and an empty setting is removed.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let (_, config) = api.config(&caller, &id).await?;
    let kind = provider_configs::kind(&api.app, &config.provider).ok_or(ProviderConfigError::NotFound)?;
    let name = fields.reference("name", 100);
    let settings = read_settings(&mut fields, kind);
    let rate = read_rate(&mut fields);
    let is_enabled = fields.flag("enabled");
    fields.finish()?;
    let change = ProviderConfigChange { name, settings, rate, is_enabled };
    provider_configs::change(&api.app, &caller, &id, change).await?;
    api.config_response(&caller, &id, StatusCode::OK).await
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    provider_configs::remove(&api.app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets the order in which the configurations of a channel are tried.
pub(crate) async fn order(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let order = fields.required("order", |f| Some(f.list("order", 100))).unwrap_or_default();
    let order: Vec<String> = order.iter().map(|id| id.as_str().unwrap_or_default().to_owned()).collect();
    if fields.has_errors() {
        let faults = match channel {
            Some(channel) => provider_configs::check_order(&api.app, &caller, channel, &order).await?,
            // Without a channel, no configuration is one of it.
            None => (0..order.len()).map(OrderFault).collect(),
        };
        faults.into_iter().for_each(|fault| fields.push(fault.into()));
    }
    fields.finish()?;
    let channel = channel.ok_or_else(missing)?;
    let ids = provider_configs::order(&api.app, &caller, channel, order).await?;
    Ok(json(StatusCode::OK, &json!({ "channel": channel, "order": ids })))
}

pub(crate) fn present_balance(CachedBalance { balance, at }: &CachedBalance) -> Value {
    json!({ "balance": balance.amount, "unit": balance.unit, "balanceLastChecked": show_time(*at) })
}

/// The balance, at most an hour old. With `refresh=true` it is asked for now.
pub(crate) async fn balance(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let refresh = query.choice("refresh", &["true", "false"]).unwrap_or(false);
    query.finish()?;
    let (_, config) = api.config(&caller, &id).await?;
    let cached = if refresh { None } else { provider_account::cached_balance(&api.app, &caller, &config).await? };
    let balance = match cached {
        Some(balance) => balance,
        None => provider_account::fetch_balance(&api.app, &caller, &config).await?,
    };
    Ok(json(StatusCode::OK, &present_balance(&balance)))
}

/// Asks the provider whether the credentials are valid, and adds the state of the circuit breaker.
pub(crate) async fn health(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (configs, config) = api.config(&caller, &id).await?;
    let (credentials, code) = match provider_account::check_credentials(&api.app, &caller, &config).await? {
        Ok(()) => ("valid", None),
        Err(AccountQueryError::CredentialsRejected(code)) => ("invalid", Some(code)),
        Err(AccountQueryError::NoResponse(code)) => ("unknown", Some(code)),
        Err(AccountQueryError::Unsupported) => ("not_checkable", None),
    };
    let throttle = provider_configs::details(&api.app, &caller, &config).await?.throttle;
    let shown = json!({
        "id": id,
        "credentials": credentials,
        "code": code,
        "state": throttle.state(api.app.host.now()),
        "enabled": !configs.disabled.contains(&id),
        "checkedAt": show_time(api.app.host.now()),
    });
    Ok(json(StatusCode::OK, &shown))
}

pub(crate) async fn test(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let (_, config) = api.config(&caller, &id).await?;
    let to = fields.required("to", |f| f.text("to", 320));
    let text = fields.text("text", 1_600);
    fields.finish()?;
    api.send_test(&caller, &config, ("/to", to), text).await
}

/// The callbacks of the last 30 days, newest first, without what they contained.
pub(crate) async fn webhook_log(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let (before, provider, status) = (query.text("cursor"), query.text("provider"), query.text("status"));
    query.finish()?;
    let page = callback_log::list(&api.app, &caller, before.as_deref(), provider.as_deref(), status.as_deref()).await?;
    let mut callbacks: Vec<Value> = page.entries.iter().map(|(name, entry)| present_callback(name, entry)).collect();
    // A page of bodies could be larger than an answer of Lambda may be.
    for callback in callbacks.iter_mut().filter_map(Value::as_object_mut) {
        callback.retain(|name, _| !["headers", "body", "bodyEncoding", "truncated"].contains(&name.as_str()));
    }
    Ok(json(StatusCode::OK, &json!({ "callbacks": callbacks, "nextCursor": page.next })))
}

fn present_callback(name: &str, entry: &CallbackEntry) -> Value {
    let mut shown = json!(entry);
    shown["id"] = json!(name);
    shown["receivedAt"] = json!(show_time(entry.received_at));
    shown
}

/// One callback as it was received.
pub(crate) async fn callback(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let entry = callback_log::get(&api.app, &caller, &id).await?;
    Ok(json(StatusCode::OK, &present_callback(&id, &entry)))
}

//! The tenant's own provider configurations. Credentials come in, are sealed, and never go out again.

use std::collections::BTreeMap;

use application::directory::{CALLBACK_SECRET, TenantPorts};
use application::messages::{
    self, ALLOWED_COUNTRIES, ChannelChoice, DEFAULT_REGION, Fault, Field, MessageError, NewContent, NewMessage,
};
use application::provider_configs::{self, GivenSettings, ProviderConfigChange, ProviderConfigError};
use application::{Caller, throttle_store};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::DocumentKey;
use domain::provider::{AccountQueryError, Balance, ProviderKind};
use domain::provider_configs::{RoutingCommand, TenantProviderConfig, TenantProviderConfigs};
use events::RateLimit;
use events::{Channel, MessageType, Priority, Timestamp};
use problem::{Problem, ProblemKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::message_problem::{pointer, problem, problem_of_faults};
use crate::read::QueryParams;
use crate::send::accepted_response;
use crate::{Api, Shared, json, read_body};

/// How long a balance is believed, in milliseconds.
const BALANCE_TTL_MS: i64 = 3_600_000;
/// How long a provider may take to answer a question.
const QUERY_TIMEOUT_MS: u64 = 5_000;

fn no_provider() -> Problem {
    Problem::new(ProblemKind::Unavailable, "The provider did not answer. Try again.")
}

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
        let account = TenantPorts::account(config, caller.principal.mode);
        let record = self.app.limits.read_versioned(&[throttle_store::throttle_key(&config.id)]).await?.pop().flatten();
        let gate = throttle_store::read(record.as_ref(), account.rate);
        let secrets = provider_configs::secrets(&self.app, caller, config).await?;
        let callback = secrets.get(CALLBACK_SECRET).cloned().unwrap_or_default();
        let place = configs.for_channel(config.channel).iter().position(|own| own.id == config.id).unwrap_or_default();
        let credentials: Vec<&String> = secrets.keys().filter(|name| *name != CALLBACK_SECRET).collect();
        Ok(json!({
            "id": config.id,
            "provider": config.provider,
            "channel": config.channel,
            "name": config.name,
            "settings": config.settings,
            "credentials": credentials,
            "credentialsVersion": config.secret,
            "rate": { "burst": account.rate.burst, "perSecond": account.rate.per_second },
            "enabled": !configs.disabled.contains(&config.id),
            "place": place + 1,
            "state": gate.state(self.app.host.now()),
            "webhookUrl": self.app.tenant_ports.callback_url(config, &callback),
            "capabilities": self.kind(&config.provider).map(|kind| json!(kind.capabilities)),
            "callbacksSigned": self.kind(&config.provider).map(|kind| kind.signs),
            "createdAt": show_time(config.added_at),
            "updatedAt": show_time(config.changed_at),
            "updatedBy": config.changed_by,
        }))
    }

    fn balance_key(&self, caller: &Caller, config: &TenantProviderConfig) -> DocumentKey {
        let name = format!("{}#{}#{}", config.id, config.secret, caller.principal.mode.as_str());
        DocumentKey { tenant: caller.principal.tenant.clone(), collection: "balance", name }
    }

    /// As last asked, at most an hour ago.
    pub(crate) async fn cached_balance(
        &self,
        caller: &Caller,
        config: &TenantProviderConfig,
    ) -> Result<Option<CachedBalance>, Problem> {
        let kept = self
            .app
            .tenant_ports
            .documents
            .get_document(&self.balance_key(caller, config), self.app.host.now())
            .await?;
        Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()))
    }

    /// Asks for it now.
    pub(crate) async fn fetch_balance(
        &self,
        caller: &Caller,
        config: &TenantProviderConfig,
    ) -> Result<CachedBalance, Problem> {
        let now = self.app.host.now();
        let provider = provider_configs::connect(&self.app, caller, config).await?;
        let balance = provider.balance(QUERY_TIMEOUT_MS).await.map_err(|error| match error {
            AccountQueryError::Unsupported => {
                Problem::new(ProblemKind::Conflict, format!("Provider {} does not report a balance.", config.provider))
            }
            AccountQueryError::CredentialsRejected(code) => {
                Problem::new(ProblemKind::Conflict, format!("The provider rejected the credentials ({code})."))
            }
            AccountQueryError::NoResponse(_) => no_provider(),
        })?;
        let kept = CachedBalance { balance, at: now };
        let body = serde_json::to_string(&kept).unwrap_or_default();
        self.app
            .tenant_ports
            .documents
            .put_document(&self.balance_key(caller, config), &body, Some(now + BALANCE_TTL_MS))
            .await?;
        Ok(kept)
    }

    /// A message by this configuration and no other, whether enabled or not. It is a communication like any other.
    /// `to_pointer`: the field of the body that the address came from.
    pub(crate) async fn send_test(
        &self,
        caller: &Caller,
        config: &TenantProviderConfig,
        (to_pointer, to): (&str, Option<String>),
        text: Option<String>,
    ) -> Result<Response, Problem> {
        let provider = provider_configs::connect(&self.app, caller, config).await?;
        let is_email = config.channel == Channel::Email;
        let message = NewMessage {
            channel: Some(ChannelChoice::Fixed(config.channel)),
            kind: Some(MessageType::GeneralNotification),
            fingerprint: application::hash::body_hash(&(&config.id, &to, &text)),
            to,
            content: NewContent {
                subject: is_email.then(|| format!("A test of {}", config.name)),
                text: text.or_else(|| Some(format!("A test of {} by Tidings.", config.name))),
                ..NewContent::default()
            },
            priority: Some(Priority::Urgent),
            via: Some(config.id.clone()),
            ..NewMessage::default()
        };
        let accepted = messages::send_test(&self.app, caller, &message, &*provider).await;
        let at_field = |fault: &Fault| match fault.field {
            Field::To => to_pointer.to_owned(),
            _ => pointer(fault),
        };
        accepted_response(&accepted.map_err(|error| match error {
            MessageError::Invalid(faults) => problem_of_faults(&faults, at_field),
            error => problem(error),
        })?)
    }

    pub(crate) fn kind(&self, provider: &str) -> Option<&'static ProviderKind> {
        self.app.tenant_ports.connector.kinds().into_iter().find(|kind| kind.name == provider)
    }

    async fn config_response(&self, caller: &Caller, id: &str, status: StatusCode) -> Result<Response, Problem> {
        let (configs, config) = self.config(caller, id).await?;
        Ok(json(status, &self.show_channel(caller, &configs, &config).await?))
    }
}

fn read_settings(fields: &mut BodyReader, kind: &ProviderKind) -> Option<GivenSettings> {
    let given = fields.object("settings")?;
    let (mut plain, mut secret) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in given.as_object().into_iter().flatten() {
        let place = format!("settings/{name}");
        let known = kind.settings.iter().find(|setting| setting.name == name);
        if known.is_none() && ![DEFAULT_REGION, ALLOWED_COUNTRIES].contains(&name.as_str()) {
            let names: Vec<&str> = kind.settings.iter().map(|setting| setting.name).collect();
            let detail = format!("{} has no setting {name}. Its settings are: {}.", kind.title, names.join(", "));
            fields.add_error(&place, "unknown_setting", detail);
            continue;
        }
        let text = match value {
            Value::String(text) if text.len() <= 8_000 => text.clone(),
            // What is JSON itself may be given as it is.
            Value::Object(_) => value.to_string(),
            _ => {
                fields.add_error(&place, "not_text", format!("{name} must be a string."));
                continue;
            }
        };
        if name == DEFAULT_REGION && !domain::address::is_region(&text) {
            fields.add_error(&place, "not_a_region", "defaultRegion must be an ISO 3166 country code such as KE.");
            continue;
        }
        let is_country = |name: &str| domain::address::is_region(name.trim());
        if name == ALLOWED_COUNTRIES && text.trim() != "*" && !text.split(',').all(is_country) {
            fields.add_error(&place, "not_countries", "allowedCountries must be country codes such as KE,TZ, or *.");
            continue;
        }
        let is_secret = known.is_some_and(|setting| setting.is_secret);
        if is_secret {
            secret.insert(name.clone(), text)
        } else {
            plain.insert(name.clone(), text)
        };
    }
    Some(GivenSettings { plain, secret })
}

fn read_rate(fields: &mut BodyReader) -> Option<RateLimit> {
    let given = fields.object("rate")?;
    let number = |name: &str| given.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let is_whole = given.as_object().is_some_and(|given| given.len() == 2);
    let rate = number("burst").zip(number("perSecond")).filter(|_| is_whole);
    let rate = rate.and_then(|(burst, per_second)| RateLimit::parse(&format!("{burst},{per_second}")));
    if rate.is_none() {
        fields.add_error("rate", "not_a_rate", "rate must be {\"burst\": 100, \"perSecond\": 10}, both at least 1.");
    }
    rate
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let kinds = api.app.tenant_ports.connector.kinds();
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
    let (Some(kind), Some(channel), Some(settings)) = (kind, channel, settings) else {
        return Err(missing());
    };
    let added = provider_configs::add(&api.app, &caller, (kind, channel), name, settings, rate).await;
    let id = added?;
    api.config_response(&caller, &id, StatusCode::CREATED).await
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    query.finish()?;
    let channel: Option<Channel> = channel.and_then(|channel| channel.parse().ok());
    let configs = provider_configs::all(&api.app, &caller).await?;
    let mut shown = Vec::new();
    for of in Channel::ALL.iter().filter(|of| channel.is_none_or(|channel| channel == **of)) {
        for config in configs.for_channel(*of) {
            shown.push(api.show_channel(&caller, &configs, config).await?);
        }
    }
    Ok(json(StatusCode::OK, &json!({ "channels": shown })))
}

/// What can be configured, and what each needs.
pub(crate) async fn kinds(State(api): Shared, query: RawQuery) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let kinds = api.app.tenant_ports.connector.kinds().into_iter().map(|kind| {
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

/// What is not given stays. Settings are merged; one that is empty is taken away.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let (_, config) = api.config(&caller, &id).await?;
    let kind = api.kind(&config.provider).ok_or(ProviderConfigError::NotFound)?;
    let name = fields.reference("name", 100);
    let settings = read_settings(&mut fields, kind);
    let rate = read_rate(&mut fields);
    let is_enabled = fields.flag("enabled");
    fields.finish()?;
    let change = ProviderConfigChange { name, settings, rate, is_enabled };
    provider_configs::change(&api.app, &caller, &config, change).await?;
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

/// All of a channel's, in the order they are to be tried.
pub(crate) async fn order(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let order = fields.required("order", |f| Some(f.list("order", 100))).unwrap_or_default();
    let configs = provider_configs::all(&api.app, &caller).await?;
    let mut named = Vec::new();
    for (place, id) in order.iter().enumerate() {
        let id = id.as_str().unwrap_or_default();
        let known = configs.configs.get(id).is_some_and(|config| Some(config.channel) == channel);
        match known && !named.contains(&id.to_owned()) {
            true => named.push(id.to_owned()),
            false => fields.add_error(
                &format!("order/{place}"),
                "not_a_channel",
                "No configuration of that channel has this id.",
            ),
        }
    }
    fields.finish()?;
    let Some(channel) = channel else { return Err(ProviderConfigError::NotFound.into()) };
    let command = RoutingCommand::Order { channel, order: named };
    provider_configs::route(&api.app, &caller, command).await?;
    let configs = provider_configs::all(&api.app, &caller).await?;
    let ids: Vec<&String> = configs.for_channel(channel).into_iter().map(|config| &config.id).collect();
    Ok(json(StatusCode::OK, &json!({ "channel": channel, "order": ids })))
}

/// A balance, and when it was asked for.
#[derive(Serialize, Deserialize)]
pub(crate) struct CachedBalance {
    pub balance: Balance,
    pub at: Timestamp,
}

impl CachedBalance {
    pub fn show(&self) -> Value {
        let Balance { amount, unit } = &self.balance;
        json!({ "balance": amount, "unit": unit, "balanceLastChecked": show_time(self.at) })
    }
}

/// At most an hour old, unless `refresh=true` asks for it now.
pub(crate) async fn balance(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let refresh = query.choice("refresh", &["true", "false"]).is_some_and(|refresh| refresh == "true");
    query.finish()?;
    let (_, config) = api.config(&caller, &id).await?;
    let known = if refresh { None } else { api.cached_balance(&caller, &config).await? };
    let kept = match known {
        Some(kept) => kept,
        None => api.fetch_balance(&caller, &config).await?,
    };
    Ok(json(StatusCode::OK, &kept.show()))
}

/// Whether the credentials are valid, asked now; and how it has been going.
pub(crate) async fn health(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (configs, config) = api.config(&caller, &id).await?;
    let provider = provider_configs::connect(&api.app, &caller, &config).await?;
    let (credentials, code) = match provider.check_credentials(QUERY_TIMEOUT_MS).await {
        Ok(()) => ("valid", None),
        Err(AccountQueryError::CredentialsRejected(code)) => ("invalid", Some(code)),
        Err(AccountQueryError::NoResponse(code)) => ("unknown", Some(code)),
        Err(AccountQueryError::Unsupported) => ("not_checkable", None),
    };
    let record = api.app.limits.read_versioned(&[throttle_store::throttle_key(&id)]).await?.pop().flatten();
    let gate = throttle_store::read(record.as_ref(), TenantPorts::account(&config, caller.principal.mode).rate);
    let shown = json!({
        "id": id,
        "credentials": credentials,
        "code": code,
        "state": gate.state(api.app.host.now()),
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

/// Callbacks as they came, newest first, for 30 days.
pub(crate) async fn webhook_log(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    const SIZE: usize = 50;
    let mut query = QueryParams::parse(query)?;
    let (before, provider, status) = (query.text("cursor"), query.text("provider"), query.text("status"));
    query.finish()?;
    let shelf = api
        .app
        .tenant_ports
        .documents
        .list_documents(&caller.principal.tenant, "callback", before.as_deref(), SIZE, api.app.host.now())
        .await?;
    let next = shelf.last().filter(|_| shelf.len() == SIZE).map(|(name, _)| name.clone());
    let entries = shelf.into_iter().filter_map(|(name, body)| {
        let mut entry: Value = serde_json::from_str(&body).ok()?;
        let is = |asked: &Option<String>, field: &str| asked.as_deref().is_none_or(|asked| entry[field] == asked);
        if !is(&provider, "provider") || !is(&status, "status") {
            return None;
        }
        entry["id"] = json!(name);
        entry["receivedAt"] = json!(show_time(Timestamp(entry["receivedAt"].as_i64()?)));
        Some(entry)
    });
    Ok(json(StatusCode::OK, &json!({ "callbacks": entries.collect::<Vec<_>>(), "nextCursor": next })))
}

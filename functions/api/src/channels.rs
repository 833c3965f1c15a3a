//! The tenant's own provider configurations. Credentials come in, are sealed, and never go out again.

use std::collections::BTreeMap;
use std::sync::Arc;

use application::directory::{CALLBACK_SECRET, Own, ProviderSetupError};
use application::messages::{
    self, ALLOWED_COUNTRIES, ChannelChoice, DEFAULT_REGION, Fault, Field, MessageError, NewContent, NewMessage,
};
use application::problem::{FieldError, Kind, Problem};
use application::{Caller, gate, journal};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::{DocumentKey, Principal};
use domain::provider::{AccountQueryError, Balance, InvalidSetting, Provider, ProviderKind};
use domain::provider_configs::{Channels, Command, Config};
use events::RateLimit;
use events::{Channel, MessageType, Priority, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::fields::{Fields, invalid, missing, show_time};
use crate::message_problem::{pointer, problem, problem_of_faults};
use crate::read::Query;
use crate::send::accepted_response;
use crate::{Api, Shared, json, read_body};

/// How long a balance is believed, in milliseconds.
const BALANCE_TTL_MS: i64 = 3_600_000;
/// How long a provider may take to answer a question.
const QUERY_TIMEOUT_MS: u64 = 5_000;

fn no_channel() -> Problem {
    Problem::new(Kind::NotFound, "There is no such channel; GET /api/channels lists them.")
}

fn no_provider() -> Problem {
    Problem::new(Kind::Unavailable, "The provider did not answer. Try again.")
}

impl Api {
    async fn change_channels(&self, caller: &Principal, command: Command) -> Result<Channels, Problem> {
        let ports = (&*self.own.journals, &*self.host);
        let actor = caller.actor_id();
        let channels = journal::change_provider_configs(ports, &caller.tenant, &actor, command).await?;
        self.directory.know(&caller.tenant, Arc::new(channels.clone()), self.host.now());
        Ok(channels)
    }

    /// Fresh: what was decided elsewhere a moment ago is there too.
    pub(crate) async fn channels(&self, caller: &Principal) -> Result<Channels, Problem> {
        Ok(journal::channels(&*self.own.journals, &caller.tenant).await?)
    }

    pub(crate) async fn execute_config_command(&self, caller: &Principal, command: Command) -> Result<(), Problem> {
        self.change_channels(caller, command).await.map(|_| ())
    }

    async fn config(&self, caller: &Principal, id: &str) -> Result<(Channels, Config), Problem> {
        let channels = self.channels(caller).await?;
        let config = channels.configs.get(id).cloned().ok_or_else(no_channel)?;
        Ok((channels, config))
    }

    async fn connect(&self, caller: &Principal, config: &Config) -> Result<Arc<dyn Provider>, Problem> {
        let connected = self.directory.connect(&self.own, &caller.tenant, config, caller.mode).await;
        let connected = connected.map(|connected| connected.provider);
        connected.map_err(|error| match error {
            ProviderSetupError::Store(error) => error.into(),
            ProviderSetupError::Setting(fault) => invalid_setting(fault),
            ProviderSetupError::NoSecrets => Problem::new(Kind::Conflict, "Its credentials are gone; set them again."),
        })
    }

    async fn show_channel(&self, caller: &Principal, channels: &Channels, config: &Config) -> Result<Value, Problem> {
        let account = Own::account(config, caller.mode);
        let record = self.limits.read_versioned(&[gate::account(&config.id)]).await?.pop().flatten();
        let gate = gate::read(record.as_ref(), account.rate);
        let secrets = self.secrets(caller, config).await?;
        let callback = secrets.get(CALLBACK_SECRET).cloned().unwrap_or_default();
        let place = channels.own(config.channel).iter().position(|own| own.id == config.id).unwrap_or_default();
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
            "enabled": !channels.disabled.contains(&config.id),
            "place": place + 1,
            "state": gate.state(self.host.now()),
            "webhookUrl": self.own.callback_url(config, &callback),
            "capabilities": self.kind(&config.provider).map(|kind| json!(kind.capabilities)),
            "callbacksSigned": self.kind(&config.provider).map(|kind| kind.signs),
            "createdAt": show_time(config.added_at),
            "updatedAt": show_time(config.changed_at),
            "updatedBy": config.changed_by,
        }))
    }

    /// None are there: they were removed, and can be given anew.
    async fn secrets(&self, caller: &Principal, config: &Config) -> Result<BTreeMap<String, String>, Problem> {
        match self.own.secrets(&caller.tenant, config).await {
            Ok(secrets) => Ok(secrets),
            Err(ProviderSetupError::Store(error)) => Err(error.into()),
            Err(_) => Ok(BTreeMap::new()),
        }
    }

    /// Its id.
    pub(crate) async fn add_channel(
        &self,
        caller: &Principal,
        kind: &ProviderKind,
        channel: Channel,
        Given { name, open, mut secret, rate }: Given,
    ) -> Result<String, Problem> {
        let id = format!("{}.{:010x}", caller.tenant, self.host.random() & 0xff_ffff_ffff);
        let config = unsaved_config(&id, kind.name, channel, open.clone(), self.host.now());
        // What it could not be connected with is refused before it is kept.
        self.own.create_provider(&config, secret.clone(), caller.mode).map_err(invalid_setting)?;
        secret.insert(CALLBACK_SECRET.to_owned(), format!("{:032x}", self.host.random()));
        self.own.store_secrets(&caller.tenant, &id, 1, &secret).await?;
        let add = Command::Add {
            config: id.clone(),
            provider: kind.name.to_owned(),
            channel,
            name: name.unwrap_or_else(|| kind.title.to_owned()),
            settings: open,
            rate,
        };
        self.change_channels(caller, add).await?;
        Ok(id)
    }

    /// What is not given stays. Settings are merged; one that is empty is taken away.
    pub(crate) async fn change_channel(
        &self,
        caller: &Principal,
        config: &Config,
        name: Option<String>,
        apart: Option<SplitSettings>,
        rate: Option<RateLimit>,
    ) -> Result<(), Problem> {
        let (mut settings, mut version) = (None, None);
        if let Some((open, secret)) = apart {
            let merge = |mut into: BTreeMap<String, String>, from: BTreeMap<String, String>| {
                into.extend(from);
                into.retain(|_, value| !value.is_empty());
                into
            };
            let open = merge(config.settings.clone(), open);
            let known = self.secrets(caller, config).await?;
            let merged = merge(known.clone(), secret);
            let changed = Config { settings: open.clone(), ..config.clone() };
            self.own.create_provider(&changed, merged.clone(), caller.mode).map_err(invalid_setting)?;
            if merged != known {
                self.own.store_secrets(&caller.tenant, &config.id, config.secret + 1, &merged).await?;
                version = Some(config.secret + 1);
            }
            settings = Some(open);
        }
        let change = Command::Change { config: config.id.clone(), name, settings, secret: version, rate };
        self.change_channels(caller, change).await?;
        if version.is_some() {
            self.own.delete_secrets(&caller.tenant, &config.id, config.secret).await?;
        }
        Ok(())
    }

    pub(crate) async fn switch_channel(&self, caller: &Principal, id: &str, enabled: bool) -> Result<(), Problem> {
        let config = id.to_owned();
        self.execute_config_command(
            caller,
            if enabled { Command::Enable { config } } else { Command::Disable { config } },
        )
        .await
    }

    fn balance_key(&self, caller: &Principal, config: &Config) -> DocumentKey {
        let name = format!("{}#{}#{}", config.id, config.secret, caller.mode.as_str());
        DocumentKey { tenant: caller.tenant.clone(), collection: "balance", name }
    }

    /// As last asked, at most an hour ago.
    pub(crate) async fn cached_balance(&self, caller: &Principal, config: &Config) -> Result<Option<Kept>, Problem> {
        let kept = self.own.documents.get_document(&self.balance_key(caller, config), self.host.now()).await?;
        Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()))
    }

    /// Asks for it now.
    pub(crate) async fn fetch_balance(&self, caller: &Principal, config: &Config) -> Result<Kept, Problem> {
        let now = self.host.now();
        let provider = self.connect(caller, config).await?;
        let balance = provider.balance(QUERY_TIMEOUT_MS).await.map_err(|error| match error {
            AccountQueryError::Unsupported => {
                Problem::new(Kind::Conflict, format!("{} has no balance to ask for.", config.provider))
            }
            AccountQueryError::CredentialsRejected(code) => {
                Problem::new(Kind::Conflict, format!("The provider refuses the credentials ({code})."))
            }
            AccountQueryError::NoResponse(_) => no_provider(),
        })?;
        let kept = Kept { balance, at: now };
        let body = serde_json::to_string(&kept).unwrap_or_default();
        self.own.documents.put_document(&self.balance_key(caller, config), &body, Some(now + BALANCE_TTL_MS)).await?;
        Ok(kept)
    }

    /// A message by this configuration and no other, whether enabled or not. It is a communication like any other.
    /// `to_pointer`: the field of the body that the address came from.
    pub(crate) async fn send_test(
        &self,
        caller: &Caller,
        config: &Config,
        (to_pointer, to): (&str, Option<String>),
        text: Option<String>,
    ) -> Result<Response, Problem> {
        let provider = self.connect(&caller.principal, config).await?;
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
        self.own.connector.kinds().into_iter().find(|kind| kind.name == provider)
    }

    async fn config_response(&self, caller: &Principal, id: &str, status: StatusCode) -> Result<Response, Problem> {
        let (channels, config) = self.config(caller, id).await?;
        Ok(json(status, &self.show_channel(caller, &channels, &config).await?))
    }
}

fn invalid_setting(InvalidSetting { setting, detail }: InvalidSetting) -> Problem {
    let pointer = match setting {
        "provider" | "channel" => format!("/{setting}"),
        _ => format!("/settings/{setting}"),
    };
    invalid(vec![FieldError { pointer, code: "not_usable", detail }])
}

/// What a new one is made of.
pub(crate) struct Given {
    pub name: Option<String>,
    pub open: BTreeMap<String, String>,
    pub secret: BTreeMap<String, String>,
    pub rate: Option<RateLimit>,
}

/// What a body gives, apart: open and secret.
pub(crate) type SplitSettings = (BTreeMap<String, String>, BTreeMap<String, String>);

fn read_settings(fields: &mut Fields, kind: &ProviderKind) -> Option<SplitSettings> {
    let given = fields.object("settings")?;
    let (mut open, mut secret) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in given.as_object().into_iter().flatten() {
        let place = format!("settings/{name}");
        let known = kind.settings.iter().find(|setting| setting.name == name);
        if known.is_none() && ![DEFAULT_REGION, ALLOWED_COUNTRIES].contains(&name.as_str()) {
            let names: Vec<&str> = kind.settings.iter().map(|setting| setting.name).collect();
            let detail = format!("{} has no setting {name}; it has {}.", kind.title, names.join(", "));
            fields.wrong(&place, "unknown_setting", detail);
            continue;
        }
        let text = match value {
            Value::String(text) if text.len() <= 8_000 => text.clone(),
            // What is JSON itself may be given as it is.
            Value::Object(_) => value.to_string(),
            _ => {
                fields.wrong(&place, "not_text", format!("{name} must be text."));
                continue;
            }
        };
        if name == DEFAULT_REGION && !domain::address::is_region(&text) {
            fields.wrong(&place, "not_a_region", "defaultRegion is a country such as KE (ISO 3166).");
            continue;
        }
        let is_country = |name: &str| domain::address::is_region(name.trim());
        if name == ALLOWED_COUNTRIES && text.trim() != "*" && !text.split(',').all(is_country) {
            fields.wrong(&place, "not_countries", "allowedCountries is a list such as KE,TZ (ISO 3166), or *.");
            continue;
        }
        let is_secret = known.is_some_and(|setting| setting.is_secret);
        if is_secret {
            secret.insert(name.clone(), text)
        } else {
            open.insert(name.clone(), text)
        };
    }
    Some((open, secret))
}

fn read_rate(fields: &mut Fields) -> Option<RateLimit> {
    let given = fields.object("rate")?;
    let number = |name: &str| given.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let is_whole = given.as_object().is_some_and(|given| given.len() == 2);
    let rate = number("burst").zip(number("perSecond")).filter(|_| is_whole);
    let rate = rate.and_then(|(burst, per_second)| RateLimit::parse(&format!("{burst},{per_second}")));
    if rate.is_none() {
        fields.wrong("rate", "not_a_rate", "rate is {\"burst\": 100, \"perSecond\": 10}, both at least 1.");
    }
    rate
}

/// A configuration that is not kept yet.
fn unsaved_config(
    id: &str,
    provider: &str,
    channel: Channel,
    settings: BTreeMap<String, String>,
    now: Timestamp,
) -> Config {
    Config {
        id: id.to_owned(),
        provider: provider.to_owned(),
        channel,
        name: String::new(),
        settings,
        secret: 1,
        rate: None,
        added_at: now,
        changed_at: now,
        changed_by: String::new(),
    }
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let kinds = api.own.connector.kinds();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let provider = fields.required("provider", |f| f.one_of("provider", &names));
    let kind = kinds.into_iter().find(|kind| provider.as_deref() == Some(kind.name));
    let channel: Option<Channel> = fields.choice("channel", &Channel::names());
    let channel = channel.or_else(|| kind.filter(|kind| kind.channels.len() == 1).map(|kind| kind.channels[0]));
    if kind.is_some() && channel.is_none() {
        let channels: Vec<&str> = kind.into_iter().flat_map(|kind| kind.channels).map(|c| c.as_str()).collect();
        fields.wrong("channel", "required", format!("channel is one of: {}.", channels.join(", ")));
    }
    let name = fields.reference("name", 100);
    let apart = kind.and_then(|kind| fields.required("settings", |f| read_settings(f, kind)));
    let rate = read_rate(&mut fields);
    fields.finish()?;
    let (Some(kind), Some(channel), Some((open, secret))) = (kind, channel, apart) else {
        return Err(missing());
    };
    let given = Given { name, open, secret, rate };
    let id = api.add_channel(&caller, kind, channel, given).await?;
    api.config_response(&caller, &id, StatusCode::CREATED).await
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query)?;
    let channel = query.choice("channel", &Channel::names());
    query.finish()?;
    let channel: Option<Channel> = channel.and_then(|channel| channel.parse().ok());
    let channels = api.channels(&caller).await?;
    let mut shown = Vec::new();
    for of in Channel::ALL.iter().filter(|of| channel.is_none_or(|channel| channel == **of)) {
        for config in channels.own(*of) {
            shown.push(api.show_channel(&caller, &channels, config).await?);
        }
    }
    Ok(json(StatusCode::OK, &json!({ "channels": shown })))
}

/// What can be configured, and what each needs.
pub(crate) async fn kinds(State(api): Shared, query: RawQuery) -> Result<Response, Problem> {
    Query::parse(query)?.finish()?;
    let kinds = api.own.connector.kinds().into_iter().map(|kind| {
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

pub(crate) async fn one(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    api.config_response(&caller, &id, StatusCode::OK).await
}

/// What is not given stays. Settings are merged; one that is empty is taken away.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let (_, config) = api.config(&caller, &id).await?;
    let kind = api.kind(&config.provider).ok_or_else(no_channel)?;
    let name = fields.reference("name", 100);
    let apart = read_settings(&mut fields, kind);
    let rate = read_rate(&mut fields);
    let enabled = fields.flag("enabled");
    fields.finish()?;
    api.change_channel(&caller, &config, name, apart, rate).await?;
    if let Some(enabled) = enabled {
        api.switch_channel(&caller, &id, enabled).await?;
    }
    api.config_response(&caller, &id, StatusCode::OK).await
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let (_, config) = api.config(&caller, &id).await?;
    api.change_channels(&caller, Command::Remove { config: id.clone() }).await?;
    api.own.delete_secrets(&caller.tenant, &id, config.secret).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All of a channel's, in the order they are to be tried.
pub(crate) async fn order(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.required("channel", |f| f.choice("channel", &Channel::names()));
    let order = fields.required("order", |f| Some(f.list("order", 100))).unwrap_or_default();
    let channels = api.channels(&caller).await?;
    let mut named = Vec::new();
    for (place, id) in order.iter().enumerate() {
        let id = id.as_str().unwrap_or_default();
        let known = channels.configs.get(id).is_some_and(|config| Some(config.channel) == channel);
        match known && !named.contains(&id.to_owned()) {
            true => named.push(id.to_owned()),
            false => fields.wrong(&format!("order/{place}"), "not_a_channel", "No channel of that kind has this id."),
        }
    }
    fields.finish()?;
    let Some(channel) = channel else { return Err(no_channel()) };
    let channels = api.change_channels(&caller, Command::Order { channel, order: named }).await?;
    let ids: Vec<&String> = channels.own(channel).into_iter().map(|config| &config.id).collect();
    Ok(json(StatusCode::OK, &json!({ "channel": channel, "order": ids })))
}

/// A balance, and when it was asked for.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    pub balance: Balance,
    pub at: Timestamp,
}

impl Kept {
    pub fn show(&self) -> Value {
        let Balance { amount, unit } = &self.balance;
        json!({ "balance": amount, "unit": unit, "balanceLastChecked": show_time(self.at) })
    }
}

/// At most an hour old, unless `refresh=true` asks for it now.
pub(crate) async fn balance(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query)?;
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
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (channels, config) = api.config(&caller, &id).await?;
    let provider = api.connect(&caller, &config).await?;
    let (credentials, code) = match provider.check_credentials(QUERY_TIMEOUT_MS).await {
        Ok(()) => ("valid", None),
        Err(AccountQueryError::CredentialsRejected(code)) => ("invalid", Some(code)),
        Err(AccountQueryError::NoResponse(code)) => ("unknown", Some(code)),
        Err(AccountQueryError::Unsupported) => ("not_checkable", None),
    };
    let record = api.limits.read_versioned(&[gate::account(&id)]).await?.pop().flatten();
    let gate = gate::read(record.as_ref(), Own::account(&config, caller.mode).rate);
    let shown = json!({
        "id": id,
        "credentials": credentials,
        "code": code,
        "state": gate.state(api.host.now()),
        "enabled": !channels.disabled.contains(&id),
        "checkedAt": show_time(api.host.now()),
    });
    Ok(json(StatusCode::OK, &shown))
}

pub(crate) async fn test(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let (_, config) = api.config(&caller.principal, &id).await?;
    let to = fields.required("to", |f| f.text("to", 320));
    let text = fields.text("text", 1_600);
    fields.finish()?;
    api.send_test(&caller, &config, ("/to", to), text).await
}

/// Callbacks as they came, newest first, for 30 days.
pub(crate) async fn webhook_log(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    const SIZE: usize = 50;
    let mut query = Query::parse(query)?;
    let (before, provider, status) = (query.text("cursor"), query.text("provider"), query.text("status"));
    query.finish()?;
    let shelf =
        api.own.documents.list_documents(&caller.tenant, "callback", before.as_deref(), SIZE, api.host.now()).await?;
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

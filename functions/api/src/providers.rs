//! The provider configurations: which is tried first, which not at all, and how much each has left.

use std::sync::Arc;

use application::directory::{TenantPorts, tenant_of_config};
use application::provider_configs;
use application::{Caller, throttle_store};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::{ProviderConfig, StoreError};
use domain::provider_configs::{RoutingCommand, TenantProviderConfigs};
use domain::throttle::ProviderThrottle;
use events::{Channel, Mode};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, show_time};
use crate::read::QueryParams;
use crate::{Api, Shared, json, read_body};

fn no_provider() -> Problem {
    Problem::new(ProblemKind::NotFound, "No provider configuration has this id. GET /api/providers lists them.")
}

/// One configuration as it stands.
pub(crate) struct ProviderStatus {
    pub account: ProviderConfig,
    pub enabled: bool,
    pub gate: ProviderThrottle,
}

impl Api {
    /// Every configuration that this caller's messages may take: of each channel its own, or else the deployment's.
    fn configs_for(&self, caller: &Caller, configs: &TenantProviderConfigs) -> Vec<ProviderConfig> {
        let mut accounts = Vec::new();
        for channel in Channel::ALL {
            let own = configs.for_channel(*channel);
            if own.is_empty() {
                let serves =
                    |account: &&ProviderConfig| account.channel == *channel && account.mode == caller.principal.mode;
                let mut deployment: Vec<ProviderConfig> = self.app.accounts.iter().filter(serves).cloned().collect();
                deployment.sort_by_key(|account| configs.position_of(*channel, &account.id));
                accounts.extend(deployment);
            } else {
                accounts.extend(own.into_iter().map(|config| TenantPorts::account(config, caller.principal.mode)));
            }
        }
        accounts
    }

    async fn account(&self, caller: &Caller, id: &str) -> Result<ProviderConfig, Problem> {
        let accounts = self.configs_for(caller, &provider_configs::all(&self.app, caller).await?);
        accounts.into_iter().find(|account| account.id == id).ok_or_else(no_provider)
    }

    /// Channel by channel, in the order they are tried.
    pub(crate) async fn provider_statuses(&self, caller: &Caller) -> Result<Vec<ProviderStatus>, Problem> {
        let configs = provider_configs::all(&self.app, caller).await?;
        let mine = self.configs_for(caller, &configs);
        let names: Vec<String> = mine.iter().map(|account| throttle_store::throttle_key(&account.id)).collect();
        let records = self.app.limits.read_versioned(&names).await?;
        let status = |(account, record): (ProviderConfig, Option<domain::ports::VersionedRecord>)| ProviderStatus {
            enabled: !configs.disabled.contains(&account.id),
            gate: throttle_store::read(record.as_ref(), account.rate),
            account,
        };
        Ok(mine.into_iter().zip(records).map(status).collect())
    }

    pub(crate) fn present_status(&self, status: &ProviderStatus) -> Value {
        let ProviderStatus { account, enabled, gate } = status;
        let now = self.app.host.now();
        let mut shown = self.show_quota(account, gate);
        shown["provider"] = json!(account.provider);
        shown["channel"] = json!(account.channel);
        shown["enabled"] = json!(enabled);
        shown["state"] = json!(gate.state(now));
        shown["cause"] = json!(gate.breaker.open.map(|shut| shut.cause.as_str()));
        shown["since"] = json!(gate.breaker.open.map(|shut| show_time(shut.since)));
        shown
    }

    fn show_quota(&self, account: &ProviderConfig, gate: &ProviderThrottle) -> Value {
        let quota = gate.quota(self.app.host.now());
        json!({
            "id": account.id,
            "burst": account.rate.burst,
            "perSecond": account.rate.per_second,
            "remaining": quota.remaining,
            "availableAt": show_time(quota.available_at),
            "resetAt": show_time(quota.reset_at),
        })
    }

    async fn show_all(&self, caller: &Caller) -> Result<Response, Problem> {
        let statuses = self.provider_statuses(caller).await?;
        let shown: Vec<Value> = statuses.iter().map(|status| self.present_status(status)).collect();
        Ok(json(StatusCode::OK, &json!({ "providers": shown })))
    }
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    api.show_all(&caller).await
}

pub(crate) async fn quota(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let account = api.account(&caller, &id).await?;
    let record = api.app.limits.read_versioned(&[throttle_store::throttle_key(&account.id)]).await?.pop().flatten();
    Ok(json(StatusCode::OK, &api.show_quota(&account, &throttle_store::read(record.as_ref(), account.rate))))
}

/// Used again, at once. Nothing is held against an account of its own any more; one that others share stays as it is.
pub(crate) async fn enable(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let account = api.account(&caller, &id).await?;
    // In test mode nobody else is behind it.
    if tenant_of_config(&id).is_some() || caller.principal.mode == Mode::Test {
        reset(&api, &account).await?;
    }
    provider_configs::set_enabled(&api.app, &caller, &id, true).await?;
    api.show_all(&caller).await
}

async fn reset(api: &Arc<Api>, account: &ProviderConfig) -> Result<(), StoreError> {
    let name = throttle_store::throttle_key(&account.id);
    let mut known = api.app.limits.read_versioned(std::slice::from_ref(&name)).await?.pop().flatten();
    throttle_store::update(&*api.app.limits, &name, account.rate, &mut known, ProviderThrottle::reset).await
}

/// Not used for this tenant's messages any more. Workers notice within 15 seconds.
pub(crate) async fn disable(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    api.account(&caller, &id).await?;
    provider_configs::set_enabled(&api.app, &caller, &id, false).await?;
    api.show_all(&caller).await
}

/// The first to be tried on its channel. Workers notice within 15 seconds.
pub(crate) async fn use_first(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let channel = api.account(&caller, &id).await?.channel;
    let command = RoutingCommand::UseFirst { channel, config: id.clone() };
    provider_configs::route(&api.app, &caller, command).await?;
    provider_configs::set_enabled(&api.app, &caller, &id, true).await?;
    api.show_all(&caller).await
}

//! The provider configurations: which is tried first, which not at all, and how much each has left.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::gate::Gate;
use domain::ports::{Account, Principal, Route, StoreError};
use events::Channel;
use serde_json::{Value, json};
use shell::gate;
use shell::problem::{Kind, Problem};

use crate::fields::{Fields, show_time};
use crate::read::Query;
use crate::{Api, Shared, json, read_body};

fn no_provider() -> Problem {
    Problem::new(Kind::NotFound, "There is no such provider configuration; GET /api/providers lists them.")
}

/// One configuration as it stands.
pub(crate) struct Standing {
    pub account: Account,
    pub enabled: bool,
    pub gate: Gate,
}

impl Api {
    fn account(&self, caller: &Principal, id: &str) -> Result<&Account, Problem> {
        let found = self.accounts.iter().find(|account| account.config == id && account.mode == caller.mode);
        found.ok_or_else(no_provider)
    }

    /// Every configuration that this caller's messages may take, channel by channel, in the order they are tried.
    pub(crate) async fn standings(&self, caller: &Principal) -> Result<Vec<Standing>, StoreError> {
        let mine: Vec<&Account> = self.accounts.iter().filter(|account| account.mode == caller.mode).collect();
        let names: Vec<String> = mine.iter().map(|account| gate::account(&account.config)).collect();
        let records = self.limits.records(&names).await?;
        let mut routes: BTreeMap<Channel, Route> = BTreeMap::new();
        let mut standings = Vec::new();
        for (account, record) in mine.into_iter().zip(records) {
            let route = match routes.remove(&account.channel) {
                Some(route) => route,
                None => self.routes.route(&caller.tenant, account.channel).await?,
            };
            let enabled = !route.disabled.contains(&account.config);
            let gate = gate::read(record.as_ref(), account.rate);
            standings.push((route.place(&account.config), Standing { account: account.clone(), enabled, gate }));
            routes.insert(account.channel, route);
        }
        standings.sort_by_key(|(place, standing)| (standing.account.channel, *place));
        Ok(standings.into_iter().map(|(_, standing)| standing).collect())
    }

    pub(crate) fn show_standing(&self, standing: &Standing) -> Value {
        let Standing { account, enabled, gate } = standing;
        let now = self.host.now();
        let mut shown = self.show_quota(account, gate);
        shown["provider"] = json!(account.provider);
        shown["channel"] = json!(account.channel);
        shown["enabled"] = json!(enabled);
        shown["state"] = json!(gate.state(now));
        shown["cause"] = json!(gate.shut.map(|shut| shut.cause.as_str()));
        shown["since"] = json!(gate.shut.map(|shut| show_time(shut.since)));
        shown
    }

    fn show_quota(&self, account: &Account, gate: &Gate) -> Value {
        let quota = gate.quota(self.host.now());
        json!({
            "id": account.config,
            "burst": account.rate.burst,
            "perSecond": account.rate.per_second,
            "remaining": quota.remaining,
            "availableAt": show_time(quota.available_at),
            "resetAt": show_time(quota.reset_at),
        })
    }

    /// A change of the tenant's route. The last one wins.
    async fn decide_route(
        &self,
        caller: &Principal,
        id: &str,
        change: impl FnOnce(&mut Route),
    ) -> Result<Response, Problem> {
        let account = self.account(caller, id)?;
        let mut route = self.routes.route(&caller.tenant, account.channel).await?;
        change(&mut route);
        (route.changed_by, route.changed_at) = (caller.actor.clone(), Some(self.host.now()));
        self.routes.set_route(&caller.tenant, account.channel, &route).await?;
        tracing::info!(tenant = %caller.tenant, actor = caller.actor, ?route, "a route was changed");
        self.show_all(caller).await
    }

    async fn show_all(&self, caller: &Principal) -> Result<Response, Problem> {
        let standings = self.standings(caller).await?;
        let shown: Vec<Value> = standings.iter().map(|standing| self.show_standing(standing)).collect();
        Ok(json(StatusCode::OK, &json!({ "providers": shown })))
    }
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    Query::parse(query)?.finish()?;
    api.show_all(&caller).await
}

pub(crate) async fn quota(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let account = api.account(&caller, &id)?;
    let record = api.limits.records(&[gate::account(&account.config)]).await?.pop().flatten();
    Ok(json(StatusCode::OK, &api.show_quota(account, &gate::read(record.as_ref(), account.rate))))
}

/// Used again, at once: nothing is held against its account any more.
pub(crate) async fn enable(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    Fields::parse_optional(&read_body(body).await?)?.finish()?;
    let account = api.account(&caller, &id)?;
    reset(&api, account).await?;
    api.decide_route(&caller, &id, |route| {
        route.disabled.remove(&id);
    })
    .await
}

async fn reset(api: &Arc<Api>, account: &Account) -> Result<(), StoreError> {
    let name = gate::account(&account.config);
    let mut known = api.limits.records(std::slice::from_ref(&name)).await?.pop().flatten();
    gate::change(&*api.limits, &name, account.rate, &mut known, Gate::reset).await
}

/// Not used for this tenant's messages any more. Workers notice within 15 seconds.
pub(crate) async fn disable(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    Fields::parse_optional(&read_body(body).await?)?.finish()?;
    api.decide_route(&caller, &id, |route| {
        route.disabled.insert(id.clone());
    })
    .await
}

/// The first to be tried on its channel. Workers notice within 15 seconds.
pub(crate) async fn switch(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    Fields::parse_optional(&read_body(body).await?)?.finish()?;
    let first = |route: &mut Route| {
        route.order.retain(|name| *name != id);
        route.order.insert(0, id.clone());
        route.disabled.remove(&id);
    };
    api.decide_route(&caller, &id, first).await
}

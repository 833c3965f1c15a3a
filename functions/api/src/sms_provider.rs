//! The API of a single SMS provider, which some systems use: a view of the tenant's first SMS channel.

use application::Caller;
use application::provider_account;
use application::provider_settings::SmsField;
use application::sms_provider::{self, SmsProvider};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use problem::{Problem, ProblemKind};
use serde_json::json;

use crate::channels::present_balance;
use crate::fields::{BodyReader, show_time};
use crate::{Api, Shared, json, read_body};

pub(crate) const PROVIDERS: [&str; 4] = ["AFRICASTALKING", "TWILIO", "BULKSMS", "CUSTOM"];

fn none() -> Problem {
    Problem::new(ProblemKind::NotFound, "No SMS provider is configured yet. PUT /api/sms-provider/config creates one.")
}

impl Api {
    /// The configuration without its credentials.
    async fn show_sms(&self, caller: &Caller) -> Result<Response, Problem> {
        let (configs, config) = sms_provider::find(&self.app, caller).await?;
        let config = config.ok_or_else(none)?;
        let balance = provider_account::cached_balance(&self.app, caller, &config).await?;
        let body = json!({
            "id": config.id,
            "provider": config.provider.to_uppercase(),
            "apiUrl": sms_provider::shown_value(&config, SmsField::ApiUrl),
            "senderId": sms_provider::shown_value(&config, SmsField::SenderId),
            "isActive": !configs.disabled.contains(&config.id),
            "balance": balance.as_ref().map(|kept| &kept.balance.amount),
            "balanceUnit": balance.as_ref().map(|kept| &kept.balance.unit),
            "balanceLastChecked": balance.as_ref().map(|kept| show_time(kept.at)),
            "createdAt": show_time(config.added_at),
            "updatedAt": show_time(config.changed_at),
        });
        Ok(json(StatusCode::OK, &body))
    }
}

pub(crate) async fn get(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    api.show_sms(&caller).await
}

/// A new provider is added before the existing ones. The current provider is changed.
pub(crate) async fn put(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let provider = fields.required("provider", |f| f.one_of("provider", &PROVIDERS));
    let value = |field: SmsField| Some((field, fields.text(field.as_str(), 2_000)?));
    let values = SmsField::ALL.into_iter().filter_map(value).collect();
    let is_active = fields.flag("isActive");
    let wanted = SmsProvider { provider: provider.unwrap_or_default().to_lowercase(), values, is_active };
    if fields.has_errors() {
        let faults = sms_provider::check(&api.app, &caller, &wanted).await?;
        faults.into_iter().for_each(|fault| fields.push(fault.into()));
    }
    fields.finish()?;
    sms_provider::set_sms_provider(&api.app, &caller, &wanted).await?;
    api.show_sms(&caller).await
}

/// Asks the provider for the balance.
pub(crate) async fn balance(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let config = sms_provider::find(&api.app, &caller).await?.1.ok_or_else(none)?;
    Ok(json(StatusCode::OK, &present_balance(&provider_account::fetch_balance(&api.app, &caller, &config).await?)))
}

pub(crate) async fn test(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let to = fields.required("phoneNumber", |f| f.text("phoneNumber", 40));
    let text = fields.text("message", 1_600);
    fields.finish()?;
    let config = sms_provider::find(&api.app, &caller).await?.1.ok_or_else(none)?;
    api.send_test(&caller, &config, ("/phoneNumber", to), text).await
}

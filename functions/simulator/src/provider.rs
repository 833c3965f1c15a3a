//! The trait that every simulated provider implements.

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};

/// The API of one provider: the formats of its responses and callbacks.
#[async_trait]
pub trait ProviderSimulation: Send + Sync {
    /// Creates a message id in the provider's format.
    fn message_id(&self, context: &SimulationContext) -> String {
        context.unique_id()
    }

    /// The response to a message that is accepted.
    fn accepted_response(&self, message: &Message) -> Response;

    /// The response to a message that is refused with 400, 401, 402 or 429. Other errors do not have a provider's
    /// format.
    fn refusal(&self, status: StatusCode) -> Response;

    /// The response to a message for a recipient who opted out. Returns `None` if the provider still accepts it.
    fn opted_out(&self, _: &Message) -> Option<Response> {
        None
    }

    /// Called before the first report of a message.
    async fn prepare_reports(&self, _: &SimulationContext, _: &Message) {}

    /// The callback that reports a step. Returns `None` if the provider does not report it, or only in a batch.
    fn report(&self, _: &SimulationContext, _: &Message, _: Step) -> Option<Callback> {
        None
    }

    /// The report of a step that is sent in one callback with others. Returns `None` if the provider does not batch it.
    fn batched_report(&self, _: &SimulationContext, _: &Message, _: Step) -> Option<Value> {
        None
    }

    /// The callback with a text that the recipient writes back. Returns `None` if the provider receives none.
    fn reply(&self, _: &SimulationContext, _: &Message, _text: &str) -> Option<Callback> {
        None
    }

    /// The callback that carries several reports of one account.
    fn batch(&self, _: &SimulationContext, account: &RegisteredConfig, reports: Vec<Value>) -> Callback {
        Callback::json(&account.callback_url, &Value::Array(reports))
    }
}

//! The screens. Each has one template, one view model and its handlers: to add one, copy `messages.rs`.

mod message;
mod messages;
mod overview;
mod queue;
mod send;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::Console;

/// Every page, as path and handler.
pub fn router() -> Router<Arc<Console>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/messages", get(messages::list))
        .route("/messages/{id}", get(message::show))
        .route("/messages/{id}/mail", get(message::mail))
        .route("/messages/{id}/{act}", post(message::act))
        .route("/send", get(send::show).post(send::submit))
        .route("/queue", get(queue::show))
        .route("/queue/redrive", post(queue::redrive))
        .route("/session/theme", post(session::theme))
}

//! The screens. Each has one template, one view model and its handlers: to add one, copy `messages.rs`.

mod audit;
mod business_events;
mod collections;
mod inbox;
mod invoice;
mod message;
mod messages;
mod overview;
mod people;
mod person;
mod queue;
mod redrive;
mod reference;
mod schedules;
mod search;
mod send;
mod session;
mod settings;
mod sign_in;
mod streams;
mod suppressions;
mod template;
mod templates;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::Console;

/// Every page, as path and handler.
pub fn router() -> Router<Arc<Console>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/messages", get(messages::list))
        .route("/messages/bulk", get(redrive::bulk))
        .route("/messages/cancel", get(redrive::preview_cancel).post(redrive::cancel))
        .route("/messages/{id}", get(message::show))
        .route("/messages/{id}/mail", get(message::mail))
        .route("/messages/{id}/{act}", post(message::act))
        .route("/search", get(search::show))
        .route("/send", get(send::show).post(send::submit))
        .route("/inbox", get(inbox::show).post(inbox::control))
        .route("/inbox/{id}", post(inbox::act))
        .route("/inbox/{id}/mail", get(inbox::mail))
        .route("/templates", get(templates::list))
        .route("/templates/new", get(template::new::show).post(template::new::create))
        .route("/templates/{id}", get(template::show).post(template::submit))
        .route("/templates/{id}/delete", get(template::delete::show).post(template::delete::delete))
        .route("/templates/{id}/mail", get(template::mail).post(template::mail_of_form))
        .route("/templates/{id}/publish", get(template::versions::preview).post(template::versions::publish))
        .route("/templates/{id}/versions/{version}", get(template::versions::show).post(template::versions::restore))
        .route("/templates/{id}/{act}", post(template::act))
        .route("/people", get(people::find))
        .route("/people/{kind}/{id}", get(person::show))
        .route("/people/{kind}/{id}/erase", get(person::erase::show).post(person::erase::erase))
        .route("/people/{kind}/{id}/{act}", post(person::acts::act))
        .route("/suppressions", get(suppressions::list).post(suppressions::add))
        .route("/suppressions/remove", post(suppressions::remove))
        .route("/suppressions/export", post(suppressions::export))
        .route("/audit", get(audit::list))
        .route("/streams", get(streams::find))
        .route("/streams/{kind}/{*id}", get(streams::show))
        .route("/reference", get(reference::index))
        .route("/reference/problems", get(reference::problems))
        .route("/reference/schemas/{name}", get(reference::schema))
        .route("/reference/{tag}", get(reference::tag))
        .route("/reference/{tag}/{operation}", get(reference::operation))
        .route("/queue", get(queue::show))
        .route("/queue/pause", post(queue::pause))
        .route("/queue/resume", post(queue::resume))
        .route("/queue/redrive", get(redrive::preview).post(redrive::redrive))
        .route("/collections", get(collections::show))
        .route("/collections/settings", post(collections::save))
        .route("/collections/switch/{state}", post(collections::switch))
        .route("/invoices/{id}", get(invoice::show))
        .route("/invoices/{id}/{act}", post(invoice::act))
        .route("/business-events", get(business_events::list))
        .route("/business-events/{id}", get(business_events::show))
        .route("/business-events/{id}/{act}", post(business_events::act))
        .route("/schedules", get(schedules::list).post(schedules::create))
        .route("/schedules/{id}", get(schedules::show))
        .route("/schedules/{id}/{act}", post(schedules::act))
        .route("/settings/providers", get(settings::providers::list))
        .route("/settings/providers/new", get(settings::account::show_new).post(settings::account::create))
        .route("/settings/providers/order", post(settings::providers::order))
        .route("/settings/providers/{id}", get(settings::account::show).post(settings::account::submit))
        .route("/settings/providers/{id}/test", post(settings::account::test))
        .route("/settings/providers/{id}/delete", post(settings::account::delete))
        .route("/settings/providers/{id}/{act}", post(settings::providers::act))
        .route("/settings/keys", get(settings::keys::list).post(settings::keys::create))
        .route("/settings/keys/{id}/revoke", post(settings::keys::revoke))
        .route("/settings/limits", get(settings::limits::show).post(settings::limits::submit))
        .route("/settings/limits/quiet-hours", post(settings::limits::submit_quiet))
        .route("/webhooks", get(webhooks::list))
        .route("/webhooks/{id}", get(webhooks::show))
        .route("/session/theme", post(session::theme))
        .route("/session/keys", post(session::keys))
        .route("/session/sign-out", post(sign_in::end))
}

/// The pages for people who are not signed in.
pub fn open_router() -> Router<Arc<Console>> {
    Router::new()
        .route("/session/sign-in", get(sign_in::show))
        .route("/session/start", get(sign_in::start))
        .route("/session/callback", get(sign_in::finish))
}

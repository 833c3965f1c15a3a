//! The routes of the HTTP API. The router, the permission check and the OpenAPI document are made from this one table.

use std::sync::Arc;

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use domain::access::{Permission, Reach};

use crate::{
    Api, attachments, audit, business_events, change, channels, collections, dead_letters, invoices, keys, limits,
    payment_links, people, preferences, providers, read, schedules, send, sms_provider, statistics, subjects,
    suppressions, template_drafts, templates,
};

/// One method of one path.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// The permission that the caller needs, and what the operation reaches. `None` means that the route is public and
    /// needs no key.
    pub access: Option<(Permission, Reach)>,
    /// The id of its operation in the OpenAPI document. Several routes can be names of one operation.
    pub operation: &'static str,
    pub(crate) handler: fn() -> MethodRouter<Arc<Api>>,
}

macro_rules! access {
    (Public) => {
        None
    };
    ($permission:ident $reach:ident) => {
        Some((Permission::$permission, Reach::$reach))
    };
}

macro_rules! routes {
    ($($method:ident $path:literal $permission:ident $(($reach:ident))?, $operation:ident => $handler:path;)*) => {
        &[$(Route {
            method: stringify!($method),
            path: $path,
            access: access!($permission $($reach)?),
            operation: stringify!($operation),
            handler: || on(MethodFilter::$method, $handler),
        }),*]
    };
}

/// Every route, as method, path, permission and reach, operation and handler. `template.yaml` leads them all to this function.
/// The first route of an operation is its name; later ones are the names that the source systems used.
pub const ROUTES: &[Route] = routes! {
    GET "/health" Public, getHealth => crate::health::health;
    GET "/docs/problems/{slug}" Public, getProblem => crate::problem_page;
    POST "/api/communications/send" Send(Scoped), sendCommunication => send::send;
    POST "/api/communications/batch" Send(Scoped), sendBatch => send::batch;
    GET "/api/communications" View(Scoped), listCommunications => read::list;
    GET "/api/communications/stats" Stats(Tenant), getStats => statistics::stats;
    GET "/api/communications/queue/status" View(Tenant), getQueueStatus => read::queue_status;
    GET "/api/communications/queue/upcoming" View(Tenant), getUpcoming => statistics::upcoming;
    POST "/api/communications/cancel" Send(Scoped), cancelCommunications => change::cancel_many;
    GET "/api/communications/{id}" View(Scoped), getCommunication => read::get;
    PATCH "/api/communications/{id}" Send(Scoped), changeCommunication => change::patch;
    GET "/api/communications/{id}/events" View(Scoped), getTimeline => read::timeline;
    GET "/api/communications/{id}/attempts" View(Scoped), listAttempts => read::attempts;
    GET "/api/communications/{id}/explain" View(Scoped), explainCommunication => read::explain;
    GET "/api/communications/{id}/provider-status" Operate(Scoped), getProviderStatus => read::provider_status;
    POST "/api/communications/{id}/resend" Send(Scoped), resendCommunication => change::resend;
    POST "/api/communications/{id}/cancel" Send(Scoped), cancelCommunication => change::cancel;
    POST "/api/communications/{id}/resolve" Operate(Scoped), resolveDoubt => change::resolve;
    POST "/api/communications/{id}/retry" Operate(Scoped), retryCommunication => change::retry;
    GET "/api/dead-letters" View(Scoped), listDeadLetters => dead_letters::list;
    GET "/api/dead-letters/causes" View(Scoped), listDeadLetterCauses => dead_letters::causes;
    POST "/api/dead-letters/redrive" Operate(Scoped), redriveDeadLetters => dead_letters::redrive;
    GET "/api/providers" View(Tenant), listProviders => providers::list;
    GET "/api/providers/{id}/quota" View(Tenant), getQuota => providers::quota;
    POST "/api/providers/{id}/enable" Operate(Tenant), enableProvider => providers::enable;
    POST "/api/providers/{id}/disable" Operate(Tenant), disableProvider => providers::disable;
    POST "/api/providers/{id}/switch" Operate(Tenant), switchProvider => providers::use_first;
    GET "/api/limits" View(Tenant), getLimits => limits::get;
    PATCH "/api/limits" Keys(Everything), changeLimits => limits::patch;
    POST "/api/limits/channels/{channel}/pause" Keys(Everything), pauseChannel => limits::pause;
    POST "/api/limits/channels/{channel}/resume" Keys(Everything), resumeChannel => limits::resume;
    GET "/api/channels" Channels(Tenant), listChannels => channels::list;
    POST "/api/channels" Channels(Tenant), createChannel => channels::create;
    GET "/api/channels/kinds" Channels(Tenant), listProviderKinds => channels::kinds;
    POST "/api/channels/order" Channels(Tenant), orderChannels => channels::order;
    GET "/api/channels/{id}" Channels(Tenant), getChannel => channels::get;
    PATCH "/api/channels/{id}" Channels(Tenant), changeChannel => channels::patch;
    DELETE "/api/channels/{id}" Channels(Tenant), deleteChannel => channels::remove;
    GET "/api/channels/{id}/balance" Channels(Tenant), getBalance => channels::balance;
    GET "/api/channels/{id}/health" Channels(Tenant), getChannelHealth => channels::health;
    POST "/api/channels/{id}/test" Channels(Tenant), testChannel => channels::test;
    GET "/api/webhook-log" Channels(Everything), listCallbacks => channels::webhook_log;
    GET "/api/webhook-log/{id}" Channels(Everything), getCallback => channels::callback;
    GET "/api/subjects/{kind}/{id}" Privacy(Everything), exportSubject => subjects::export;
    GET "/api/subjects/{kind}/{id}/erasure" Privacy(Everything), previewErasure => subjects::preview_erasure;
    DELETE "/api/subjects/{kind}/{id}" Privacy(Everything), eraseSubject => subjects::erase;
    GET "/api/suppressions" Consent(Tenant), listSuppressions => suppressions::list;
    POST "/api/suppressions" Consent(Tenant), addSuppression => suppressions::add;
    DELETE "/api/suppressions" Consent(Tenant), removeSuppression => suppressions::remove;
    POST "/api/suppressions/import" Consent(Tenant), importSuppressions => suppressions::import;
    GET "/api/suppressions/export" Consent(Tenant), exportSuppressions => suppressions::export;
    GET "/api/keys" Keys(Tenant), listKeys => keys::list;
    POST "/api/keys" Keys(Tenant), createKey => keys::create;
    DELETE "/api/keys/{id}" Keys(Tenant), revokeKey => keys::revoke;
    GET "/api/audit" Keys(Everything), listActs => audit::list;
    POST "/api/attachments" Send(Scoped), createAttachment => attachments::create;
    GET "/api/attachments/{id}" View(Scoped), getAttachment => attachments::get;
    DELETE "/api/attachments/{id}" Send(Scoped), deleteAttachment => attachments::remove;
    GET "/api/people/{kind}/{id}" View(Tenant), getPerson => people::get;
    GET "/api/communication-preferences/defaults" View(Tenant), getDefaultPreferences => preferences::get_defaults;
    PATCH "/api/communication-preferences/defaults" Consent(Everything), changeDefaultPreferences => preferences::patch_defaults;
    GET "/api/communication-preferences/{kind}/{id}" View(Tenant), getPreferences => preferences::get;
    PATCH "/api/communication-preferences/{kind}/{id}" Consent(Everything), changePreferences => preferences::patch;
    GET "/api/communication-preferences/{kind}/{id}/history" View(Tenant), getPreferencesHistory => preferences::history;
    POST "/api/communication-preferences/{kind}/{id}/link" Consent(Everything), createPreferencesLink => preferences::link;
    GET "/api/v1/communication/contacts/{id}/preferences" View(Tenant), getPreferences => preferences::get_contact;
    POST "/api/v1/communication/contacts/{id}/preferences" Consent(Everything), changePreferences => preferences::patch_contact;
    GET "/api/stats/business" Stats(Everything), getBusinessStats => statistics::business;
    GET "/api/schedules" View(Scoped), listSchedules => schedules::list;
    POST "/api/schedules" Automate(Scoped), createSchedule => schedules::create;
    POST "/api/schedules/preview" View(Scoped), previewNewSchedule => schedules::preview_unsaved;
    GET "/api/schedules/{id}" View(Scoped), getSchedule => schedules::get;
    PATCH "/api/schedules/{id}" Automate(Scoped), changeSchedule => schedules::patch;
    DELETE "/api/schedules/{id}" Automate(Scoped), deleteSchedule => schedules::remove;
    POST "/api/schedules/{id}/pause" Automate(Scoped), pauseSchedule => schedules::pause;
    POST "/api/schedules/{id}/resume" Automate(Scoped), resumeSchedule => schedules::resume;
    GET "/api/schedules/{id}/preview" View(Scoped), previewSchedule => schedules::preview;
    GET "/api/schedules/{id}/occurrences" View(Scoped), listOccurrences => schedules::occurrences;
    GET "/api/schedules/{id}/events" View(Scoped), getScheduleEvents => schedules::events;
    GET "/api/schedules/{id}/explain" View(Scoped), explainSchedule => schedules::explain;
    POST "/api/events" Integrate(Everything), takeEvent => business_events::take;
    GET "/api/event-types" View(Scoped), listEventTypes => business_events::types;
    GET "/api/event-types/{type}/schema.json" View(Scoped), getEventSchema => business_events::schema;
    GET "/api/event-types/{type}/example.json" View(Scoped), getEventExample => business_events::example;
    GET "/api/business-events" View(Everything), listBusinessEvents => business_events::list;
    POST "/api/business-events/replay" Operate(Everything), replayBusinessEvents => business_events::replay_many;
    GET "/api/business-events/{id}" View(Everything), getBusinessEvent => business_events::get;
    GET "/api/business-events/{id}/events" View(Everything), getBusinessEventHistory => business_events::history;
    POST "/api/business-events/{id}/replay" Operate(Everything), replayBusinessEvent => business_events::replay;
    POST "/api/business-events/{id}/discard" Operate(Everything), discardBusinessEvent => business_events::discard;
    GET "/api/event-mappings/{source}" Automate(Tenant), getEventMapping => business_events::settings::get_mapping;
    PUT "/api/event-mappings/{source}" Automate(Everything), setEventMapping => business_events::settings::put_mapping;
    POST "/api/event-mappings/{source}/try" Automate(Tenant), tryEventMapping => business_events::settings::try_mapping;
    GET "/api/automations" View(Tenant), listAutomations => business_events::settings::list_automations;
    PATCH "/api/automations/{type}" Automate(Everything), changeAutomation => business_events::settings::patch_automation;
    GET "/api/collections" View(Everything), getCollections => collections::get;
    PATCH "/api/collections" Automate(Everything), changeCollections => collections::patch;
    POST "/api/collections/enable" Automate(Everything), enableCollections => collections::enable;
    POST "/api/collections/disable" Automate(Everything), disableCollections => collections::disable;
    POST "/api/collections/preview" Automate(Everything), previewBackfill => collections::preview;
    POST "/api/collections/backfill" Automate(Everything), confirmBackfill => collections::confirm_backfill;
    POST "/api/collections/backfill/{id}/stop" Automate(Everything), stopBackfill => collections::stop_backfill;
    GET "/api/collections/status" View(Everything), getCollectionsStatus => collections::status;
    GET "/api/debtors/{customer}" View(Everything), getDebtor => collections::get_debtor;
    PATCH "/api/debtors/{customer}" Automate(Everything), changeDebtor => collections::patch_debtor;
    POST "/api/debtors/{customer}/pause" Send(Everything), pauseDebtor => collections::pause_debtor;
    POST "/api/debtors/{customer}/resume" Send(Everything), resumeDebtor => collections::resume_debtor;
    POST "/api/debtors/{customer}/promise" Send(Everything), promiseOfDebtor => collections::promise_debtor;
    GET "/api/invoices" View(Everything), listInvoices => invoices::list;
    GET "/api/invoices/{id}" View(Everything), getInvoice => invoices::get;
    GET "/api/invoices/{id}/events" View(Everything), getInvoiceEvents => invoices::events;
    GET "/api/invoices/{id}/explain" View(Everything), explainInvoice => invoices::explain;
    POST "/api/invoices/{id}/pause" Send(Everything), pauseInvoice => invoices::pause;
    POST "/api/invoices/{id}/resume" Send(Everything), resumeInvoice => invoices::resume;
    POST "/api/invoices/{id}/promise" Send(Everything), promiseOfInvoice => invoices::promise;
    POST "/api/invoices/{id}/dispute" Send(Everything), disputeInvoice => invoices::dispute;
    POST "/api/invoices/{id}/restart" Send(Everything), restartInvoice => invoices::restart;
    POST "/api/invoices/{id}/send" Send(Everything), sendInvoice => invoices::send::send;
    POST "/api/invoices/{id}/remind" Send(Everything), remindOfInvoice => invoices::send::remind;
    POST "/api/invoices/{id}/payment-link" Send(Everything), sendPaymentLink => payment_links::send;
    POST "/api/payment-links/resolve" Integrate(Everything), resolvePaymentLink => payment_links::resolve;
    GET "/api/payment-links/{id}" View(Everything), getPaymentLink => payment_links::get;
    DELETE "/api/payment-links/{id}" Send(Everything), revokePaymentLink => payment_links::revoke;
    GET "/api/communication-templates" View(Scoped), listTemplates => templates::list;
    POST "/api/communication-templates" Templates(Scoped), createTemplate => templates::create;
    POST "/api/communication-templates/validate" View(Scoped), validateTemplate => templates::validate;
    GET "/api/communication-templates/{id}" View(Scoped), getTemplate => templates::get;
    PATCH "/api/communication-templates/{id}" Templates(Scoped), changeTemplate => templates::patch;
    DELETE "/api/communication-templates/{id}" Templates(Scoped), deleteTemplate => templates::remove;
    GET "/api/communication-templates/{id}/versions" View(Scoped), listTemplateVersions => templates::versions;
    POST "/api/communication-templates/{id}/activate" Templates(Scoped), activateTemplate => templates::activate;
    POST "/api/communication-templates/{id}/deactivate" Templates(Scoped), deactivateTemplate => templates::deactivate;
    POST "/api/communication-templates/{id}/preview" View(Scoped), previewTemplate => templates::preview;
    GET "/api/communication-templates/{id}/draft" View(Scoped), getTemplateDraft => template_drafts::get;
    PUT "/api/communication-templates/{id}/draft" Templates(Scoped), saveTemplateDraft => template_drafts::put;
    DELETE "/api/communication-templates/{id}/draft" Templates(Scoped), discardTemplateDraft => template_drafts::remove;
    POST "/api/communication-templates/{id}/draft/publish" Templates(Scoped), publishTemplateDraft => template_drafts::publish;
    GET "/api/communication-templates/{id}/samples" View(Scoped), getTemplateSamples => template_drafts::samples;
    PUT "/api/communication-templates/{id}/samples" Templates(Scoped), setTemplateSamples => template_drafts::put_samples;
    GET "/api/v1/communication/templates" View(Scoped), listTemplates => templates::list;
    POST "/api/v1/communication/templates" Templates(Scoped), createTemplate => templates::create;
    GET "/api/v1/communication/templates/{id}" View(Scoped), getTemplate => templates::get;
    GET "/api/sms-provider/config" Channels(Tenant), getSmsProvider => sms_provider::get;
    PUT "/api/sms-provider/config" Channels(Tenant), setSmsProvider => sms_provider::put;
    GET "/api/sms-provider/balance" Channels(Tenant), getSmsBalance => sms_provider::balance;
    POST "/api/sms-provider/test" Channels(Tenant), testSmsProvider => sms_provider::test;
    GET "/api/v1/communication/channels" Channels(Tenant), listChannels => channels::list;
    POST "/api/v1/communication/channels" Channels(Tenant), createChannel => channels::create;
    GET "/api/v1/communication/channels/{id}" Channels(Tenant), getChannel => channels::get;
};

/// The route of a request, by its method and the path that the router matched. A HEAD request is one to the GET route.
pub fn find(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|route| route.method == method.as_str() && route.path == path)
}

/// The methods of a path, for the header `Allow`.
pub(crate) fn allowed(path: &str) -> String {
    let methods = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method);
    let all: Vec<&str> =
        methods.flat_map(|method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] }).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_health_check_and_the_pages_of_problems_are_public() {
        let public = ROUTES.iter().filter(|route| route.access.is_none());
        assert_eq!(public.map(|route| route.path).collect::<Vec<_>>(), ["/health", "/docs/problems/{slug}"]);
    }

    #[test]
    fn a_head_request_is_one_to_the_get_route() {
        let found = find(&Method::HEAD, "/api/keys").expect("a route");
        assert_eq!((found.method, found.access), ("GET", Some((Permission::Keys, Reach::Tenant))));
        assert!(find(&Method::PUT, "/api/keys").is_none());
    }
}

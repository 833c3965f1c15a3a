//! The routes of the HTTP API. The router, the permission check and the OpenAPI document are made from this one table.

use std::sync::Arc;

use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use domain::access::Permission;

use crate::{
    Api, attachments, audit, change, channels, dead_letters, keys, preferences, providers, read, schedules, send,
    sms_provider, subjects, suppressions, templates,
};

/// One method of one path.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// The permission that the caller needs. `None` means that the route is public and needs no key.
    pub permission: Option<Permission>,
    /// The id of its operation in the OpenAPI document. Several routes can be names of one operation.
    pub operation: &'static str,
    pub(crate) handler: fn() -> MethodRouter<Arc<Api>>,
}

macro_rules! permission {
    (Public) => {
        None
    };
    ($permission:ident) => {
        Some(Permission::$permission)
    };
}

macro_rules! routes {
    ($($method:ident $path:literal $permission:ident, $operation:ident => $handler:path;)*) => {
        &[$(Route {
            method: stringify!($method),
            path: $path,
            permission: permission!($permission),
            operation: stringify!($operation),
            handler: || on(MethodFilter::$method, $handler),
        }),*]
    };
}

/// Every route, as method, path, permission, operation and handler. `template.yaml` leads them all to this function.
/// The first route of an operation is its name; later ones are the names that the source systems used.
pub const ROUTES: &[Route] = routes! {
    GET "/health" Public, getHealth => crate::health;
    GET "/docs/problems/{slug}" Public, getProblem => crate::problem_page;
    POST "/api/communications/send" Send, sendCommunication => send::send;
    POST "/api/communications/batch" Send, sendBatch => send::batch;
    GET "/api/communications" View, listCommunications => read::list;
    GET "/api/communications/stats" Stats, getStats => read::stats;
    GET "/api/communications/queue/status" View, getQueueStatus => read::queue_status;
    GET "/api/communications/{id}" View, getCommunication => read::get;
    PATCH "/api/communications/{id}" Send, changeCommunication => change::patch;
    GET "/api/communications/{id}/events" View, getTimeline => read::timeline;
    GET "/api/communications/{id}/explain" View, explainCommunication => read::explain;
    POST "/api/communications/{id}/resend" Send, resendCommunication => change::resend;
    POST "/api/communications/{id}/cancel" Send, cancelCommunication => change::cancel;
    POST "/api/communications/{id}/resolve" Operate, resolveDoubt => change::resolve;
    POST "/api/communications/{id}/retry" Operate, retryCommunication => change::retry;
    GET "/api/dead-letters" View, listDeadLetters => dead_letters::list;
    POST "/api/dead-letters/redrive" Operate, redriveDeadLetters => dead_letters::redrive;
    GET "/api/providers" View, listProviders => providers::list;
    GET "/api/providers/{id}/quota" View, getQuota => providers::quota;
    POST "/api/providers/{id}/enable" Operate, enableProvider => providers::enable;
    POST "/api/providers/{id}/disable" Operate, disableProvider => providers::disable;
    POST "/api/providers/{id}/switch" Operate, switchProvider => providers::use_first;
    GET "/api/channels" Channels, listChannels => channels::list;
    POST "/api/channels" Channels, createChannel => channels::create;
    GET "/api/channels/kinds" Channels, listProviderKinds => channels::kinds;
    POST "/api/channels/order" Channels, orderChannels => channels::order;
    GET "/api/channels/{id}" Channels, getChannel => channels::get;
    PATCH "/api/channels/{id}" Channels, changeChannel => channels::patch;
    DELETE "/api/channels/{id}" Channels, deleteChannel => channels::remove;
    GET "/api/channels/{id}/balance" Channels, getBalance => channels::balance;
    GET "/api/channels/{id}/health" Channels, getChannelHealth => channels::health;
    POST "/api/channels/{id}/test" Channels, testChannel => channels::test;
    GET "/api/webhook-log" Channels, listCallbacks => channels::webhook_log;
    GET "/api/subjects/{kind}/{id}" Privacy, exportSubject => subjects::export;
    DELETE "/api/subjects/{kind}/{id}" Privacy, eraseSubject => subjects::erase;
    GET "/api/suppressions" Consent, listSuppressions => suppressions::list;
    POST "/api/suppressions" Consent, addSuppression => suppressions::add;
    DELETE "/api/suppressions" Consent, removeSuppression => suppressions::remove;
    POST "/api/suppressions/import" Consent, importSuppressions => suppressions::import;
    GET "/api/suppressions/export" Consent, exportSuppressions => suppressions::export;
    GET "/api/keys" Keys, listKeys => keys::list;
    POST "/api/keys" Keys, createKey => keys::create;
    DELETE "/api/keys/{id}" Keys, revokeKey => keys::revoke;
    GET "/api/audit" Keys, listActs => audit::list;
    POST "/api/attachments" Send, createAttachment => attachments::create;
    GET "/api/attachments/{id}" View, getAttachment => attachments::get;
    DELETE "/api/attachments/{id}" Send, deleteAttachment => attachments::remove;
    GET "/api/communication-preferences/defaults" View, getDefaultPreferences => preferences::get_defaults;
    PATCH "/api/communication-preferences/defaults" Consent, changeDefaultPreferences => preferences::patch_defaults;
    GET "/api/communication-preferences/{kind}/{id}" View, getPreferences => preferences::get;
    PATCH "/api/communication-preferences/{kind}/{id}" Consent, changePreferences => preferences::patch;
    GET "/api/communication-preferences/{kind}/{id}/history" View, getPreferencesHistory => preferences::history;
    POST "/api/communication-preferences/{kind}/{id}/link" Consent, createPreferencesLink => preferences::link;
    GET "/api/v1/communication/contacts/{id}/preferences" View, getPreferences => preferences::get_contact;
    POST "/api/v1/communication/contacts/{id}/preferences" Consent, changePreferences => preferences::patch_contact;
    GET "/api/schedules" View, listSchedules => schedules::list;
    POST "/api/schedules" Automate, createSchedule => schedules::create;
    POST "/api/schedules/preview" View, previewNewSchedule => schedules::preview_unsaved;
    GET "/api/schedules/{id}" View, getSchedule => schedules::get;
    PATCH "/api/schedules/{id}" Automate, changeSchedule => schedules::patch;
    DELETE "/api/schedules/{id}" Automate, deleteSchedule => schedules::remove;
    POST "/api/schedules/{id}/pause" Automate, pauseSchedule => schedules::pause;
    POST "/api/schedules/{id}/resume" Automate, resumeSchedule => schedules::resume;
    GET "/api/schedules/{id}/preview" View, previewSchedule => schedules::preview;
    GET "/api/schedules/{id}/occurrences" View, listOccurrences => schedules::occurrences;
    GET "/api/schedules/{id}/events" View, getScheduleEvents => schedules::events;
    GET "/api/schedules/{id}/explain" View, explainSchedule => schedules::explain;
    GET "/api/communication-templates" View, listTemplates => templates::list;
    POST "/api/communication-templates" Templates, createTemplate => templates::create;
    POST "/api/communication-templates/validate" View, validateTemplate => templates::validate;
    GET "/api/communication-templates/{id}" View, getTemplate => templates::get;
    PATCH "/api/communication-templates/{id}" Templates, changeTemplate => templates::patch;
    DELETE "/api/communication-templates/{id}" Templates, deleteTemplate => templates::remove;
    GET "/api/communication-templates/{id}/versions" View, listTemplateVersions => templates::versions;
    POST "/api/communication-templates/{id}/activate" Templates, activateTemplate => templates::activate;
    POST "/api/communication-templates/{id}/deactivate" Templates, deactivateTemplate => templates::deactivate;
    POST "/api/communication-templates/{id}/preview" View, previewTemplate => templates::preview;
    GET "/api/v1/communication/templates" View, listTemplates => templates::list;
    POST "/api/v1/communication/templates" Templates, createTemplate => templates::create;
    GET "/api/v1/communication/templates/{id}" View, getTemplate => templates::get;
    GET "/api/sms-provider/config" Channels, getSmsProvider => sms_provider::get;
    PUT "/api/sms-provider/config" Channels, setSmsProvider => sms_provider::put;
    GET "/api/sms-provider/balance" Channels, getSmsBalance => sms_provider::balance;
    POST "/api/sms-provider/test" Channels, testSmsProvider => sms_provider::test;
    GET "/api/v1/communication/channels" Channels, listChannels => channels::list;
    POST "/api/v1/communication/channels" Channels, createChannel => channels::create;
    GET "/api/v1/communication/channels/{id}" Channels, getChannel => channels::get;
};

/// The route of a request, by its method and the path that the router matched. A HEAD request is one to the GET route.
pub fn find(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|route| route.method == method.as_str() && route.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_health_check_and_the_pages_of_problems_are_public() {
        let public = ROUTES.iter().filter(|route| route.permission.is_none());
        assert_eq!(public.map(|route| route.path).collect::<Vec<_>>(), ["/health", "/docs/problems/{slug}"]);
    }

    #[test]
    fn a_head_request_is_one_to_the_get_route() {
        let found = find(&Method::HEAD, "/api/keys").expect("a route");
        assert_eq!((found.method, found.permission), ("GET", Some(Permission::Keys)));
        assert!(find(&Method::PUT, "/api/keys").is_none());
    }
}

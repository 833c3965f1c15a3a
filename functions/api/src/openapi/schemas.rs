//! The schemas of bodies and responses. Enumerations come from the code that reads and writes the values.

use std::collections::BTreeSet;

use domain::access::permissions;
use domain::business_event::EventStatus;
use domain::message::MediaKind;
use domain::status::Status;
use events::{
    CatchUpPolicy, Channel, FallbackCondition, InDoubtPolicy, IntakeChannel, MessageType, MissedReason,
    MissingFilePolicy, Mode, ParkReason, Priority, RecipientType, ReportedStatus, Resolution, RetentionClass, Role,
    ScheduleEndReason,
};
use problem::ProblemKind;
use serde_json::{Map, Value, json};

use super::event_schemas;
use super::invoice_schemas;
use super::notation::{nullable, object, schema, words};
use super::operations::OPERATIONS;
use super::queue_schemas;

/// (name, fields)
const OBJECTS: &[(&str, &str)] = &[
    // ---- Problems
    ("FieldError", "pointer string, code string, detail string"),
    (
        "Problem",
        "type string, title string, status integer, detail string, code ProblemCode, errors? [FieldError], \
         spend? RefusedSpend, parkedEvents? [string]",
    ),
    (
        "RefusedSpend",
        "currency string, capMicros integer, spentMicros integer, estimatedCostMicros integer, resetsAt time",
    ),
    // ---- Communications
    ("Attachment", "filename? string?, fileUrl? string?, kind? Media?, attachmentId? string?"),
    (
        "AttachmentLink",
        "filename string, fileUrl string, attachmentId? string?, mimeType string?, sizeBytes integer?, createdAt time",
    ),
    (
        "NewUpload",
        "filename string:255, contentType ContentType, sizeBytes integer:1..16777216, sha256? string:64, \
         shared? boolean",
    ),
    ("UploadAddress", "method 'PUT', url string, headers {string}, expiresAt time"),
    (
        "Upload",
        "id string, filename string, contentType ContentType, sizeBytes integer, sha256 string?, shared boolean, \
         status 'awaiting_upload'|'ready'|'refused', reason string?, createdAt time, createdBy string, expiresAt time, \
         downloadUrl string?, downloadUrlExpiresAt time?, upload? UploadAddress",
    ),
    ("Location", "latitude number, longitude number, name? string?, address? string?"),
    ("Button", "text string:64, url? string?, data? string?"),
    ("ProviderTemplate", "name string, language? string?, variables? [string]"),
    ("QuietHours", "start string, end string, timeZone string"),
    (
        "Message",
        "channel ChannelOrAuto, type TypeOrGeneral, recipientContact? string:320, recipientType? RecipientType, \
         recipientId? string:255, recipientName? string:255, subject? string:500, content? string, \
         templateId? string:100, templateVariables? object, attachments? [Attachment], location? Location, \
         buttons? [Button], providerTemplate? ProviderTemplate, entityType? string:50, entityId? string:255, metadata? object, \
         scheduledAt? time, expiresAt? time, quietHours? QuietHours, priority? Priority, inDoubt? DoubtPolicy, onMissingFile? MissingFilePolicy, \
         maxAttempts? integer:1..10, locale? string:35, retention? Retention, \
         fallback? [FallbackStep]",
    ),
    (
        "FallbackStep",
        "channel Channel, after? string, unless? Unless, recipientContact? string:320, subject? string:500, \
         content? string, templateId? string:100, templateVariables? object, providerTemplate? ProviderTemplate",
    ),
    ("Next", "channel Channel, after string?, unless Unless, templateId string?"),
    ("Segments", "encoding string, count integer"),
    ("Rendered", "subject string?, text string, html string?, segments Segments?"),
    (
        "Communication",
        "id string, businessId string, channel Channel, type Type, status Status, lifecycle string, reason string?, errorMessage string?, \
         priority Priority, mode Mode, source string, recipientType RecipientType, recipientId string?, \
         recipientName string?, recipientContact string?, subject string?, entityType string?, entityId string?, \
         templateId string?, originalCommunicationId string?, fallbackOf string?, \
         fallbackId string?, scheduledAt time?, expiresAt time, nextRetryAt time?, \
         sentAt time?, deliveredAt time?, openedAt time?, clickedAt time?, failedAt time?, provider string?, \
         providerMessageId string?, attempts integer, maxAttempts integer?, maxRetries integer?, retryCount integer, segments integer?, costMicros integer?, \
         currency string?, costIsEstimate boolean?, maybeSent boolean, \
         lateEvidence boolean, complained boolean, unsubscribed boolean, createdBy string, createdAt time, \
         updatedAt time, content? string?, templateVariables? object?, metadata? object?, attachments? [AttachmentLink], rendered? Rendered, \
         fallback? [Next], retention? Retention",
    ),
    (
        "Accepted",
        "id string, status Status, estimatedSendTime time, estimatedCost Cost?, communication Communication, \
         originalCommunicationId? string",
    ),
    ("ProviderRequest", "method string, url string, contentType string?, body string"),
    ("ProviderResponse", "status integer, body string"),
    (
        "Attempt",
        "attempt integer, provider string, startedAt time, endedAt time?, \
         outcome 'open'|'accepted'|'refused'|'in_doubt', reason string?, code string?, request ProviderRequest?, \
         response ProviderResponse?",
    ),
    ("Attempts", "id string, attempts [Attempt]"),
    ("DryRunCheck", "check string, result 'passed'|'delayed'|'failed', reason string?, detail string"),
    (
        "DryRun",
        "dryRun boolean, wouldSend boolean, wouldSendAt time?, channel Channel?, provider string?, templateId string?, \
         templateVersion integer?, idempotentReplayOf string?, checks [DryRunCheck], errors [FieldError], \
         rendered Preview?, estimatedCost Cost?",
    ),
    ("Batch", "communications [BatchMessage], validateOnly? boolean"),
    (
        "BatchResult",
        "index integer, id? string, status? Status, idempotentReplayed? boolean, valid? boolean, \
         estimatedCost? Cost?, problem? Problem",
    ),
    ("Cost", "costMicros integer, currency string"),
    ("BatchResults", "accepted integer, replayed integer, refused integer, results [BatchResult]"),
    (
        "CommunicationPage",
        "results [Communication], count integer, countIsEstimate boolean, size integer, hasMore boolean, \
         nextCursor string?, asOf time?",
    ),
    (
        "StreamEvent",
        "position integer, type string, version integer, at time, actor string, command string?, \
         correlationId string?, causationId string?, traceparent string?, data object?",
    ),
    ("Timeline", "id string, position integer, wakeAt time?, events [StreamEvent]"),
    ("Step", "at time, code string, text string, inputs object"),
    ("Wait", "code string, text string, providers [Provider], pause? ChannelPause"),
    ("Explanation", "id string, summary string, lifecycle string, waitsFor Wait?, nextLookAt time?, steps [Step]"),
    (
        "CommunicationChange",
        "scheduledAt? time, expiresAt? time, subject? string:500, content? string, templateVariables? object",
    ),
    ("Resend", "channel? Channel, recipientContact? string:320"),
    (
        "ProviderReport",
        "id string, provider string, providerMessageId string, providerStatus string, reported Reported, code string?, \
         checkedAt time, status Status",
    ),
    ("Cancellation", "id string, status Status, lifecycle string, cancellationRequested boolean, maybeSent boolean"),
    ("Resolution", "outcome Outcome"),
    ("Nothing", ""),
    (
        "Redrive",
        "ids? [string], channel? Channel, type? TypeOrGeneral, reason? DeadLetterReason, cause? string:100, \
         provider? string:100, from? time, to? time, limit? integer:1..1000, perSecond? integer:1..100, dryRun? boolean",
    ),
    (
        "Redriven",
        "dryRun boolean, matched integer, redriven integer, skipped integer, maybeSent integer, hasMore boolean, \
         perSecond integer, lastAt time?",
    ),
    (
        "DeadLetterCause",
        "channel Channel, reason DeadLetterReason, cause string, provider string?, count integer, oldestAt time, \
         newestAt time",
    ),
    ("DeadLetterCauses", "causes [DeadLetterCause], total integer, isComplete boolean"),
    ("Cancellations", "ids [string], dryRun? boolean"),
    ("CancellationResult", "id string, cancelled boolean, maybeSent boolean?, problem Problem?"),
    (
        "CancellationResults",
        "dryRun boolean, matched integer, cancelled integer, skipped integer, results [CancellationResult]",
    ),
    // ---- Numbers
    (
        "DayCounts",
        "day day, total integer, byChannel {integer}, sent integer, delivered integer, costMicros {integer}, byReason {integer}",
    ),
    ("Percentiles", "p50 integer?, p95 integer?, p99 integer?"),
    (
        "Stats",
        "startDate day, endDate day, total integer, totalSent integer, byChannel {integer}, byStatus {integer}, \
         byType {integer}, byProvider {integer}, byTemplate {integer}, byReason {integer}, \
         reasonsByChannel {{integer}}, reasonsByProvider {{integer}}, costMicros {integer}, \
         estimatedCostMicros {integer}, costByChannel {{integer}}, costByType {{integer}}, costByProvider {{integer}}, byDay [DayCounts], deliveryRate number, \
         failureRate number, bounceRate number, openRate number, clickRate number, complaintRate number, \
         unsubscribeRate number, retries integer, averageSendTimeMs number?, sendTimeMs Percentiles, \
         averageDeliveryTimeMs number?, deliveryTimeMs Percentiles",
    ),
    ("Health", "status string, version string"),
    // ---- Providers and channels
    (
        "Quota",
        "id string, burst integer, perSecond integer, remaining integer, availableAt time, resetAt time, \
         check? QuotaCheck",
    ),
    ("QuotaCheck", "count integer, priority Priority, allowed boolean, lastSendTime time"),
    (
        "Provider",
        "id string, provider string, channel Channel, enabled boolean, state BreakerState, cause string?, \
         since time?, burst integer, perSecond integer, remaining integer, availableAt time, resetAt time",
    ),
    ("Providers", "providers [Provider]"),
    ("Rate", "burst integer:1..1000000, perSecond integer:1..100000"),
    ("CurrencySpend", "currency string, spentMicros integer, capMicros integer?, remainingMicros integer?"),
    ("EffectiveRate", "burst integer, perSecond integer, remaining integer, availableAt time, resetAt time"),
    ("Setting", "name string, required boolean, secret boolean, about string"),
    (
        "ProviderKind",
        "provider string, title string, channels [Channel], settings [Setting], capabilities object, \
         callbacksSigned string",
    ),
    ("ProviderKinds", "providers [ProviderKind]"),
    (
        "ChannelConfig",
        "id string, provider string, channel Channel, name string, settings {string}, credentials [string], \
         credentialsVersion integer, rate Rate, enabled boolean, place integer, state BreakerState, webhookUrl string, \
         capabilities object?, callbacksSigned string?, createdAt time, updatedAt time, updatedBy string",
    ),
    ("Channels", "channels [ChannelConfig]"),
    ("NewChannel", "provider string, settings object, channel? Channel, name? string:100, rate? Rate"),
    ("ChannelChange", "name? string:100, settings? object, rate? Rate, enabled? boolean"),
    ("ChannelOrder", "channel Channel, order [string]"),
    ("ChannelTest", "to string:320, text? string:1600"),
    (
        "ChannelHealth",
        "id string, credentials 'valid'|'invalid'|'unknown'|'not_checkable', code string?, state BreakerState, \
         enabled boolean, checkedAt time",
    ),
    ("Balance", "balance string, unit string, balanceLastChecked time"),
    (
        "SmsProvider",
        "id string, provider SmsProviderName, apiUrl string?, senderId string?, isActive boolean, balance string?, \
         balanceUnit string?, balanceLastChecked time?, createdAt time, updatedAt time",
    ),
    (
        "NewSmsProvider",
        "provider SmsProviderName, apiKey? string:2000, apiSecret? string:2000, apiUrl? string:2000, \
         senderId? string:2000, isActive? boolean",
    ),
    ("SmsTest", "phoneNumber string:40, message? string:1600"),
    (
        "RecordedCallback",
        "id string, receivedAt time, provider string, channelId string, method string, path string, headers any, \
         body string, bodyEncoding 'utf-8'|'base64', truncated boolean, verified boolean, status string, \
         detail string?, communications [string]",
    ),
    (
        "ListedCallback",
        "id string, receivedAt time, provider string, channelId string, method string, path string, \
         verified boolean, status string, detail string?, communications [string]",
    ),
    ("WebhookLog", "callbacks [ListedCallback], nextCursor string?"),
    // ---- People
    ("Subject", "type string, id string"),
    ("InboundMessage", "from string, text string?"),
    (
        "SubjectExport",
        "subject Subject, communications [Communication], inbound [InboundMessage], preferences Preferences?, \
         preferenceEvents [JournalEvent], schedules [Schedule], person object?, \
         businessEvents [StoredBusinessEvent], invoices [ExportedInvoice], hasMoreInvoices boolean, \
         nextCursor string?",
    ),
    (
        "ErasurePreview",
        "subject Subject, communications integer, hasMore boolean, inbound integer, schedules integer, \
         businessEvents integer, invoices integer, suppressed integer",
    ),
    ("Erased", "subject Subject, erased integer, unrecorded integer, hasMore boolean"),
    (
        "Suppression",
        "channel Channel, contact string?, reason string, createdAt time, createdBy string, communicationId string?",
    ),
    ("Suppressions", "suppressions [Suppression], nextCursor string?"),
    ("NewSuppression", "channel Channel, contact string:320, reason? string:100"),
    ("RefusedLine", "line integer, detail string"),
    ("Imported", "added integer, refused [RefusedLine]"),
    (
        "PersonAddress",
        "channel Channel, contact string, source 'preferences'|'events'|'messages', suppressedFor string?",
    ),
    (
        "Person",
        "entityType string, entityId string, name string?, locale string?, timeZone string?, roles [string], \
         isRemoved boolean, addresses [PersonAddress]",
    ),
    (
        "Preferences",
        "entityType string, entityId string, preferences {[Channel]}, defaultChannels [Channel], \
         quietHours QuietHours?, optedOut boolean, optedOutAt time?, optedOutReason string?, optedInAt time?, \
         optInEvidence string?, doNotContact boolean, doNotContactReason string?, createdAt time?, updatedAt time?, \
         updatedBy string?, revision integer, emailEnabled boolean, smsEnabled boolean, whatsappEnabled boolean, \
         messengerEnabled boolean, telegramEnabled boolean, preferredEmail string?, preferredPhone string?, \
         preferredWhatsapp string?, preferredMessengerId string?, preferredTelegramId string?",
    ),
    (
        "PreferencesChange",
        "preferences? {[Channel]?}, quietHours? QuietHours?, optedOut? boolean, optedOutReason? string:1000, \
         optInEvidence? string:1000, doNotContact? boolean, doNotContactReason? string:1000, emailEnabled? boolean, \
         smsEnabled? boolean, whatsappEnabled? boolean, messengerEnabled? boolean, telegramEnabled? boolean, \
         preferredEmail? string?, preferredPhone? string?, preferredWhatsapp? string?, \
         preferredMessengerId? string?, preferredTelegramId? string?",
    ),
    ("JournalEvent", "position integer, type string, at time, actor string, data object?"),
    ("PreferencesHistory", "asOf time?, preferences Preferences, events [JournalEvent]"),
    ("LinkRequest", "days? integer:1..365"),
    ("Link", "url string, expiresAt time"),
    // ---- Keys
    ("NewKey", "name string:100, role Role, mode? KeyMode, team? [string], channels? [Channel], expiresAt? time"),
    (
        "Key",
        "id string, name string, mode KeyMode, teamSize integer?, role Role, permissions [Permission], channels [Channel]?, \
         expiresAt time?, isExpired boolean, createdAt time, createdBy string, key? string",
    ),
    ("Keys", "keys [Key]"),
    (
        "Act",
        "subject ActSubject, id? string, position? integer, type string, at time, actor string, \
         data object?",
    ),
    ("Audit", "acts [Act], isComplete boolean"),
    // ---- Recurring schedules
    ("When", "cron? string:500, rrule? string:500"),
    ("CatchUp", "policy? CatchUpPolicy, window? string, most? integer:1..100"),
    ("Action", "send Message"),
    (
        "NewTiming",
        "when When, time? string, timeZone string:64, start? day, end? day, exceptions? [day], additions? [day], \
         clampToMonthEnd? boolean",
    ),
    (
        "NewSchedule",
        "name string:100, when When, time? string, timeZone string:64, start? day, end? day, exceptions? [day], \
         additions? [day], clampToMonthEnd? boolean, action Action, catchUp? CatchUp",
    ),
    (
        "ScheduleChange",
        "name? string:100, when? When, time? string?, timeZone? string:64, start? day, end? day?, exceptions? [day], \
         additions? [day], clampToMonthEnd? boolean, action? Action, catchUp? CatchUp",
    ),
    ("Pause", "until? time, reason? string:200"),
    ("Occurrence", "nominal string, at time, offset string, moved 'gap'|'twice'?"),
    ("Occurrences", "occurrences [Occurrence]"),
    (
        "PastOccurrence",
        "nominal string, at time, offset string, moved 'gap'|'twice'?, outcome 'sent'|'waiting'|'paused'|'missed', \
         reason MissedReason?, code string?, communicationId string?, status Status?",
    ),
    ("PastOccurrences", "id string, occurrences [PastOccurrence]"),
    (
        "Schedule",
        "id string, name string, status 'active'|'paused'|'ended', pausedUntil time?, endReason ScheduleEndReason?, \
         revision integer, mode Mode, when When, time string?, timeZone string, start day, end day?, exceptions [day], \
         additions [day], clampToMonthEnd boolean, catchUp CatchUp, channel Channel?, type Type?, \
         recipientType RecipientType?, recipientId string?, nextOccurrence Occurrence?, createdAt time, \
         createdBy string, updatedAt time, action? Action?",
    ),
    ("Schedules", "schedules [Schedule]"),
    ("ScheduleEvent", "position integer, type string, at time, actor string, data object"),
    ("ScheduleEvents", "id string, events [ScheduleEvent], hasMore boolean"),
    (
        "ScheduleExplanation",
        "id string, summary string, status 'active'|'paused'|'ended', nextOccurrence Occurrence?, steps [Step], \
         hasMore boolean",
    ),
    // ---- Templates
    (
        "Template",
        "id string, businessId string?, code string, channel Channel?, locale string, type Type, name string, description string?, \
         version integer, availableVariables [string], isActive boolean, isSystem boolean, draft DraftSummary?, usageCount? integer, \
         createdAt? time, createdBy? string, updatedAt? time, updatedBy? string, subjectTemplate? string?, \
         bodyTemplate? string",
    ),
    ("Templates", "templates [Template]"),
    (
        "NewTemplate",
        "name string:255, code string:100, channel Channel, type TypeOrGeneral, locale? string:35, \
         description? string:1000, subjectTemplate? string:500, bodyTemplate string:100000, \
         availableVariables? [string], isActive? boolean",
    ),
    (
        "TemplateChange",
        "name? string:255, type? TypeOrGeneral, description? string:1000, subjectTemplate? string:500, \
         bodyTemplate? string:100000, availableVariables? [string], isActive? boolean",
    ),
    ("DraftSummary", "number integer, baseVersion integer, savedAt time, savedBy string"),
    (
        "TemplateDraft",
        "id string, number integer, baseVersion integer, version integer, savedAt time, savedBy string, \
         subjectTemplate string?, bodyTemplate string, valid boolean, errors [FieldError]",
    ),
    ("NewTemplateDraft", "subjectTemplate? string:500, bodyTemplate string:100000, baseVersion? integer:1..4294967295"),
    ("TemplatePublication", "baseVersion? integer:1..4294967295"),
    ("TemplateSample", "name string:100, variables object"),
    ("TemplateSamples", "id string, samples [TemplateSample]"),
    ("NewTemplateSamples", "samples [TemplateSample]"),
    ("TemplateWarning", "pointer string, code string, line integer?, detail string"),
    ("TemplateVersion", "version integer, availableVariables? [string], createdAt? time, createdBy? string"),
    ("TemplateVersions", "id string, versions [TemplateVersion]"),
    ("PreviewRequest", "variables? object, locale? string:35, version? integer:1..4294967295, channel? Channel"),
    ("Preview", "subject string?, body string, text string, html string?, segments Segments?"),
    (
        "ValidateRequest",
        "channel Channel, subjectTemplate? string:500, bodyTemplate string:100000, variables? object, \
         locale? string:35, availableVariables? [string]",
    ),
    (
        "Validation",
        "valid boolean, errors [FieldError], availableVariables? [string], requiredVariables? [string], \
         warnings? [TemplateWarning], rendered? Preview",
    ),
];

/// All of them, by name.
pub fn all() -> Value {
    let mut all: Map<String, Value> = OBJECTS
        .iter()
        .chain(event_schemas::OBJECTS)
        .chain(invoice_schemas::OBJECTS)
        .chain(queue_schemas::OBJECTS)
        .map(|(name, fields)| ((*name).to_owned(), object(fields)))
        .collect();
    // In a body null means the same as a missing field.
    let taken = OPERATIONS.iter().map(|operation| operation.body).chain(["FallbackStep"]);
    for body in taken.collect::<BTreeSet<_>>() {
        let Some(schema) = all.get_mut(body) else { continue };
        let required = schema["required"].clone();
        let is_required = |name: &String| required.as_array().is_some_and(|all| all.contains(&json!(name)));
        for (_, of) in schema["properties"].as_object_mut().into_iter().flatten().filter(|(name, _)| !is_required(name))
        {
            *of = nullable(of.take());
        }
    }
    let mut idempotent = all["Message"].clone();
    idempotent["properties"]["idempotencyKey"] = json!({ "type": "string", "maxLength": 255 });
    all.insert("BatchMessage".to_owned(), idempotent);
    all["Batch"]["properties"]["communications"]["minItems"] = json!(1);
    // A batch reports the errors of each message separately, so the schema accepts messages with errors.
    all["Batch"]["properties"]["communications"]["items"] = json!({ "anyOf": [schema("BatchMessage"), {}] });
    all["Batch"]["properties"]["communications"]["maxItems"] = json!(100);
    let with = |names: Vec<&'static str>, more: &'static str| {
        let mut names = names;
        names.push(more);
        words(names)
    };
    let codes: Vec<String> = ProblemKind::ALL.iter().map(|kind| kind.slug_status_title().0.replace('-', "_")).collect();
    let permissions: Vec<&str> = permissions(Role::Admin).iter().map(|permission| permission.as_str()).collect();
    for (name, schema) in [
        ("Channel", words(Channel::names())),
        ("ChannelOrAuto", with(Channel::names(), "auto")),
        ("Type", words(MessageType::names())),
        ("TypeOrGeneral", words(crate::message_body::type_names())),
        ("RecipientType", words(RecipientType::names())),
        ("Priority", words(Priority::names())),
        ("DoubtPolicy", words(InDoubtPolicy::names())),
        ("MissingFilePolicy", words(MissingFilePolicy::names())),
        ("Mode", words(Mode::names())),
        ("Media", words(MediaKind::NAMES)),
        ("EventStatus", words(EventStatus::NAMES)),
        ("ParkReason", words(ParkReason::names())),
        ("IntakeChannel", words(IntakeChannel::names())),
        // An event in the short form or a CloudEvent, or a batch of them, each of which is checked by itself.
        (
            "NewEvents",
            json!({ "anyOf": [schema("NewEvent"), { "type": "object" }, { "type": "array", "maxItems": 100 }] }),
        ),
        ("TakenEvents", json!({ "anyOf": [schema("TakenEvent"), schema("EventResults")] })),
        ("ActSubject", words(application::audit_log::subjects())),
        ("ContentType", words(application::attachments::types())),
        ("KeyMode", words(crate::keys::modes())),
        ("Role", words(Role::names())),
        ("Permission", words(permissions)),
        ("Status", words(Status::NAMES)),
        ("StatusOrGroup", words(crate::read::status_names())),
        ("Outcome", words(Resolution::names())),
        ("Reported", words(ReportedStatus::names())),
        ("Retention", words(RetentionClass::names())),
        ("Unless", words(FallbackCondition::names())),
        ("CatchUpPolicy", words(CatchUpPolicy::names())),
        ("MissedReason", words(MissedReason::names().into_iter().chain(["ended"]).collect::<Vec<_>>())),
        ("ScheduleEndReason", words(ScheduleEndReason::names())),
        ("Lifecycle", words(crate::read::lifecycle_names())),
        ("DeadLetterReason", words(crate::dead_letters::dead_letter_reasons())),
        ("SmsProviderName", words(crate::sms_provider::PROVIDERS)),
        ("BreakerState", words(["closed", "half_open", "open", "disabled"])),
        ("ProblemCode", words(codes.iter().map(String::as_str))),
    ]
    .into_iter()
    .chain(invoice_schemas::enumerations())
    {
        all.insert(name.to_owned(), schema);
    }
    Value::Object(all)
}

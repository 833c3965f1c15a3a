//! Every operation, in the order of the documentation.

use problem::ProblemKind::{
    Conflict, CountDiffers, EventIdReused, IdempotencyKeyReused, NotFound, PreconditionFailed, PreviewExpired,
    RecipientSuppressed, SpendCapReached, Unavailable,
};

use super::operation::{Operation, delete, get, operation};

const NAMESPACE: &str = "namespace? string";
const TRACED: &str = "Idempotency-Key? string:255, X-Correlation-Id? string, traceparent? string";

pub const OPERATIONS: &[Operation] = &[
    // ---- Messages
    operation("sendCommunication", "Send one message, now or at a later time, or say what would happen")
        .query("dryRun? 'true'|'false'")
        .headers(TRACED)
        .takes(
            "Message",
            r#"{"channel":"email","type":"invoice","recipientContact":"ada@example.com","recipientId":"cus-7",
                "templateId":"tpl_invoice_email","templateVariables":{"customerName":"Ada","invoiceNumber":"INV-7",
                "amount":1500.5,"currency":"EUR","businessName":"Acme","dueDate":"2027-01-31",
                "paymentLink":"https://pay.example.com/7"}}"#,
        )
        .answers(201, "Accepted")
        .or_answers(200, "DryRun")
        .problems(&[IdempotencyKeyReused, RecipientSuppressed, SpendCapReached]),
    operation("sendBatch", "Send up to 100 messages, each accepted or refused individually")
        .headers("X-Correlation-Id? string, traceparent? string")
        .takes(
            "Batch",
            r#"{"communications":[{"channel":"sms","type":"payment_reminder","recipientContact":"+447700900001",
                "content":"Your invoice INV-7 is due on Friday.","idempotencyKey":"INV-7/reminder-1"}]}"#,
        )
        .answers(200, "BatchResults"),
    get("listCommunications", "CommunicationPage", "List messages, newest first").query(
        "channel? Channel, status? StatusOrGroup, type? TypeOrGeneral, recipientType? RecipientType, \
         recipientId? string, entityType? string, entityId? string, provider? string, providerMessageId? string, \
         template? string, lifecycle? Lifecycle, reason? string, from? string, to? string, size? integer:1..100, cursor? string",
    ),
    get("getStats", "Stats", "Get totals, rates and processing times by day of acceptance")
        .query("startDate? string, endDate? string"),
    get("getBusinessStats", "BusinessStats", "Get what invoices, payment links and reminders came to")
        .query("startDate? string, endDate? string"),
    get("getQueueStatus", "QueueStatus", "Get the state of the work queues"),
    get("getUpcoming", "Upcoming", "Count the messages that become due, by minute and by hour"),
    get("getCommunication", "Communication", "Get one message with its content"),
    operation("changeCommunication", "Change the time or content of a message before its first attempt")
        .takes("CommunicationChange", r#"{"scheduledAt":"2027-01-31T09:00:00Z"}"#)
        .answers(200, "Communication")
        .problems(&[Conflict]),
    get("getTimeline", "Timeline", "List every event of a message"),
    get("listAttempts", "Attempts", "List the attempts of a message, with request and response where one failed"),
    get("explainCommunication", "Explanation", "Explain the state of a message in plain language"),
    get("getProviderStatus", "ProviderReport", "Ask the provider for the status of a message").problems(&[Conflict]),
    operation("resendCommunication", "Send the same content again, as a new message")
        .headers(TRACED)
        .may_take("Resend", r#"{"channel":"sms","recipientContact":"+447700900001"}"#)
        .answers(201, "Accepted")
        .problems(&[Conflict, IdempotencyKeyReused, RecipientSuppressed, SpendCapReached]),
    operation("cancelCommunication", "Cancel a message; 202 while an attempt is in progress")
        .may_take("Nothing", "{}")
        .answers(200, "Cancellation")
        .or(202)
        .problems(&[Conflict]),
    operation("cancelCommunications", "Cancel up to 100 messages, each with its own result")
        .takes("Cancellations", r#"{"ids":["com_01a22740947473f1ac5c1370faa09549"],"dryRun":true}"#)
        .answers(200, "CancellationResults"),
    operation("resolveDoubt", "Resolve an attempt in doubt")
        .takes("Resolution", r#"{"outcome":"accepted"}"#)
        .answers(200, "Communication")
        .problems(&[Conflict]),
    operation("retryCommunication", "Retry a dead letter")
        .may_take("Nothing", "{}")
        .answers(200, "Communication")
        .problems(&[Conflict]),
    operation("createAttachment", "Create an attachment; then PUT the file to the returned URL")
        .takes("NewUpload", r#"{"filename":"INV-7.pdf","contentType":"application/pdf","sizeBytes":48213}"#)
        .answers(201, "Upload"),
    get("getAttachment", "Upload", "Get an attachment and whether it was uploaded"),
    delete("deleteAttachment", "Delete an attachment; links to it stop working"),
    // ---- Dead letters
    get("listDeadLetters", "CommunicationPage", "List dead letters").query(
        "channel? Channel, type? TypeOrGeneral, reason? DeadLetterReason, cause? string, provider? string, \
         from? string, to? string, size? integer:1..100, cursor? string",
    ),
    get("listDeadLetterCauses", "DeadLetterCauses", "Count dead letters by cause")
        .query("channel? Channel, from? string, to? string"),
    operation("redriveDeadLetters", "Retry dead letters, by filter or by id, at a limited rate; 200 for a dry run")
        .may_take("Redrive", r#"{"channel":"email","reason":"retries_exhausted","limit":100,"perSecond":10}"#)
        .answers(202, "Redriven")
        .or(200),
    // ---- Business events
    operation("takeEvent", "Take the event of another business system, or a batch of up to 100")
        .takes(
            "NewEvents",
            r#"{"id":"alert-5","type":"low_stock.detected","source":"erp","time":"2026-11-24T09:00:00Z",
                "data":{"alert":{"id":"alert-5"},"location":{"id":"loc-1","name":"Main warehouse"},
                "items":[{"sku":"OIL-5","name":"Olive oil, 5 l","left":2}],"businessName":"Acme"}}"#,
        )
        .answers(202, "TakenEvents")
        .or(200)
        .problems(&[EventIdReused]),
    get("listEventTypes", "EventTypes", "List the types of business events"),
    get("getEventSchema", "object", "Get the JSON Schema of a type's data"),
    get("getEventExample", "object", "Get data of a type that is valid"),
    get("listBusinessEvents", "BusinessEventPage", "List business events, newest first").query(
        "status? EventStatus, reason? string, type? string, source? string, eventId? string, subject? string, \
         mentions? string, from? string, to? string, size? integer:1..100, cursor? string",
    ),
    operation("replayBusinessEvents", "Replay the matching events, or say what that would do")
        .may_take("EventReplay", r#"{"status":"parked","reason":"invalid","source":"flowpos","dryRun":true}"#)
        .answers(200, "EventReplays")
        .problems(&[Conflict]),
    get("getBusinessEvent", "BusinessEvent", "Get one business event and what became of it; raw needs `privacy`")
        .query("raw? 'true'|'false'"),
    get("getBusinessEventHistory", "BusinessEventHistory", "List the history of a business event"),
    operation("replayBusinessEvent", "Have an event handled again that was not handled")
        .may_take("Nothing", "{}")
        .answers(200, "BusinessEvent")
        .problems(&[Conflict]),
    operation("discardBusinessEvent", "Decide that an event will not be handled")
        .may_take("Discard", r#"{"reason":"A test of the till."}"#)
        .answers(200, "BusinessEvent")
        .problems(&[Conflict]),
    get("getEventMapping", "SourceMapping", "Get the mapping of a source; the ETag is its version"),
    operation("setEventMapping", "Set the mapping by which the events of a source are read")
        .headers("If-Match? string")
        .takes(
            "EventMapping",
            r#"{"typePrefix":"com.erp.","types":{"SaleMade":{"type":"sale.created","fields":{"sale.id":"/id",
                "sale.number":"/number","sale.date":{"at":"/madeAt","as":"ms"},"sale.currency":"/currency",
                "sale.total":{"at":"/totalCents","as":"minor"},"customer.email":"/buyer/mail"}}},
                "timeZone":"Europe/Madrid"}"#,
        )
        .answers(200, "SourceMapping")
        .problems(&[Conflict, PreconditionFailed]),
    operation("tryEventMapping", "Read an event by a mapping without storing anything")
        .takes(
            "MappingTrial",
            r#"{"event":{"id":"1","type":"SaleMade","data":{"id":"7","number":"INV-7"}},
                "mapping":{"types":{"SaleMade":{"type":"sale.created","fields":{"sale.id":"/id"}}}}}"#,
        )
        .answers(200, "MappedEvent"),
    get("listAutomations", "Automations", "List the messages that business events send, and their settings"),
    operation("changeAutomation", "Change how business events send a type of message; null resets")
        .takes("AutomationChange", r#"{"enabled":true,"channels":["email","sms"]}"#)
        .answers(200, "Automation"),
    // ---- Recurring schedules
    get("listSchedules", "Schedules", "List recurring schedules without their messages")
        .query("status? 'active'|'paused'|'ended'"),
    operation("createSchedule", "Create a recurring schedule in local time")
        .headers("Idempotency-Key? string:255")
        .takes(
            "NewSchedule",
            r#"{"name":"Weekly statement","when":{"cron":"0 9 * * mon"},"timeZone":"America/Mexico_City",
                "action":{"send":{"channel":"email","type":"general","recipientContact":"ada@example.com",
                "subject":"Your week","content":"Hello Ada, here is your week."}}}"#,
        )
        .answers(201, "Schedule")
        .problems(&[Conflict, IdempotencyKeyReused, RecipientSuppressed, SpendCapReached]),
    operation("previewNewSchedule", "Preview the occurrences of a schedule before creating it")
        .query("n? integer:1..50")
        .takes("NewTiming", r#"{"when":{"rrule":"FREQ=MONTHLY;BYDAY=-1FR"},"time":"09:00","timeZone":"Europe/Berlin"}"#)
        .answers(200, "Occurrences"),
    get("getSchedule", "Schedule", "Get one schedule with its message; the ETag is its revision"),
    operation("changeSchedule", "Change a schedule; absent fields stay, null removes time and end")
        .headers("If-Match? string")
        .takes("ScheduleChange", r#"{"exceptions":["2026-12-28"]}"#)
        .answers(200, "Schedule")
        .problems(&[Conflict, PreconditionFailed, RecipientSuppressed, SpendCapReached]),
    delete("deleteSchedule", "End a schedule and delete its message; its history stays")
        .headers("If-Match? string")
        .problems(&[PreconditionFailed]),
    operation("pauseSchedule", "Pause a schedule until it is resumed or until a given time")
        .headers("If-Match? string")
        .may_take("Pause", r#"{"reason":"Summer break"}"#)
        .answers(200, "Schedule")
        .problems(&[Conflict, PreconditionFailed]),
    operation("resumeSchedule", "Resume a schedule; occurrences during the pause are not caught up")
        .headers("If-Match? string")
        .may_take("Nothing", "{}")
        .answers(200, "Schedule")
        .problems(&[Conflict, PreconditionFailed]),
    get("previewSchedule", "Occurrences", "List the next occurrences of a schedule").query("n? integer:1..50"),
    get("listOccurrences", "PastOccurrences", "List the latest past occurrences and their outcomes")
        .query("limit? integer:1..50"),
    get("getScheduleEvents", "ScheduleEvents", "List the newest 200 events of a schedule before a position, in order")
        .query("before? integer:1..4294967295"),
    get("explainSchedule", "ScheduleExplanation", "Explain why a schedule sends or does not send"),
    // ---- Collections
    get("getCollections", "Collections", "Get when customers are reminded of what they owe; the ETag is the revision"),
    operation("changeCollections", "Change when customers are reminded; absent fields stay, null restores the default")
        .headers("If-Match? string")
        .takes(
            "CollectionsChange",
            r#"{"timeZone":"America/Mexico_City","days":["mon","tue","wed","thu","fri"],"ladder":[
                {"id":"d1","afterDays":1,"channels":["email"]},
                {"id":"d7","afterDays":7,"channels":["email","sms"],"mode":"escalate","after":"24h","unless":"read"}]}"#,
        )
        .answers(200, "Collections")
        .problems(&[Conflict, PreconditionFailed]),
    operation("enableCollections", "Switch reminders on, and adopt the open invoices that are not yet due")
        .may_take("Nothing", "{}")
        .answers(200, "Collections")
        .problems(&[Conflict]),
    operation("disableCollections", "Switch reminders off").may_take("Nothing", "{}").answers(200, "Collections"),
    operation("previewBackfill", "Count what would be sent for invoices that are overdue already; nothing is sent")
        .takes("BackfillPreviewRequest", r#"{"dueFrom":"2026-11-01"}"#)
        .answers(200, "BackfillPreview"),
    operation("confirmBackfill", "Begin the reminders of the invoices of a preview, some each day")
        .takes(
            "NewBackfill",
            r#"{"previewId":"prv_0193b3a0c0de70018000000000000007","steps":"current","perDay":200,"confirmMessages":312}"#,
        )
        .answers(202, "Backfill")
        .problems(&[Conflict, PreviewExpired, CountDiffers]),
    operation("stopBackfill", "Stop a backfill; invoices whose reminders have begun go on")
        .may_take("Nothing", "{}")
        .answers(200, "Backfill"),
    get("getCollectionsStatus", "CollectionsStatus", "Get what the hourly check of collections found, and the backfills"),
    get("getDebtor", "Debtor", "Get what was agreed with a customer about reminders; the ETag is the revision"),
    operation("changeDebtor", "Change the rules of one customer; absent fields stay, null restores the tenant's")
        .headers("If-Match? string")
        .takes("DebtorChange", r#"{"timeZone":"Europe/Madrid","excluded":false}"#)
        .answers(200, "Debtor")
        .problems(&[Conflict, PreconditionFailed]),
    operation("pauseDebtor", "Send a customer no reminders, until a day or until they are resumed")
        .may_take("CollectionPause", r#"{"until":"2027-01-31"}"#)
        .answers(200, "Debtor")
        .problems(&[Conflict]),
    operation("resumeDebtor", "End the pause of a customer, or the wait for a promised payment")
        .may_take("Nothing", "{}")
        .answers(200, "Debtor")
        .problems(&[Conflict]),
    operation("promiseOfDebtor", "Wait for a payment that a customer has promised")
        .takes("DebtorPromise", r#"{"on":"2027-01-31"}"#)
        .answers(200, "Debtor")
        .problems(&[Conflict]),
    // ---- Invoices
    get("listInvoices", "InvoicePage", "List invoices of other business systems, newest first").query(
        "status? InvoiceStage, overdue? 'true'|'false', customer? string:300, number? string, dueFrom? day, \
         dueTo? day, disagrees? 'true'|'false', size? integer:1..100, cursor? string",
    ),
    get("getInvoice", "Invoice", "Get one invoice, and what happens next to its reminders").query(NAMESPACE),
    get("getInvoiceEvents", "InvoiceEvents", "List the newest 200 events of an invoice before a position, in order")
        .query("namespace? string, before? integer:1..4294967295"),
    get("explainInvoice", "InvoiceExplanation", "Explain why reminders of an invoice are sent, or are not")
        .query(NAMESPACE),
    operation("pauseInvoice", "Send no reminders of an invoice, until a day or until they are resumed")
        .query(NAMESPACE)
        .may_take("CollectionPause", r#"{"until":"2027-01-31"}"#)
        .answers(200, "Invoice")
        .problems(&[Conflict]),
    operation("resumeInvoice", "End the pause of an invoice, or the wait for a promised payment")
        .query(NAMESPACE)
        .may_take("Nothing", "{}")
        .answers(200, "Invoice")
        .problems(&[Conflict]),
    operation("promiseOfInvoice", "Wait for a payment that the customer has promised")
        .query(NAMESPACE)
        .takes("InvoicePromise", r#"{"on":"2027-01-31","amountMinor":60000}"#)
        .answers(200, "Invoice")
        .problems(&[Conflict]),
    operation("disputeInvoice", "Send no reminders because the customer disputes an invoice, until it is resolved")
        .query(NAMESPACE)
        .may_take("Dispute", r#"{"resolved":false}"#)
        .answers(200, "Invoice")
        .problems(&[Conflict]),
    operation("restartInvoice", "Let the ladder of an invoice begin again, with the step of tomorrow")
        .query(NAMESPACE)
        .may_take("Nothing", "{}")
        .answers(200, "Invoice")
        .problems(&[Conflict]),
    operation("sendInvoice", "Send an invoice to its customer, by one channel or by those of the automation")
        .query(NAMESPACE)
        .headers("Idempotency-Key? string:255")
        .may_take("InvoiceSending", r#"{"channel":"email"}"#)
        .answers(200, "SentInvoice")
        .or(202)
        .problems(&[Conflict, IdempotencyKeyReused]),
    operation("remindOfInvoice", "Remind the customer of an invoice by a step of the ladder, today or on the next day that allows it")
        .query(NAMESPACE)
        .takes("Reminder", r#"{"step":"d7"}"#)
        .answers(200, "Invoice")
        .problems(&[Conflict]),
    // ---- Payment links
    operation("sendPaymentLink", "Send the customer of an invoice a link to pay it")
        .query(NAMESPACE)
        .headers(TRACED)
        .may_take("PaymentLinkOrder", r#"{"channel":"sms","expiresIn":"P7D"}"#)
        .answers(201, "SentPaymentLink")
        .problems(&[Conflict, IdempotencyKeyReused, RecipientSuppressed, SpendCapReached]),
    operation("resolvePaymentLink", "Get what can be paid by a link, for the back end of a payment page")
        .takes("PaymentLinkToken", r#"{"token":"AZPH0yhNekmJ_iA0Qm0Tv3bK8n1xWc5rDq2LsYeHgJ4"}"#)
        .answers(200, "ResolvedPaymentLink")
        .problems(&[NotFound]),
    get("getPaymentLink", "PaymentLink", "Get one payment link, without its token"),
    delete("revokePaymentLink", "Revoke a payment link: nothing can be paid by it any more"),
    // ---- Templates
    get("listTemplates", "Templates", "List the tenant's templates and the system templates")
        .query("channel? Channel, type? TypeOrGeneral, locale? string, code? string, isActive? 'true'|'false'"),
    operation("createTemplate", "Create a template")
        .takes(
            "NewTemplate",
            r#"{"name":"Renewal offer","code":"renewal_offer","channel":"sms","type":"general","locale":"es",
                "bodyTemplate":"Hola {{customerName}}: {{uppercase offer}}"}"#,
        )
        .answers(201, "Template")
        .problems(&[Conflict]),
    operation("validateTemplate", "Validate a template's content and list its variables")
        .takes(
            "ValidateRequest",
            r#"{"channel":"sms","bodyTemplate":"Hi {{customerName}}","variables":{"customerName":"Ada"},
                "availableVariables":["customerName"]}"#,
        )
        .answers(200, "Validation"),
    get("getTemplate", "Template", "Get one template with its content; the ETag is its version")
        .query("version? integer:1..4294967295"),
    operation("changeTemplate", "Change a template; new content creates a new version")
        .headers("If-Match? string")
        .takes("TemplateChange", r#"{"bodyTemplate":"Hello {{customerName}}"}"#)
        .answers(200, "Template")
        .problems(&[Conflict, PreconditionFailed]),
    delete("deleteTemplate", "Delete a template; messages accepted with it are still sent").problems(&[Conflict]),
    get("listTemplateVersions", "TemplateVersions", "List the versions of a template, newest first"),
    operation("activateTemplate", "Activate a template").answers(200, "Template").problems(&[Conflict]),
    operation("deactivateTemplate", "Deactivate a template").answers(200, "Template").problems(&[Conflict]),
    operation("previewTemplate", "Render a template exactly as it would be sent")
        .may_take("PreviewRequest", r#"{"variables":{"customerName":"Ada"},"locale":"es"}"#)
        .answers(200, "Preview"),
    get("getTemplateDraft", "TemplateDraft", "Get the draft of a template's next version; the ETag is its number")
        .problems(&[Conflict]),
    operation("saveTemplateDraft", "Save a draft, in place of the one before it; no message uses it")
        .headers("If-Match? string")
        .takes("NewTemplateDraft", r#"{"bodyTemplate":"Hello {{customerName}}","baseVersion":1}"#)
        .answers(200, "TemplateDraft")
        .problems(&[Conflict, PreconditionFailed]),
    delete("discardTemplateDraft", "Discard the draft of a template")
        .headers("If-Match? string")
        .problems(&[Conflict, PreconditionFailed]),
    operation("publishTemplateDraft", "Make the draft the next version of the template")
        .headers("If-Match? string")
        .may_take("TemplatePublication", r#"{"baseVersion":1}"#)
        .answers(200, "Template")
        .problems(&[Conflict, PreconditionFailed]),
    get("getTemplateSamples", "TemplateSamples", "List the sample data for previews of a template"),
    operation("setTemplateSamples", "Replace the sample data for previews of a template")
        .takes("NewTemplateSamples", r#"{"samples":[{"name":"Longest name","variables":{"customerName":"Konstantinos"}}]}"#)
        .answers(200, "TemplateSamples")
        .problems(&[Conflict]),
    // ---- People
    get("getDefaultPreferences", "Preferences", "Get the tenant's default preferences"),
    operation("changeDefaultPreferences", "Change the tenant's default preferences")
        .headers("If-Match? string")
        .takes("PreferencesChange", r#"{"smsEnabled":false}"#)
        .answers(200, "Preferences")
        .problems(&[PreconditionFailed]),
    get("getPerson", "Person", "Get what is known about a recipient, and which addresses can be sent to"),
    get("getPreferences", "Preferences", "Get the preferences of a recipient").query("withDefaults? boolean"),
    operation("changePreferences", "Change the preferences of a recipient; absent fields stay, null removes")
        .headers("If-Match? string")
        .takes(
            "PreferencesChange",
            r#"{"preferences":{"invoice":["email","whatsapp"]},"smsEnabled":false,"preferredEmail":"ada@example.com"}"#,
        )
        .answers(200, "Preferences")
        .problems(&[PreconditionFailed]),
    get(
        "getPreferencesHistory",
        "PreferencesHistory",
        "List the changes to a recipient's preferences, or the preferences at a given time",
    )
    .query("asOf? string"),
    operation("createPreferencesLink", "Create a link to the recipient's own preferences page")
        .may_take("LinkRequest", r#"{"days":7}"#)
        .answers(201, "Link")
        .problems(&[Conflict]),
    get("listSuppressions", "Suppressions", "List suppressed addresses, or find one of them")
        .query("channel? Channel, contact? string:320, size? integer:1..100, cursor? string"),
    operation("addSuppression", "Suppress an address")
        .takes("NewSuppression", r#"{"channel":"email","contact":"ada@example.com","reason":"asked by phone"}"#)
        .answers(201, "Suppression"),
    delete("removeSuppression", "Remove an address from the suppression list")
        .query("channel Channel, contact string:320")
        .problems(&[NotFound]),
    operation("importSuppressions", "Import up to 1,000 suppressed addresses as CSV")
        .takes("text/csv", "channel,contact,reason\nemail,ada@example.com,asked by phone\n")
        .answers(200, "Imported"),
    get("exportSuppressions", "text/csv", "Export the suppression list as CSV"),
    get("exportSubject", "SubjectExport", "Export all data of one data subject").query("cursor? string"),
    get("previewErasure", "ErasurePreview", "Count what an erasure of one data subject would erase"),
    delete("eraseSubject", "Erase the addresses, names and content of one data subject; counters stay")
        .may_take("Nothing", "{}")
        .answers(200, "Erased"),
    // ---- Channels and providers
    get("listProviderKinds", "ProviderKinds", "List the supported providers and their settings"),
    get("listChannels", "Channels", "List the tenant's provider configurations").query("channel? Channel"),
    operation("createChannel", "Create a provider configuration; its credentials are stored encrypted")
        .takes(
            "NewChannel",
            r#"{"provider":"telegram","name":"Our bot","settings":{"botToken":"123456:ABC-DEF"},
                "rate":{"burst":30,"perSecond":30}}"#,
        )
        .answers(201, "ChannelConfig")
        .problems(&[Conflict]),
    operation("orderChannels", "Set the order in which the configurations of a channel are tried")
        .takes("ChannelOrder", r#"{"channel":"email","order":["acme.0123456789","acme.9876543210"]}"#)
        .answers(200, "ChannelOrder"),
    get("getChannel", "ChannelConfig", "Get one provider configuration; credentials are named, never shown"),
    operation("changeChannel", "Change a provider configuration; absent fields stay, settings are merged")
        .takes("ChannelChange", r#"{"enabled":false}"#)
        .answers(200, "ChannelConfig")
        .problems(&[Conflict]),
    delete("deleteChannel", "Delete a provider configuration and its credentials"),
    get("getBalance", "Balance", "Get the balance of the provider account")
        .query("refresh? 'true'|'false'")
        .problems(&[Conflict]),
    get("getChannelHealth", "ChannelHealth", "Check the credentials with the provider").problems(&[Conflict]),
    operation("testChannel", "Send a test message with this configuration only")
        .takes("ChannelTest", r#"{"to":"ada@example.com","text":"Hello from Tidings."}"#)
        .answers(201, "Accepted")
        .problems(&[Conflict, RecipientSuppressed, SpendCapReached]),
    get("listProviders", "Providers", "List the provider configurations in the order they are tried, with their state"),
    get(
        "getQuota",
        "Quota",
        "Get the remaining calls of a configuration, and check whether so many messages can be sent now",
    )
    .query("count? integer:1..1000000, priority? Priority"),
    operation("enableProvider", "Enable a provider configuration and close its circuit breaker")
        .may_take("Nothing", "{}")
        .answers(200, "Providers"),
    operation("disableProvider", "Disable a provider configuration for this tenant")
        .may_take("Nothing", "{}")
        .answers(200, "Providers"),
    operation("switchProvider", "Make a provider configuration the first to be tried")
        .may_take("Nothing", "{}")
        .answers(200, "Providers"),
    get("getSmsProvider", "SmsProvider", "Get the first SMS provider configuration").problems(&[NotFound]),
    operation("setSmsProvider", "Change the SMS provider, or put another one first")
        .takes(
            "NewSmsProvider",
            r#"{"provider":"AFRICASTALKING","apiKey":"atsk_1","apiSecret":"acme","senderId":"ACME"}"#,
        )
        .answers(200, "SmsProvider")
        .problems(&[Conflict]),
    get("getSmsBalance", "Balance", "Get the current balance of the SMS provider").problems(&[NotFound, Conflict]),
    operation("testSmsProvider", "Send a test SMS with the SMS provider only")
        .takes("SmsTest", r#"{"phoneNumber":"+254711000001","message":"Hello from Tidings."}"#)
        .answers(201, "Accepted")
        .problems(&[NotFound, Conflict, RecipientSuppressed, SpendCapReached]),
    get("listCallbacks", "WebhookLog", "List the provider callbacks of the last 30 days")
        .query("cursor? string, provider? string, status? string"),
    get("getCallback", "RecordedCallback", "Get one provider callback as it was received"),
    // ---- Administration
    get("getLimits", "Limits", "Get the limits of the tenant and what is left of them; the ETag is their revision"),
    operation("changeLimits", "Change the limits of the tenant; null removes one")
        .takes("LimitsChange", r#"{"rate":{"burst":100,"perSecond":10},"dailySpendCapsMicros":{"USD":25000000}}"#)
        .headers("If-Match? string")
        .answers(200, "Limits")
        .problems(&[Conflict, PreconditionFailed]),
    operation("pauseChannel", "Pause a channel: what is due waits until it is resumed")
        .takes("PauseReason", r#"{"reason":"The texts name the wrong amount"}"#)
        .answers(200, "ChannelPauses")
        .problems(&[NotFound]),
    operation("resumeChannel", "Resume a channel; what has waited is sent").answers(200, "ChannelPauses").problems(&[NotFound]),
    get("listKeys", "Keys", "List active API keys"),
    operation("createKey", "Create an API key; the key is shown only once")
        .takes("NewKey", r#"{"name":"billing","role":"sender","channels":["email"]}"#)
        .answers(201, "Key")
        .problems(&[Conflict]),
    delete("revokeKey", "Revoke an API key"),
    get("listActs", "Audit", "List who changed keys, channels, templates, defaults, suppressions and personal data")
        .query("subject? ActSubject, actor? string, contact? string, from? string, to? string"),
    get("getHealth", "Health", "Health check; needs no API key").problems(&[Unavailable]),
    get("getProblem", "text/markdown", "Describe a problem type; needs no API key"),
];

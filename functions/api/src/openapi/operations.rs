//! Every operation, in the order of the documentation.

use problem::ProblemKind;
use problem::ProblemKind::{Conflict, IdempotencyKeyReused, NotFound, PreconditionFailed, RecipientSuppressed};

/// What one route does.
#[derive(Clone, Copy)]
pub struct Operation {
    pub id: &'static str,
    pub summary: &'static str,
    /// Parameters of the query and of the header, in the short notation.
    pub query: &'static str,
    pub headers: &'static str,
    /// The name of its schema; `text/csv` for that; empty for none.
    pub body: &'static str,
    pub body_is_optional: bool,
    pub example: &'static str,
    pub status: u16,
    /// Another status with the same answer; 0 for none.
    pub also: u16,
    /// The name of its schema; a media type for what is no JSON; empty for none.
    pub answer: &'static str,
    /// Beside those that every operation may answer.
    pub problems: &'static [ProblemKind],
}

const fn operation(id: &'static str, summary: &'static str) -> Operation {
    Operation {
        id,
        summary,
        query: "",
        headers: "",
        body: "",
        body_is_optional: false,
        example: "",
        status: 200,
        also: 0,
        answer: "",
        problems: &[],
    }
}

impl Operation {
    const fn query(self, query: &'static str) -> Operation {
        Operation { query, ..self }
    }

    const fn headers(self, headers: &'static str) -> Operation {
        Operation { headers, ..self }
    }

    const fn takes(self, body: &'static str, example: &'static str) -> Operation {
        Operation { body, example, ..self }
    }

    const fn may_take(self, body: &'static str, example: &'static str) -> Operation {
        Operation { body, example, body_is_optional: true, ..self }
    }

    const fn answers(self, status: u16, answer: &'static str) -> Operation {
        Operation { status, answer, ..self }
    }

    const fn or(self, also: u16) -> Operation {
        Operation { also, ..self }
    }

    const fn problems(self, problems: &'static [ProblemKind]) -> Operation {
        Operation { problems, ..self }
    }
}

/// An operation that returns something and changes nothing.
const fn get(id: &'static str, answer: &'static str, summary: &'static str) -> Operation {
    operation(id, summary).answers(200, answer)
}

/// An operation that returns nothing.
const fn delete(id: &'static str, summary: &'static str) -> Operation {
    operation(id, summary).answers(204, "")
}

const TRACED: &str = "Idempotency-Key? string:255, X-Correlation-Id? string, traceparent? string";

pub const OPERATIONS: &[Operation] = &[
    // ---- Messages
    operation("sendCommunication", "Accept one message, to be sent now or later")
        .headers(TRACED)
        .takes(
            "Message",
            r#"{"channel":"email","type":"invoice","recipientContact":"ada@example.com","recipientId":"cus-7",
                "templateId":"tpl_invoice_email","templateVariables":{"customerName":"Ada","invoiceNumber":"INV-7",
                "amount":1500.5,"currency":"EUR","businessName":"Acme","dueDate":"2027-01-31",
                "paymentLink":"https://pay.example.com/7"}}"#,
        )
        .answers(201, "Accepted")
        .problems(&[IdempotencyKeyReused, RecipientSuppressed]),
    operation("sendBatch", "Accept up to 100 messages, each by itself")
        .headers("X-Correlation-Id? string, traceparent? string")
        .takes(
            "Batch",
            r#"{"communications":[{"channel":"sms","type":"payment_reminder","recipientContact":"+447700900001",
                "content":"Your invoice INV-7 is due on Friday.","idempotencyKey":"INV-7/reminder-1"}]}"#,
        )
        .answers(200, "BatchResults"),
    get("listCommunications", "CommunicationPage", "Messages, newest first").query(
        "channel? Channel, status? Status, type? Type, recipientId? string, entityType? string, entityId? string, \
         from? string, to? string, size? integer:1..100, cursor? string",
    ),
    get("getStats", "Stats", "Totals, rates and times by day of acceptance")
        .query("startDate? string, endDate? string"),
    get("getQueueStatus", "QueueStatus", "What waits, where, and whether it moves"),
    get("getCommunication", "Communication", "One message with its words"),
    operation("changeCommunication", "Another time or other words, before the first attempt")
        .takes("CommunicationChange", r#"{"scheduledAt":"2027-01-31T09:00:00Z"}"#)
        .answers(200, "Communication")
        .problems(&[Conflict]),
    get("getTimeline", "Timeline", "Everything that happened to it"),
    get("explainCommunication", "Explanation", "Why it is as it is, in plain words"),
    operation("resendCommunication", "The same words again, as a new message")
        .headers(TRACED)
        .may_take("Resend", r#"{"channel":"sms","recipientContact":"+447700900001"}"#)
        .answers(201, "Accepted")
        .problems(&[Conflict, IdempotencyKeyReused, RecipientSuppressed]),
    operation("cancelCommunication", "No further attempts; 202 while one is open")
        .may_take("Nothing", "{}")
        .answers(200, "Cancellation")
        .or(202)
        .problems(&[Conflict]),
    operation("resolveDoubt", "An operator settles an attempt in doubt")
        .takes("Resolution", r#"{"outcome":"accepted"}"#)
        .answers(200, "Communication")
        .problems(&[Conflict]),
    operation("retryCommunication", "What was given up is tried again")
        .may_take("Nothing", "{}")
        .answers(200, "Communication")
        .problems(&[Conflict]),
    operation("createAttachment", "Announce a file; then PUT it to the address in the answer")
        .takes("NewUpload", r#"{"filename":"INV-7.pdf","contentType":"application/pdf","sizeBytes":48213}"#)
        .answers(201, "Upload"),
    get("getAttachment", "Upload", "Whether it is there and what it was said to be"),
    delete("deleteAttachment", "The file is gone; links to it lead nowhere"),
    // ---- Dead letters
    get("listDeadLetters", "CommunicationPage", "What was given up and can be tried again").query(
        "channel? Channel, type? Type, reason? DeadLetterReason, provider? string, from? string, to? string, \
         size? integer:1..100, cursor? string",
    ),
    operation("redriveDeadLetters", "Those that match are tried again, so many a second")
        .may_take("Redrive", r#"{"channel":"email","reason":"retries_exhausted","limit":100,"perSecond":10}"#)
        .answers(202, "Redriven"),
    // ---- Recurring schedules
    get(
        "listSchedules",
        "Schedules",
        "Recurring schedules, without their messages; those that have ended if asked for",
    )
    .query("status? 'active'|'paused'|'ended'"),
    operation("createSchedule", "Send a message again and again, at a local time")
        .headers("Idempotency-Key? string:255")
        .takes(
            "NewSchedule",
            r#"{"name":"Weekly statement","when":{"cron":"0 9 * * mon"},"timeZone":"America/Mexico_City",
                "action":{"send":{"channel":"email","type":"general","recipientContact":"ada@example.com",
                "subject":"Your week","content":"Hello Ada, here is your week."}}}"#,
        )
        .answers(201, "Schedule")
        .problems(&[Conflict, IdempotencyKeyReused, RecipientSuppressed]),
    operation("previewNewSchedule", "When a schedule would send, before it is saved")
        .query("n? integer:1..50")
        .takes("NewTiming", r#"{"when":{"rrule":"FREQ=MONTHLY;BYDAY=-1FR"},"time":"09:00","timeZone":"Europe/Berlin"}"#)
        .answers(200, "Occurrences"),
    get("getSchedule", "Schedule", "One schedule with its message; ETag is its revision"),
    operation("changeSchedule", "What is absent stays; null removes time and end")
        .headers("If-Match? string")
        .takes("ScheduleChange", r#"{"exceptions":["2026-12-28"]}"#)
        .answers(200, "Schedule")
        .problems(&[Conflict, PreconditionFailed, RecipientSuppressed]),
    delete("deleteSchedule", "It ends, and its message is deleted; its history stays"),
    operation("pauseSchedule", "It sends nothing until it is resumed, or until a time")
        .may_take("Pause", r#"{"reason":"Summer break"}"#)
        .answers(200, "Schedule")
        .problems(&[Conflict]),
    operation("resumeSchedule", "It sends again; what fell into the pause is not caught up")
        .may_take("Nothing", "{}")
        .answers(200, "Schedule")
        .problems(&[Conflict]),
    get("previewSchedule", "Occurrences", "When it sends next").query("n? integer:1..50"),
    get("listOccurrences", "PastOccurrences", "The newest occurrences whose time has come, and what became of each")
        .query("limit? integer:1..50"),
    get("getScheduleEvents", "ScheduleEvents", "Decisions about it, in order: the newest 200 before a position")
        .query("before? integer:1..4294967295"),
    get("explainSchedule", "ScheduleExplanation", "Why it sends, or does not"),
    // ---- Templates
    get("listTemplates", "Templates", "The tenant's own and the built-in ones")
        .query("channel? Channel, type? Type, locale? string, code? string, isActive? 'true'|'false'"),
    operation("createTemplate", "A template of the tenant's own")
        .takes(
            "NewTemplate",
            r#"{"name":"Renewal offer","code":"renewal_offer","channel":"sms","type":"general","locale":"es",
                "bodyTemplate":"Hola {{customerName}}: {{uppercase offer}}"}"#,
        )
        .answers(201, "Template")
        .problems(&[Conflict]),
    operation("validateTemplate", "Whether words would be taken, and what they need")
        .takes(
            "ValidateRequest",
            r#"{"channel":"sms","bodyTemplate":"Hi {{customerName}}","variables":{"customerName":"Ada"}}"#,
        )
        .answers(200, "Validation"),
    get("getTemplate", "Template", "One with its words; ETag is its version").query("version? integer:1..4294967295"),
    operation("changeTemplate", "Other words are a new version")
        .headers("If-Match? string")
        .takes("TemplateChange", r#"{"bodyTemplate":"Hello {{customerName}}"}"#)
        .answers(200, "Template")
        .problems(&[Conflict, PreconditionFailed]),
    delete("deleteTemplate", "What was accepted with it is still sent").problems(&[Conflict]),
    get("listTemplateVersions", "TemplateVersions", "The newest first"),
    operation("activateTemplate", "May be used again").answers(200, "Template").problems(&[Conflict]),
    operation("deactivateTemplate", "Not used any more").answers(200, "Template").problems(&[Conflict]),
    operation("previewTemplate", "Exactly what would be sent")
        .may_take("PreviewRequest", r#"{"variables":{"customerName":"Ada"},"locale":"es"}"#)
        .answers(200, "Preview"),
    // ---- People
    get("getDefaultPreferences", "Preferences", "Of everybody who did not say otherwise"),
    operation("changeDefaultPreferences", "Channels, types and quiet hours")
        .takes("PreferencesChange", r#"{"smsEnabled":false}"#)
        .answers(200, "Preferences"),
    get("getPreferences", "Preferences", "How one person wants to be written to"),
    operation("changePreferences", "What is not given stays, null takes away")
        .takes(
            "PreferencesChange",
            r#"{"preferences":{"invoice":["email","whatsapp"]},"smsEnabled":false,"preferredEmail":"ada@example.com"}"#,
        )
        .answers(200, "Preferences"),
    get("getPreferencesHistory", "PreferencesHistory", "Who decided what and when, and what held at a time")
        .query("asOf? string"),
    operation("createPreferencesLink", "A page where they choose themselves")
        .may_take("LinkRequest", r#"{"days":7}"#)
        .answers(201, "Link")
        .problems(&[Conflict]),
    get("listSuppressions", "Suppressions", "Addresses that are not written to")
        .query("channel? Channel, cursor? string"),
    operation("addSuppression", "Not to be written to any more")
        .takes("NewSuppression", r#"{"channel":"email","contact":"ada@example.com","reason":"asked by phone"}"#)
        .answers(201, "Suppression"),
    delete("removeSuppression", "May be written to again")
        .query("channel Channel, contact string:320")
        .problems(&[NotFound]),
    operation("importSuppressions", "Up to 1,000 rows of channel, contact, reason")
        .takes("text/csv", "channel,contact,reason\nemail,ada@example.com,asked by phone\n")
        .answers(200, "Imported"),
    get("exportSuppressions", "text/csv", "The whole list"),
    get("exportSubject", "SubjectExport", "Everything about one person").query("cursor? string"),
    delete("eraseSubject", "Addresses, names and words are gone for good; counts stay")
        .may_take("Nothing", "{}")
        .answers(200, "Erased"),
    // ---- Channels and providers
    get("listProviderKinds", "ProviderKinds", "What can be configured, and what each needs"),
    get("listChannels", "Channels", "The tenant's own accounts at providers").query("channel? Channel"),
    operation("createChannel", "An account at a provider, its credentials sealed")
        .takes(
            "NewChannel",
            r#"{"provider":"telegram","name":"Our bot","settings":{"botToken":"123456:ABC-DEF"},
                "rate":{"burst":30,"perSecond":30}}"#,
        )
        .answers(201, "ChannelConfig")
        .problems(&[Conflict]),
    operation("orderChannels", "In which order they are tried")
        .takes("ChannelOrder", r#"{"channel":"email","order":["acme.0123456789","acme.9876543210"]}"#)
        .answers(200, "ChannelOrder"),
    get("getChannel", "ChannelConfig", "One of them; credentials are named, never shown"),
    operation("changeChannel", "What is not given stays; settings are merged")
        .takes("ChannelChange", r#"{"enabled":false}"#)
        .answers(200, "ChannelConfig")
        .problems(&[Conflict]),
    delete("deleteChannel", "With its credentials"),
    get("getBalance", "Balance", "What is left in the account").query("refresh? 'true'|'false'").problems(&[Conflict]),
    get("getChannelHealth", "ChannelHealth", "Whether its credentials are valid, asked now").problems(&[Conflict]),
    operation("testChannel", "A message by this account alone")
        .takes("ChannelTest", r#"{"to":"ada@example.com","text":"Hello from Tidings."}"#)
        .answers(201, "Accepted")
        .problems(&[Conflict, RecipientSuppressed]),
    get("listProviders", "Providers", "Which accounts are tried, in which order, and how they do"),
    get("getQuota", "Quota", "How many calls are left"),
    operation("enableProvider", "Used again, its breaker closed").may_take("Nothing", "{}").answers(200, "Providers"),
    operation("disableProvider", "Not used for this tenant").may_take("Nothing", "{}").answers(200, "Providers"),
    operation("switchProvider", "The first to be tried").may_take("Nothing", "{}").answers(200, "Providers"),
    get("getSmsProvider", "SmsProvider", "The first SMS account").problems(&[NotFound]),
    operation("setSmsProvider", "Change it, or put another in front")
        .takes(
            "NewSmsProvider",
            r#"{"provider":"AFRICASTALKING","apiKey":"atsk_1","apiSecret":"acme","senderId":"ACME"}"#,
        )
        .answers(200, "SmsProvider")
        .problems(&[Conflict]),
    get("getSmsBalance", "Balance", "Asked now").problems(&[NotFound, Conflict]),
    operation("testSmsProvider", "A message by it alone")
        .takes("SmsTest", r#"{"phoneNumber":"+254711000001","message":"Hello from Tidings."}"#)
        .answers(201, "Accepted")
        .problems(&[NotFound, Conflict, RecipientSuppressed]),
    get("listCallbacks", "WebhookLog", "Callbacks of providers as they came, for 30 days")
        .query("cursor? string, provider? string, status? string"),
    // ---- Administration
    get("listKeys", "Keys", "API keys that are not revoked"),
    operation("createKey", "A key, shown this once")
        .takes("NewKey", r#"{"name":"billing","role":"sender","channels":["email"]}"#)
        .answers(201, "Key")
        .problems(&[Conflict]),
    delete("revokeKey", "Opens nothing from now on"),
    get(
        "listActs",
        "Audit",
        "Who decided what about keys, channels, templates, defaults, the suppression list and people",
    )
    .query("subject? ActSubject, contact? string, from? string, to? string"),
    get("getHealth", "Health", "Whether it answers; no key"),
    get("getProblem", "text/markdown", "What an error means; no key"),
];

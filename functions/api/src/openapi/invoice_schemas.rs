//! The schemas of collections and invoices.

use domain::invoice::InvoiceStage;
use domain::payment_link::PaymentLinkStatus;
use events::{
    BackfillEndReason, BackfillSteps, CollectionCause, CollectionEndReason, InvoiceKind, InvoiceStatus,
    LinkRevokeReason, StepMode, Weekday,
};
use serde_json::Value;

use super::notation::words;

/// (name, fields)
pub const OBJECTS: &[(&str, &str)] = &[
    (
        "NewLadderStep",
        "id string:20, afterDays integer:-30..365, channels [Channel], mode? StepMode?, after? string?, \
         unless? Unless?, template? string?",
    ),
    (
        "CollectionsChange",
        "time? string, until? string, timeZone? string:64, ladder? [NewLadderStep], grouping? 'customer'|'none', \
         gatherSeconds? integer:0..3600, maxPerDay? integer:1..10, minDaysBetween? integer:0..90, days? [Weekday], \
         holidays? [day], lateDays? integer:0..30, graceAfterFirstSeenDays? integer:0..30, \
         minimumMinor? integer:0..1000000000000, attributionDays? integer:0..90",
    ),
    (
        "LadderStep",
        "id string, afterDays integer, channels [Channel], mode StepMode, after string, unless Unless, \
         template string?",
    ),
    ("CollectionsWarning", "code string, detail string"),
    (
        "Collections",
        "enabled boolean, from day?, time string, until string, timeZone string, ladder [LadderStep], \
         grouping 'customer'|'none', gatherSeconds integer, maxPerDay integer, minDaysBetween integer, \
         days [Weekday], holidays [day], lateDays integer, graceAfterFirstSeenDays integer, minimumMinor integer, \
         attributionDays integer, revision integer, warnings [CollectionsWarning], adopted? integer, \
         hasMore? boolean",
    ),
    (
        "InvoiceCounts",
        "total integer, sentAutomatically integer, sentManually integer, settled integer, settledAfterNotice integer",
    ),
    ("PaymentLinkCounts", "created integer, opened integer, used integer"),
    (
        "CollectionCounts",
        "notices integer, stepsIssued integer, stepsSkipped {integer}, paidAfterNoticeMinor {integer}, \
         costMicros {integer}, paymentsByDaysAfterNotice? {integer}",
    ),
    ("BusinessDay", "day day, invoices InvoiceCounts, paymentLinks PaymentLinkCounts, collections CollectionCounts"),
    (
        "BusinessStats",
        "startDate day, endDate day, invoices InvoiceCounts, paymentLinks PaymentLinkCounts, \
         collections CollectionCounts, byDay [BusinessDay]",
    ),
    ("BackfillPreviewRequest", "dueFrom day"),
    (
        "BackfillBucket",
        "fromDays integer, toDays integer?, invoices integer, customers integer, owedMinor {integer}, messages integer, messagesByChannel {integer}, \
         followUpsByChannel {integer}, estimatedCosts [Cost], unpricedMessages integer, skipped {integer}",
    ),
    (
        "OldInvoice",
        "id string, number string?, customerType RecipientType?, customerId string?, dueOn day, \
         daysOverdue integer, currency string?, owedMinor integer?",
    ),
    (
        "BackfillPreview",
        "previewId string, expiresAt time, dueFrom day, dueBefore day, enabled boolean, invoices integer, customers integer, owedMinor {integer}, messages integer, messagesByChannel {integer}, \
         followUpsByChannel {integer}, estimatedCosts [Cost], unpricedMessages integer, skipped {integer}, \
         buckets [BackfillBucket], oldest [OldInvoice]",
    ),
    (
        "NewBackfill",
        "previewId string:100, steps BackfillSteps, perDay? integer:1..10000, \
         confirmMessages integer:0..1000000",
    ),
    (
        "Backfill",
        "id string, status BackfillStatus, dueFrom day, dueBefore day, steps BackfillSteps, perDay integer, \
         invoices integer, messages integer, handled integer, begun integer, days {integer}, confirmedAt time, \
         confirmedBy string, endedAt time?, endedBy string?",
    ),
    ("NamedInvoices", "count integer, invoiceIds [string]"),
    (
        "CollectionsCheck",
        "at time, looked integer, repaired integer, lost integer, disagreements NamedInvoices, \
         unconfirmed NamedInvoices, parkedEvents integer, oldestParkedAt time?",
    ),
    ("CollectionsStatus", "enabled boolean, from day?, check CollectionsCheck?, backfills [Backfill]"),
    ("CollectionHold", "kind 'paused'|'promised', until day?"),
    ("SentNotice", "day day, notice string"),
    (
        "Debtor",
        "customerType RecipientType, customerId string, excluded boolean, timeZone string?, ladder [LadderStep]?, \
         hold CollectionHold?, notices [SentNotice], revision integer",
    ),
    ("DebtorChange", "excluded? boolean, timeZone? string:64, ladder? [NewLadderStep]"),
    ("CollectionPause", "until? day"),
    ("DebtorPromise", "on day"),
    ("LastStep", "step string, outcome StepResult, reason string?, at time"),
    ("Disagreement", "byPaymentsMinor integer, byBalanceMinor integer"),
    (
        "InvoiceRow",
        "id string, namespace string, sourceId string, number string?, kind InvoiceKind, \
         customerType RecipientType?, customerId string?, status InvoiceStage, sourceStatus InvoiceStatus?, \
         currency string?, totalMinor integer?, owedMinor integer?, disagreement Disagreement?, issuedOn day?, \
         dueOn day?, overdue boolean, lastStep LastStep?, firstSeenAt time, updatedAt time",
    ),
    ("InvoicePage", "results [InvoiceRow], hasMore boolean, nextCursor string?"),
    ("InvoicePayment", "id string, amountMinor integer, currency string, receivedAt time, failedAt time?"),
    ("FailedPayment", "id string, failedAt time"),
    ("CollectionStart", "from day, cause CollectionCause, at time"),
    (
        "InvoiceStep",
        "round integer, step string, outcome StepResult, reason string?, until day?, notice string?, \
         communicationIds [string], at time",
    ),
    ("NextReminder", "code string, text string, inputs {string}, at time?"),
    (
        "Invoice",
        "id string, namespace string, sourceId string, number string?, kind InvoiceKind, \
         customerType RecipientType?, customerId string?, status InvoiceStage, sourceStatus InvoiceStatus?, \
         currency string?, totalMinor integer?, owedMinor integer?, disagreement Disagreement?, issuedOn day?, \
         dueOn day?, overdue boolean, lastStep LastStep?, firstSeenAt time, updatedAt time, \
         payments [InvoicePayment], failedPayments [FailedPayment], hold CollectionHold?, collection CollectionStart?, \
         collectionEnd CollectionEndReason?, round integer, steps [InvoiceStep], sendings [InvoiceRequest], sent SentBy?, \
         paymentLink PaymentLink?, next NextReminder",
    ),
    (
        "ExportedInvoice",
        "id string, namespace string, sourceId string, number string?, kind InvoiceKind, \
         customerType RecipientType?, customerId string?, status InvoiceStage, sourceStatus InvoiceStatus?, \
         currency string?, totalMinor integer?, owedMinor integer?, disagreement Disagreement?, issuedOn day?, \
         dueOn day?, lastStep LastStep?, firstSeenAt time, updatedAt time, payments [InvoicePayment], \
         failedPayments [FailedPayment], hold CollectionHold?, collection CollectionStart?, \
         collectionEnd CollectionEndReason?, round integer, steps [InvoiceStep], sendings [InvoiceRequest], sent SentBy?",
    ),
    ("SentBy", "communicationId string, how 'automatic'|'manual'"),
    ("InvoiceEvents", "id string, events [JournalEvent], hasMore boolean"),
    (
        "ExplainedStep",
        "step string, afterDays integer?, due string?, dueAt time?, verdict 'sent'|'skipped'|'waits'|'not_sent', \
         code string, text string, inputs {string}, communicationIds [string], decidedAt time?",
    ),
    (
        "InvoiceExplanation",
        "id string, summary string, code string, inputs {string}, nextAt time?, steps [ExplainedStep], \
         failedPayments [FailedPayment], paymentLink PaymentLink?",
    ),
    ("InvoicePromise", "on day, amountMinor? integer:1..1000000000000000"),
    ("Dispute", "resolved? boolean"),
    ("InvoiceSending", "channel? Channel"),
    ("SentInvoice", "id string, status 'requested'|'sent', acts [ActOutcome]"),
    (
        "InvoiceRequest",
        "id string, status 'requested'|'done', channel Channel?, requestedAt time, requestedBy string, acts [ActOutcome]",
    ),
    ("Reminder", "step string:20"),
    ("PaymentLinkOrder", "channel? Channel, expiresIn? string:40"),
    ("PaymentLinkToken", "token string:100"),
    ("LinkSending", "channel Channel, communicationId string, at time"),
    ("LinkRevocation", "reason LinkRevokeReason, by string, at time"),
    (
        "PaymentLink",
        "id string, invoiceId string, state PaymentLinkState, createdAt time, expiresAt time, openings integer, \
         hasMoreOpenings boolean, firstOpenedAt time?, sent LinkSending?, payments [string], revoked LinkRevocation?",
    ),
    ("SentPaymentLink", "paymentLink PaymentLink?, communicationId string, channel Channel, status Status"),
    (
        "ResolvedPaymentLink",
        "id string, state PaymentLinkState, invoiceId string, namespace string?, sourceId string?, number string?, \
         owed string?, owedMinor integer?, currency string?, expiresAt time",
    ),
];

/// The schemas of words.
pub fn enumerations() -> [(&'static str, Value); 12] {
    [
        ("StepMode", words(StepMode::names())),
        ("Weekday", words(Weekday::names())),
        ("InvoiceKind", words(InvoiceKind::names())),
        ("InvoiceStatus", words(InvoiceStatus::names())),
        ("InvoiceStage", words(InvoiceStage::names())),
        ("BackfillSteps", words(BackfillSteps::names())),
        ("BackfillStatus", words(["running"].into_iter().chain(BackfillEndReason::names()))),
        ("CollectionCause", words(CollectionCause::names())),
        ("CollectionEndReason", words(CollectionEndReason::names())),
        ("PaymentLinkState", words(PaymentLinkStatus::names())),
        ("LinkRevokeReason", words(LinkRevokeReason::names())),
        ("StepResult", words(["triggered", "issued", "skipped", "postponed"])),
    ]
}

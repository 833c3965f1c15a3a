//! The schemas of business events, mappings and automations.

/// (name, fields)
pub const OBJECTS: &[(&str, &str)] = &[
    ("NewEvent", "id string:255, type string:255, source? string:255, time? time, data object"),
    ("ActOutcome", "act string, recipient string?, channel Channel?, ref string?, skipped string?, note string?"),
    ("TakenEvent", "id string, type string, status EventStatus, reason ParkReason?, acts [ActOutcome]"),
    (
        "EventResult",
        "index integer, id? string, status? EventStatus, reason? ParkReason?, idempotentReplayed? boolean, \
         problem? Problem",
    ),
    ("EventResults", "accepted integer, replayed integer, refused integer, results [EventResult]"),
    ("EventType", "type string, version integer, description string, schema string, example string"),
    ("EventTypes", "types [EventType]"),
    ("SkippedAct", "act string, reason string"),
    (
        "BusinessEventRow",
        "id string, source string, eventId string, type string, status EventStatus, reason ParkReason?, \
         subject string?, mentions [string], done integer, skipped [SkippedAct], occurredAt time, receivedAt time, \
         updatedAt time",
    ),
    ("BusinessEventPage", "results [BusinessEventRow], hasMore boolean, nextCursor string?"),
    (
        "BusinessEvent",
        "id string, source string, eventId string, type string, version integer, mappingVersion integer?, \
         status EventStatus, reason ParkReason?, faults [FieldError], acts [ActOutcome], subject string?, \
         mentions [string], mode Mode, via IntakeChannel, bodyHash string, tries integer, nextTryAt time?, \
         erased boolean, occurredAt time, receivedAt time, updatedAt time, data? any",
    ),
    ("BusinessEventHistory", "id string, events [JournalEvent]"),
    ("Discard", "reason? string:200"),
    (
        "EventReplay",
        "status? 'parked'|'unhandled'|'discarded', reason? string:100, type? string:255, source? string:255, \
         subject? string:300, mentions? string:255, from? time, to? time, limit? integer:1..500, dryRun? boolean",
    ),
    ("ReplayedEvent", "id string, meaning 'known'|'unknown'|'invalid'|'newer_version'|'no_data', status EventStatus?"),
    (
        "EventReplays",
        "matched integer, replayable integer, replayed integer, dryRun boolean, hasMore boolean, \
         results [ReplayedEvent]",
    ),
    (
        "EventMapping",
        "typePrefix? string:100, types? {any}, fields? {any}, idAt? string:255, namespace? string:100, \
         timeZone? string:64",
    ),
    ("SourceMapping", "source string, version integer, builtIn boolean, mapping EventMapping"),
    ("MappingTrial", "event object, mapping? EventMapping"),
    ("MappedEvent", "type string, meaning 'known'|'unknown'|'invalid'|'newer_version', data any, errors [FieldError]"),
    (
        "Automation",
        "type Type, enabled boolean, channels [Channel]?, template string?, paymentUrl? string?, renderInvoices? boolean, documentRequired? boolean",
    ),
    ("Automations", "automations [Automation]"),
    (
        "AutomationChange",
        "enabled? boolean?, channels? [Channel]?, template? string?, paymentUrl? string:500?, renderInvoices? boolean?, documentRequired? boolean?",
    ),
    ("StoredBusinessEvent", "id string, type string, data any"),
];

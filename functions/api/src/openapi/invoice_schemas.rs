//! The schemas of collections and invoices.

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
];

//! The schemas of the queues, and of the limits and pauses of a tenant.

/// (name, fields)
pub const OBJECTS: &[(&str, &str)] = &[
    ("Queue", "name string, waiting integer, inFlight integer, delayed integer"),
    (
        "QueueStatus",
        "pending integer, scheduled integer, processing integer, retryWaiting integer, inDoubt integer, \
         completed integer, failed integer, deadLettered integer, cancelled integer, suppressed integer, \
         averageProcessingMs number?, queues [Queue], providers [Provider], paused [ChannelPause], lastSweepAt time?, \
         healthy boolean, asOf time?",
    ),
    ("Upcoming", "overdue integer, minutes [UpcomingSlot], hours [UpcomingSlot], asOf time"),
    ("UpcomingSlot", "from time, until time, messages integer, isComplete boolean"),
    ("LimitsChange", "rate? Rate?, dailySpendCapsMicros? {integer?}"),
    (
        "Limits",
        "rate Rate?, effectiveRate EffectiveRate?, dailySpendCapsMicros {integer}, spentToday [CurrencySpend], \
         resetsAt time, paused [ChannelPause], revision integer, updatedAt time?, updatedBy string?",
    ),
    ("ChannelPause", "channel Channel, since time, by string, reason string"),
    ("ChannelPauses", "paused [ChannelPause]"),
    ("PauseReason", "reason string:200"),
];

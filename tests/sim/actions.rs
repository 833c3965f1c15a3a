//! The requests of a run's callers, with their times.

use crate::world::{TENANTS, World};
use crate::{CALLERS_ACT_MS, COMMUNICATIONS, FAULTS_STOP_MS, T0};
use events::{TenantId, Timestamp};
use serde_json::{Value, json};

/// A request of a caller.
#[derive(Debug, Clone)]
pub enum Action {
    Send {
        n: usize,
        body: Value,
    },
    Cancel {
        n: usize,
    },
    Reschedule {
        n: usize,
        at: i64,
    },
    OptOut {
        n: usize,
    },
    /// A person opts out whose preferred address is that of `n`. The message does not say who they are.
    PersonOptsOut {
        n: usize,
    },
    /// Sends another communication, `copy`, with the content of `n`.
    Resend {
        n: usize,
        copy: usize,
    },
    /// Erases the personal data of a communication.
    Erase {
        n: usize,
    },
    /// Pauses the channel of a tenant, or resumes it.
    Pause {
        tenant: usize,
        is_paused: bool,
    },
    /// Retries the dead letters of a tenant.
    Redrive {
        tenant: usize,
    },
}

pub fn contact(n: usize) -> String {
    format!("person-{n}@example.com")
}

/// The person whose address is that of `n`.
pub fn person(n: usize) -> String {
    format!("customer:c-{n}")
}

/// Even numbers belong to the first tenant, so a resend stays with its tenant.
pub fn tenant(n: usize) -> TenantId {
    TENANTS[n % 2].1.parse().expect("a tenant")
}

/// The requests of all callers with their times. Also decides which provider has an outage.
pub fn plan(world: &World, seed: u64) -> Vec<(i64, Action)> {
    let mut guard = world.state();
    let state = &mut *guard;
    if seed.is_multiple_of(3) {
        let config = if seed.is_multiple_of(2) { "sim-a" } else { "sim-b" };
        let from = T0 + state.rng.below(600_000) as i64;
        state.outages.push((config.to_owned(), from, from + 600_000));
    }
    let rng = &mut state.rng;
    // A third of all seeds have a flood: everything at once.
    let is_flood = seed % 3 == 1;
    let busy_ms = if is_flood { 1_000 } else { CALLERS_ACT_MS as u64 };
    let mut actions = Vec::new();
    for n in 0..COMMUNICATIONS {
        let at = T0 + rng.below(busy_ms) as i64;
        let mut body = json!({
            "channel": "email", "type": "invoice", "recipientContact": contact(n), "subject": "Hello", "content": "Hello",
            "recipientName": format!("person-{n}"),
            "inDoubt": if rng.percent(30) { "hold" } else { "resend" },
            "priority": if rng.percent(20) { "urgent" } else { "normal" },
            "maxAttempts": if rng.percent(20) { 1 } else { 5 },
        });
        if rng.percent(30) && !is_flood {
            let later = at + 10_000 + rng.below(3_600_000) as i64;
            body["scheduledAt"] = json!(api::fields::show_time(Timestamp(later)));
        }
        if rng.percent(15) {
            // T0 is at 08:00 UTC.
            body["quietHours"] = json!({ "start": "08:05", "end": "08:40", "timeZone": "UTC" });
        }
        if rng.percent(10) {
            body["attachments"] = json!([{ "filename": "a.pdf", "fileUrl": "https://files.example.com/a.pdf" }]);
        }
        if rng.percent(20) {
            let step = |to: &str| {
                let mut step =
                    json!({ "channel": "email", "recipientContact": format!("person-{n}-{to}@example.com") });
                if rng.percent(60) {
                    step["after"] = json!("10m");
                    step["unless"] = json!(if rng.percent(50) { "read" } else { "delivered" });
                }
                step
            };
            body["fallback"] = ["b", "c"].map(step).into();
        }
        actions.push((at, Action::Send { n, body }));
        let soon = at + rng.below(90_000) as i64;
        if rng.percent(40) {
            // By then most messages have been sent, and the others have had failed attempts.
            actions.push((at + 130_000 + rng.below(1_500_000) as i64, Action::Cancel { n }));
        }
        match rng.below(12) {
            0 | 1 => actions.push((soon, Action::Cancel { n })),
            2 => actions.push((soon, Action::Reschedule { n, at: soon + rng.below(600_000) as i64 })),
            3 => actions.push((soon, Action::OptOut { n })),
            4 => actions.push((soon, Action::Resend { n, copy: n + 2 * COMMUNICATIONS })),
            5 => actions.push((soon, Action::Erase { n })),
            6 => actions.push((soon, Action::PersonOptsOut { n })),
            _ => (),
        }
    }
    for tenant in 0..TENANTS.len() {
        actions.push((T0 + FAULTS_STOP_MS - 600_000 + rng.below(1_200_000) as i64, Action::Redrive { tenant }));
    }
    actions
}

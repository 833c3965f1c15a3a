//! Old invoices: the preview of a backfill, its confirmation, and its days, over a real store and over HTTP.

use std::collections::BTreeMap;

use application::Caller;
use application::collections::{
    BackfillError, FoundBackfill, NewBackfill, Preview, change, confirm, disable, get, preview, status, stop,
};
use application::kinds::row_of;
use domain::aggregate::AggregateKey;
use domain::collect::parse_day;
use domain::invoice::{InvoiceState, StepOutcome, key_of};
use domain::ports::{MAX_ROWS_PER_TRANSACTION, Principal, ProjectedRow, ViewScope};
use events::{
    BackfillEndReason, BackfillSteps, Channel, CollectionCause, CollectionSettings, Mode, Recipient, RecipientType,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::harness::tenant;
use tests::server::{Answer, TestServer, eventually};

use crate::collections::{Collections, at, reference};

const DAY_MS: u32 = 24 * 3_600_000;

pub fn caller() -> Caller {
    Caller::new(Principal::admin(tenant(), "ops", Mode::Live))
}

/// Brings the views up to date.
pub async fn project(collections: &Collections) {
    let app = &collections.0.app;
    let page = app.store.scan(None, 1_000).await.expect("streams");
    let mut rows: BTreeMap<ViewScope, Vec<ProjectedRow>> = BTreeMap::new();
    for (id, stream) in page.streams {
        if let Some(row) = row_of(&*app.store, &id, stream).await.expect("a row") {
            rows.entry(row.scope.clone()).or_default().push(row);
        }
    }
    for rows in rows.values().flat_map(|rows| rows.chunks(MAX_ROWS_PER_TRANSACTION)) {
        app.views.apply(rows, app.host.now()).await.expect("applied");
    }
}

/// Collections that were switched on on 1 January 2027, and seven customers with an invoice from before, most of them
/// with an address. It is Friday, 15 January, 08:00.
async fn old_invoices() -> Collections {
    let collections = Collections::new().await;
    let due = ["2026-12-31", "2026-12-30", "2026-12-20", "2026-12-10", "2026-12-01", "2026-09-01", "2025-12-20"];
    for (n, due) in due.into_iter().enumerate() {
        let customer = format!("c{n}");
        if n != 1 {
            collections.address(&customer, Channel::Email, &format!("{customer}@example.com")).await;
        }
        collections.issue(&format!("old-{n}"), &customer, 1_000, due).await;
    }
    project(&collections).await;
    collections
}

async fn previewed(collections: &Collections, due_from: &str) -> Preview {
    let day = parse_day(due_from).expect("a day");
    preview(&collections.0.app, &caller(), day).await.expect("a preview")
}

fn new(preview: &Preview, steps: BackfillSteps, per_day: u32) -> NewBackfill {
    let confirmed_messages = preview.total.message_count();
    NewBackfill { preview: preview.id.clone(), steps, per_day, confirmed_messages }
}

async fn confirmed(collections: &Collections, steps: BackfillSteps, per_day: u32) -> FoundBackfill {
    let preview = previewed(collections, "2025-12-15").await;
    confirm(&collections.0.app, &caller(), new(&preview, steps, per_day)).await.expect("confirmed")
}

async fn shown(collections: &Collections) -> FoundBackfill {
    let status = status(&collections.0.app, &caller()).await.expect("a status");
    status.backfills.into_iter().next().expect("a backfill")
}

async fn old(collections: &Collections, n: usize) -> InvoiceState {
    collections.invoice(&format!("old-{n}")).await
}

async fn begun(collections: &Collections) -> usize {
    let mut begun = 0;
    for n in 0..7 {
        let state = old(collections, n).await;
        begun += usize::from(state.collection.is_some() || state.collection_end.is_some());
    }
    begun
}

#[tokio::test]
async fn a_preview_says_who_would_get_what_and_sends_nothing() {
    let collections = old_invoices().await;
    collections.pay("old-4", "p1", 1_000).await;
    let preview = previewed(&collections, "2025-12-15").await;
    let total = &preview.total;
    // One was paid, and the view does not know it yet.
    assert_eq!((total.invoices, total.customers, total.owed["EUR"]), (6, 6, 6_000), "{preview:#?}");
    assert_eq!(total.messages, BTreeMap::from([(Channel::Email, 5)]));
    assert_eq!(total.skipped, BTreeMap::from([("no_contact".to_owned(), 1)]));
    assert_eq!((total.unpriced, total.cost_micros.len()), (5, 0), "the account has no prices");
    let counts = preview.buckets.each_ref().map(|bucket| (bucket.invoices, bucket.message_count()));
    assert_eq!(counts, [(0, 0), (3, 2), (1, 1), (1, 1), (1, 1)]);
    let oldest: Vec<_> = preview.oldest.iter().map(|old| (old.row.source_id.as_str(), old.days_overdue)).collect();
    assert_eq!(oldest[..2], [("old-6", 391), ("old-5", 136)]);
    assert!(preview.is_enabled && preview.due_before == "2027-01-15");
    let later = previewed(&collections, "2026-12-25").await;
    assert_eq!(later.total.invoices, 2);
    collections.run_until(at("2027-01-20T12:00")).await;
    assert_eq!((collections.sent().await.len(), begun(&collections).await), (0, 0));
}

#[tokio::test]
async fn a_backfill_begins_so_many_a_day_and_each_invoice_gets_the_step_it_has_reached() {
    let collections = old_invoices().await;
    confirmed(&collections, BackfillSteps::Current, 3).await;
    // One is paid before its turn.
    collections.pay("old-5", "p1", 1_000).await;
    collections.run_until(at("2027-01-15T08:30")).await;
    assert_eq!((begun(&collections).await, collections.sent().await.len()), (3, 0), "no reminder before nine");
    collections.run_until(at("2027-01-15T23:00")).await;
    assert_eq!((begun(&collections).await, collections.sent().await.len()), (3, 2), "one has no address");
    collections.run_until(at("2027-01-16T12:00")).await;
    assert_eq!((begun(&collections).await, collections.sent().await.len()), (5, 4), "one was paid");
    collections.run_until(at("2027-01-17T12:00")).await;
    assert_eq!((begun(&collections).await, collections.sent().await.len()), (6, 5));
    let found = shown(&collections).await.backfill;
    assert_eq!((found.handled, found.begun), (7, 6), "{found:#?}");
    assert_eq!(found.ended.map(|(reason, ..)| reason), Some(BackfillEndReason::Completed));
    let steps = |state: &InvoiceState| {
        let issued = state.steps.iter().filter(|record| matches!(record.outcome, StepOutcome::Issued { .. }));
        issued.map(|record| record.step.clone()).collect::<Vec<_>>()
    };
    let states = [old(&collections, 0).await, old(&collections, 4).await, old(&collections, 6).await];
    assert_eq!(states.each_ref().map(steps), [["d7"], ["d30"], ["d30"]], "{states:#?}");
    assert!(
        states.iter().all(|state| state.collection.as_ref().is_none_or(|it| it.cause == CollectionCause::Backfill))
    );
    collections.run_until(at("2027-01-31T12:00")).await;
    assert_eq!(steps(&old(&collections, 0).await), ["d7", "d30"], "the ladder goes on");
}

#[tokio::test]
async fn without_steps_nothing_is_sent_at_first_and_the_ladder_goes_on() {
    let collections = old_invoices().await;
    confirmed(&collections, BackfillSteps::None, 200).await;
    collections.run_until(at("2027-01-18T12:00")).await;
    assert_eq!(collections.sent().await.len(), 0);
    assert_eq!(old(&collections, 0).await.collection.map(|start| start.cause), Some(CollectionCause::BackfillLater));
    collections.run_until(at("2027-01-31T12:00")).await;
    let sent: Vec<String> = collections.sent().await.into_iter().map(|(_, to, _)| to).collect();
    assert_eq!(sent, ["c0@example.com", "c2@example.com"], "30 days after their due days");
}

#[tokio::test]
async fn a_backfill_can_be_stopped_and_ends_when_collections_are_switched_off() {
    let collections = old_invoices().await;
    let app = &collections.0.app;
    let running = confirmed(&collections, BackfillSteps::Current, 2).await;
    collections.run_until(at("2027-01-15T12:00")).await;
    let other = new(&previewed(&collections, "2026-12-01").await, BackfillSteps::Current, 2);
    let refused = confirm(app, &caller(), other.clone()).await;
    assert!(matches!(refused, Err(BackfillError::UnderWay(id)) if id == running.id));
    let stopped = stop(app, &caller(), &running.id).await.expect("stopped").backfill;
    assert_eq!(stopped.ended.as_ref().map(|(reason, ..)| *reason), Some(BackfillEndReason::Stopped));
    let again = stop(app, &caller(), &running.id).await.expect("stopped already").backfill;
    assert_eq!(again.ended, stopped.ended);
    assert!(matches!(stop(app, &caller(), "bkf_0").await, Err(BackfillError::NotFound)));
    collections.run_until(at("2027-01-20T12:00")).await;
    assert_eq!((begun(&collections).await, collections.sent().await.len()), (2, 1));

    project(&collections).await;
    confirmed(&collections, BackfillSteps::Current, 2).await;
    collections.run_until(at("2027-01-20T14:00")).await;
    disable(app, &caller()).await.expect("off");
    collections.run_until(at("2027-01-25T12:00")).await;
    let found = shown(&collections).await.backfill;
    assert_eq!(found.ended.map(|(reason, ..)| reason), Some(BackfillEndReason::CollectionsOff));
    assert_eq!(found.begun, 2);
}

#[tokio::test]
async fn a_preview_is_confirmed_with_its_own_number_in_time_and_as_things_were() {
    let collections = old_invoices().await;
    let app = &collections.0.app;
    let preview = previewed(&collections, "2025-12-15").await;
    let wrong = NewBackfill { confirmed_messages: 7, ..new(&preview, BackfillSteps::Current, 200) };
    assert!(matches!(confirm(app, &caller(), wrong).await, Err(BackfillError::CountDiffers(_))));
    let unknown = NewBackfill { preview: "prv_1".to_owned(), ..new(&preview, BackfillSteps::Current, 200) };
    assert!(matches!(confirm(app, &caller(), unknown).await, Err(BackfillError::PreviewExpired)));
    let test = Caller::new(Principal::admin(tenant(), "ops", Mode::Test));
    let of_live = confirm(app, &test, new(&preview, BackfillSteps::Current, 200)).await;
    assert!(matches!(of_live, Err(BackfillError::PreviewExpired)));
    collections.pay("old-0", "p1", 1_000).await;
    let fewer = confirm(app, &caller(), new(&preview, BackfillSteps::Current, 200)).await;
    assert!(matches!(fewer, Err(BackfillError::CountDiffers(_))));
    let preview = previewed(&collections, "2025-12-15").await;
    let state = get(app, &caller()).await.expect("settings");
    let settings = CollectionSettings { late_days: 4, ..state.settings() };
    change(app, &caller(), state.revision, settings).await.expect("changed");
    let changed = confirm(app, &caller(), new(&preview, BackfillSteps::Current, 200)).await;
    assert!(matches!(changed, Err(BackfillError::PreviewExpired)));
    let preview = previewed(&collections, "2025-12-15").await;
    collections.0.host.advance(3_600_000);
    let late = confirm(app, &caller(), new(&preview, BackfillSteps::Current, 200)).await;
    assert!(matches!(late, Err(BackfillError::PreviewExpired)));
    let preview = previewed(&collections, "2025-12-15").await;
    let accepted = confirm(app, &caller(), new(&preview, BackfillSteps::Current, 200)).await.expect("confirmed");
    collections.0.host.advance(3_600_000);
    let repeated = confirm(app, &caller(), new(&preview, BackfillSteps::Current, 200)).await.expect("the same");
    assert_eq!((repeated.id, repeated.backfill), (accepted.id, accepted.backfill));
    let otherwise = confirm(app, &caller(), new(&preview, BackfillSteps::Current, 100)).await;
    assert!(matches!(otherwise, Err(BackfillError::Execute(_))));
    disable(app, &caller()).await.expect("off");
    let preview = previewed(&collections, "2025-12-15").await;
    assert!(!preview.is_enabled);
    let off = confirm(app, &caller(), new(&preview, BackfillSteps::Current, 200)).await;
    assert!(matches!(off, Err(BackfillError::CollectionsOff)));
}

#[tokio::test]
async fn two_backfills_that_are_confirmed_in_the_same_instant_do_not_both_begin() {
    let collections = old_invoices().await;
    let (first, second) = (previewed(&collections, "2025-12-15").await, previewed(&collections, "2025-12-15").await);
    let app = &collections.0.app;
    let confirm = async |preview: &Preview| confirm(app, &caller(), new(preview, BackfillSteps::Current, 3)).await;
    let (one, other) = futures_util::future::join(confirm(&first), confirm(&second)).await;
    let found = [&one, &other].into_iter().filter_map(|result| result.as_ref().ok()).collect::<Vec<_>>();
    let [begun] = found.as_slice() else { panic!("{} have begun", found.len()) };
    let refused = if one.is_ok() { other.as_ref().err() } else { one.as_ref().err() };
    assert!(matches!(refused, Some(BackfillError::UnderWay(id)) if *id == begun.id), "{refused:?}");

    // Other systems hear of it.
    stop(app, &caller(), &begun.id).await.expect("stopped");
    let id = domain::collect::backfill_key(&tenant(), &begun.id).stream_id();
    let stream = app.store.read(&id).await.expect("a stream");
    let events = application::kinds::public_events(&*app.store, &id, stream, 0).await.expect("events");
    let kinds: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.subject.kind, event.mode)).collect();
    let of = |what| (what, "backfill", Some(Mode::Live));
    assert_eq!(kinds, [of("collections.backfill_confirmed"), of("collections.backfill_ended")]);
    assert_eq!((&events[0].data["invoices"], &events[1].data["reason"]), (&json!(7), &json!("stopped")));
}

#[tokio::test]
async fn an_export_says_that_there_are_older_invoices() {
    let collections = Collections::new().await;
    for n in 0..5 {
        collections.issue(&n.to_string(), "c1", 1_000, "2027-01-20").await;
    }
    project(&collections).await;
    let customer = Recipient { kind: RecipientType::Customer, id: Some("c1".to_owned()) };
    let app = &collections.0.app;
    for (most, count, has_more) in [(3, 3, true), (5, 5, false), (9, 5, false)] {
        let found = application::invoices::of_customer(app, &caller(), &customer, most).await.expect("invoices");
        assert_eq!((found.invoices.len(), found.has_more), (count, has_more), "{most}");
    }
}

#[tokio::test]
async fn a_customer_with_several_old_invoices_gets_one_message() {
    let collections = Collections::new().await;
    collections.address("bea", Channel::Email, "bea@example.com").await;
    collections.address("bea", Channel::Sms, "+447700900001").await;
    for (id, due) in [("1", "2026-12-31"), ("2", "2026-12-20"), ("3", "2026-11-01")] {
        collections.issue(id, "bea", 1_000, due).await;
    }
    project(&collections).await;
    let preview = previewed(&collections, "2026-10-01").await;
    // The highest step, d30, goes by email and SMS.
    assert_eq!(preview.total.messages, BTreeMap::from([(Channel::Email, 1), (Channel::Sms, 1)]));
    assert_eq!(preview.buckets.each_ref().map(|bucket| bucket.message_count()), [0, 0, 2, 0, 0]);
    confirm(&collections.0.app, &caller(), new(&preview, BackfillSteps::Current, 200)).await.expect("confirmed");
    collections.run_until(at("2027-01-15T12:00")).await;
    let sent = collections.sent().await;
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(sent.iter().all(|(_, _, text)| ["INV-1", "INV-2", "INV-3"].iter().all(|number| text.contains(number))));
    let key = key_of(&tenant(), &reference("1"));
    assert!(application::execute::load(&*collections.0.app.store, &key).await.expect("an invoice").wake.is_some());
}

fn problem(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.text("/code"))
}

/// The day so many days from now, in UTC.
fn day(server: &TestServer, days: i64) -> String {
    use domain::ports::ClockAndRng;
    let now = server.local.clock.now().0 + days * i64::from(DAY_MS);
    jiff::Timestamp::from_millisecond(now).expect("a time").to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_invoices_are_taken_up_over_http_only_with_the_right_number() {
    use domain::ports::ClockAndRng;
    let server = TestServer::new().await;
    // 10:00 in UTC, when reminders can leave.
    let day_ms = i64::from(DAY_MS);
    server.advance(((34 * 3_600_000 - server.local.clock.now().0 % day_ms) % day_ms) as u32).await;
    for (n, days) in [-3_i64, -10, -40, -100].into_iter().enumerate() {
        let data = json!({
            "invoice": { "id": format!("ar-{n}"), "number": format!("OLD-{n}"), "issuedOn": day(&server, days - 10),
                         "dueOn": day(&server, days), "total": "12.00", "currency": "EUR", "status": "approved" },
            "customer": { "id": format!("c{n}"), "email": format!("c{n}@sim.test") },
        });
        let event = json!({ "id": format!("e{n}"), "type": "ar_invoice.created", "source": "erp", "data": data });
        assert_eq!(server.post("/api/events", event).await.status, StatusCode::ACCEPTED);
    }
    eventually("four rows", async || {
        let rows = server.get("/api/invoices?overdue=true").await;
        (rows.body["results"].as_array()?.len() == 4).then_some(())
    })
    .await;
    let due_from = day(&server, -399);
    let faults = async |body: Value| {
        let answer = server.post("/api/collections/preview", body).await;
        (answer.status.as_u16(), answer.text("/errors/0/pointer").to_owned(), answer.text("/errors/0/code").to_owned())
    };
    let wrong = |code: &str| (422, "/dueFrom".to_owned(), code.to_owned());
    assert_eq!(faults(json!({})).await, wrong("required"));
    assert_eq!(faults(json!({ "dueFrom": "2026-02-30" })).await, wrong("not_a_day"));
    for day in ["2015-01-01".to_owned(), day(&server, -401), day(&server, 0), day(&server, 5)] {
        assert_eq!(faults(json!({ "dueFrom": day })).await, wrong("not_in_range"), "{day}");
    }
    let preview = server.post("/api/collections/preview", json!({ "dueFrom": due_from })).await;
    assert_eq!(preview.body["messagesByChannel"], json!({ "email": 4 }), "{}", preview.body);
    assert_eq!((&preview.body["enabled"], preview.body["owedMinor"]["EUR"].as_i64()), (&json!(false), Some(4_800)));
    assert_eq!(preview.body["buckets"].as_array().map(Vec::len), Some(5));
    let body = |messages: u64| json!({ "previewId": preview.text("/previewId"), "steps": "current", "perDay": 2, "confirmMessages": messages });
    let off = server.post("/api/collections/backfill", body(4)).await;
    assert_eq!(problem(&off), (409, "conflict"), "{}", off.body);
    server.post("/api/collections/enable", json!({})).await;
    let untouched = server.get("/api/invoices?status=collecting").await;
    assert_eq!(untouched.body["results"], json!([]), "none older is touched");
    let differs = server.post("/api/collections/backfill", body(5)).await;
    assert_eq!(problem(&differs), (409, "count_differs"), "{}", differs.body);
    let unknown = json!({ "previewId": "prv_0", "steps": "none", "confirmMessages": 0 });
    let expired = server.post("/api/collections/backfill", unknown).await;
    assert_eq!(problem(&expired), (409, "preview_expired"), "{}", expired.body);
    let faulty = json!({ "steps": "all", "perDay": 0, "confirmMessages": -1, "force": true });
    let faulty = server.post("/api/collections/backfill", faulty).await;
    let mut pointers: Vec<&str> =
        faulty.body["errors"].as_array().expect("errors").iter().filter_map(|e| e["pointer"].as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/confirmMessages", "/force", "/perDay", "/previewId", "/steps"], "{}", faulty.body);
    let confirmed = server.post("/api/collections/backfill", body(4)).await;
    assert_eq!((confirmed.status.as_u16(), confirmed.text("/status")), (202, "running"), "{}", confirmed.body);

    let begun = async || {
        let status = server.get("/api/collections/status").await;
        status.body["backfills"][0]["begun"].as_u64().expect("a number")
    };
    eventually("the first two", async || (begun().await == 2).then_some(())).await;
    let stopped = server.post(&format!("/api/collections/backfill/{}/stop", confirmed.id()), json!({})).await;
    assert_eq!(stopped.text("/status"), "stopped", "{}", stopped.body);
    let reminders = async || {
        let mut subjects = Vec::new();
        for n in 0..4 {
            let inbox = server.inbox(&format!("c{n}@sim.test")).await;
            subjects.extend(inbox.iter().filter_map(|message| message["subject"].as_str().map(str::to_owned)));
        }
        subjects.into_iter().filter(|subject| subject.ends_with(" overdue")).count()
    };
    eventually("two reminders", async || {
        server.advance(5_000).await;
        (reminders().await == 2).then_some(())
    })
    .await;
    server.advance(3_600_000).await;
    let status = eventually("a check", async || {
        let status = server.get("/api/collections/status").await;
        status.body["check"]["at"].is_string().then_some(status)
    })
    .await;
    assert_eq!(status.body["check"]["looked"], json!(2), "{}", status.body);
    assert_eq!((status.body["check"]["lost"].as_u64(), begun().await, reminders().await), (Some(0), 2, 2));
    let audit = server.get("/api/audit?subject=collections").await;
    let types: Vec<&str> =
        audit.body["acts"].as_array().expect("acts").iter().filter_map(|act| act["type"].as_str()).collect();
    assert_eq!(types, ["BackfillEnded", "BackfillConfirmed", "CollectionsEnabled"], "{}", audit.body);
}

//! The contract of each port, run against the AWS and the embedded adapters. Each function takes a fresh port.

use std::collections::BTreeMap;

use domain::communication_view::CommunicationRow;
use domain::message::MessageContent;
use domain::ports::{
    AddressKey, ApiKeyStore, AppendError, AppendRequest, CommunicationKey, ContentKey, CoordinationStore, DocumentKey,
    DocumentStore, EventStore, Hint, ListFilter, Listed, Listing, MAX_STREAM_BYTES, ObjectKey, ObjectStore, Principal,
    ProjectedRow, QueueDepth, QueueId, RollOver, RowKey, TIMER_SHARDS, Vault, VersionedRecord, ViewScope, ViewStore,
    WorkQueue,
};
use domain::stats::Counters;
use events::{Channel, CommunicationId, Mode, StreamId, StreamKind, TenantId, Timestamp};

use crate::harness::content;

const QUEUE: QueueId = QueueId::Delivery { channel: Channel::Email, is_high_priority: false };
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const LATER: Timestamp = Timestamp(1_800_000_060_000);

fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant")
}

fn communication(name: &str) -> CommunicationKey {
    CommunicationKey { tenant: tenant("acme"), id: CommunicationId::from_idempotency_key(&tenant("acme"), name) }
}

fn stream(name: &str) -> StreamId {
    communication(name).stream_id()
}

fn append(expected_version: u64, lines: &[&str], wake: Option<i64>, writer_id: &str) -> AppendRequest {
    AppendRequest {
        expected_version,
        encoded_events: lines.iter().map(|line| (*line).to_owned()).collect(),
        wake: wake.map(|ms| NOW + ms),
        queue: QUEUE,
        writer_id: writer_id.to_owned(),
        listing: Listing::Unchanged,
        roll_over: None,
    }
}

pub async fn event_store(store: &dyn EventStore) {
    appends_in_order(store).await;
    only_one_append_wins(store).await;
    an_append_recognises_its_own_writer(store).await;
    tenants_are_isolated(store).await;
    a_stream_has_a_size_limit(store).await;
    timers_come_due(store).await;
    timers_move_once(store).await;
    suppression_is_by_tenant_and_channel(store).await;
    a_stream_rolls_over_in_one_append(store).await;
    listed_streams_are_found_until_they_are_removed(store).await;
    streams_of_unknown_kinds_are_kept_and_scanned(store).await;
    all_streams_are_scanned(store).await;
}

async fn appends_in_order(store: &dyn EventStore) {
    let key = stream("order");
    let empty = store.read(&key).await.expect("an unknown stream is empty");
    assert_eq!((empty.version, empty.lines.len(), empty.wake), (0, 0, None));
    store.append(&key, append(0, &["{\"a\":1}"], Some(60_000), "w1")).await.expect("the first append");
    store.append(&key, append(1, &["{\"b\":\"ü\"}", "{\"c\":3}"], None, "w2")).await.expect("the second append");
    let read = store.read(&key).await.expect("a stream");
    assert_eq!(read.lines, ["{\"a\":1}", "{\"b\":\"ü\"}", "{\"c\":3}"]);
    assert_eq!((read.version, read.wake, read.writer_id.as_str()), (3, None, "w2"));
}

async fn only_one_append_wins(store: &dyn EventStore) {
    let key = stream("race");
    let first = [append(0, &["1"], None, "a"), append(0, &["2"], None, "b"), append(0, &["3"], None, "c")];
    let done = futures_util::future::join_all(first.map(|append| store.append(&key, append))).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
    assert!(done.iter().all(|done| matches!(done, Ok(()) | Err(AppendError::Conflict))), "{done:?}");
    let stale = store.append(&key, append(7, &["8"], None, "d")).await;
    assert!(matches!(stale, Err(AppendError::Conflict)), "{stale:?}");
    assert_eq!(store.read(&key).await.expect("a stream").version, 1);
}

async fn an_append_recognises_its_own_writer(store: &dyn EventStore) {
    let key = stream("again");
    for expected in [0, 1] {
        let writer = format!("w{expected}");
        store.append(&key, append(expected, &["x"], None, &writer)).await.expect("an append");
        store.append(&key, append(expected, &["x"], None, &writer)).await.expect("the same append, answer lost");
    }
    assert_eq!(store.read(&key).await.expect("a stream").version, 2);
}

async fn tenants_are_isolated(store: &dyn EventStore) {
    let key = stream("mine");
    store.append(&key, append(0, &["x"], None, "w")).await.expect("an append");
    let theirs = StreamId { tenant: tenant("other"), ..key.clone() };
    assert_eq!(store.read(&theirs).await.expect("an answer").version, 0);
}

async fn a_stream_has_a_size_limit(store: &dyn EventStore) {
    let key = stream("large");
    let large = "x".repeat(MAX_STREAM_BYTES + 1);
    let refused = store.append(&key, append(0, &[&large], None, "w")).await;
    assert!(matches!(refused, Err(AppendError::TooLarge)), "{refused:?}");
    assert_eq!(store.read(&key).await.expect("a stream").version, 0);
}

async fn all_due(store: &dyn EventStore, until: i64) -> BTreeMap<String, (i64, u32)> {
    let mut found = BTreeMap::new();
    for shard in 0..TIMER_SHARDS {
        for due in store.due_timers(shard, NOW + until, 100).await.expect("due streams") {
            assert_eq!((due.hint.queue, due.hint.stream.shard_byte() % TIMER_SHARDS), (QUEUE, shard));
            found.insert(due.hint.stream.id, (due.wake.millis_since(NOW), due.hints_sent));
        }
    }
    found
}

async fn timers_come_due(store: &dyn EventStore) {
    let [soon, later, done] = ["soon", "later", "done"].map(stream);
    store.append(&soon, append(0, &["x"], Some(1_000), "w")).await.expect("an append");
    store.append(&later, append(0, &["x"], Some(9_000), "w")).await.expect("an append");
    store.append(&done, append(0, &["x"], Some(1_000), "w")).await.expect("an append");
    store.append(&done, append(1, &["x"], None, "w2")).await.expect("an append");
    assert_eq!(all_due(store, 999).await, BTreeMap::new());
    assert_eq!(all_due(store, 1_000).await, BTreeMap::from([(soon.id.clone(), (1_000, 0))]));
    assert_eq!(all_due(store, 9_000).await.len(), 2);
    for (key, version) in [(soon, 1), (later, 1)] {
        store.append(&key, append(version, &["x"], None, "end")).await.expect("an append");
    }
    assert_eq!(all_due(store, 99_000).await, BTreeMap::new());
}

async fn timers_move_once(store: &dyn EventStore) {
    let key = stream("timer");
    store.append(&key, append(0, &["x"], Some(1_000), "w")).await.expect("an append");
    let shard = key.shard_byte() % TIMER_SHARDS;
    let due = store.due_timers(shard, NOW + 1_000, 10).await.expect("due").remove(0);
    store.reschedule_timer(&key, due.wake, NOW + 2_000, 1).await.expect("moved");
    store.reschedule_timer(&key, due.wake, NOW + 5_000, 1).await.expect("a stale move is nothing");
    assert_eq!(all_due(store, 9_000).await, BTreeMap::from([(key.id.clone(), (2_000, 1))]));
    store.append(&key, append(1, &["x"], Some(3_000), "w2")).await.expect("an append starts the count again");
    assert_eq!(all_due(store, 9_000).await, BTreeMap::from([(key.id.clone(), (3_000, 0))]));
    store.append(&key, append(2, &["x"], None, "w3")).await.expect("an append");
}

fn rolling(expected_version: u64, line: &str, writer_id: &str, archived: &[&str]) -> AppendRequest {
    let archived = archived.iter().map(|line| (*line).to_owned()).collect();
    let roll_over = Some(RollOver { snapshot: format!("snapshot of {expected_version}"), archived });
    AppendRequest { roll_over, ..append(expected_version, &[line], None, writer_id) }
}

async fn a_stream_rolls_over_in_one_append(store: &dyn EventStore) {
    let id = StreamId::new(&tenant("acme"), StreamKind::TEMPLATE, "tpl_rolls");
    store.append(&id, append(0, &["1", "2"], None, "a")).await.expect("an append");
    let stale = store.append(&id, rolling(1, "x", "b", &["1"])).await;
    assert!(matches!(stale, Err(AppendError::Conflict)), "{stale:?}");
    assert_eq!(store.read_history(&id).await.expect("a history"), ["1", "2"], "a lost race archives nothing");
    for _ in 0..2 {
        store
            .append(&id, rolling(2, "3", "c", &["1", "2"]))
            .await
            .expect("a roll-over, and the same with its answer lost");
    }
    store.append(&id, append(3, &["4", "5"], None, "d")).await.expect("an append");
    let read = store.read(&id).await.expect("a stream");
    assert_eq!((read.version, read.first(), read.snapshot.as_deref()), (5, 2, Some("snapshot of 2")));
    assert_eq!(read.lines, ["3", "4", "5"]);
    store.append(&id, rolling(5, "6", "e", &["3", "4", "5"])).await.expect("another roll-over");
    let read = store.read(&id).await.expect("a stream");
    assert_eq!((read.first(), read.snapshot.as_deref()), (5, Some("snapshot of 5")));
    assert_eq!(store.read_history(&id).await.expect("a history"), ["1", "2", "3", "4", "5", "6"]);
    let large = rolling(6, &"x".repeat(MAX_STREAM_BYTES), "f", &["6"]);
    let refused = store.append(&id, large).await;
    assert!(matches!(refused, Err(AppendError::TooLarge)), "{refused:?}");
    assert_eq!(store.read_history(&id).await.expect("a history").len(), 6);
}

async fn listed_streams_are_found_until_they_are_removed(store: &dyn EventStore) {
    let (ours, other) = (tenant("lists"), tenant("other"));
    let key = |id: &str| StreamId::new(&ours, StreamKind::API_KEY, id);
    let listing = |append: AppendRequest, listing| AppendRequest { listing, ..append };
    for id in ["b", "a"] {
        store.append(&key(id), listing(append(0, &["1"], None, "w"), Listing::Add)).await.expect("an append");
    }
    store.append(&key("unlisted"), append(0, &["1"], None, "w")).await.expect("an append");
    let routing = StreamId::new(&ours, StreamKind::ROUTING, "sms");
    store.append(&routing, listing(append(0, &["1"], None, "w"), Listing::Add)).await.expect("an append");
    store.append(&key("a"), append(1, &["2"], None, "w2")).await.expect("an append");
    let list = async |tenant: &TenantId, kinds: &[StreamKind], listed| {
        let found = store.list(tenant, kinds, listed).await.expect("a list");
        found.into_iter().map(|(id, stream)| (id.id, stream.version)).collect::<Vec<_>>()
    };
    let entry = |id: &str, version: u64| (id.to_owned(), version);
    let kinds = [StreamKind::API_KEY, StreamKind::ROUTING];
    assert_eq!(list(&ours, &kinds, Listed::Current).await, [entry("a", 2), entry("b", 1), entry("sms", 1)]);
    assert_eq!(list(&other, &kinds, Listed::Ever).await, []);
    store.append(&key("a"), listing(append(2, &["3"], None, "w3"), Listing::Remove)).await.expect("an append");
    assert_eq!(list(&ours, &kinds[..1], Listed::Current).await, [entry("b", 1)]);
    assert_eq!(list(&ours, &kinds[..1], Listed::Ever).await, [entry("a", 3), entry("b", 1)]);
    store.append(&key("a"), listing(append(3, &["4"], None, "w4"), Listing::Add)).await.expect("an append");
    assert_eq!(list(&ours, &kinds[..1], Listed::Current).await, [entry("a", 4), entry("b", 1)]);
}

async fn streams_of_unknown_kinds_are_kept_and_scanned(store: &dyn EventStore) {
    let id = StreamId::new(&tenant("acme"), StreamKind::new("moon"), "landing#1969");
    let request = AppendRequest { queue: QueueId::Process, ..append(0, &["1"], Some(1_000), "w") };
    store.append(&id, request).await.expect("an append");
    let shard = id.shard_byte() % TIMER_SHARDS;
    let due = store.due_timers(shard, NOW + 1_000, 10).await.expect("due");
    assert_eq!(
        due.iter().map(|due| &due.hint).collect::<Vec<_>>(),
        [&Hint { queue: QueueId::Process, stream: id.clone() }]
    );
    let page = store.scan(None, 1_000).await.expect("a page");
    assert!(page.streams.iter().any(|(found, _)| *found == id));
    store.append(&id, append(1, &["2"], None, "w2")).await.expect("an append");
}

async fn all_streams_are_scanned(store: &dyn EventStore) {
    let (mut found, mut after) = (BTreeMap::new(), None::<String>);
    loop {
        let some = store.scan(after.as_deref(), 3).await.expect("a part");
        found.extend(some.streams);
        after = some.next;
        if after.is_none() {
            break;
        }
    }
    let order = found.get(&stream("order")).expect("a stream seen");
    assert_eq!((order.version, order.lines.len()), (3, 3));
    assert!(found.contains_key(&stream("timer")) && !found.contains_key(&stream("large")));
}

async fn suppression_is_by_tenant_and_channel(store: &dyn EventStore) {
    let contact = |name: &str, channel| AddressKey { tenant: tenant(name), channel, contact_hash: "h".to_owned() };
    let ours = contact("acme", Channel::Email);
    assert!(!store.is_suppressed(&ours).await.expect("an answer"));
    for _ in 0..2 {
        store.suppress(&ours, "bounced", NOW).await.expect("suppressed");
    }
    assert!(store.is_suppressed(&ours).await.expect("an answer"));
    assert!(!store.is_suppressed(&contact("acme", Channel::Sms)).await.expect("an answer"));
    assert!(!store.is_suppressed(&contact("other", Channel::Email)).await.expect("an answer"));
}

pub async fn vault(vault: &dyn Vault) {
    let key = |name: &str, content: &str| ContentKey {
        tenant: tenant("acme"),
        subject: "customer:1".to_owned(),
        id: communication(name).id,
        content: content.to_owned(),
    };
    let full = MessageContent {
        variables: Some(serde_json::json!({ "amount": 1.5, "name": "Ünï" })),
        rendered_subject: Some("S".to_owned()),
        ..content()
    };
    assert_eq!(vault.get(&key("a", "1"), NOW).await.expect("an answer"), None);
    vault.put(&key("a", "1"), &full, LATER).await.expect("kept");
    vault.put(&key("a", "2"), &content(), LATER).await.expect("kept");
    assert_eq!(vault.get(&key("a", "1"), NOW).await.expect("an answer"), Some(full.clone()));
    let asked = [key("a", "2"), key("b", "1"), key("a", "1"), key("a", "2")];
    let found = vault.get_many(&asked, NOW).await.expect("an answer");
    assert_eq!(found, [Some(content()), None, Some(full), Some(content())]);
    let many: Vec<ContentKey> = (0..130).map(|n| key(&format!("many-{n}"), "1")).collect();
    for key in &many {
        vault.put(key, &content(), LATER).await.expect("kept");
    }
    let found = vault.get_many(&many, NOW).await.expect("an answer");
    assert!(found.len() == 130 && found.iter().all(Option::is_some));
    assert_eq!(vault.get_many(&[], NOW).await.expect("an answer"), []);
    // Everything about one person, and about nobody else, in pages.
    let (of, subject) = (tenant("acme"), "customer:1");
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = vault.list_for_data_subject(&of, subject, before.as_deref(), 50, NOW).await.expect("an answer");
        before = page.last().map(|(key, _)| key.path().1);
        let is_last = page.len() < 50;
        seen.extend(page.into_iter().map(|(key, _)| key));
        if is_last {
            break;
        }
    }
    assert_eq!(seen.len(), 132);
    assert!(seen.is_sorted_by(|a, b| a.path().1 > b.path().1));
    assert_eq!(vault.list_for_data_subject(&of, "customer:2", None, 50, NOW).await.expect("an answer"), []);
    // What is past its time is not there, whether or not it has been deleted yet.
    assert_eq!(vault.get(&key("a", "1"), LATER).await.expect("an answer"), None);
    assert_eq!(vault.get_many(&asked, LATER).await.expect("an answer"), [None, None, None, None]);
    assert_eq!(vault.list_for_data_subject(&of, subject, None, 50, LATER).await.expect("an answer"), []);
    for _ in 0..2 {
        vault.erase(&key("a", "1")).await.expect("erased");
    }
    assert_eq!(vault.get(&key("a", "1"), NOW).await.expect("an answer"), None);
    assert_eq!(vault.list_for_data_subject(&of, subject, None, 500, NOW).await.expect("an answer").len(), 131);
}

pub async fn keys(keys: &dyn ApiKeyStore) {
    let principal = Principal::admin(tenant("acme"), "billing", Mode::Live);
    assert_eq!(keys.find("hash").await.expect("an answer"), None);
    keys.put("hash", &principal).await.expect("kept");
    assert_eq!(keys.find("hash").await.expect("an answer"), Some(principal));
}

pub async fn limits(limits: &dyn CoordinationStore) {
    assert_eq!(limits.last_heartbeat("sweep").await.expect("an answer"), None);
    for at in [NOW, NOW + 5] {
        limits.record_heartbeat("sweep", at).await.expect("kept");
    }
    assert_eq!(limits.last_heartbeat("sweep").await.expect("an answer"), Some(NOW + 5));
    records_are_swapped_by_one(limits).await;
}

async fn records_are_swapped_by_one(limits: &dyn CoordinationStore) {
    let [a, b] = ["gate#a", "gate#b"].map(str::to_owned);
    let held = |version, body: &str| Some(VersionedRecord { version, body: body.to_owned() });
    assert_eq!(limits.read_versioned(&[a.clone(), b.clone()]).await.expect("an answer"), [None, None]);
    assert_eq!(limits.compare_and_swap(&a, 0, "1").await.expect("an answer"), None);
    assert_eq!(limits.compare_and_swap(&a, 0, "x").await.expect("an answer"), held(1, "1"), "somebody else was first");
    assert_eq!(limits.compare_and_swap(&a, 1, "2").await.expect("an answer"), None);
    assert_eq!(limits.compare_and_swap(&a, 1, "x").await.expect("an answer"), held(2, "2"));
    let both = limits.read_versioned(&[b.clone(), a.clone(), b]).await.expect("an answer");
    assert_eq!(both, [None, held(2, "2"), None]);
    let races = ["3", "4", "5"].map(|body| limits.compare_and_swap(&a, 2, body));
    let done = futures_util::future::join_all(races).await;
    assert_eq!(done.iter().filter(|done| matches!(done, Ok(None))).count(), 1, "{done:?}");
}

pub async fn documents(documents: &dyn DocumentStore) {
    let key = |name: &str| DocumentKey { tenant: tenant("acme"), collection: "callback", name: name.to_owned() };
    let now = NOW;
    assert_eq!(documents.get_document(&key("1"), now).await.expect("an answer"), None);
    for (name, until) in [("1", None), ("2", Some(NOW + 60_000)), ("3", Some(NOW - 1_000))] {
        documents.put_document(&key(name), name, until).await.expect("kept");
    }
    assert_eq!(documents.get_document(&key("2"), now).await.expect("an answer").as_deref(), Some("2"));
    assert_eq!(documents.get_document(&key("3"), now).await.expect("an answer"), None, "past its time");
    documents.put_document(&key("1"), "again", None).await.expect("kept");
    let shelf = async |tenant: &TenantId, before| {
        documents.list_documents(tenant, "callback", before, 10, now).await.expect("an answer")
    };
    let two = [("2".to_owned(), "2".to_owned()), ("1".to_owned(), "again".to_owned())];
    assert_eq!(shelf(&tenant("acme"), None).await, two);
    assert_eq!(shelf(&tenant("acme"), Some("2")).await, two[1..]);
    assert_eq!(shelf(&tenant("other"), None).await, []);
    for (seen, body, is_replaced) in
        [(None, "x", false), (Some("first"), "x", false), (Some("again"), "third", true), (Some("again"), "x", false)]
    {
        let replaced = documents.replace_document(&key("1"), seen, body).await.expect("an answer");
        assert_eq!(replaced, is_replaced, "{seen:?} {body}");
    }
    assert_eq!(documents.get_document(&key("1"), now).await.expect("an answer").as_deref(), Some("third"));
    assert!(documents.replace_document(&key("4"), None, "4").await.expect("an answer"));
    documents.delete_document(&key("1")).await.expect("removed");
    assert_eq!(documents.get_document(&key("1"), now).await.expect("an answer"), None);
}

/// On the list, off it for the reason it is there for, and on it again.
pub async fn suppressions(store: &dyn EventStore) {
    let contact = AddressKey { tenant: tenant("acme"), channel: Channel::Sms, contact_hash: "h".to_owned() };
    let reason = async || store.suppression(&contact).await.expect("an answer");
    assert_eq!(reason().await, None);
    store.suppress(&contact, "stop_keyword", NOW).await.expect("stored");
    store.suppress(&contact, "bounced", NOW).await.expect("stored");
    assert_eq!(reason().await.as_deref(), Some("stop_keyword"), "the first reason stays");
    store.unsuppress(&contact, "bounced").await.expect("nothing to do");
    assert!(store.is_suppressed(&contact).await.expect("an answer"));
    store.unsuppress(&contact, "stop_keyword").await.expect("lifted");
    assert!(!store.is_suppressed(&contact).await.expect("an answer"));
    assert_eq!(reason().await, None);
    store.suppress(&contact, "bounced", NOW).await.expect("stored");
    assert_eq!(reason().await.as_deref(), Some("bounced"));
}

/// A row as `project` would fold it, made from a real stream.
fn row(name: &str, created_ms: i64) -> CommunicationRow {
    let request = crate::harness::request(NOW);
    let meta = events::EventMetadata {
        at: NOW + created_ms,
        command: "c".to_owned(),
        correlation: None,
        causation: None,
        actor: "a".to_owned(),
        traceparent: None,
    };
    let event = events::CommunicationEvent::CommunicationRequested(Box::new(request));
    let record = events::RecordedEvent { version: 1, meta, event };
    domain::communication_view::project(communication(name).id, &[record]).expect("a row")
}

fn view() -> ViewScope {
    ViewScope { tenant: tenant("acme"), mode: Mode::Live }
}

fn projected(row: CommunicationRow) -> ProjectedRow {
    ProjectedRow { view: view(), row }
}

pub async fn views(views: &dyn ViewStore) {
    rows_and_counters_move_together(views).await;
    lists_page_newest_first(views).await;
    dead_letters_are_found_by_how_they_ended(views).await;
}

async fn dead_letters_are_found_by_how_they_ended(views: &dyn ViewStore) {
    let ends = ["expired", "poison", "expired"];
    let given_up = |(n, end): (usize, &str)| CommunicationRow {
        dead_letter_outcome: Some(end.to_owned()),
        provider: Some(if n == 0 { "a" } else { "b" }.to_owned()),
        ..row(&format!("dead-{n}"), 100_000 + n as i64)
    };
    let rows: Vec<CommunicationRow> = ends.into_iter().enumerate().map(given_up).collect();
    let all: Vec<ProjectedRow> = rows.iter().cloned().map(projected).collect();
    views.apply(&all, NOW).await.expect("applied");
    let list = async |filter: ListFilter| {
        let page =
            views.list(&view(), &ListFilter { dead_letters_only: true, ..filter }, None, 10).await.expect("a list");
        page.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let ids = |places: &[usize]| places.iter().map(|n| rows[*n].id).collect::<Vec<_>>();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(list(ListFilter::default()).await, ids(&[2, 1, 0]));
    assert_eq!(list(ListFilter { dead_letter_reason: text("expired"), ..ListFilter::default() }).await, ids(&[2, 0]));
    assert_eq!(list(ListFilter { provider: text("b"), ..ListFilter::default() }).await, ids(&[2, 1]));
    assert_eq!(list(ListFilter { to: Some(NOW + 100_001), ..ListFilter::default() }).await, ids(&[0]));
    let taken_up = CommunicationRow { position: 2, dead_letter_outcome: None, ..rows[1].clone() };
    views.apply(&[projected(taken_up.clone())], NOW).await.expect("applied");
    assert_eq!(list(ListFilter::default()).await, ids(&[2, 0]));
    let unknown = RowKey { created_at: NOW, id: communication("nobody").id };
    let found = views.get_rows(&view(), &[unknown, RowKey::of(&taken_up)]).await.expect("rows");
    assert_eq!(found, [None, Some(taken_up)]);
}

async fn rows_and_counters_move_together(views: &dyn ViewStore) {
    let first = row("first", 0);
    let sent = CommunicationRow {
        position: 3,
        status: "sent".to_owned(),
        lifecycle: "sent".to_owned(),
        sent_at: Some(NOW + 250),
        attempts: 1,
        ..first.clone()
    };
    // Twice, backwards and again: the counters know each row once.
    for state in [&first, &first, &sent, &first, &sent] {
        views.apply(&[projected(state.clone())], NOW).await.expect("applied");
    }
    let expected: Counters = [
        ("accept_to_sent.300", 1),
        ("accept_to_sent_ms", 250),
        ("channel.email", 1),
        ("lifecycle.sent", 1),
        ("sent", 1),
        ("status.sent", 1),
        ("total", 1),
        ("type.invoice", 1),
    ]
    .map(|(name, amount)| (name.to_owned(), amount))
    .into();
    let (totals, as_of) = views.total_counters(&view()).await.expect("totals");
    assert_eq!((totals, as_of), (expected.clone(), Some(NOW)));
    let day = domain::communication_view::utc_day(NOW);
    let days = views.daily_counters(&view(), &day, &day).await.expect("days");
    assert_eq!(days, BTreeMap::from([(day, expected)]));
    let test = ViewScope { mode: Mode::Test, ..view() };
    assert_eq!(views.total_counters(&test).await.expect("totals"), (Counters::new(), None));
    let page = views.list(&view(), &ListFilter::default(), None, 10).await.expect("a list");
    assert_eq!((page.rows, page.next), (vec![sent], None));
}

async fn lists_page_newest_first(views: &dyn ViewStore) {
    let rows: Vec<CommunicationRow> = (1..=45)
        .map(|n| CommunicationRow {
            recipient_id: Some(format!("cus-{}", n % 3)),
            entity_type: Some("sale".to_owned()),
            entity_id: Some(format!("s{}", n % 5)),
            status: if n % 2 == 0 { "sent" } else { "failed" }.to_owned(),
            ..row(&format!("row-{n}"), n * 1_000)
        })
        .collect();
    for some in rows.chunks(20) {
        let some: Vec<ProjectedRow> = some.iter().cloned().map(projected).collect();
        views.apply(&some, NOW).await.expect("applied");
    }
    let all = |filter: ListFilter| async move {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = views.list(&view(), &filter, after.as_deref(), 10).await.expect("a list");
            assert!(page.rows.len() <= 10);
            found.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    };
    let everything = all(ListFilter::default()).await;
    assert_eq!(everything.len(), 46);
    assert!(everything.is_sorted_by(|a, b| b.created_at <= a.created_at));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(all(ListFilter { recipient_id: text("cus-0"), ..ListFilter::default() }).await.len(), 15);
    let entity = ListFilter { entity_type: text("sale"), entity_id: text("s1"), ..ListFilter::default() };
    assert_eq!(all(entity.clone()).await.len(), 9);
    assert_eq!(all(ListFilter { status: text("failed"), ..entity }).await.len(), 5);
    assert_eq!(all(ListFilter { channel: text("sms"), ..ListFilter::default() }).await.len(), 0);
    let between = ListFilter { from: Some(NOW + 10_000), to: Some(NOW + 20_000), ..ListFilter::default() };
    assert_eq!(all(between).await.len(), 10);
    let nothing = ListFilter { from: Some(NOW + 20_000), to: Some(NOW + 10_000), ..ListFilter::default() };
    assert_eq!(all(nothing).await.len(), 0);
}

/// `depth` may lag behind, so it is asked until it is right.
pub async fn queue(queue: &dyn WorkQueue) {
    let hint = |n: u32| Hint { queue: QUEUE, stream: stream(&format!("hint-{n}")) };
    let before = queue.depth(QUEUE).await.expect("a depth");
    queue.send(&[(hint(0), 0)]).await.expect("sent");
    let many: Vec<(Hint, u32)> = (1..=13).map(|n| (hint(n), if n == 13 { 900 } else { 0 })).collect();
    queue.send(&many).await.expect("sent");
    queue.send(&[]).await.expect("nothing is sent");
    let expected = QueueDepth { waiting: before.waiting + 13, delayed: before.delayed + 1, ..before };
    let same = async || Some(queue.depth(QUEUE).await.expect("a depth")).filter(|depth| *depth == expected);
    crate::server::eventually("the queue's depth", same).await;
}

/// Files are put where an address says and read where another says, for as long as each is good.
pub async fn objects(objects: &dyn ObjectStore, client: &reqwest::Client, now: Timestamp) {
    let tenant = "acme".parse().expect("a tenant");
    let key = ObjectKey::upload(&tenant, "att_1");
    let soon = now + 60_000;
    assert_eq!(objects.read(&key, 100).await.expect("an answer"), None);
    let upload = objects.upload_to(&key, "application/pdf", 4, soon).await.expect("an address");
    let mut request = client.put(&upload.url).body("%PDF");
    for (name, value) in upload.headers.iter().filter(|(name, _)| name != "content-length") {
        request = request.header(name, value);
    }
    let answer = request.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}: {:?}", upload.url, answer.text().await);
    assert_eq!(objects.read(&key, 100).await.expect("an answer").as_deref(), Some(&b"%PDF"[..]));
    assert!(objects.read(&key, 3).await.is_err(), "more than was asked for");
    let url = objects.download_from(&key, "Año & más.pdf", "application/pdf", soon).await.expect("an address");
    let answer = client.get(&url).send().await.expect("an answer");
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    let (kind, name) = (header("content-type"), header("content-disposition"));
    assert_eq!(
        (kind.as_str(), name.as_str()),
        ("application/pdf", "attachment; filename*=UTF-8''A%C3%B1o%20%26%20m%C3%A1s.pdf")
    );
    assert_eq!(answer.bytes().await.expect("a body").as_ref(), b"%PDF");
    let copy = ObjectKey { collection: "fetched", ..key.clone() };
    objects.write(&copy, b"copy".to_vec(), "text/plain").await.expect("written");
    objects.write(&copy, b"again".to_vec(), "text/plain").await.expect("written");
    assert_eq!(objects.read(&copy, 100).await.expect("an answer").as_deref(), Some(&b"again"[..]));
    for _ in 0..2 {
        objects.delete(&key).await.expect("gone");
    }
    assert_eq!(objects.read(&key, 100).await.expect("an answer"), None);
    assert!(objects.read(&copy, 100).await.expect("an answer").is_some());
}

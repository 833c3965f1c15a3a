//! The contract of the event store.

use std::collections::BTreeMap;

use domain::ports::{
    AddressKey, AddressRecord, AppendError, AppendRequest, EventStore, Hint, Listed, Listing, MAX_PEOPLE,
    MAX_STREAM_BYTES, QueueId, RollOver, TIMER_SHARDS,
};
use events::{Channel, StreamId, StreamKind, TenantId};

use super::{NOW, QUEUE, stream, tenant};

fn append(expected_version: u64, lines: &[&str], wake: Option<i64>, writer_id: &str) -> AppendRequest {
    AppendRequest {
        expected_version,
        encoded_events: lines.iter().map(|line| (*line).to_owned()).collect(),
        wake: wake.map(|ms| NOW + ms),
        queue: QUEUE,
        writer_id: writer_id.to_owned(),
        listing: Listing::Unchanged,
        roll_over: None,
        unmoved: Vec::new(),
    }
}

pub async fn event_store(store: &dyn EventStore) {
    appends_in_order(store).await;
    only_one_append_wins(store).await;
    an_append_recognises_its_own_writer(store).await;
    an_append_depends_on_other_streams(store).await;
    tenants_are_isolated(store).await;
    a_stream_has_a_size_limit(store).await;
    timers_come_due(store).await;
    due_timers_are_read_page_by_page(store).await;
    a_stale_timer_change_has_no_effect(store).await;
    an_append_without_events_sets_the_timer(store).await;
    suppressions_are_per_tenant_and_channel(store).await;
    a_stream_rolls_over_in_one_append(store).await;
    listed_streams_are_found_until_they_are_removed(store).await;
    streams_of_unknown_kinds_are_stored_and_scanned(store).await;
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

async fn an_append_without_events_sets_the_timer(store: &dyn EventStore) {
    let key = stream("restored");
    store.append(&key, append(0, &["1"], None, "w1")).await.expect("the first append");
    assert!(matches!(store.append(&key, append(0, &[], Some(5), "w2")).await, Err(AppendError::Conflict)));
    store.append(&key, append(1, &[], Some(60_000), "w3")).await.expect("a timer");
    store.append(&key, append(1, &[], Some(70_000), "w4")).await.expect("another timer");
    let read = store.read(&key).await.expect("a stream");
    assert_eq!((read.version, read.lines.as_slice(), read.wake), (1, &["1".to_owned()][..], Some(NOW + 70_000)));
    store.append(&key, append(1, &["2"], None, "w5")).await.expect("the second append");
    assert_eq!(store.read_history(&key).await.expect("a history"), ["1", "2"]);
}

async fn only_one_append_wins(store: &dyn EventStore) {
    let key = stream("race");
    let first = [append(0, &["1"], None, "a"), append(0, &["2"], None, "b"), append(0, &["3"], None, "c")];
    let results = futures_util::future::join_all(first.map(|append| store.append(&key, append))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(AppendError::Conflict))), "{results:?}");
    let stale = store.append(&key, append(7, &["8"], None, "d")).await;
    assert!(matches!(stale, Err(AppendError::Conflict)), "{stale:?}");
    assert_eq!(store.read(&key).await.expect("a stream").version, 1);
}

async fn an_append_recognises_its_own_writer(store: &dyn EventStore) {
    let key = stream("again");
    for expected in [0, 1] {
        let writer = format!("w{expected}");
        store.append(&key, append(expected, &["x"], None, &writer)).await.expect("an append");
        store
            .append(&key, append(expected, &["x"], None, &writer))
            .await
            .expect("the same append, after its answer was lost");
    }
    assert_eq!(store.read(&key).await.expect("a stream").version, 2);
}

async fn an_append_depends_on_other_streams(store: &dyn EventStore) {
    let (key, other, absent) = (stream("dependent"), stream("other"), stream("absent"));
    store.append(&other, append(0, &["1", "2"], None, "o1")).await.expect("the other stream");
    let on = |other_version, absent_version, expected_version, writer: &str| AppendRequest {
        unmoved: vec![(other.clone(), other_version), (absent.clone(), absent_version)],
        ..append(expected_version, &["x"], Some(1_000), writer)
    };
    for (other_version, absent_version) in [(1, 0), (3, 0), (0, 0), (2, 1)] {
        let moved = store.append(&key, on(other_version, absent_version, 0, "d0")).await;
        assert!(matches!(moved, Err(AppendError::Conflict)), "{other_version} {absent_version}: {moved:?}");
    }
    assert_eq!(store.read(&key).await.expect("a stream").version, 0, "nothing was stored");
    store.append(&key, on(2, 0, 0, "d1")).await.expect("nothing has moved");
    store.append(&key, on(2, 0, 1, "d2")).await.expect("nothing has moved");
    store.append(&other, append(2, &["3"], None, "o2")).await.expect("the other stream moves");
    assert!(matches!(store.append(&key, on(2, 0, 2, "d3")).await, Err(AppendError::Conflict)));
    let read = store.read(&key).await.expect("a stream");
    assert_eq!((read.version, read.writer_id.as_str()), (2, "d2"));
    // As many as a notice can have, with the customer's own stream.
    let many: Vec<_> = (0..51).map(|n| (stream(&format!("absent-{n}")), 0)).collect();
    let append = AppendRequest { unmoved: many, ..append(2, &["y"], None, "d4") };
    store.append(&key, append).await.expect("51 streams");
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
        for due in store.due_timers(shard, NOW + until, None, 100).await.expect("due streams").timers {
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

async fn due_timers_are_read_page_by_page(store: &dyn EventStore) {
    let ids: Vec<StreamId> = (0..200).map(|n| stream(&format!("page-{n}"))).collect();
    let shard = ids[0].shard_byte() % TIMER_SHARDS;
    let mine: Vec<&StreamId> = ids.iter().filter(|id| id.shard_byte() % TIMER_SHARDS == shard).collect();
    for (n, id) in mine.iter().enumerate() {
        // Some timers have the same time.
        store.append(id, append(0, &["x"], Some(1_000 + n as i64 / 3), "w")).await.expect("an append");
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.due_timers(shard, NOW + 9_000, after.as_ref(), 2).await.expect("a page");
        found.extend(page.timers.into_iter().map(|due| (due.wake, due.hint.stream.id)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut expected: Vec<&String> = mine.iter().map(|id| &id.id).collect();
    assert!(found.is_sorted_by_key(|(wake, _)| *wake), "the earliest come first");
    let mut found: Vec<&String> = found.iter().map(|(_, id)| id).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for id in mine {
        store.append(id, append(1, &["x"], None, "end")).await.expect("an append");
    }
}

async fn a_stale_timer_change_has_no_effect(store: &dyn EventStore) {
    let key = stream("timer");
    store.append(&key, append(0, &["x"], Some(1_000), "w")).await.expect("an append");
    let shard = key.shard_byte() % TIMER_SHARDS;
    let due = store.due_timers(shard, NOW + 1_000, None, 10).await.expect("due").timers.remove(0);
    store.reschedule_timer(&key, due.wake, NOW + 2_000, 1).await.expect("moved");
    store.reschedule_timer(&key, due.wake, NOW + 5_000, 1).await.expect("a stale change has no effect");
    assert_eq!(all_due(store, 9_000).await, BTreeMap::from([(key.id.clone(), (2_000, 1))]));
    store.append(&key, append(1, &["x"], Some(3_000), "w2")).await.expect("an append resets the count");
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
            .expect("a roll-over, repeated after its answer was lost");
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

async fn streams_of_unknown_kinds_are_stored_and_scanned(store: &dyn EventStore) {
    let id = StreamId::new(&tenant("acme"), StreamKind::new("moon"), "landing#1969");
    let request = AppendRequest { queue: QueueId::Process, ..append(0, &["1"], Some(1_000), "w") };
    store.append(&id, request).await.expect("an append");
    let shard = id.shard_byte() % TIMER_SHARDS;
    let due = store.due_timers(shard, NOW + 1_000, None, 10).await.expect("due").timers;
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
        let page = store.scan(after.as_deref(), 3).await.expect("a page");
        found.extend(page.streams);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let order = found.get(&stream("order")).expect("a scanned stream");
    assert_eq!((order.version, order.lines.len()), (3, 3));
    assert!(found.contains_key(&stream("timer")) && !found.contains_key(&stream("large")));
}

async fn suppressions_are_per_tenant_and_channel(store: &dyn EventStore) {
    let contact = |name: &str, channel| AddressKey { tenant: tenant(name), channel, contact_hash: "h".to_owned() };
    let ours = contact("acme", Channel::Email);
    assert!(store.suppression(&ours).await.expect("an answer").is_none());
    for _ in 0..2 {
        store.suppress(&ours, "bounced", NOW).await.expect("suppressed");
    }
    assert!(store.suppression(&ours).await.expect("an answer").is_some());
    assert!(store.suppression(&contact("acme", Channel::Sms)).await.expect("an answer").is_none());
    assert!(store.suppression(&contact("other", Channel::Email)).await.expect("an answer").is_none());
}

/// An address is suppressed for its first reason, and only that reason lifts the suppression.
pub async fn suppressions(store: &dyn EventStore) {
    let contact = AddressKey { tenant: tenant("acme"), channel: Channel::Sms, contact_hash: "h".to_owned() };
    let reason = async || store.suppression(&contact).await.expect("an answer");
    assert_eq!(reason().await, None);
    store.suppress(&contact, "stop_keyword", NOW).await.expect("stored");
    store.suppress(&contact, "bounced", NOW).await.expect("stored");
    assert_eq!(reason().await.as_deref(), Some("stop_keyword"), "the first reason stays");
    store.unsuppress(&contact, "bounced").await.expect("nothing to do");
    assert!(store.suppression(&contact).await.expect("an answer").is_some());
    store.unsuppress(&contact, "stop_keyword").await.expect("lifted");
    assert!(store.suppression(&contact).await.expect("an answer").is_none());
    assert_eq!(reason().await, None);
    store.suppress(&contact, "bounced", NOW).await.expect("stored");
    assert_eq!(reason().await.as_deref(), Some("bounced"));
}

/// The people of an address are no suppression, and at most [`MAX_PEOPLE`] are recorded.
pub async fn people_of_addresses(store: &dyn EventStore) {
    let contact = AddressKey { tenant: tenant("acme"), channel: Channel::Sms, contact_hash: "p".to_owned() };
    let record = async || store.address(&contact).await.expect("an answer");
    assert_eq!(record().await, AddressRecord::default());
    for _ in 0..2 {
        store.link_person(&contact, "customer:7").await.expect("linked");
    }
    assert_eq!(record().await, AddressRecord { suppressed: None, people: vec!["customer:7".to_owned()] });
    store.suppress(&contact, "bounced", NOW).await.expect("stored");
    assert_eq!(record().await.suppressed.as_deref(), Some("bounced"));
    store.unsuppress(&contact, "bounced").await.expect("lifted");
    assert_eq!(record().await, AddressRecord { suppressed: None, people: vec!["customer:7".to_owned()] });
    for n in 0..MAX_PEOPLE {
        store.link_person(&contact, &format!("user:{n}")).await.expect("linked or full");
    }
    assert_eq!(record().await.people.len(), MAX_PEOPLE);
    let other = AddressKey { channel: Channel::Whatsapp, ..contact.clone() };
    assert_eq!(store.address(&other).await.expect("an answer"), AddressRecord::default());
}

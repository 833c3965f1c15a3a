//! The contract of each port, run against the AWS and the embedded adapters. Each function takes a fresh adapter.

mod event_store;
mod views_by_due;

use std::collections::BTreeMap;

use application::views::RowPage;
use domain::communication_view::{CommunicationRow, ListFilter};
use domain::message::MessageContent;
use domain::ports::{
    Addition, ApiKeyStore, CommunicationKey, ContentKey, CoordinationStore, DocumentKey, DocumentStore, Hint,
    ObjectKey, ObjectStore, Principal, ProjectedRow, QueueDepth, QueueId, RowIndex, RowRange, Vault, VersionedRecord,
    ViewRow, ViewScope, ViewStore, WorkQueue, time_prefix,
};
use domain::stats::Counters;
use events::{Channel, CommunicationId, Mode, StreamId, TenantId, Timestamp};

pub use event_store::{event_store, people_of_addresses, suppressions};

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
    vault.put(&key("a", "1"), &full, LATER).await.expect("stored");
    vault.put(&key("a", "2"), &content(), LATER).await.expect("stored");
    assert_eq!(vault.get(&key("a", "1"), NOW).await.expect("an answer"), Some(full.clone()));
    let requested = [key("a", "2"), key("b", "1"), key("a", "1"), key("a", "2")];
    let found = vault.get_many(&requested, NOW).await.expect("an answer");
    assert_eq!(found, [Some(content()), None, Some(full), Some(content())]);
    let many: Vec<ContentKey> = (0..130).map(|n| key(&format!("many-{n}"), "1")).collect();
    for key in &many {
        vault.put(key, &content(), LATER).await.expect("stored");
    }
    let found = vault.get_many(&many, NOW).await.expect("an answer");
    assert!(found.len() == 130 && found.iter().all(Option::is_some));
    assert_eq!(vault.get_many(&[], NOW).await.expect("an answer"), []);
    // Lists everything about one person, and nothing about others, in pages.
    let (owner, subject) = (tenant("acme"), "customer:1");
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = vault.list_for_data_subject(&owner, subject, before.as_deref(), 50, NOW).await.expect("an answer");
        before = page.last().map(|(key, _)| key.path().1);
        let is_last = page.len() < 50;
        seen.extend(page.into_iter().map(|(key, _)| key));
        if is_last {
            break;
        }
    }
    assert_eq!(seen.len(), 132);
    assert!(seen.is_sorted_by(|a, b| a.path().1 > b.path().1));
    assert_eq!(vault.list_for_data_subject(&owner, "customer:2", None, 50, NOW).await.expect("an answer"), []);
    // Expired content is never returned, whether or not it has been deleted yet.
    assert_eq!(vault.get(&key("a", "1"), LATER).await.expect("an answer"), None);
    assert_eq!(vault.get_many(&requested, LATER).await.expect("an answer"), [None, None, None, None]);
    assert_eq!(vault.list_for_data_subject(&owner, subject, None, 50, LATER).await.expect("an answer"), []);
    for _ in 0..2 {
        vault.erase(&key("a", "1")).await.expect("erased");
    }
    assert_eq!(vault.get(&key("a", "1"), NOW).await.expect("an answer"), None);
    assert_eq!(vault.list_for_data_subject(&owner, subject, None, 500, NOW).await.expect("an answer").len(), 131);
}

pub async fn keys(keys: &dyn ApiKeyStore) {
    let principal = Principal::admin(tenant("acme"), "billing", Mode::Live);
    assert_eq!(keys.find("hash").await.expect("an answer"), None);
    keys.put("hash", &principal).await.expect("stored");
    assert_eq!(keys.find("hash").await.expect("an answer"), Some(principal));
}

pub async fn limits(limits: &dyn CoordinationStore) {
    assert_eq!(limits.last_heartbeat("sweep").await.expect("an answer"), None);
    for at in [NOW, NOW + 5] {
        limits.record_heartbeat("sweep", at).await.expect("stored");
    }
    assert_eq!(limits.last_heartbeat("sweep").await.expect("an answer"), Some(NOW + 5));
    one_compare_and_swap_wins(limits).await;
    counters_never_pass_their_limit(limits).await;
}

async fn counters_never_pass_their_limit(limits: &dyn CoordinationStore) {
    use Addition::{Added, Refused};
    let names = ["spend#a", "spend#b"].map(str::to_owned);
    let add =
        async |name: &str, amount, most| limits.add_within(name, amount, most, NOW + 60_000).await.expect("an answer");
    let read = async || limits.read_counters(&names).await.expect("an answer");
    assert_eq!(read().await, [0, 0]);
    assert_eq!(add("spend#a", 7, 6).await, Refused(0), "a new counter has the limit too");
    assert_eq!((add("spend#a", 6, 10).await, add("spend#a", 4, 10).await), (Added(6), Added(10)));
    assert_eq!((add("spend#a", 1, 10).await, add("spend#a", 0, 10).await), (Refused(10), Added(10)));
    assert_eq!((add("spend#a", 5, i64::MAX).await, add("spend#a", -3, i64::MAX).await), (Added(15), Added(12)));
    let races = futures_util::future::join_all((0..5).map(|_| add("spend#b", 2, 5))).await;
    assert_eq!(races.iter().filter(|result| matches!(result, Added(_))).count(), 2, "{races:?}");
    assert_eq!(read().await, [12, 4]);
}

async fn one_compare_and_swap_wins(limits: &dyn CoordinationStore) {
    let [a, b] = ["gate#a", "gate#b"].map(str::to_owned);
    let held = |version, body: &str| Some(VersionedRecord { version, body: body.to_owned() });
    assert_eq!(limits.read_versioned(&[a.clone(), b.clone()]).await.expect("an answer"), [None, None]);
    assert_eq!(limits.compare_and_swap(&a, 0, "1").await.expect("an answer"), None);
    assert_eq!(limits.compare_and_swap(&a, 0, "x").await.expect("an answer"), held(1, "1"), "another writer was first");
    assert_eq!(limits.compare_and_swap(&a, 1, "2").await.expect("an answer"), None);
    assert_eq!(limits.compare_and_swap(&a, 1, "x").await.expect("an answer"), held(2, "2"));
    let both = limits.read_versioned(&[b.clone(), a.clone(), b]).await.expect("an answer");
    assert_eq!(both, [None, held(2, "2"), None]);
    let races = ["3", "4", "5"].map(|body| limits.compare_and_swap(&a, 2, body));
    let results = futures_util::future::join_all(races).await;
    assert_eq!(results.iter().filter(|result| matches!(result, Ok(None))).count(), 1, "{results:?}");
}

pub async fn documents(documents: &dyn DocumentStore) {
    let key = |name: &str| DocumentKey { tenant: tenant("acme"), collection: "callback", name: name.to_owned() };
    let now = NOW;
    assert_eq!(documents.get_document(&key("1"), now).await.expect("an answer"), None);
    for (name, until) in [("1", None), ("2", Some(NOW + 60_000)), ("3", Some(NOW - 1_000))] {
        documents.put_document(&key(name), name, until).await.expect("stored");
    }
    assert_eq!(documents.get_document(&key("2"), now).await.expect("an answer").as_deref(), Some("2"));
    assert_eq!(documents.get_document(&key("3"), now).await.expect("an answer"), None, "expired");
    documents.put_document(&key("1"), "again", None).await.expect("stored");
    let list = async |tenant: &TenantId, before| {
        documents.list_documents(tenant, "callback", before, 10, now).await.expect("an answer")
    };
    let two = [("2".to_owned(), "2".to_owned()), ("1".to_owned(), "again".to_owned())];
    assert_eq!(list(&tenant("acme"), None).await, two);
    assert_eq!(list(&tenant("acme"), Some("2")).await, two[1..]);
    assert_eq!(list(&tenant("other"), None).await, []);
    for (seen, body, is_replaced) in
        [(None, "x", false), (Some("first"), "x", false), (Some("again"), "third", true), (Some("again"), "x", false)]
    {
        let replaced = documents.replace_document(&key("1"), seen, body, None, now).await.expect("an answer");
        assert_eq!(replaced, is_replaced, "{seen:?} {body}");
    }
    assert_eq!(documents.get_document(&key("1"), now).await.expect("an answer").as_deref(), Some("third"));
    assert!(documents.replace_document(&key("4"), None, "4", None, now).await.expect("an answer"));
    // What has expired counts as absent, although it may still be stored.
    let replace = async |seen, body, until| {
        documents.replace_document(&key("3"), seen, body, Some(until), now).await.expect("an answer")
    };
    assert!(replace(None, "new", NOW + 60_000).await);
    assert!(!replace(None, "newer", NOW + 60_000).await);
    assert_eq!(documents.get_document(&key("3"), now).await.expect("an answer").as_deref(), Some("new"));
    assert_eq!(documents.get_document(&key("3"), now + 60_000).await.expect("an answer"), None);
    assert!(replace(Some("new"), "expired", NOW - 1_000).await);
    assert_eq!(documents.get_document(&key("3"), now).await.expect("an answer"), None);
    documents.delete_document(&key("1")).await.expect("removed");
    assert_eq!(documents.get_document(&key("1"), now).await.expect("an answer"), None);
}

/// A row that the projection folds from a real stream.
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
    ViewScope { view: CommunicationRow::VIEW, tenant: tenant("acme"), mode: Mode::Live }
}

fn projected(row: CommunicationRow) -> ProjectedRow {
    ProjectedRow::new(tenant("acme"), Mode::Live, &row).expect("a row")
}

async fn list(
    views: &dyn ViewStore,
    filter: &ListFilter,
    after: Option<&str>,
    size: usize,
) -> RowPage<CommunicationRow> {
    let matches = |row: &CommunicationRow| filter.matches(row);
    application::views::list(views, &view(), filter.ranges(), after, size, matches).await.expect("a list")
}

pub async fn views(views: &dyn ViewStore) {
    rows_and_counters_change_together(views).await;
    lists_are_paged_newest_first(views).await;
    dead_letters_are_listed_by_their_outcome(views).await;
    views_of_other_kinds_are_separate(views).await;
    views_by_due::rows_are_listed_by_their_due_day(views).await;
}

/// A row of another kind of stream.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct OtherRow {
    position: u64,
    customer: String,
    amount: i64,
}

impl ViewRow for OtherRow {
    const VIEW: &'static str = "other";

    fn key(&self) -> String {
        format!("{}#only", time_prefix(NOW))
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn created_at(&self) -> Timestamp {
        NOW
    }

    fn updated_at(&self) -> Timestamp {
        NOW
    }

    fn indexes(&self) -> BTreeMap<RowIndex, String> {
        BTreeMap::from([(RowIndex::Recipient, self.customer.clone())])
    }

    fn counters(&self) -> Counters {
        Counters::from([("amount".to_owned(), self.amount)])
    }
}

async fn views_of_other_kinds_are_separate(views: &dyn ViewStore) {
    let before = views.total_counters(&view()).await.expect("totals");
    let other = ViewScope { view: OtherRow::VIEW, ..view() };
    let row = |position, amount| OtherRow { position, customer: "cus-1".to_owned(), amount };
    for row in [row(1, 100), row(2, 70), row(1, 100)] {
        let projected = ProjectedRow::new(tenant("acme"), Mode::Live, &row).expect("a row");
        views.apply(&[projected], NOW).await.expect("applied");
    }
    let all = RowRange { index: None, from: "0".to_owned(), before: "~".to_owned() };
    let of = |customer: &str| RowRange { index: Some((RowIndex::Recipient, customer.to_owned())), ..all.clone() };
    for (range, expected) in [(all.clone(), vec![row(2, 70)]), (of("cus-1"), vec![row(2, 70)]), (of("cus-2"), vec![])] {
        let page = application::views::list(views, &other, vec![range], None, 10, |_: &OtherRow| true).await;
        assert_eq!(page.expect("a list").rows, expected);
    }
    let (totals, _) = views.total_counters(&other).await.expect("totals");
    assert_eq!(totals, Counters::from([("amount".to_owned(), 70)]));
    assert_eq!(views.total_counters(&view()).await.expect("totals"), before);
}

async fn dead_letters_are_listed_by_their_outcome(views: &dyn ViewStore) {
    let outcomes = ["expired", "poison", "expired"];
    let dead_letter = |(n, outcome): (usize, &str)| CommunicationRow {
        dead_letter_outcome: Some(outcome.to_owned()),
        provider: Some(if n == 0 { "a" } else { "b" }.to_owned()),
        ..row(&format!("dead-{n}"), 100_000 + n as i64)
    };
    let rows: Vec<CommunicationRow> = outcomes.into_iter().enumerate().map(dead_letter).collect();
    let all: Vec<ProjectedRow> = rows.iter().cloned().map(projected).collect();
    views.apply(&all, NOW).await.expect("applied");
    let list = async |filter: ListFilter| {
        let page = list(views, &ListFilter { dead_letters_only: true, ..filter }, None, 10).await;
        page.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let ids = |indexes: &[usize]| indexes.iter().map(|n| rows[*n].id).collect::<Vec<_>>();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(list(ListFilter::default()).await, ids(&[2, 1, 0]));
    assert_eq!(list(ListFilter { dead_letter_reason: text("expired"), ..ListFilter::default() }).await, ids(&[2, 0]));
    assert_eq!(list(ListFilter { provider: text("b"), ..ListFilter::default() }).await, ids(&[2, 1]));
    assert_eq!(list(ListFilter { to: Some(NOW + 100_001), ..ListFilter::default() }).await, ids(&[0]));
    let retried = CommunicationRow { position: 2, dead_letter_outcome: None, ..rows[1].clone() };
    views.apply(&[projected(retried.clone())], NOW).await.expect("applied");
    assert_eq!(list(ListFilter::default()).await, ids(&[2, 0]));
    let unknown = row("unknown", 0).key();
    let found = views.get_rows(&view(), &[unknown, retried.key()]).await.expect("rows");
    assert_eq!(found, [None, Some(projected(retried).body)]);
}

async fn rows_and_counters_change_together(views: &dyn ViewStore) {
    let first = row("first", 0);
    let sent = CommunicationRow {
        position: 3,
        status: "sent".to_owned(),
        lifecycle: "sent".to_owned(),
        sent_at: Some(NOW + 250),
        attempts: 1,
        ..first.clone()
    };
    // Repeated and out of order: the counters count each row once.
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
    let day = domain::stats::utc_day(NOW);
    let days = views.daily_counters(&view(), &day, &day).await.expect("days");
    assert_eq!(days, BTreeMap::from([(day, expected)]));
    let test = ViewScope { mode: Mode::Test, ..view() };
    assert_eq!(views.total_counters(&test).await.expect("totals"), (Counters::new(), None));
    let page = list(views, &ListFilter::default(), None, 10).await;
    assert_eq!((page.rows, page.next), (vec![sent], None));
}

async fn lists_are_paged_newest_first(views: &dyn ViewStore) {
    let rows: Vec<CommunicationRow> = (1..=45)
        .map(|n| CommunicationRow {
            recipient_id: Some(format!("cus-{}", n % 3)),
            entity_type: Some("sale".to_owned()),
            entity_id: Some(format!("s{}", n % 5)),
            status: if n % 2 == 0 { "sent" } else { "failed" }.to_owned(),
            ..row(&format!("row-{n}"), n * 1_000)
        })
        .collect();
    for chunk in rows.chunks(20) {
        let chunk: Vec<ProjectedRow> = chunk.iter().cloned().map(projected).collect();
        views.apply(&chunk, NOW).await.expect("applied");
    }
    let all = |filter: ListFilter| async move {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = list(views, &filter, after.as_deref(), 10).await;
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
    assert_eq!(all(ListFilter { statuses: vec!["failed".to_owned()], ..entity }).await.len(), 5);
    assert_eq!(all(ListFilter { channel: Some(Channel::Sms), ..ListFilter::default() }).await.len(), 0);
    let between = ListFilter { from: Some(NOW + 10_000), to: Some(NOW + 20_000), ..ListFilter::default() };
    assert_eq!(all(between).await.len(), 10);
    let nothing = ListFilter { from: Some(NOW + 20_000), to: Some(NOW + 10_000), ..ListFilter::default() };
    assert_eq!(all(nothing).await.len(), 0);
}

/// `depth` may lag behind, so it is polled until it is right.
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

/// Files are uploaded to one presigned address and downloaded from another.
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
    assert!(objects.read(&key, 3).await.is_err(), "larger than the limit");
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

//! The units that DynamoDB reports for one delivered email.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use api::Api;
use application::App;
use application::StreamImage;
use application::links::LinkKeys;
use application::retention::RetentionPeriods;
use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use axum::body::Body;
use axum::http::Request;
use deliver::DeliverHandler;
use domain::communication::{AttemptOutcome, DeliveryReport};
use domain::ports::{ApiKeyStore, ClockAndRng, CommunicationKey, EventStore, Principal};

use events::{Mode, ReportedStatus};
use project::ProjectHandler;
use serde_json::{Value, json};
use tests::dynamo::{Dynamo, store, views};
use tests::harness::{
    DiscardingUnmatchedQueue, FixedClock, INVOCATION_MS, RecordingAlerts, RecordingQueue, ScriptedProvider, objects,
    tenant, tenant_ports,
};
use tower::ServiceExt;
use webhook::{StreamReport, WebhookHandler};

const MESSAGES: usize = 20;

/// Requests and units by operation and table.
type Counted = Arc<Mutex<BTreeMap<(String, String), (u32, f64)>>>;

/// Attributes a response to the last operation that was sent. This is right because the benchmark makes one request at
/// a time, or two reads.
#[derive(Debug)]
struct Counter(Counted, Mutex<String>);

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        *self.1.lock().expect("a name") = target.rsplit('.').next().unwrap_or_default().to_owned();
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = self.1.lock().expect("a name").clone();
        let body = context.response().body().bytes().unwrap_or_default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let used = match &body["ConsumedCapacity"] {
            Value::Array(all) => all.clone(),
            Value::Null => vec![json!({ "TableName": "?", "CapacityUnits": 0.0 })],
            one => vec![one.clone()],
        };
        for used in used {
            let table = used["TableName"].as_str().unwrap_or("?").to_owned();
            let mut counted = self.0.lock().expect("counts");
            let count = counted.entry((operation.clone(), table)).or_default();
            count.0 += 1;
            count.1 += used["CapacityUnits"].as_f64().unwrap_or(0.0);
        }
        Ok(())
    }
}

pub async fn count() {
    let counted = Counted::default();
    let dynamo = Dynamo::start().await;
    let uncounted = tests::dynamo::store(dynamo.aws.dynamodb());
    let client = dynamo.aws.dynamodb_with(|config| config.interceptor(Counter(counted.clone(), Mutex::default())));
    let (store, views) = (Arc::new(store(client.clone())), Arc::new(views(client)));
    let (host, queue) = (FixedClock::new(), Arc::new(RecordingQueue::default()));
    let files = objects(std::env::temp_dir().join("tidings-units"));
    let app = App {
        store: store.clone(),
        vault: store.clone(),
        queue: queue.clone(),
        views: views.clone(),
        keys: store.clone(),
        limits: store.clone(),
        alerts: Arc::new(RecordingAlerts::default()),
        tenant_ports: tenant_ports(store.clone(), host.clone()),
        directory: Default::default(),
        library: Default::default(),
        defaults: Default::default(),
        sms_countries: None,
        tenant_rate: None,
        has_sandbox: false,
        accounts: vec![domain::ports::Provider::config(&*ScriptedProvider::new("mock")).clone()],
        objects: files.clone(),
        printer: None,
        host: host.clone(),
        contact_key: vec![7; 32],
        link_keys: LinkKeys::new(vec![8; 32]),
        payment_url: None,
        retention: RetentionPeriods::days(7, 400, 2_557),
        principals: Default::default(),
    };
    let api =
        Arc::new(Api { app: Arc::new(app), issuer: None, requests: Default::default(), health: Default::default() });
    let provider = ScriptedProvider::new("mock");
    // As long as a message id of SendGrid.
    let accepted =
        AttemptOutcome::Accepted { provider_message_id: "m".repeat(50), segments: None, cost: None, latency_ms: 40 };
    provider.answers.lock().expect("answers").extend(std::iter::repeat_n(accepted, MESSAGES));
    let deliver = DeliverHandler {
        store: store.clone(),
        vault: store.clone(),
        queue: queue.clone(),
        providers: vec![provider],
        tenant_ports: tenant_ports(store.clone(), host.clone()),
        documents: store.clone(),
        files: Arc::new(local::SimulatedFiles),
        objects: files.clone(),
        link_keys: Some(LinkKeys::new(vec![8; 32])),
        limits: store.clone(),
        tenant_rate: None,
        global_rate: None,
        cache: Arc::default(),
        alerts: Arc::new(RecordingAlerts::default()),
        host: host.clone(),
        provider_timeout_ms: 1_000,
    };
    let webhook = WebhookHandler {
        store: store.clone(),
        vault: store.clone(),
        documents: store.clone(),
        unmatched: Arc::new(DiscardingUnmatchedQueue),
        providers: Vec::new(),
        tenant_ports: tenant_ports(store.clone(), host.clone()),
        directory: Default::default(),
        queue: queue.clone(),
        contact_key: vec![7; 32],
        views: views.clone(),
        deployment_tenant: None,
        host: host.clone(),
    };
    let project = ProjectHandler { store: store.clone(), views, host: host.clone() };
    let principal = Principal::admin(tenant(), "bench", Mode::Live);
    ApiKeyStore::put(&*store, &application::hash::key_hash("td_bench"), &principal).await.expect("a key");
    let router = api::router(api);
    let send = async |n: usize| {
        let body = json!({
            "channel": "email", "type": "invoice", "recipientContact": "ada@example.com", "recipientId": format!("cus-{n}"),
            "entityType": "invoice", "entityId": format!("INV-2026-{n:06}"), "templateId": "tpl_invoice_email",
            "templateVariables": { "customerName": "Ada", "invoiceNumber": "INV-1", "amount": 1500, "businessName": "Acme" },
        });
        let request = Request::post("/api/communications/send").header("authorization", "Bearer td_bench");
        let request = request.body(Body::from(body.to_string())).expect("a request");
        let answer = router.clone().oneshot(request).await.expect("an answer");
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    };
    send(0).await;
    queue.take();
    counted.lock().expect("counts").clear();
    for n in 1..=MESSAGES {
        send(n).await;
    }
    let hints = queue.take();
    let streams = async || {
        let mut images = Vec::new();
        for (hint, _) in &hints {
            images.push(StreamImage {
                id: hint.stream.clone(),
                stream: uncounted.read(&hint.stream).await.expect("a stream"),
            });
        }
        images
    };
    for (hint, _) in &hints {
        let key = CommunicationKey::from_stream(&hint.stream).expect("a communication");
        deliver.deliver(&key, host.now() + INVOCATION_MS).await.expect("delivered");
    }
    // A callback usually comes after its message was projected as sent.
    project.project(streams().await).await.expect("projected");
    for (hint, _) in &hints {
        let key = CommunicationKey::from_stream(&hint.stream).expect("a communication");
        // As long as an event id of SendGrid.
        let event_id = Some(format!("{:048x}", host.random()));
        let report =
            DeliveryReport { attempt: Some(1), fact: ReportedStatus::Delivered, event_id, at: host.now(), code: None };
        let callback = StreamReport { key, report };
        webhook.append_reports("sendgrid", vec![callback]).await.expect("reported");
    }
    let images = streams().await;
    let bytes: usize = images.iter().flat_map(|image| &image.stream.lines).map(String::len).sum();
    project.project(images).await.expect("projected");
    let counted = std::mem::take(&mut *counted.lock().expect("counts"));

    println!(
        "one invoice by email, sent and delivered ({} bytes of events), projected twice, of {MESSAGES}",
        bytes / MESSAGES
    );
    let (mut reads, mut writes) = (0.0, 0.0);
    for ((operation, table), (requests, units)) in &counted {
        let per = units / MESSAGES as f64;
        println!(
            "  {operation:<20} {table:<8} {:>6.2} requests {per:>7.2} units",
            f64::from(*requests) / MESSAGES as f64
        );
        match operation.as_str() {
            "GetItem" | "BatchGetItem" | "Query" => reads += per,
            _ => writes += per,
        }
    }
    println!("  DynamoDB: {writes:.2} write units, {reads:.2} read units");
    println!(
        "  SQS: {:.2} requests sent; receiving and deleting in batches of ten adds 0.2",
        hints.len() as f64 / MESSAGES as f64
    );
}

//! Tests in an emulated cloud with the real template, function binaries and SDK. Providers are simulated on loopback.
//! `tests/cloud/run` builds the functions, starts the emulator and runs these tests.

mod bus;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use domain::ports::{ApiKeyStore, ClockAndRng, DocumentStore, Principal};
use events::Mode;
use infra::SystemClockAndRng;
use infra::aws::{Aws, DynamoStore, SqsWorkQueue};
use infra::providers::http_client;
use local::clock::Clock;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use simulator::{Fault, FaultKind, RegisteredConfig, Simulator, TWILIO_FROM, deployment};
use tests::contracts;
use tests::dynamo::at;

const KEY: &str = "td_live_cloud";
const STAGE: &str = "ci";
/// Emulated functions are slow, and the schedule runs once a minute.
const TIMEOUT: Duration = Duration::from_secs(70);

struct Cloud {
    url: String,
    client: Client,
    aws: Aws,
    store: DynamoStore,
    simulator: Arc<Simulator>,
}

impl Cloud {
    async fn deploy() -> Cloud {
        let endpoint = std::env::var("TIDINGS_CLOUD").expect("TIDINGS_CLOUD: the emulator's address");
        let python = std::env::var("TIDINGS_CLOUD_PYTHON").expect("TIDINGS_CLOUD_PYTHON: a Python with boto3");
        let clock = Arc::new(Clock::new(SystemClockAndRng.now(), 1));
        let simulator = Simulator::new(clock, [SystemClockAndRng.random(), SystemClockAndRng.random()], http_client());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let providers = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(simulator.clone().serve(listener));
        let domain = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let public = format!("http://{}", domain.local_addr().expect("an address"));
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/cloud/deploy.py");
        let output = Command::new(python)
            .args([deploy, &endpoint])
            .args([
                format!("Stage={STAGE}"),
                "Architecture=x86_64".into(),
                "contact-key=0123456789abcdef0123456789abcdef".into(),
                "link-keys=fedcba9876543210fedcba9876543210".into(),
                // The emulator knows no alarms with metric math.
                "Alarms=off".into(),
            ])
            .args([format!("SendGridBaseUrl={providers}"), format!("TwilioBaseUrl={providers}")])
            .args([
                "SendGridAccounts=2",
                "sendgrid-api-key=SG.simulator",
                "sendgrid-second-api-key=SG.simulator-second",
            ])
            .arg("SendGridFromEmail=billing@tidings.test")
            .arg(format!("SendGridWebhookKey={}", simulator.sendgrid_public_key()))
            .arg(r#"EventSources=[{"source":"flowpos","account":"000000000000","tenant":{"at":"/businessId"}}]"#)
            .args(["SmsCountries=*", "TwilioAccountSid=ACsimulator", "twilio-auth-token=simulator-token"])
            .args([format!("TwilioPhoneNumber={TWILIO_FROM}"), format!("PublicUrl={public}")])
            .output()
            .expect("deploy.py runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let deployed: Value = serde_json::from_slice(&output.stdout).expect("deploy.py prints JSON");
        println!("deployed: {deployed}");
        let url = deployed["url"].as_str().expect("an address").to_owned();
        tokio::spawn(custom_domain(domain, url.clone()));
        for (config, provider, channel, settings) in deployment(&simulator.sendgrid_public_key()) {
            let callback_url = format!("{public}{}", application::settings::callback_path(provider, channel));
            let (provider, config) = (provider.to_owned(), config.to_owned());
            simulator.register(RegisteredConfig { provider, config, channel, settings, callback_url });
        }
        let aws = at(&endpoint);
        let store = DynamoStore {
            client: aws.dynamodb(),
            events_table: format!("tidings-{STAGE}-events"),
            vault_table: format!("tidings-{STAGE}-vault"),
            limits_table: format!("tidings-{STAGE}-limits"),
        };
        let tenant = "acme".parse().expect("a tenant");
        let principal = Principal::admin(tenant, "billing", Mode::Live);
        ApiKeyStore::put(&store, &application::hash::key_hash(KEY), &principal).await.expect("a key");
        Cloud { url: public, client: Client::new(), aws, store, simulator }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None).await.1
    }

    async fn send(&self, body: Value) -> String {
        let (status, answer) = self.ask(Method::POST, "/api/communications/send", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["id"].as_str().expect("an id").to_owned()
    }

    async fn until(&self, what: &str, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.get(path).await;
            if is(&answer) {
                println!("{what}: after {} ms", started.elapsed().as_millis());
                return answer;
            }
            assert!(started.elapsed() < TIMEOUT, "did not happen: {what}: {answer}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Puts an event on the bus, as another business system does.
    async fn put_event(&self, source: &str, kind: &str, detail: &Value) {
        let endpoint = std::env::var("TIDINGS_CLOUD").expect("TIDINGS_CLOUD");
        let bus = format!("tidings-{STAGE}");
        let entry = json!({ "Source": source, "DetailType": kind, "Detail": detail.to_string(), "EventBusName": bus });
        let request = self.client.post(endpoint).header("content-type", "application/x-amz-json-1.1");
        let request = request.header("x-amz-target", "AWSEvents.PutEvents");
        // The emulator reads the service from the credential, and does not check the signature.
        let scope = "Credential=test/20260101/us-east-1/events/aws4_request, SignedHeaders=host, Signature=0";
        let request = request.header("authorization", format!("AWS4-HMAC-SHA256 {scope}"));
        let answer = request.body(json!({ "Entries": [entry] }).to_string()).send().await.expect("an answer");
        let answer: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
    }

    async fn queue_url(&self, name: &str) -> String {
        let found = self.aws.sqs().get_queue_url().queue_name(format!("tidings-{STAGE}-{name}")).send().await;
        found.expect("a queue").queue_url.expect("an address")
    }
}

/// Serves a custom domain in front of the API. As in production, its address is known before the API's.
async fn custom_domain(listener: tokio::net::TcpListener, api: String) {
    let client = Client::new();
    let forward = move |request: axum::extract::Request| {
        let (client, api) = (client.clone(), api.clone());
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            let mut headers = parts.headers;
            headers.remove("host");
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
            let sent = client.request(parts.method, format!("{api}{path}")).headers(headers).body(body).send().await;
            let answer = sent.expect("the emulator answers");
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response =
                axum::response::Response::new(axum::body::Body::from(answer.bytes().await.expect("a body")));
            *response.status_mut() = status;
            for name in ["content-type", "location", "idempotent-replayed"] {
                headers.get(name).into_iter().for_each(|value| {
                    response.headers_mut().insert(name, value.clone());
                });
            }
            response
        }
    };
    axum::serve(listener, axum::Router::new().fallback(forward)).await.expect("serves");
}

fn email(to: &str) -> Value {
    json!({
        "channel": "email", "type": "invoice", "recipientContact": to, "recipientId": "cus-1",
        "templateId": "tpl_invoice_email",
        "templateVariables": { "customerName": "Ada", "invoiceNumber": "INV-1", "amount": 1500, "businessName": "Acme" },
    })
}

fn names(events: &Value) -> Vec<&str> {
    let events = events["events"].as_array().expect("events");
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_communication_end_to_end() {
    let cloud = Cloud::deploy().await;

    let health = cloud.until("the API answers", "/health", |answer| answer["status"] == "ok").await;
    println!("health: {health}");
    let stranger = cloud.client.get(format!("{}/api/communications", cloud.url)).send().await.expect("an answer");
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
    let (status, problem) = cloud.ask(Method::POST, "/api/communications/send", Some(json!({ "x": 1 }))).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid")));

    // An email goes from the API through the queue, the function and the provider to a signed callback.
    let id = cloud.send(email("opened@sim.test")).await;
    let path = format!("/api/communications/{id}");
    let opened = cloud.until("an email is opened", &path, |answer| answer["status"] == "opened").await;
    assert_eq!((&opened["provider"], &opened["lifecycle"]), (&json!("sendgrid"), &json!("sent")));
    let events = cloud.get(&format!("{path}/events")).await;
    assert_eq!(names(&events)[..3], ["CommunicationRequested", "DeliveryAttemptStarted", "DeliveryAttemptAccepted"]);

    // The signature of an SMS callback covers our address.
    let sms =
        json!({ "channel": "sms", "type": "payment_link", "recipientContact": "+447700900001", "content": "Pay" });
    let id = cloud.send(sms).await;
    cloud.until("an SMS is delivered", &format!("/api/communications/{id}"), |a| a["status"] == "delivered").await;

    // The table's change stream updates the views.
    let list = cloud.until("both are listed", "/api/communications", |answer| answer["count"] == 2).await;
    assert_eq!(list["results"].as_array().map(Vec::len), Some(2));
    cloud.until("by recipient", "/api/communications?recipientId=cus-1&status=opened", |a| a["count"] == 1).await;
    cloud.until("statistics", "/api/communications/stats", |a| a["totalSent"] == 2 && a["openRate"] == 0.5).await;

    // An event of another system goes over the bus, the rule and the queue to the function intake. It becomes an email.
    let invite = json!({
        "businessId": "acme",
        "invite": {
            "id": "i-1", "userId": "9", "email": "delivered@sim.test", "businessName": "Acme",
            "inviteUrl": "https://app.example.com/i-1",
        },
    });
    cloud.put_event("flowpos", "com.flowpos.OnCreateInviteEvent", &invite).await;
    let events = "/api/business-events?source=flowpos";
    let taken = cloud.until("an event is handled", events, |answer| answer["results"][0]["status"] == "handled").await;
    let event = format!("/api/business-events/{}", taken["results"][0]["id"].as_str().expect("an id"));
    let event = cloud.get(&event).await;
    assert_eq!((&event["via"], &event["type"]), (&json!("bus"), &json!("user.invited")), "{event}");
    let path = format!("/api/communications/{}", event["acts"][0]["ref"].as_str().expect("a message"));
    cloud.until("the invitation is delivered", &path, |answer| answer["status"] == "delivered").await;

    // The next occurrence of a recurring schedule is at most two minutes away.
    let minute = (SystemClockAndRng.now().0 / 60_000 + 2) % 60;
    let recurring = json!({
        "name": "Hourly", "when": { "cron": format!("{minute} * * * *") }, "timeZone": "UTC",
        "action": { "send": email("scheduled@sim.test") },
    });
    let (status, recurring) = cloud.ask(Method::POST, "/api/schedules", Some(recurring)).await;
    assert_eq!(status, StatusCode::CREATED, "{recurring}");
    let occurrences = format!("/api/schedules/{}/occurrences", recurring["id"].as_str().expect("an id"));

    // A delayed queue message sends a scheduled message at its second.
    let at = SystemClockAndRng.now() + 8_000;
    let mut later = email("delivered@sim.test");
    later["scheduledAt"] = json!(api::fields::show_time(at));
    let id = cloud.send(later).await;
    let path = format!("/api/communications/{id}");
    let sent = cloud.until("a scheduled one is sent", &path, |answer| answer["sentAt"].is_string()).await;
    let sent_at = api::fields::parse_time(sent["sentAt"].as_str().expect("a time")).expect("a time");
    println!("scheduled: {} ms late", sent_at.millis_since(at));
    assert!(0 <= sent_at.millis_since(at), "never early");

    // A callback resolves a lost answer, and nothing is sent twice.
    let id = cloud.send(email("timeout@sim.test")).await;
    let path = format!("/api/communications/{id}");
    cloud.until("a lost answer is settled", &path, |a| a["status"] == "delivered" && a["lifecycle"] == "sent").await;
    assert_eq!(cloud.simulator.inbox.list(Some("timeout@sim.test")).len(), 1);

    // A file is uploaded to S3 and attached to an email. The email bounces, so the fallback is sent.
    let bucket = format!("tidings-{STAGE}-files-000000000000-us-east-1");
    contracts::objects(&cloud.aws.s3(http_client(), bucket), &cloud.client, SystemClockAndRng.now()).await;
    let file = json!({ "filename": "a.txt", "contentType": "text/plain", "sizeBytes": 5 });
    let (status, announced) = cloud.ask(Method::POST, "/api/attachments", Some(file)).await;
    assert_eq!(status, StatusCode::CREATED, "{announced}");
    let put = cloud.client.put(announced["upload"]["url"].as_str().expect("an address")).body("hello");
    let put = put.header("content-type", "text/plain").send().await.expect("an answer");
    assert!(put.status().is_success(), "{}", put.status());
    let mut with_file = email("bounce-hard@sim.test");
    with_file["attachments"] = json!([{ "attachmentId": announced["id"] }]);
    with_file["fallback"] = json!([{ "channel": "sms", "recipientContact": "+447700900001", "content": "Pay by SMS" }]);
    let id = cloud.send(with_file).await;
    let path = format!("/api/communications/{id}");
    cloud.until("an email bounces", &path, |answer| answer["status"] == "bounced").await;
    let arrived = cloud.simulator.inbox.list(Some("bounce-hard@sim.test"));
    assert_eq!(json!(arrived)[0]["attachments"][0]["filename"], "a.txt");
    let next = cloud.until("the fallback is requested", &path, |answer| answer["fallbackId"].is_string()).await;
    let next = format!("/api/communications/{}", next["fallbackId"].as_str().expect("an id"));
    cloud.until("the fallback is delivered by SMS", &next, |answer| answer["status"] == "delivered").await;

    // EventBridge runs the sweep.
    let queue = "/api/communications/queue/status";
    cloud.until("the sweep has run", queue, |answer| answer["lastSweepAt"].is_string()).await;

    // A dead letter becomes an event and an alert.
    let sns = cloud.aws.sns();
    let sqs = cloud.aws.sqs();
    let alerts = sqs.create_queue().queue_name("alerts-seen").send().await.expect("a queue").queue_url.expect("a url");
    let topic = format!("arn:aws:sns:us-east-1:000000000000:tidings-{STAGE}-alerts");
    let endpoint = "arn:aws:sqs:us-east-1:000000000000:alerts-seen";
    sns.subscribe().topic_arn(topic).protocol("sqs").endpoint(endpoint).send().await.expect("a subscription");
    let mut far = email("delivered@sim.test");
    far["scheduledAt"] = json!(api::fields::show_time(SystemClockAndRng.now() + 3_600_000));
    let id = cloud.send(far).await;
    let hint = json!({ "version": 1, "tenant": "acme", "kind": "com", "id": id }).to_string();
    let dead = cloud.queue_url("email-dead").await;
    sqs.send_message().queue_url(&dead).message_body(hint).send().await.expect("sent");
    let path = format!("/api/communications/{id}");
    cloud.until("a dead letter is recorded", &path, |answer| answer["lifecycle"] == "dead_lettered").await;

    cloud
        .until("the dead letter is listed", "/api/dead-letters?reason=poison", |answer| {
            answer["results"][0]["id"] == *id
        })
        .await;
    let redrive = Some(json!({ "reason": "poison" }));
    let (status, redriven) = cloud.ask(Method::POST, "/api/dead-letters/redrive", redrive).await;
    assert_eq!((status, &redriven["redriven"]), (StatusCode::ACCEPTED, &json!(1)), "{redriven}");
    let events = cloud.get(&format!("{path}/events")).await;
    assert_eq!(names(&events).last(), Some(&"RetryRequested"));

    // The first provider rejects our credentials. The second takes over, and the first is disabled.
    cloud.simulator.inject(Fault { provider: "sendgrid".to_owned(), kind: FaultKind::Status401, count: 1 });
    let refused = cloud.send(email("failover@sim.test")).await;
    let path = format!("/api/communications/{refused}");
    let sent = cloud.until("the second provider takes over", &path, |answer| answer["status"] == "delivered").await;
    assert_eq!(sent["attempts"], 2);
    let shown = cloud.get("/api/providers").await;
    assert_eq!(
        (&shown["providers"][0]["id"], &shown["providers"][0]["state"]),
        (&json!("sendgrid"), &json!("disabled"))
    );
    let (_, shown) = cloud.ask(Method::POST, "/api/providers/sendgrid/enable", Some(json!({}))).await;
    // Tenants share this provider, so one tenant cannot close its breaker. A probe is sent every 15 minutes.
    assert_eq!(shown["providers"][0]["state"], "disabled", "{shown}");
    let quota = cloud.get("/api/providers/sendgrid-second/quota").await;
    assert_eq!((&quota["burst"], &quota["perSecond"]), (&json!(100), &json!(10)));

    // KMS encrypts the credentials of the tenant's own channel. A callback to it that arrives too early is matched
    // later.
    let settings = json!({ "tokenId": "t", "tokenSecret": "s3cret" });
    let own = Some(json!({ "provider": "bulksms", "settings": settings }));
    let (status, own) = cloud.ask(Method::POST, "/api/channels", own).await;
    assert_eq!((status, own.to_string().contains("s3cret")), (StatusCode::CREATED, false), "{own}");
    let (config, webhook) = (own["id"].as_str().expect("an id"), own["webhookUrl"].as_str().expect("an address"));
    let report = json!([{ "id": "early", "type": "SENT", "status": { "type": "SENT" } }]);
    let called = cloud.client.post(webhook).json(&report).send().await.expect("an answer");
    assert_eq!(called.status(), StatusCode::NO_CONTENT);
    let log = "/api/webhook-log?provider=bulksms";
    cloud.until("a callback waits", log, |log| log["callbacks"][0]["status"] == "waiting").await;
    let known = application::directory::provider_message_key(&"acme".parse().expect("a tenant"), config, "early");
    let attempt = format!("{}_1", refused.replacen("com_", "att_", 1));
    cloud.store.put_document(&known, &attempt, None).await.expect("stored");
    cloud.until("the callback is matched", log, |log| log["callbacks"][0]["status"] == "processed").await;

    // The sweep finds the timer of the schedule, and the process function sends its message.
    cloud
        .until("an occurrence is sent", &occurrences, |answer| answer["occurrences"][0]["status"] == "delivered")
        .await;
    assert_eq!(cloud.simulator.inbox.list(Some("scheduled@sim.test")).len(), 1);

    // Rebuild the views while the projection runs, then run the nightly audit.
    let endpoint = std::env::var("TIDINGS_CLOUD").expect("TIDINGS_CLOUD");
    let invoke = format!("{endpoint}/2015-03-31/functions/tidings-{STAGE}-audit/invocations");
    let rebuild = include_str!("../../events/invocations/audit/rebuild.json");
    let answer = cloud.client.post(&invoke).body(rebuild).send().await.expect("an answer");
    let rebuilt: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    println!("rebuilt: {rebuilt}");
    assert_eq!((&rebuilt["passedOver"], &rebuilt["next"]), (&json!(0), &Value::Null));
    let night = include_str!("../../events/invocations/audit/night.json");
    let answer = cloud.client.post(invoke).body(night).send().await.expect("an answer");
    let report: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    println!("audit: {report}");
    assert_eq!((&report["differences"], &report["isComplete"]), (&json!(0), &json!(true)));

    // After five receives, an unreadable message moves to the dead-letter queue.
    let standard = cloud.queue_url("email-standard").await;
    let visible =
        sqs.set_queue_attributes().queue_url(&standard).attributes(QueueAttributeName::VisibilityTimeout, "1");
    visible.send().await.expect("set");
    sqs.send_message().queue_url(&standard).message_body("{not json").send().await.expect("sent");
    let started = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        assert!(started.elapsed() < TIMEOUT, "alerts: {seen:?}");
        let receive = sqs.receive_message().queue_url(&alerts).max_number_of_messages(10).wait_time_seconds(2);
        for message in receive.send().await.expect("an answer").messages.unwrap_or_default() {
            let body = message.body.unwrap_or_default();
            assert!(!body.contains("{not json"), "no payload in an alert");
            seen.push(body);
            let handle = message.receipt_handle.unwrap_or_default();
            sqs.delete_message().queue_url(&alerts).receipt_handle(handle).send().await.expect("deleted");
        }
    }
    println!("alerts: after {} ms", started.elapsed().as_millis());
    assert!(
        [id.as_str(), "not a hint", "rejects our credentials"]
            .iter()
            .all(|text| seen.iter().any(|alert| alert.contains(text))),
        "{seen:?}"
    );
}

#[tokio::test]
async fn sqs_keeps_the_queue_contract() {
    let aws = at(&std::env::var("TIDINGS_CLOUD").expect("TIDINGS_CLOUD"));
    let created = aws.sqs().create_queue().queue_name("contract").send().await.expect("a queue");
    let queues = domain::ports::QueueId::all();
    let url = created.queue_url.expect("a url");
    let queue = SqsWorkQueue { client: aws.sqs(), urls: queues.map(|queue| (queue, url.clone())).collect() };
    contracts::queue(&queue).await;
}

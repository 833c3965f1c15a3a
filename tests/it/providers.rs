//! Every provider against its simulation, which validates requests and signs callbacks as the real provider does.

use events::Channel;
use futures_util::future::join_all;
use infra::providers::REGISTRY;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::server::TestServer;

async fn examples(server: &TestServer) -> Vec<Value> {
    server.get("/_dev/providers").await.body["channels"].as_array().expect("channels").clone()
}

async fn add(server: &TestServer, example: &Value) -> Value {
    let answer = server.post("/api/channels", example.clone()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{example}: {}", answer.body);
    answer.body
}

/// A simulated recipient with this outcome, as an address of the channel.
fn recipient(channel: &str, outcome: &str) -> String {
    let name = match outcome {
        "001" => "delivered",
        "002" => "opened",
        "003" => "clicked",
        "010" => "bounce-hard",
        "011" => "bounce-soft",
        "012" => "complaint",
        "020" => "throttled",
        "022" => "timeout",
        _ => "delivered",
    };
    match channel {
        "email" => format!("{name}@sim.test"),
        "sms" | "whatsapp" => format!("+447700900{outcome}"),
        _ => format!("7700900{outcome}"),
    }
}

/// The last status reported of a message to such a recipient.
fn expected(provider: &str, channel: &str, outcome: &str) -> &'static str {
    match (provider, channel, outcome) {
        ("telegram", ..) => "sent",
        (_, "email", "010") => "bounced",
        (_, "email", "002") => "opened",
        (_, "email", "003") => "clicked",
        ("custom", _, "002") => "opened",
        ("custom", _, "003") => "clicked",
        ("custom", _, "010") => "bounced",
        ("twilio", "sms", "002" | "003") => "delivered",
        ("twilio", _, "002" | "003") => "read",
        ("whatsapp" | "messenger", _, "002" | "003") => "read",
        ("bulksms" | "whatsapp", _, "010") => "failed",
        ("messenger", _, "010") => "sent",
        (_, _, "010") => "bounced",
        _ => "delivered",
    }
}

async fn send_and_await(server: &TestServer, own: &Value, outcome: &str) {
    let (id, provider, channel) = (&own["id"], &own["provider"], &own["channel"]);
    let (id, provider, channel) =
        (id.as_str().expect("an id"), provider.as_str().expect("a name"), channel.as_str().expect("a channel"));
    let to = recipient(channel, outcome);
    let sent = server.post(&format!("/api/channels/{id}/test"), json!({ "to": to, "text": format!("By {id}") })).await;
    assert_eq!(sent.status, StatusCode::CREATED, "{provider} {to}: {}", sent.body);
    let done = server.until_status(&sent.id(), expected(provider, channel, outcome)).await;
    assert_eq!(done.text("/provider"), provider);
    let arrived = server.inbox(&to).await;
    let by_it = arrived.iter().filter(|message| message["config"] == id && message["communicationId"] != "").count();
    assert_eq!(by_it, 1, "{provider} {to}: must be sent once: {arrived:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_sends_and_reports() {
    let server = TestServer::new().await;
    let examples = examples(&server).await;
    let known = |name: &str| examples.iter().any(|example| example["provider"] == name);
    assert!(REGISTRY.iter().all(|entry| known(entry.kind.name)), "a provider has no example");
    let own = join_all(examples.iter().map(|example| add(&server, example))).await;
    for outcome in ["001", "002", "003", "010"] {
        join_all(own.iter().map(|own| send_and_await(&server, own, outcome))).await;
        // A bounce suppresses the address, so the list is cleared before the next outcome.
        server.answer(server.request(reqwest::Method::DELETE, "/_dev/suppressions")).await;
    }
    let log = server.get("/api/webhook-log?status=refused").await;
    assert_eq!(log.body["callbacks"], json!([]), "a signed callback was rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_providers_refusals_are_classified() {
    let server = TestServer::new().await;
    let own = join_all(examples(&server).await.iter().map(|example| add(&server, example)).collect::<Vec<_>>()).await;
    let check = async |own: &Value| {
        let (id, channel) = (own["id"].as_str().expect("an id"), own["channel"].as_str().expect("a channel"));
        send_and_await(&server, own, "020").await;
        server.fault(id, "400", 1).await;
        let sent = server.post(&format!("/api/channels/{id}/test"), json!({ "to": recipient(channel, "001") })).await;
        server.until_status(&sent.id(), "failed").await;
        // A provider that rejects our credentials, or whose account is empty, is disabled. Messenger is free of charge
        // and has no error for an empty account.
        let kinds = if own["provider"] == "messenger" { &["401"][..] } else { &["401", "402"] };
        for kind in kinds {
            server.fault(id, kind, 1).await;
            let sent =
                server.post(&format!("/api/channels/{id}/test"), json!({ "to": recipient(channel, "001") })).await;
            let what = format!("{} is disabled after {kind}", own["provider"]);
            tests::server::eventually(&what, async || {
                let shown = server.get(&format!("/api/channels/{id}/health")).await;
                (shown.body["state"] == "disabled").then_some(())
            })
            .await;
            let enabled = server.post(&format!("/api/providers/{id}/enable"), json!({})).await;
            assert_eq!(enabled.status, StatusCode::OK, "{}", enabled.body);
            let cancelled = server.post(&format!("/api/communications/{}/cancel", sent.id()), json!({})).await;
            assert!(cancelled.status.is_success(), "{}", cancelled.body);
        }
    };
    join_all(own.iter().map(check)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_checked_and_balances_read_where_a_provider_supports_it() {
    let server = TestServer::new().await;
    for example in examples(&server).await {
        let name = example["provider"].as_str().expect("a name").to_owned();
        let entry = REGISTRY.iter().find(|entry| entry.kind.name == name).expect("known");
        let own = add(&server, &example).await;
        let path = format!("/api/channels/{}", own["id"].as_str().expect("an id"));
        let health = server.get(&format!("{path}/health")).await;
        let uncheckable = ["custom", "messagebird"].contains(&name.as_str());
        assert_eq!(health.text("/credentials"), if uncheckable { "not_checkable" } else { "valid" }, "{name}");
        let balance = server.get(&format!("{path}/balance")).await;
        match entry.kind.capabilities.balance {
            true => {
                assert_eq!(balance.status, StatusCode::OK, "{name}: {}", balance.body);
                assert!(balance.text("/balance").parse::<f64>().is_ok(), "{name}: {}", balance.body);
            }
            false => assert_eq!(balance.status, StatusCode::CONFLICT, "{name}: {}", balance.body),
        }
        if uncheckable {
            continue;
        }
        let secret = entry.kind.settings.iter().find(|setting| setting.is_secret).expect("a secret").name;
        let mut wrong = example.clone();
        // AWS requests carry the access key id but not the secret.
        let named = if ["ses", "sns"].contains(&name.as_str()) { "accessKeyId" } else { secret };
        wrong["settings"][named] = json!(format!("{}invalid", example["settings"][named].as_str().expect("text")));
        let own = add(&server, &wrong).await;
        let health = server.get(&format!("/api/channels/{}/health", own["id"].as_str().expect("an id"))).await;
        assert_eq!(health.text("/credentials"), "invalid", "{name}");
    }
}

/// The provider accepted the message, but its answer was lost. A query, the idempotency key or a callback resolves the
/// doubt without a second send.
#[tokio::test(flavor = "multi_thread")]
async fn every_provider_that_reports_our_id_resolves_a_lost_answer() {
    let server = TestServer::new().await;
    let own = join_all(examples(&server).await.iter().map(|example| add(&server, example)).collect::<Vec<_>>()).await;
    // These report only their own id, which was in the lost answer. So the attempt stays in doubt until its time is
    // over.
    let without_our_id = ["africastalking", "sns", "telegram", "messenger", "bulksms"];
    let reporting = own.iter().filter(|own| !without_our_id.contains(&own["provider"].as_str().expect("a name")));
    join_all(reporting.map(|own| send_and_await(&server, own, "022"))).await;
}

/// Adding a provider takes its file, its line in the registry, and its section in the documentation.
#[test]
fn a_provider_is_named_only_in_its_file_the_registry_and_the_documentation() {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    let mut folders = vec!["domain/src", "events/src", "infra/src", "functions"]
        .into_iter()
        .map(|f| root.join(f))
        .collect::<Vec<_>>();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                // The simulator, and the AWS adapters, which use SNS for alerts.
                true if path.ends_with("functions/simulator") || path.ends_with("infra/src/aws") => (),
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    let document = std::fs::read_to_string(root.join("docs/providers.md")).expect("docs/providers.md");
    for entry in REGISTRY {
        let name = entry.kind.name;
        assert!(document.contains(&format!("## {}", entry.kind.title)), "docs/providers.md has {}", entry.kind.title);
        // The deployment's own configurations name these two in its settings.
        if ["sendgrid", "twilio"].contains(&name) {
            continue;
        }
        let is_word = |text: &str| {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            code.lines().any(|line| {
                let line = line.split("//").next().unwrap_or_default();
                let is_whole =
                    |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
                line.contains(&format!("\"{name}\""))
                    || line.match_indices(&format!("{name}::")).any(|(at, _)| is_whole(at))
            })
        };
        // A channel may have a provider's name: WhatsApp is both.
        if Channel::names().contains(&name) {
            continue;
        }
        // That interface lists its four providers.
        let is_elsewhere = |path: &&std::path::PathBuf| path.ends_with("functions/application/src/sms_provider.rs");
        let found: Vec<String> = files
            .iter()
            .filter(|path| !is_elsewhere(path))
            .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
            .filter(|path| is_word(&std::fs::read_to_string(path).expect("a file")))
            .map(|path| path.strip_prefix(&root).expect("below").display().to_string())
            .collect();
        let places = [format!("infra/src/providers/{name}.rs"), "infra/src/providers/registry.rs".to_owned()];
        assert!(found.iter().all(|path| places.contains(path)), "{name} is named in {found:?}");
    }
}

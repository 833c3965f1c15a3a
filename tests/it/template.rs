//! Numbers and names that must agree between `template.yaml` and Rust.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn template() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join("template.yaml")).expect("template.yaml")
}

/// The numbers that follow `label`.
fn numbers(text: &str, label: &str) -> Vec<i64> {
    let after = text.split(label).skip(1);
    let digits = after.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

/// The lines of one resource.
fn resource(text: &str, name: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("  {name}:")));
    let first = lines.next().unwrap_or_else(|| panic!("no resource {name}"));
    let rest = lines.take_while(|line| line.is_empty() || line.starts_with("   "));
    std::iter::once(first).chain(rest).collect::<Vec<_>>().join("\n")
}

/// The routes of the HTTP API that lead to one function.
fn routes(text: &str, function: &str) -> BTreeSet<(String, String)> {
    let events = resource(text, function);
    let after = |line: &str, label: &str| {
        let rest = line.split(label).nth(1).expect("a label").trim_start_matches('"').to_owned();
        rest.split(['"', ',', ' ']).next().expect("a value").to_owned()
    };
    let routes = events.lines().filter(|line| line.contains("Type: HttpApi") && line.contains("Path: "));
    routes.map(|line| (after(line, "Method: "), after(line, "Path: "))).collect()
}

/// The routes of the binary `webhook`.
fn served_by_webhook() -> impl Iterator<Item = (&'static str, &'static str)> {
    let callbacks = webhook::ROUTES.iter().map(|route| (route.method, route.path));
    callbacks.chain(pages::ROUTES.iter().map(|route| (route.method, route.path)))
}

#[test]
fn the_gateway_sends_every_route_to_its_function() {
    let text = template();
    let in_rust: BTreeSet<(String, String)> =
        served_by_webhook().map(|(method, path)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(routes(&text, "WebhookFunction"), in_rust);
    let gateway = routes(&text, "ApiFunction");
    let is_routed = |method: &str, path: &str| {
        gateway.iter().any(|(verb, pattern)| {
            (verb == method || verb == "ANY")
                && pattern.strip_suffix("{proxy+}").map_or(pattern == path, |start| path.starts_with(start))
        })
    };
    for api::Route { method, path, .. } in api::ROUTES {
        assert!(is_routed(method, path), "{method} {path}");
    }
    // The console is what no other route takes.
    let takes_the_rest = |line: &str| line.contains("Type: HttpApi") && !line.contains("Path: ");
    assert_eq!(text.lines().filter(|line| takes_the_rest(line)).count(), 1);
    assert!(resource(&text, "ApiFunction").lines().any(takes_the_rest));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listed_route_answers() {
    let server = tests::server::TestServer::new().await;
    let api = api::ROUTES.iter().map(|route| (route.method, route.path));
    for (method, path) in api.chain(served_by_webhook()) {
        let method: reqwest::Method = method.parse().expect("a method");
        let path = path.replace("{slug}", "invalid").replace("providers/{id}", "providers/sendgrid");
        let path = path.replace("{id}", "com_00000000000000000000000000000000");
        let answer = server.answer(server.request(method.clone(), &path).body("{}")).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        let nothing = ["No route has this path.", "No page has this address."].contains(&detail);
        assert!(!nothing && answer.status != 405, "{method} {path}: {}", answer.body);
    }
}

#[test]
fn the_timeout_ends_before_the_lease_and_the_lease_before_the_visibility_timeout() {
    let text = template();
    let timeout_ms = numbers(&text, "    Timeout: ")[0] * 1_000;
    let of =
        |suffix: &'static str| ["Email", "Sms", "Whatsapp", "Messenger", "Telegram"].map(|c| format!("{c}{suffix}"));
    for function in of("Function").map(|name| format!("Deliver{name}")) {
        assert!(!resource(&text, &function).contains("Timeout"), "{function} must use the default timeout");
    }
    let lease_ms = 30_000 + domain::policy::LEASE_MARGIN_MS;
    assert!(timeout_ms < lease_ms);
    for queue in of("High").into_iter().chain(of("Standard")) {
        let visibility = numbers(&resource(&text, &queue), "VisibilityTimeout: ");
        assert_eq!(visibility, [180], "{queue}: six times the function's timeout");
        assert!(lease_ms < visibility[0] * 1_000);
        assert!(resource(&text, &queue).contains("maxReceiveCount: 5"));
    }
    assert!(domain::policy::MIN_TIME_TO_CLAIM_MS < timeout_ms);
    let required = ["EVENTS_TABLE", "VAULT_TABLE", "LIMITS_TABLE", "ALERTS_TOPIC_ARN", "FILES_BUCKET"];
    let var = |name: &str| required.contains(&name).then(|| "x".to_owned());
    let config = deliver::config::Config::read(var).expect("the required settings are enough");
    let provider_ms = config.provider_timeout_ms as i64;
    assert!(
        provider_ms + domain::policy::LEASE_MARGIN_MS <= domain::policy::MIN_TIME_TO_CLAIM_MS,
        "the provider timeout ends before the lease"
    );
}

#[test]
fn no_function_can_delete_or_replace_events() {
    let text = template();
    let mut seen = 0;
    for line in text.lines().filter(|line| line.contains("Resource: !GetAtt EventsTable.Arn")) {
        seen += 1;
        for forbidden in ["Delete", "PutItem", "BatchWrite", "TransactWrite", "PartiQL", "dynamodb:*"] {
            assert!(!line.contains(forbidden), "{line}");
        }
    }
    assert!(seen >= 5);
    // The policy of a KMS key applies only to that key, even if its resource is `*`.
    let others: Vec<&str> = text.lines().filter(|line| !line.contains("Sid: OwnedByThisAccount")).collect();
    let others = others.join("\n");
    assert!(!others.contains("Action: \"*\"") && !others.contains("Resource: \"*\""));
}

#[test]
fn the_indexes_have_the_names_and_keys_that_the_adapter_uses() {
    let events = resource(&template(), "EventsTable");
    for part in [
        "IndexName: work",
        "AttributeName: shard, KeyType: HASH",
        "AttributeName: wake, KeyType: RANGE",
        "[lane, hints]",
    ] {
        assert!(events.contains(part), "{part}");
    }
    let views = resource(&template(), "ViewsTable");
    assert!(
        ["by_recipient", "by_entity", "dead_letters", "by_provider_message", "by_due"]
            .iter()
            .all(|index| views.contains(index))
    );
}

/// Every sample payload has the form that its function expects.
#[test]
fn sample_payloads_have_the_form_of_their_trigger() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("events/invocations");
    for function in [
        "api",
        "deliver",
        "webhook",
        "inbox",
        "process",
        "intake",
        "schedule",
        "project",
        "publish",
        "dead-letter",
        "audit",
        "reconcile",
    ] {
        let files: Vec<_> = fs::read_dir(root.join(function)).expect("samples").collect();
        assert!(!files.is_empty(), "{function} has no samples");
        for file in files {
            let path = file.expect("a file").path();
            let text = fs::read_to_string(&path).expect("a sample");
            let value: serde_json::Value =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let records = value["Records"].as_array();
            match function {
                "api" | "webhook" => assert_eq!(value["version"], "2.0", "{}", path.display()),
                "audit" if value.get("rebuild").is_some() => assert!(value["rebuild"].is_object()),
                "schedule" | "audit" | "reconcile" => {
                    assert_eq!(value["detail-type"], "Scheduled Event", "{}", path.display())
                }
                "project" | "publish" => assert!(records.is_some_and(|r| r[0]["dynamodb"]["NewImage"].is_object())),
                _ => assert!(records.is_some_and(|r| r[0]["body"].is_string())),
            }
        }
    }
}

/// The names of the resources of one type.
fn names_of(text: &str, kind: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let names = lines.windows(2).filter(|pair| pair[1].trim() == format!("Type: {kind}"));
    names.map(|pair| pair[0].trim().split(':').next().expect("a name").to_owned()).collect()
}

#[test]
fn nothing_that_fails_for_good_is_lost_unseen() {
    let text = template();
    let (queues, functions) = (names_of(&text, "AWS::SQS::Queue"), names_of(&text, "AWS::Serverless::Function"));
    assert!(20 <= queues.len() && 13 <= functions.len());
    let (dead, tls) =
        (resource(&text, "LettersLeft"), resource(&text, "QueuesByTls") + &resource(&text, "BusinessEventsByRule"));
    let age = resource(&text, "UrgentWorkWaits") + &resource(&text, "WorkWaits");
    for queue in &queues {
        let has_redrive = resource(&text, queue).contains("RedrivePolicy");
        assert_eq!(age.contains(&format!("!GetAtt {queue}.QueueName")), has_redrive, "{queue}: alarm of its age");
        assert_ne!(dead.contains(&format!("!GetAtt {queue}.QueueName")), has_redrive, "{queue}: alarm of its letters");
        assert!(
            tls.contains(&format!("!Ref {queue},")) || tls.contains(&format!("!Ref {queue}]")),
            "{queue}: TLS only"
        );
    }
    let alarms = |names: [&str; 3]| names.map(|name| resource(&text, name)).concat();
    let errors = alarms(["DeliveryFails", "FunctionsFail", "ReconcileFails"]);
    let throttles = alarms(["DeliveryFails", "FunctionsThrottled", "ReconcileFails"]);
    for function in &functions {
        let has_metric = |alarms: &str, metric: &str| {
            // A function that is deployed on demand is named, because a reference to it would not resolve without it.
            let name = match resource(&text, function).contains("Condition: HasPublishing") {
                true => "Value: !Sub \"tidings-${Stage}-publish\" ".to_owned(),
                false => format!("Value: !Ref {function} "),
            };
            alarms.lines().any(|line| line.contains(metric) && line.contains(&name))
        };
        assert!(has_metric(&errors, "MetricName: Errors"), "{function}: alarm of errors");
        assert!(has_metric(&throttles, "MetricName: Throttles"), "{function}: alarm of throttles");
        let resource = resource(&text, function);
        if resource.contains("Type: Schedule,") {
            assert!(
                resource.contains("OnFailure: { Type: SQS, Destination: !GetAtt FailedInvocations.Arn }"),
                "{function}"
            );
        }
    }
    for alarm in names_of(&text, "AWS::CloudWatch::Alarm") {
        let alarm = resource(&text, &alarm);
        assert!(alarm.contains("Condition: HasAlarms") && alarm.contains("AlarmActions: [!Ref Alerts]"), "{alarm}");
    }
}

#[test]
fn functions_may_read_only_the_secrets_they_need() {
    let text = template();
    assert!(!text.contains("NoEcho"), "secrets are in Parameter Store, not in parameters of the template");
    for function in names_of(&text, "AWS::Serverless::Function") {
        let resource = resource(&text, &function);
        let named = |line: &str, before: &str| {
            let (_, rest) = line.split_once(before)?;
            Some(rest.split('"').next()?.to_owned())
        };
        let held: Vec<String> = resource.lines().filter_map(|line| named(line, "ssm:/tidings/${Stage}/")).collect();
        let permitted: Vec<String> =
            resource.lines().filter_map(|line| named(line, ":parameter/tidings/${Stage}/")).collect();
        let (contact, links) = ("contact-key", "link-keys");
        let needed = match function.as_str() {
            "ApiFunction" => vec![contact, links, "console-client-secret"],
            "ProcessFunction" | "IntakeFunction" => vec![contact, links],
            "DeliverEmailFunction" => vec![links, "sendgrid-api-key", "sendgrid-second-api-key"],
            "DeliverSmsFunction" => vec!["twilio-auth-token", "twilio-second-auth-token"],
            "WebhookFunction" => vec![contact, links, "twilio-auth-token", "twilio-second-auth-token"],
            "InboxFunction" => vec![contact],
            _ => Vec::new(),
        };
        assert_eq!(held, needed, "{function}: what its environment refers to");
        assert_eq!(permitted, needed, "{function}: what its policy permits");
        // Another number in the environment makes a version of the function, which reads them again.
        assert_eq!(resource.contains("SECRETS_VERSION: !Ref SecretsVersion"), !needed.is_empty(), "{function}");
    }
}

#[test]
fn a_flood_is_throttled_before_it_reaches_a_function() {
    let text = template();
    let api = resource(&text, "HttpApi");
    assert!(api.contains("ThrottlingBurstLimit: !Ref ApiBurst, ThrottlingRateLimit: !Ref ApiRate"));
    for function in names_of(&text, "AWS::Serverless::Function") {
        let resource = resource(&text, &function);
        let is_public = resource.contains("Type: HttpApi");
        assert_eq!(resource.contains("ReservedConcurrentExecutions: !If [HasApiConcurrency"), is_public, "{function}");
    }
    for policy in ["FilesByTls", "AlertsByTls", "QueuesByTls", "BusinessEventsByRule"] {
        let policy = resource(&text, policy);
        assert!(policy.contains("Effect: Deny") && policy.contains(r#""aws:SecureTransport": "false""#), "{policy}");
    }
}

#[test]
fn what_the_log_counts_has_an_alarm() {
    let text = template();
    for (metric, alarm, prefix) in
        [("EventParked", "EventsParked", "ParksEvents"), ("NobodyHasRole", "NobodyHasRole", "FindsNobody")]
    {
        assert!(resource(&text, alarm).contains(&format!("MetricName: {metric}")));
        for function in ["Api", "Intake", "Process"] {
            let filter = resource(&text, &format!("{function}{prefix}"));
            let pattern = format!(r#"FilterPattern: '{{ $.metric = "{metric}" }}'"#);
            assert!(filter.contains(&pattern) && filter.contains(&format!("!Ref {function}Logs")), "{filter}");
        }
    }
}

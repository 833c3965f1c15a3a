//! Configurations that work with the simulator.

use std::collections::BTreeMap;

use events::Channel;
use serde_json::{Value, json};

/// Returns settings that work with the simulator: one example for each provider and channel that it serves.
pub fn examples(sendgrid_key: &str) -> Vec<(&'static str, Channel, Value)> {
    let from = "billing@tidings.test";
    vec![
        (
            "sendgrid",
            Channel::Email,
            json!({ "apiKey": "SG.example", "fromEmail": from, "fromName": "Tidings", "webhookKey": sendgrid_key }),
        ),
        (
            "mailgun",
            Channel::Email,
            json!({ "apiKey": "key-example", "domain": "mg.tidings.test", "fromEmail": from, "signingKey": "signing-example" }),
        ),
        (
            "mandrill",
            Channel::Email,
            json!({ "apiKey": "md-example", "fromEmail": from, "webhookKey": "webhook-example" }),
        ),
        (
            "ses",
            Channel::Email,
            json!({
                "accessKeyId": "AKIAEXAMPLE", "secretAccessKey": "secret-example", "region": "eu-west-1",
                "fromEmail": from, "configurationSet": "tidings", "topicArn": "arn:aws:sns:eu-west-1:123456789012:tidings",
            }),
        ),
        (
            "twilio",
            Channel::Sms,
            json!({ "accountSid": "ACexample", "authToken": "token-example", "from": TWILIO_FROM }),
        ),
        (
            "twilio",
            Channel::Whatsapp,
            json!({ "accountSid": "ACexample", "authToken": "token-example", "from": TWILIO_FROM }),
        ),
        (
            "twilio",
            Channel::Messenger,
            json!({ "accountSid": "ACexample", "authToken": "token-example", "from": "9876543210" }),
        ),
        (
            "vonage",
            Channel::Sms,
            json!({ "apiKey": "vonage-example", "apiSecret": "secret-example", "from": "Tidings", "signatureSecret": "signature-example" }),
        ),
        (
            "sns",
            Channel::Sms,
            json!({ "accessKeyId": "AKIAEXAMPLE", "secretAccessKey": "secret-example", "region": "eu-west-1", "senderId": "Tidings" }),
        ),
        (
            "messagebird",
            Channel::Sms,
            json!({ "apiKey": "bk_eu1_example", "from": "Tidings", "webhookSecret": "whsec_ZXhhbXBsZS13ZWJob29rLXNlY3JldA==" }),
        ),
        (
            "africastalking",
            Channel::Sms,
            json!({ "apiKey": "atsk_example", "username": "sandbox", "senderId": "TIDINGS" }),
        ),
        ("bulksms", Channel::Sms, json!({ "tokenId": "token-example", "tokenSecret": "secret-example" })),
        (
            "whatsapp",
            Channel::Whatsapp,
            json!({ "phoneNumberId": "106540352242922", "accessToken": "EAAexample", "appSecret": "app-example", "verifyToken": "verify-example" }),
        ),
        (
            "messenger",
            Channel::Messenger,
            json!({ "pageId": "9876543210", "pageToken": "EAAPexample", "appSecret": "app-example", "verifyToken": "verify-example" }),
        ),
        ("telegram", Channel::Telegram, json!({ "botToken": "123456:example", "secretToken": "secret-example" })),
        (
            "custom",
            Channel::Sms,
            json!({
                "url": "https://sms.example.com/send", "authorization": "Bearer custom-example",
                "body": "{\"to\":\"{{to}}\",\"message\":\"{{text}}\",\"ref\":\"{{reference}}\",\"notify\":\"{{callbackUrl}}\"}",
                "idPointer": "/data/id", "errorPointer": "/error/code",
                "errorClasses": "{\"no_funds\":\"balance\",\"bad_key\":\"auth\",\"slow_down\":\"throttled\"}",
                "callbackScheme": "hmac-sha256", "callbackKey": "callback-example",
                "statuses": "{\"DELIVRD\":\"delivered\",\"UNDELIV\":\"bounced\"}", "referencePointer": "/ref",
            }),
        ),
    ]
}

/// The number that simulated SMS are sent from.
pub const TWILIO_FROM: &str = "+15005550006";

/// Returns the deployment's provider configurations: two for email and two for SMS, of which the second is for
/// failover, and one for every other channel.
pub fn deployment(sendgrid_key: &str) -> Vec<(&'static str, &'static str, Channel, BTreeMap<String, String>)> {
    let named = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let sendgrid = |key| {
        let from = ("fromEmail", "billing@tidings.test");
        named(&[("apiKey", key), from, ("fromName", "Tidings"), ("webhookKey", sendgrid_key)])
    };
    let twilio = |sid, token| named(&[("accountSid", sid), ("authToken", token), ("from", TWILIO_FROM)]);
    vec![
        ("sendgrid", "sendgrid", Channel::Email, sendgrid("SG.simulator")),
        ("sendgrid-second", "sendgrid", Channel::Email, sendgrid("SG.simulator-second")),
        ("twilio", "twilio", Channel::Sms, twilio("ACsimulator", "simulator-token")),
        ("twilio-second", "twilio", Channel::Sms, twilio("ACsimulator2", "simulator-token-2")),
        ("twilio-whatsapp", "twilio", Channel::Whatsapp, twilio("ACsimulator", "simulator-token")),
        ("twilio-messenger", "twilio", Channel::Messenger, twilio("ACsimulator", "simulator-token")),
        ("telegram", "telegram", Channel::Telegram, named(&[("botToken", "1:simulator")])),
    ]
}

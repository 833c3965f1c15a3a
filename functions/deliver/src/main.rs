//! Wiring only.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use deliver::Deliver;
use deliver::config::Config;
use domain::ports::Provider;
use events::Timestamp;
use infra::SystemHost;
use infra::aws::{Aws, DynamoStore, SnsAlerts, SqsQueue, init_logs};
use infra::providers::{SendGrid, Twilio, http_client};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shell::hint;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let var = |name: &str| std::env::var(name).ok();
    init_logs(var);
    let config = Config::read(var)?;
    let aws = Aws::from_env(var)?;
    let deliver = &wire(config, &aws);
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Timestamp(event.context.deadline as i64);
        let failed = deliver::batch(deliver, hint::messages(event.payload), deadline).await;
        Ok::<_, Error>(hint::response(failed))
    }))
    .await
}

fn wire(config: Config, aws: &Aws) -> Deliver {
    let store = Arc::new(DynamoStore {
        client: aws.dynamodb(),
        events_table: config.tables.events,
        vault_table: config.tables.vault,
        limits_table: config.tables.limits,
    });
    let client = http_client();
    let sendgrid = config.sendgrid.into_iter().map(|sendgrid| -> Arc<dyn Provider> {
        Arc::new(SendGrid {
            account: sendgrid.account,
            client: client.clone(),
            base_url: sendgrid.base_url,
            api_key: sendgrid.api_key,
            from_email: sendgrid.from_email,
            from_name: sendgrid.from_name,
        })
    });
    let twilio = config.twilio.into_iter().map(|twilio| -> Arc<dyn Provider> {
        Arc::new(Twilio {
            account: twilio.account,
            client: client.clone(),
            base_url: twilio.base_url,
            account_sid: twilio.account_sid,
            auth_token: twilio.auth_token,
            from: twilio.from,
            public_url: twilio.public_url,
        })
    });
    Deliver {
        store: store.clone(),
        vault: store.clone(),
        queue: Arc::new(SqsQueue { client: aws.sqs(), urls: config.queues.into_iter().collect() }),
        providers: sendgrid.chain(twilio).collect(),
        limits: store.clone(),
        routes: store,
        tenant_rate: config.tenant_rate,
        global_rate: config.global_rate,
        memory: Arc::default(),
        alerts: Arc::new(SnsAlerts { client: aws.sns(), topic_arn: config.alerts_topic }),
        host: Arc::new(SystemHost),
        provider_timeout_ms: config.provider_timeout_ms,
    }
}

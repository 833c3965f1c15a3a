//! Wiring only.

use std::sync::Arc;

use application::App;
use application::settings::{AppConfig, Settings};
use aws_lambda_events::sqs::SqsEvent;
use infra::providers::HttpClients;
use lambda::{Adapters, failures, messages};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pdf::PdfPrinter;
use process::Process;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let http = HttpClients::new();
    let environment = adapters.environment(&http).await?;
    let config = AppConfig::read(&Settings(|name: &str| environment.variable(name)))?;
    let app = App { printer: Some(Arc::new(PdfPrinter::default())), ..adapters.app(&http, config) };
    let process = &Process { app: Arc::new(app) };
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(failures(process.batch(messages(event.payload)).await))
    }))
    .await
}

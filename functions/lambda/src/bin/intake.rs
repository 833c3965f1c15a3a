//! Wiring only.

use std::sync::Arc;

use application::App;
use aws_lambda_events::sqs::SqsEvent;
use infra::providers::HttpClients;
use intake::IntakeHandler;
use intake::config::Config;
use lambda::{Adapters, failures, is_of_dead_letters, messages};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pdf::PdfPrinter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let http = HttpClients::new();
    let environment = adapters.environment(&http).await?;
    let Config { app, sources, unassigned } = Config::read(|name| environment.variable(name))?;
    let app = App { printer: Some(Arc::new(PdfPrinter::default())), ..adapters.app(&http, app) };
    let intake = &IntakeHandler { app: Arc::new(app), sources, unassigned };
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let failed = if is_of_dead_letters(&event.payload) {
            intake.dead_letters(messages(event.payload)).await
        } else {
            intake.batch(messages(event.payload)).await
        };
        Ok::<_, Error>(failures(failed))
    }))
    .await
}

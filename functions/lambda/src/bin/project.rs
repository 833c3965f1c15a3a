//! Wiring only.

use std::sync::Arc;

use infra::SystemClockAndRng;
use lambda::{Adapters, ProjectRequest, failures, images, messages, variable};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use project::ProjectHandler;
use project::config::Config;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let adapters = Adapters::from_env()?;
    let config = Config::read(variable)?;
    let repairs = &*adapters.repairs(config.repairs_queue);
    let project = &ProjectHandler {
        store: adapters.store(config.tables),
        views: adapters.views(config.views_table),
        host: Arc::new(SystemClockAndRng),
    };
    run(service_fn(async |event: LambdaEvent<ProjectRequest>| match event.payload {
        // After an error or a crash, Lambda splits the batch in halves and delivers them again. What fails to the end
        // is named in the dead-letter queue of the repairs.
        ProjectRequest::Changes(changes) => {
            project.project_or_enqueue(images(changes), repairs).await?;
            Ok::<_, Error>(failures(Vec::new()))
        }
        ProjectRequest::Repairs(batch) => Ok(failures(project.repair(messages(batch)).await)),
    }))
    .await
}

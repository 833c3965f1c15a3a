//! Logging for CloudWatch.

use tracing_subscriber::EnvFilter;

/// Logs one JSON object per line, as CloudWatch expects. The level is `AWS_LAMBDA_LOG_LEVEL`, by default `info`.
pub fn init_logs(var: impl Fn(&str) -> Option<String>) {
    let level = var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::new(level.to_lowercase()))
        .init();
}

use tracing_subscriber::EnvFilter;

/// One JSON object a line, as CloudWatch reads it. The level is `AWS_LAMBDA_LOG_LEVEL`, else `info`.
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

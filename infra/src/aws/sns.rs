//! Alerts for the operators.

use async_trait::async_trait;
use domain::ports::{AlertSink, StoreError};

/// Publishes alerts to an SNS topic.
pub struct SnsAlertSink {
    pub client: aws_sdk_sns::Client,
    pub topic_arn: String,
}

#[async_trait]
impl AlertSink for SnsAlertSink {
    async fn raise(&self, subject: &str, text: &str) -> Result<(), StoreError> {
        // SNS accepts subjects of at most 100 characters.
        let subject: String = subject.chars().take(100).collect();
        let sent = self.client.publish().topic_arn(&self.topic_arn).subject(subject).message(text).send().await;
        sent.map(|_| ()).map_err(|error| StoreError::Unavailable(format!("sns: {}", error.into_service_error())))
    }
}

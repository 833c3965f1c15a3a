//! Adapters for Amazon Web Services. DynamoDB, KMS, SNS and SQS are called through the AWS SDK, S3 by presigned
//! addresses, Parameter Store by a signed request.

mod clients;
mod dynamodb;
mod dynamodb_addresses;
mod dynamodb_event_store;
mod dynamodb_views;
mod eventbridge;
mod kms;
mod logs;
#[cfg(feature = "providers")]
mod parameters;
#[cfg(feature = "providers")]
mod s3;
mod sns;
mod sqs;

pub use clients::{Aws, MissingSetting};
pub use dynamodb::DynamoStore;
pub use dynamodb_views::DynamoViewStore;
pub use eventbridge::EventBridgeBus;
pub use kms::KmsCipher;
pub use logs::init_logs;
#[cfg(feature = "providers")]
pub use parameters::{ParameterError, ParameterStore, REFERENCE};
#[cfg(feature = "providers")]
pub use s3::S3ObjectStore;
pub use sns::SnsAlertSink;
pub use sqs::{SqsRepairQueue, SqsUnmatchedQueue, SqsWorkQueue};

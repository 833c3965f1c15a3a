//! One file for each provider's API. Provider files use the toolkit and never each other's file.

pub mod africastalking;
pub mod aws;
pub mod bulksms;
pub mod custom;
pub mod mailgun;
pub mod mandrill;
pub mod messagebird;
pub mod meta;
pub mod sendgrid;
pub mod telegram;
pub mod twilio;
pub mod vonage;

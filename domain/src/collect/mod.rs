//! Collections: which reminder of an invoice is due when, and what a notice says.
//!
//! All functions here are pure. Days are civil days in the customer's zone, which is applied last.

mod backfill;
#[cfg(test)]
mod backfill_tests;
mod calendar;
mod debtor;
mod explain;
mod next;
mod notice;
mod remind;
mod settings;
#[cfg(test)]
mod tests;
mod words;

pub use backfill::{
    BUCKETS, Backfill, BackfillState, Command as BackfillCommand, PAGE as BACKFILL_PAGE,
    Rejection as BackfillRejection, Start, bucket_of, differs, key_of as backfill_key, start,
    stream_name as backfill_name,
};
pub use calendar::{Calendar, add_days, parse_day, parse_time};
pub use debtor::{
    Command as DebtorCommand, DebtorState, Rejection as DebtorRejection, SentNotice, key_of as debtor_key,
};
pub use explain::{ExplainedStep, Explanation, Inputs, explain};
pub use next::{Next, RestReason, Skipped, WaitReason, next};
pub use notice::{
    Closed, Command as NoticeCommand, GATHER_LATE_MS, MAX_INVOICES, Notice, NoticeState, Rejection as NoticeRejection,
    key_of as notice_key, stream_name as notice_name,
};
pub use remind::{ReminderRefusal, remind_on};
pub use settings::{
    CollectionsState, Command as SettingsCommand, Rejection as SettingsRejection, STREAM as SETTINGS_STREAM, defaults,
};
pub use words::{MANY, ONE, PAYMENT_LINKS, ToldInvoice, variables};

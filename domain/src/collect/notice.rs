//! A notice: it gathers the invoices of one customer whose reminders are due on one day, and sends one message.

use events::{
    InvoiceRef, LadderStep, Mode, NoticeDrop, NoticeEvent, NoticeInvoice, NoticeMessage, Recipient, RecordedEvent,
    StreamKind, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, AggregateId, Erasure};

/// Maximum number of invoices of one notice. The others wait for the next day.
pub const MAX_INVOICES: usize = 50;
/// How long after its first invoice a notice that is late already gathers, in milliseconds.
pub const GATHER_LATE_MS: i64 = 20_000;
/// How long a notice may take to send its messages, in milliseconds, before it is tried again.
const SEND_MS: i64 = 30_000;

/// The id of a notice. "One a day" is this id and not a counter: whoever wants the first notice of a day to a customer
/// comes to the same stream. `addressee` is the customer, or an invoice that is told about alone.
pub fn stream_name(tenant: &TenantId, mode: Mode, addressee: &str, day: &str, slot: u8) -> String {
    events::derived_id("ntc", tenant, &["notice", mode.as_str(), addressee, day, &slot.to_string()])
}

/// The stream of a notice.
pub fn key_of(tenant: &TenantId, name: &str) -> AggregateId<NoticeState> {
    AggregateId::new(tenant, name)
}

/// What a notice says and to whom, once nothing joins any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub kept: Vec<NoticeInvoice>,
    pub dropped: Vec<(NoticeInvoice, NoticeDrop)>,
    pub step: Option<LadderStep>,
}

/// A notice that has an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub mode: Mode,
    pub customer: Option<Recipient>,
    pub day: String,
    /// Nothing joins after this time.
    pub due_at: Timestamp,
    pub joined: Vec<(NoticeInvoice, InvoiceRef)>,
    pub closed: Option<Closed>,
    pub messages: Vec<NoticeMessage>,
    /// Why it sent none.
    pub refused: Option<String>,
    pub is_done: bool,
}

/// The state of a notice's stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NoticeState {
    /// `None` before the first invoice joins.
    pub notice: Option<Notice>,
}

/// A command to a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Join {
        mode: Mode,
        customer: Option<Recipient>,
        day: String,
        due_at: Timestamp,
        joined: NoticeInvoice,
        reference: InvoiceRef,
        /// The most invoices that the notice may have.
        most: usize,
    },
    Close(Closed),
    Finish {
        messages: Vec<NoticeMessage>,
        refused: Option<String>,
    },
}

/// Why a command is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the notice is closed")]
    Closed,
    #[error("the notice has as many invoices as it may have")]
    Full,
    #[error("another invoice joined meanwhile")]
    Moved,
    #[error("there is no such notice")]
    Unknown,
}

impl Aggregate for NoticeState {
    const KIND: StreamKind = StreamKind::NOTICE;
    const ERASURE: Erasure = Erasure::NoPersonalData;
    const ROLL_OVER_BYTES: usize = 32 * 1024;

    type Event = NoticeEvent;
    type Command = Command;
    type Rejection = Rejection;

    fn decide(&self, command: Command) -> Result<Vec<NoticeEvent>, Rejection> {
        match (command, &self.notice) {
            (Command::Join { mode, customer, day, due_at, joined, reference, .. }, None) => Ok(vec![
                NoticeEvent::NoticeOpened { mode, customer, day, due_at },
                NoticeEvent::NoticeJoined { joined, reference },
            ]),
            (Command::Join { joined, reference, most, .. }, Some(notice)) => {
                let is_in = notice.joined.iter().any(|(known, _)| *known == joined);
                match &notice.closed {
                    _ if is_in => Ok(Vec::new()),
                    Some(_) => Err(Rejection::Closed),
                    None if most <= notice.joined.len() => Err(Rejection::Full),
                    None => Ok(vec![NoticeEvent::NoticeJoined { joined, reference }]),
                }
            }
            (Command::Close(_) | Command::Finish { .. }, None) => Err(Rejection::Unknown),
            (Command::Close(_), Some(notice)) if notice.closed.is_some() => Ok(Vec::new()),
            (Command::Close(closed), Some(notice)) => {
                let decided = closed.kept.len() + closed.dropped.len();
                // Whoever closes has read what had joined. One that joined in between is not decided on.
                if decided != notice.joined.len() {
                    return Err(Rejection::Moved);
                }
                let Closed { kept, dropped, step } = closed;
                Ok(vec![NoticeEvent::NoticeClosed { kept, dropped, step }])
            }
            (Command::Finish { .. }, Some(notice)) if notice.is_done => Ok(Vec::new()),
            (Command::Finish { messages, refused }, Some(_)) => Ok(vec![NoticeEvent::NoticeDone { messages, refused }]),
        }
    }

    fn evolve(mut self, record: &RecordedEvent<NoticeEvent>) -> Self {
        match (record.event.clone(), &mut self.notice) {
            (NoticeEvent::NoticeOpened { mode, customer, day, due_at }, notice) => {
                let (joined, messages) = (Vec::new(), Vec::new());
                let (closed, refused, is_done) = (None, None, false);
                *notice = Some(Notice { mode, customer, day, due_at, joined, closed, messages, refused, is_done });
            }
            (NoticeEvent::NoticeJoined { joined, reference }, Some(notice)) => notice.joined.push((joined, reference)),
            (NoticeEvent::NoticeClosed { kept, dropped, step }, Some(notice)) => {
                notice.closed = Some(Closed { kept, dropped, step });
            }
            (NoticeEvent::NoticeDone { messages, refused }, Some(notice)) => {
                (notice.messages, notice.refused, notice.is_done) = (messages, refused, true);
            }
            (
                NoticeEvent::NoticeJoined { .. } | NoticeEvent::NoticeClosed { .. } | NoticeEvent::NoticeDone { .. },
                None,
            ) => (),
        }
        self
    }

    fn wake(&self, now: Timestamp, _: Option<Timestamp>) -> Option<Timestamp> {
        let notice = self.notice.as_ref().filter(|notice| !notice.is_done)?;
        Some(if notice.closed.is_some() { now + SEND_MS } else { notice.due_at.max(now) })
    }

    fn is_complete(&self) -> bool {
        self.notice.as_ref().is_none_or(|notice| notice.is_done)
    }
}

//! Recipients that stand for an outcome. `docs/testing.md` is their table.

/// What happens to a message to such a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Delivered,
    Opened,
    Clicked,
    BounceHard,
    /// Refused twice, then delivered.
    BounceSoft,
    Complaint,
    /// 429 with Retry-After twice, then delivered.
    Throttled,
    /// 503 until the attempts are used up.
    Down,
    /// Taken, but the answer is lost.
    Timeout,
    /// Delivered after 30 seconds.
    Slow,
    /// Replies STOP: delivered once, refused ever after.
    Stop,
}

/// By the local part at `sim.test`; every other address is delivered.
pub fn email(address: &str) -> Behaviour {
    match address.strip_suffix("@sim.test") {
        Some("opened") => Behaviour::Opened,
        Some("clicked") => Behaviour::Clicked,
        Some("bounce-hard") => Behaviour::BounceHard,
        Some("bounce-soft") => Behaviour::BounceSoft,
        Some("complaint") => Behaviour::Complaint,
        Some("throttled") => Behaviour::Throttled,
        Some("down") => Behaviour::Down,
        Some("timeout") => Behaviour::Timeout,
        Some("slow") => Behaviour::Slow,
        _ => Behaviour::Delivered,
    }
}

/// By the last three digits of +44 7700 900xxx; every other number is delivered.
pub fn phone(number: &str) -> Behaviour {
    match number.strip_prefix("+447700900") {
        Some("002") => Behaviour::Opened,
        Some("003") => Behaviour::Clicked,
        Some("010") => Behaviour::BounceHard,
        Some("011") => Behaviour::BounceSoft,
        Some("012") => Behaviour::Complaint,
        Some("020") => Behaviour::Throttled,
        Some("021") => Behaviour::Down,
        Some("022") => Behaviour::Timeout,
        Some("023") => Behaviour::Slow,
        Some("030") => Behaviour::Stop,
        _ => Behaviour::Delivered,
    }
}

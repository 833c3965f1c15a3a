//! Recipients whose address determines the outcome. `docs/testing.md` lists them.

/// The fate of a message to such a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Delivered,
    Opened,
    Clicked,
    BounceHard,
    /// Accepted, then bounced softly, because the mailbox is full or the phone is off.
    Returned,
    /// Refused twice, then delivered.
    BounceSoft,
    Complaint,
    /// Refused twice with 429 and Retry-After, then delivered.
    Throttled,
    /// Refused with 503 until no attempts are left.
    Down,
    /// Accepted, but the response is lost.
    Timeout,
    /// Delivered after 30 seconds.
    Slow,
    /// Delivered once. The recipient replies STOP, so later messages are refused.
    Stop,
}

/// Returns the behaviour of a recipient by the local part of an address at `sim.test`, or by the last three digits of
/// +44 7700 900xxx. Ids of chats and pages have the same digits without the 44. Messages to all other addresses are
/// delivered.
pub fn behaviour_of(address: &str) -> Behaviour {
    if let Some(name) = address.strip_suffix("@sim.test") {
        return match name {
            "opened" => Behaviour::Opened,
            "clicked" => Behaviour::Clicked,
            "bounce-hard" => Behaviour::BounceHard,
            "returned" => Behaviour::Returned,
            "bounce-soft" => Behaviour::BounceSoft,
            "complaint" => Behaviour::Complaint,
            "throttled" => Behaviour::Throttled,
            "down" => Behaviour::Down,
            "timeout" => Behaviour::Timeout,
            "slow" => Behaviour::Slow,
            _ => Behaviour::Delivered,
        };
    }
    let digits = address.trim_start_matches('+');
    let digits = digits.strip_prefix("44").unwrap_or(digits);
    match digits.strip_prefix("7700900") {
        Some("002") => Behaviour::Opened,
        Some("003") => Behaviour::Clicked,
        Some("010") => Behaviour::BounceHard,
        Some("011") => Behaviour::BounceSoft,
        Some("013") => Behaviour::Returned,
        Some("012") => Behaviour::Complaint,
        Some("020") => Behaviour::Throttled,
        Some("021") => Behaviour::Down,
        Some("022") => Behaviour::Timeout,
        Some("023") => Behaviour::Slow,
        Some("030") => Behaviour::Stop,
        _ => Behaviour::Delivered,
    }
}

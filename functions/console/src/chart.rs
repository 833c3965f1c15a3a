//! Messages per day and channel, as bars.

use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::Value;

use crate::time::Clock;
use crate::words::CHANNELS;

/// The width of a day.
const DAY_WIDTH: usize = 12;

pub struct Chart {
    pub width: usize,
    pub top: u64,
    pub days: Vec<Day>,
    pub first: String,
    pub last: String,
    /// The channels that have messages.
    pub legend: Vec<Share>,
}

pub struct Day {
    pub name: String,
    pub date: String,
    pub total: u64,
    pub parts: Vec<Part>,
}

/// The messages of one channel on one day.
pub struct Part {
    pub channel: &'static str,
    pub x: String,
    pub y: String,
    pub height: String,
}

/// The messages of one channel on all days.
pub struct Share {
    pub channel: &'static str,
    pub name: &'static str,
    pub total: u64,
}

fn count(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

impl Chart {
    /// The last days of statistics, as the API answers them.
    pub fn of(stats: &Value, clock: &Clock, days: i64) -> Chart {
        let counted: Vec<&Value> = stats["byDay"].as_array().into_iter().flatten().collect();
        let last: Option<Date> = stats["endDate"].as_str().and_then(|day| day.parse().ok());
        let dates = (0..days).rev().filter_map(|back| last?.checked_sub(back.days()).ok()).map(|day| day.to_string());
        let of_day = |date: String| {
            let found = counted.iter().find(|day| day["day"] == date.as_str()).copied().unwrap_or(&Value::Null);
            (date, found)
        };
        let days: Vec<(String, &Value)> = dates.map(of_day).collect();
        let highest = days.iter().map(|(_, day)| count(day, "total")).max().unwrap_or(0);
        let unit = if highest <= 10 { 10 } else { 10_u64.pow(highest.ilog10()) };
        let top = highest.div_ceil(unit).max(1) * unit;
        let name = |date: &String| clock.day(&format!("{date}T12:00:00Z")).map_or(String::new(), |day| day.text);
        let day = |(index, (date, day)): (usize, &(String, &Value))| Day {
            name: name(date),
            date: date.clone(),
            total: count(day, "total"),
            parts: parts(index, day, top),
        };
        let share = |(channel, name): &(&'static str, &'static str)| {
            let total = days.iter().map(|(_, day)| count(&day["byChannel"], channel)).sum();
            Share { channel, name, total }
        };
        Chart {
            width: DAY_WIDTH * days.len().max(1),
            top,
            first: days.first().map_or(String::new(), |(date, _)| name(date)),
            last: days.last().map_or(String::new(), |(date, _)| name(date)),
            legend: CHANNELS.iter().map(share).filter(|share| share.total > 0).collect(),
            days: days.iter().enumerate().map(day).collect(),
        }
    }
}

/// One bar on top of the other, with a gap between them.
fn parts(index: usize, day: &Value, top: u64) -> Vec<Part> {
    let mut below = 0.0;
    let part = |(channel, _): &(&'static str, &'static str)| {
        let share = 100.0 * count(&day["byChannel"], channel) as f64 / top as f64;
        let height = (share - 0.35).max(0.0);
        below += share;
        (share > 0.0).then(|| Part {
            channel,
            x: format!("{:.1}", (DAY_WIDTH * index) as f64 + 1.5),
            y: format!("{:.2}", 100.0 - below),
            height: format!("{height:.2}"),
        })
    };
    CHANNELS.iter().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use events::Timestamp;
    use jiff::tz::TimeZone;
    use serde_json::json;

    use super::*;

    #[test]
    fn channels_are_stacked_and_named() {
        let stats = json!({
            "endDate": "2026-11-24",
            "byDay": [{ "day": "2026-11-24", "total": 10, "byChannel": { "email": 6, "sms": 4 } }],
        });
        let chart = Chart::of(&stats, &Clock { now: Timestamp(1_795_500_000_000), zone: TimeZone::UTC }, 2);
        let [empty, full] = &chart.days[..] else { panic!("two days") };
        assert!(empty.parts.is_empty() && empty.total == 0);
        let shown: Vec<_> = full.parts.iter().map(|part| (part.channel, &*part.x, &*part.y, &*part.height)).collect();
        assert_eq!(shown, [("email", "13.5", "40.00", "59.65"), ("sms", "13.5", "0.00", "39.65")]);
        let legend: Vec<_> = chart.legend.iter().map(|share| (share.name, share.total)).collect();
        assert_eq!((legend, chart.top), (vec![("Email", 6), ("SMS", 4)], 10));
    }
}

//! Compares rules with the results of python-dateutil and croniter that `record_cases.py` recorded.

use serde_json::Value;

use super::*;

fn cases(text: &str) -> Vec<Value> {
    serde_json::from_str(text).expect("recorded cases")
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().expect("a text")
}

fn list(case: &Value, field: &str) -> Vec<String> {
    case[field].as_array().expect("a list").iter().map(|item| item.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn rules_have_the_same_dates_as_in_dateutil() {
    let cases = cases(include_str!("rrule_cases.json"));
    assert_eq!(cases.len(), 300);
    for case in &cases {
        let input = rrule(text(case, "rule"), text(case, "time"), "UTC", text(case, "start"));
        let expected = list(case, "dates");
        let found = match Recurrence::parse(input) {
            Ok(recurrence) => first(&recurrence, 12).into_iter().map(|time| time[..10].to_owned()).collect(),
            Err(faults) => {
                assert!(faults.iter().all(|fault| fault.code == FaultCode::Never), "{case}: {faults:?}");
                Vec::new()
            }
        };
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn cron_expressions_have_the_same_times_as_in_croniter() {
    for case in &cases(include_str!("cron_cases.json")) {
        let recurrence = parsed(cron(text(case, "cron"), "UTC", text(case, "start")));
        assert_eq!(first(&recurrence, 12), list(case, "times"), "{case}");
    }
}

//! Delivery reports and the status.

use super::*;

#[test]
fn a_status_is_recorded_once() {
    given([requested(), started(1), accepted(1), reported(1, ReportedStatus::Delivered)])
        .when(report(1, ReportedStatus::Delivered))
        .then([]);
    let earlier =
        DeliveryReport { attempt: Some(1), fact: ReportedStatus::Delivered, event_id: None, at: at(1), code: None };
    let event = CommunicationEvent::DeliveryReported {
        attempt: Some(1),
        fact: ReportedStatus::Delivered,
        provider_event_id: None,
        provider_at: at(1),
        code: None,
    };
    let g = given([requested(), started(1), accepted(1), reported(1, ReportedStatus::Delivered)])
        .when(Command::Report(vec![earlier]))
        .then([event]);
    assert_eq!(g.communication().evidence[&ReportedStatus::Delivered].at, at(1));
}

#[test]
fn acceptance_is_not_recorded_again_after_the_answer() {
    given([requested(), started(1), accepted(1)]).when(report(1, ReportedStatus::Accepted)).then([]);
    given([requested(), started(1)])
        .when(report(1, ReportedStatus::Accepted))
        .then([reported(1, ReportedStatus::Accepted)]);
}

#[test]
fn a_report_of_an_unknown_attempt_is_rejected() {
    given([requested()]).when(report(1, ReportedStatus::Delivered)).then_rejected(Rejection::UnknownAttempt);
    given([requested(), started(1)])
        .when(report(2, ReportedStatus::Delivered))
        .then_rejected(Rejection::UnknownAttempt);
}

#[test]
fn an_unknown_status_is_recorded_and_never_applied() {
    let odd = |code: &str| DeliveryReport {
        attempt: Some(1),
        fact: ReportedStatus::Unknown,
        event_id: None,
        at: at(5),
        code: Some(code.into()),
    };
    let event = CommunicationEvent::DeliveryReported {
        attempt: Some(1),
        fact: ReportedStatus::Unknown,
        provider_event_id: None,
        provider_at: at(5),
        code: Some("odd".into()),
    };
    let delivered = [requested(), started(1), accepted(1), reported(1, ReportedStatus::Delivered)];
    given(delivered).when(Command::Report(vec![odd("odd"), odd("odd")])).then([event]).shows(Status::Delivered);
}

#[test]
fn the_order_of_reports_does_not_change_the_status() {
    let facts = [
        ReportedStatus::Accepted,
        ReportedStatus::Deferred,
        ReportedStatus::Delivered,
        ReportedStatus::Opened,
        ReportedStatus::Complained,
    ];
    fn orders(facts: &[ReportedStatus]) -> Vec<Vec<ReportedStatus>> {
        if facts.is_empty() {
            return vec![vec![]];
        }
        (0..facts.len())
            .flat_map(|i| {
                let mut rest = facts.to_vec();
                let first = rest.remove(i);
                orders(&rest).into_iter().map(move |mut order| {
                    order.insert(0, first);
                    order
                })
            })
            .collect()
    }
    let all = orders(&facts);
    assert_eq!(all.len(), 120);
    for order in all {
        for index in 0..=order.len() {
            let mut events = vec![requested(), started(1)];
            events.extend(order.iter().map(|fact| reported(1, *fact)));
            events.insert(2 + index, accepted(1));
            let state = events.iter().fold(State::default(), evolve);
            let communication = state.requested().expect("requested");
            assert_eq!(status(communication), Status::Opened, "{order:?}");
            assert_eq!(communication.lifecycle, Lifecycle::Sent);
        }
    }
}

#[test]
fn the_status_never_goes_backwards() {
    for (facts, expected) in [
        (&[ReportedStatus::Clicked, ReportedStatus::Delivered][..], Status::Clicked),
        (&[ReportedStatus::Delivered, ReportedStatus::Undelivered], Status::Delivered),
        (&[ReportedStatus::Delivered, ReportedStatus::Bounced], Status::Bounced),
        (&[ReportedStatus::Delivered, ReportedStatus::Complained], Status::Delivered),
        (&[ReportedStatus::Dropped], Status::Dropped),
        (&[ReportedStatus::Opened, ReportedStatus::Read], Status::Read),
        (&[ReportedStatus::Deferred], Status::Sent),
    ] {
        let mut events = vec![requested(), started(1), accepted(1)];
        events.extend(facts.iter().map(|fact| reported(1, *fact)));
        let state = events.iter().fold(State::default(), evolve);
        assert_eq!(status(state.requested().expect("requested")), expected, "{facts:?}");
    }
}

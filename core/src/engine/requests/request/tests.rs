//! Tests of one question.

use super::*;
use crate::payload::Payload;

fn node(name: &str) -> NodeId {
    NodeId::new(name.to_owned())
}

fn request(unnamed: u64) -> Request {
    let id = RequestId::new("r");
    let mut request = Request::new("/".into(), id, Wanted::Values, true, true);
    request.expect_unnamed(unnamed);
    request.is_published();
    request
}

fn roll(others: u64, named: &[(&str, u64)]) -> Roll {
    Roll {
        others,
        may_have_own: false,
        is_doubtful: false,
        named: named.iter().map(|(name, count)| (node(name), *count)).collect(),
    }
}

fn outcome(request: Request) -> Outcome {
    request.outcome(false, None, &node("me"))
}

const EMIT: fn() -> Answer = || Answer::Emit(Payload::null());
const ACK: fn() -> Answer = || Answer::Ack(Payload::null());

#[test]
fn a_second_answer_of_the_same_node_does_not_count() {
    let mut request = request(2);
    assert!(request.answer(&node("a"), &EMIT(), false, 10));
    assert!(!request.answer(&node("a"), &EMIT(), false, 10));
    assert!(!request.is_over());
    assert!(request.answer(&node("b"), &EMIT(), false, 10));
    assert!(request.is_unsure() && !request.is_over(), "who was counted?");
    request.look_after(&roll(2, &[("a", 1), ("b", 1)]));
    assert!(request.is_over());
    assert!(outcome(request).is_complete());
}

#[test]
fn acks_are_awaited_until_each_client_gave_one() {
    let mut request = request(2);
    assert!(request.answer(&node("a"), &Answer::ClientCount(0), false, 10));
    assert!(request.answer(&node("b"), &ACK(), false, 10), "an ack may overtake the count");
    assert!(request.answer(&node("b"), &Answer::ClientCount(2), false, 10));
    request.look_after(&roll(2, &[("a", 1), ("b", 1)]));
    assert!(!request.is_over());
    assert!(request.answer(&node("b"), &ACK(), false, 10));
    assert!(request.is_over());
    assert!(!request.answer(&node("b"), &ACK(), false, 10), "one more than clients");
    let outcome = outcome(request);
    assert_eq!((outcome.clients, outcome.acks), (2, 2));
    assert!(outcome.is_complete());
}

#[test]
fn nothing_is_over_before_it_is_published_and_counted() {
    let id = RequestId::new("r");
    let mut request = Request::new("/".into(), id, Wanted::Acks, true, true);
    assert!(!request.is_over());
    request.is_published();
    assert!(!request.is_over());
    request.expect_unnamed(0);
    assert!(request.is_over());
    let id = RequestId::new("r");
    let mut request = Request::new("/".into(), id, Wanted::Acks, true, false);
    request.is_doubtful(CommandError::Lost("cut".into()));
    assert!(request.is_over());
    let outcome = outcome(request);
    assert!(!outcome.is_complete(), "nobody knows whether anybody has heard it: {outcome:?}");
}

#[test]
fn a_node_that_came_after_the_count_takes_nobodys_place() {
    let mut request = request(0);
    request.counted(&roll(1, &[]), true);
    // One more node subscribes before the question is published, and is the first to answer.
    assert!(request.answer(&node("new"), &EMIT(), false, 10));
    assert!(request.is_to_be_counted());
    request.is_being_counted();
    assert!(!request.is_over());
    request.expect_unnamed(2);
    assert!(!request.is_over());
    assert!(request.answer(&node("old"), &EMIT(), false, 10));
    request.look_after(&roll(2, &[("new", 1), ("old", 1)]));
    assert!(request.is_over());
}

#[test]
fn a_node_that_answers_and_leaves_before_the_count_takes_nobodys_place() {
    let mut request = request(0);
    request.is_being_counted();
    assert!(request.answer(&node("left"), &EMIT(), false, 10));
    request.counted(&roll(1, &[("left", 0)]), true);
    assert!(!request.is_over(), "the one that is there has not answered");
    assert!(request.answer(&node("there"), &EMIT(), false, 10));
    request.look_after(&roll(1, &[("left", 0), ("there", 1)]));
    assert!(request.is_over());
    assert!(outcome(request).is_complete());
}

#[test]
fn a_subscriber_that_is_gone_is_not_waited_for_and_is_named() {
    let mut request = request(2);
    assert!(request.answer(&node("a"), &EMIT(), false, 10));
    request.look_after(&roll(2, &[("a", 1), ("b", 1)]));
    request.look_after(&roll(1, &[("a", 1), ("b", 0)]));
    assert!(!request.is_over(), "it may only be renewing its subscription");
    request.look_after(&roll(1, &[("a", 1), ("b", 0)]));
    assert!(request.is_over());
    let outcome = outcome(request);
    assert_eq!(outcome.missing, [node("b")]);
    assert_eq!(outcome.missing_unnamed, 0);
    assert!(!outcome.is_complete());
}

#[test]
fn a_subscription_that_is_renewed_is_no_death() {
    let mut request = request(0);
    request.expect(node("b"));
    request.subscribers = 1;
    request.subscribes(&node("b"));
    for here in [0, 1, 0, 1] {
        request.look_after(&roll(here, &[("b", here)]));
        assert!(!request.is_over());
    }
    assert!(request.answer(&node("b"), &EMIT(), false, 10));
    assert!(outcome(request).is_complete());
}

#[test]
fn a_silent_subscriber_is_named_when_the_time_is_up() {
    let mut request = request(2);
    assert!(request.answer(&node("a"), &EMIT(), false, 10));
    request.look_after(&roll(2, &[("a", 1), ("b", 1)]));
    assert!(!request.is_over());
    let outcome = request.outcome(true, None, &node("me"));
    assert_eq!(outcome.missing, [node("b")]);
    assert_eq!(outcome.missing_unnamed, 0);
}

/// The simulator found this: `back` took the place of `silent`, as `away` did not subscribe at
/// that moment.
#[test]
fn a_node_that_comes_back_takes_nobodys_place_while_another_is_away() {
    let mut request = request(0);
    request.expect(node("away"));
    request.subscribes(&node("away"));
    request.counted(&roll(2, &[("away", 1)]), true);
    assert!(request.answer(&node("away"), &EMIT(), true, 10));
    assert!(request.answer(&node("back"), &EMIT(), true, 10));
    assert!(request.to_look_after().any(|name| *name == node("away")));
    request.look_after(&roll(2, &[("away", 0), ("silent", 1), ("back", 1)]));
    assert!(!request.is_over(), "one has not answered");
    assert!(request.answer(&node("silent"), &EMIT(), false, 10));
    request.look_after(&roll(3, &[("away", 1), ("silent", 1), ("back", 1)]));
    assert!(request.is_over());
    assert!(outcome(request).is_complete());
}

/// The simulator found this: a check that had been made for another question did not ask for `a` by
/// name, and this node's own subscription was taken for a node that had gone.
#[test]
fn its_own_subscription_is_told_from_others_by_a_roll_that_has_all_names() {
    let mut request = request(0);
    request.expect(node("a"));
    request.subscribes(&node("a"));
    request.counted(&Roll { may_have_own: true, ..roll(2, &[("a", 1)]) }, true);
    assert!(request.to_look_after().any(|name| *name == node("a")));
    request.look_after(&roll(1, &[("another", 0)]));
    assert!(request.answer(&node("a"), &EMIT(), false, 10));
    assert!(!request.is_over());
    assert!(request.to_look_after().any(|name| *name == node("a")), "though it has answered");
    request.look_after(&roll(1, &[("a", 1)]));
    assert!(request.is_over());
    assert!(outcome(request).is_complete());
}

/// The simulator found this: `away` did not subscribe when the check came, so the own subscription
/// seemed to have been counted in its place, and its answer then stood for that of `silent`.
#[test]
fn its_own_subscription_is_not_told_from_others_while_some_have_no_names() {
    let mut request = request(0);
    request.counted(&Roll { may_have_own: true, ..roll(2, &[]) }, true);
    for _ in 0..3 {
        request.look_after(&roll(1, &[]));
    }
    assert!(request.answer(&node("away"), &EMIT(), false, 10));
    request.look_after(&roll(2, &[("away", 1)]));
    assert!(!request.is_over(), "one has not answered");
    assert!(request.answer(&node("silent"), &EMIT(), false, 10));
    request.look_after(&roll(2, &[("away", 1), ("silent", 1)]));
    assert!(request.is_over());
    assert!(outcome(request).is_complete());
}

/// It is nobody who has gone, either.
#[test]
fn its_own_subscription_is_not_missed_once_all_others_have_answered() {
    let mut request = request(0);
    request.counted(&Roll { may_have_own: true, ..roll(2, &[]) }, true);
    for _ in 0..3 {
        request.look_after(&roll(1, &[]));
    }
    assert!(request.answer(&node("only"), &EMIT(), false, 10));
    assert!(!request.is_over());
    request.look_after(&roll(1, &[("only", 1)]));
    assert!(request.is_over());
    assert!(outcome(request).is_complete());
}

#[test]
fn an_answer_by_the_stream_takes_no_subscribers_place() {
    let mut request = request(1);
    request.expect(node("old"));
    assert!(request.answer(&node("late"), &EMIT(), true, 10));
    assert!(request.answer(&node("old"), &EMIT(), true, 10));
    assert!(!request.is_over());
    assert!(request.answer(&node("new"), &EMIT(), false, 10));
    assert!(request.is_unsure() && !request.is_over());
    request.look_after(&roll(1, &[("old", 0), ("late", 0), ("new", 1)]));
    assert!(request.is_over());
}

/// The simulator found this: `back` did not subscribe when the others were counted, and its answer
/// then stood for that of `silent`.
#[test]
fn a_name_that_no_roll_has_shown_takes_nobodys_place() {
    let mut request = request(0);
    request.counted(&roll(1, &[]), true);
    assert!(request.answer(&node("back"), &EMIT(), false, 10));
    assert!(request.is_unsure() && request.awaits_subscribers() && !request.is_over());
    assert!(request.to_look_after().any(|name| *name == node("back")));
    request.look_after(&roll(1, &[("another", 0)]));
    assert!(request.is_unsure(), "the roll was not asked about it");
    request.look_after(&roll(2, &[("back", 1)]));
    assert!(!request.is_unsure() && !request.is_over(), "one has not answered");
    assert!(request.answer(&node("silent"), &EMIT(), false, 10));
    request.look_after(&roll(1, &[("back", 0), ("silent", 1)]));
    assert!(request.is_over());
    assert!(outcome(request).is_complete());
}

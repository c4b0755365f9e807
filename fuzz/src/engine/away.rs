//! Clients that go and come back: a scenario with few other steps, so that it gets far.

use arbitrary::Arbitrary;

use super::plan::{Call, How, Said, Scenario, Setup, Step, Stored, To, Value, Which, Wire};

/// As [`Scenario`], with recovery on, a stream that others have written to, and a namespace that is
/// open.
#[derive(Arbitrary, Debug)]
pub struct Away {
    setup: Setup,
    before: Vec<Written>,
    moments: Vec<Moment>,
}

/// A broadcast of another node.
#[derive(Arbitrary, Debug)]
struct Written {
    node: Which,
    other_nsp: bool,
    value: u8,
    to: To,
}

#[derive(Arbitrary, Debug)]
enum Moment {
    Broadcast(u8, To),
    Written(Written),
    /// Anything else that comes by the stream.
    Append(Wire),
    Persist(Which, Vec<Which>, Value),
    Store(Which, Stored),
    Restore(bool, Which, u8),
    Serve,
    Commands(u8),
    Reply(Which, How),
    Events(u8),
    Link(Which, bool),
    Trim(u8),
    Reset(bool),
    Open(bool),
    Close(bool),
    Pass(u16),
}

impl From<Away> for Scenario {
    fn from(away: Away) -> Self {
        let mut steps: Vec<Step> = away.before.into_iter().map(Written::step).collect();
        steps.extend([Step::Open(nsp(false)), Step::Serve]);
        steps.extend(away.moments.into_iter().map(Moment::step));
        Scenario { setup: away.setup.with_recovery(), steps }
    }
}

fn nsp(other: bool) -> Which {
    Which(if other { 2 } else { 0 })
}

/// Most have no binary value.
fn event(value: u8) -> Value {
    match value % 4 {
        0 => Value::BinaryEvent(value),
        _ => Value::Event(value),
    }
}

impl Written {
    fn step(self) -> Step {
        let body = Said::Broadcast { value: event(self.value), to: self.to, ack: None, id: None };
        Step::Append(
            Which(0),
            Wire::Message { node: self.node, nsp: nsp(self.other_nsp), bridge: false, body },
        )
    }
}

impl Moment {
    fn step(self) -> Step {
        let call = |call| Step::Call(call, nsp(false), To::all());
        match self {
            Moment::Broadcast(value, to) => Step::Call(Call::Broadcast(event(value)), nsp(false), to),
            Moment::Written(written) => written.step(),
            Moment::Append(wire) => Step::Append(Which(0), wire),
            Moment::Persist(pid, rooms, value) => call(Call::Persist(pid, rooms, value)),
            Moment::Store(pid, stored) => Step::Store(pid, stored),
            Moment::Restore(other, pid, offset) => {
                Step::Call(Call::Restore(pid, offset % 32), nsp(other), To::all())
            }
            Moment::Serve => Step::Serve,
            Moment::Commands(count) => Step::Commands(count),
            Moment::Reply(which, how) => Step::Reply(which, how),
            Moment::Events(count) => Step::Events(count),
            Moment::Link(lane, up) => Step::Link(lane, up),
            Moment::Trim(count) => Step::Trim(Which(0), count % 8),
            Moment::Reset(lower) => Step::Reset(Which(0), lower),
            Moment::Open(other) => Step::Open(nsp(other)),
            Moment::Close(other) => Step::Close(nsp(other)),
            Moment::Pass(millis) => Step::Pass(millis),
        }
    }
}

//! Deliberate bugs, for testing the simulator. At most one of them is active at a time. This module
//! exists only in builds with `--cfg sio_streams_mutants`, which no feature turns on.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of the active bug, counted from 1, or 0.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

macro_rules! mutants {
    ($($name:ident: $what:literal,)*) => {
        /// A deliberate bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Mutant {
            $(#[doc = $what] $name,)*
        }

        /// All deliberate bugs, each with its name and a description.
        pub const ALL: &[(Mutant, &str, &str)] = &[$((Mutant::$name, stringify!($name), $what),)*];
    };
}

mutants! {
    CursorBeforeDelivery: "of a large batch only the first entries are looked at, though the cursor has passed all",
    DollarAgain: "a reader that has read nothing yet begins at the stream's end again after a break",
    RepetitionDelivered: "sequence numbers are not checked",
    RetryOutOfOrder: "a message goes out while one before it has no known fate",
    NewNumberOnRetry: "what is sent again gets another number",
    BlindRetry: "what was lost is sent again without being searched for",
    SearchFromTheEnd: "the search begins behind what it looks for",
    EffectForgottenOnFailure: "what is given up is not done on its own node",
    EffectForgotten: "what a search has found is not done on its own node",
    OvertakenSentAgain: "what was overtaken is sent again behind what overtook it",
    NoticeLeaksBound: "a heartbeat that was published counts as in flight for ever",
    RetryNotRearmed: "a lane that rests is never tried again",
    HeartbeatNotAnswered: "a new node is not answered by a heartbeat",
    HeartbeatNotRearmed: "the heartbeat's timer is set once only",
    ExpiryLate: "a node is silent one interval later",
    ExpiryEarly: "a node is silent after half of the time",
    ExpiryNotRearmed: "silence is judged once only",
    FarewellUnsaid: "a node leaves without a word",
    UnsubscribeForgotten: "a namespace that is left stays subscribed",
    SubscriptionNotRenewed: "a new connection is not subscribed",
    ResponseCountedTwice: "an answer counts for two nodes",
    StrangersBelieved: "a node without a known name takes another one's place",
    RequestTimeoutNotArmed: "a request waits for ever",
    CountOfNoneForgotten: "a node without matching clients does not say so",
    BridgeCountedTwice: "a bridge counts by its name and by its subscription",
    AnswerOnTheWrongWay: "a bridge answers by Pub/Sub what was asked on the stream",
    GapOffByOne: "a gap is said to be one larger",
    GapSilent: "gaps are not reported",
    RewindIgnored: "a reader that is ahead of its stream stays there",
    BreakIgnored: "after a break reading goes on without a look at the stream's end",
    ForkIgnored: "a reader that comes to another master reads on behind its place",
    OverlapDelivered: "an entry that was read twice is delivered twice",
    BadEntrySilent: "an entry that is no message is passed over in silence",
    OwnEntriesObeyed: "a node does again what it reads of its own",
    OwnEntriesDropped: "in stream order a node does nothing of its own",
    OffsetOnVolatile: "a volatile packet gets an offset",
    LocalPublished: "a local message is published",
    ExceptIgnored: "sockets in excepted rooms are addressed",
    UnionCountsTwice: "a socket in two rooms is addressed twice",
    LeaveIgnored: "sockets don't leave rooms when another node says so",
    RoomChannelUnheard: "a room that gets its first socket has its channel not subscribed",
    RoomChannelKept: "a room that has lost its last socket keeps its channel subscribed",
    RoomsForgottenInBreak: "a new connection is subscribed to the namespaces, but not to their rooms",
    PatternForgottenInBreak: "a new connection is subscribed to the requests, but not to the broadcasts",
    LostPushSentAgain: "what a channel may have got already is sent to it again",
    EmptyRoomHeard: "a broadcast to a room in which nobody is here is delivered",
    RefusedGoodbyeForgotten: "a subscription that the server refused to end is not ended later",
    OffsetReplayed: "the replay begins at the packet that the client has, not behind it",
    OffsetOfAnyStream: "a packet from a stream that is not the namespace's has an offset",
    GapBehindHeldSilent: "entries that were trimmed while others were held are missing silently, if the server does not count",
    FirstMissedSkipped: "the replay begins one entry too late",
    ReplayLagsBehind: "the last entry that was looked at is not replayed",
    SessionTakenFirst: "a session is taken before it is known whether it can be restored",
    GapReplayedOver: "a client that comes from before a gap is recovered",
    RestoredOutOfRooms: "a socket that is restored is in no rooms",
    QuestionDropped: "what acts and has its answers already is not published",
    OwnSubscriptionTaken: "a node counts its own subscription among the others', whether it is in force or not",
    SpokeByTheReply: "the next heartbeat is counted from the reply to the last entry, not from the entry",
    SlowApplicationForgotten: "what a node that only hears did not ask while its application was slow counts as heard",
    HeartbeatNotMadeUp: "a heartbeat that falls into an outage is left out",
    SilenceByTheClock: "silence is judged by the clock, whatever could be heard",
    NumbersOfNobody: "numbers count in entries of emitters and of nobody, too",
    NumbersBelieved: "a number is believed, however far it is from what its author has written",
    GarbledIsRefused: "a reply that is not understood is taken for a refusal",
    BridgeForgotten: "a bridge that fell silent and comes back is taken for a node that does not subscribe until its next heartbeat",
    RefusalNotDivided: "if one of several rooms' channels is refused, each is taken for refused",
    RefusedForGood: "a room's channel that was refused is not tried again on the same connection",
    NamespaceRefusedForGood: "a namespace whose channels were refused is not tried again on the same connection",
    SessionOfAnyNamespace: "a session may be restored in a namespace that is not its own",
}

/// Activates the bug with this index, counted from 0, or none.
pub fn activate(mutant: Option<usize>) {
    ACTIVE.store(mutant.map_or(0, |mutant| mutant + 1), Ordering::SeqCst);
}

pub(crate) fn is_on(mutant: Mutant) -> bool {
    ACTIVE.load(Ordering::Relaxed) == mutant as usize + 1
}

//! The results, as they are kept in a file.

use serde::{Deserialize, Serialize};

/// All that was measured in one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// The day.
    pub date: String,
    /// Processors and software.
    pub machine: String,
    /// The number of rounds.
    pub rounds: usize,
    /// `true` if the rounds were short.
    pub quick: bool,
    /// The errors, if any: these figures are missing.
    pub failures: Vec<String>,
    /// By payload.
    pub payloads: Vec<OfPayload>,
}

/// The results with one payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfPayload {
    /// The key.
    pub key: String,
    /// The title.
    pub title: String,
    /// By contender; the first is the one that the others are compared with.
    pub contenders: Vec<OfContender>,
}

/// The results of one contender with one payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OfContender {
    /// The key.
    pub key: String,
    /// The name.
    pub name: String,
    /// By round. `None` where it failed.
    pub rounds: Vec<Option<Figures>>,
}

/// The results of one contender with one payload in one round. Times are in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Messages a second, from the first heard to the last.
    pub rate: f64,
    /// Processor time of the sender, per message.
    pub sender: f64,
    /// Processor time of the receiver, per message.
    pub receiver: f64,
    /// Processor time of Redis, per message.
    pub redis: f64,
    /// Bytes that Redis received and sent, per message.
    pub wire: f64,
    /// Delays when idle: median, 99th percentile, 99.9th.
    pub idle: [f64; 3],
    /// Delays at half of the first contender's rate.
    pub half_load: [f64; 3],
    /// The larger of the two processes' peaks of memory, in MiB.
    pub rss: f64,
}

/// The least, the middle and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The median. If their number is even, it is the greater of the two in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The statistics of some values; `None` if there are no values.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Spread { min, median: values[values.len() / 2], max })
    }
}

impl Results {
    /// The results of a payload.
    pub fn payload(&self, key: &str) -> Option<&OfPayload> {
        self.payloads.iter().find(|payload| payload.key == key)
    }
}

impl OfPayload {
    /// The results of a contender.
    pub fn contender(&self, key: &str) -> Option<&OfContender> {
        self.contenders.iter().find(|contender| contender.key == key)
    }
}

impl OfContender {
    /// A figure, over all rounds.
    pub fn spread(&self, figure: impl Fn(&Figures) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().flatten().map(figure))
    }

    /// A figure as a ratio to another contender's of the same round: the machine may be slower in
    /// one round, for everyone.
    pub fn ratio(&self, to: &Self, figure: impl Fn(&Figures) -> f64) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&to.rounds);
        let both = pairs.filter_map(|(mine, theirs)| Some((mine.as_ref()?, theirs.as_ref()?)));
        Spread::of(both.map(|(mine, theirs)| figure(mine) / figure(theirs)).filter(|ratio| ratio.is_finite()))
    }
}

/// Results that are made up for tests: of one round with one payload.
#[cfg(test)]
pub(super) fn made_up(payload: &str, rates: &[(&str, f64)]) -> Results {
    let contender = |&(key, rate): &(&str, f64)| OfContender {
        key: key.into(),
        name: key.into(),
        rounds: vec![Some(Figures { rate, ..Figures::default() })],
    };
    let contenders = rates.iter().map(contender).collect();
    Results {
        date: String::new(),
        machine: String::new(),
        rounds: 1,
        quick: false,
        failures: vec![],
        payloads: vec![OfPayload { key: payload.into(), title: String::new(), contenders }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(rates: &[Option<f64>]) -> OfContender {
        let rounds = rates.iter().map(|rate| rate.map(|rate| Figures { rate, ..Figures::default() }));
        OfContender { key: String::new(), name: String::new(), rounds: rounds.collect() }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was slow in the second round, for everyone; the last one failed.
        let first = contender(&[Some(100.0), Some(10.0), Some(120.0), Some(1.0)]);
        let other = contender(&[Some(300.0), Some(30.0), Some(240.0), None]);
        let ratio = other.ratio(&first, |it| it.rate).unwrap();
        assert_eq!(ratio, Spread { min: 2.0, median: 3.0, max: 3.0 });
        assert_eq!(other.spread(|it| it.rate).unwrap().median, 240.0);
        assert_eq!(contender(&[None]).spread(|it| it.rate), None);
    }
}

//! Version numbers, as the various tools print them.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `1`, `1.88`, `1.88.0`, with or without a leading `v` and a suffix such as `-nightly`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let number = text.split(['-', '+', ' ']).next()?;
        let mut parts = number.split('.').map(|part| part.parse().ok());
        let version =
            Self::new(parts.next()??, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?);
        parts.next().is_none().then_some(version)
    }

    /// Returns `true` if this is that release, or a later one that only mends it.
    pub(crate) fn is_of_release(self, release: Self) -> bool {
        (self.major, self.minor) == (release.major, release.minor)
    }

    /// Reads the first line of `redis-server --version`, which looks like `Redis server v=7.0.15
    /// sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0`. Valkey's is alike.
    pub(crate) fn of_redis(line: &str) -> Option<Self> {
        line.split_whitespace().find_map(|word| word.strip_prefix("v=")).and_then(Self::parse)
    }

    /// Reads the smallest allowed version from a requirement of the form `>=20`.
    pub(crate) fn at_least(requirement: &str) -> Option<Self> {
        requirement.trim().strip_prefix(">=").and_then(Self::parse)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch } = self;
        match (minor, patch) {
            (0, 0) => write!(f, "{major}"),
            (minor, 0) => write!(f, "{major}.{minor}"),
            (minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_versions() {
        assert_eq!(Version::parse("1"), Some(Version::new(1, 0, 0)));
        assert_eq!(Version::parse("1.88"), Some(Version::new(1, 88, 0)));
        assert_eq!(Version::parse("v20.20.2\n"), Some(Version::new(20, 20, 2)));
        assert_eq!(Version::parse("1.97.0-nightly (e50aa6fba 2026-05-19)"), Some(Version::new(1, 97, 0)));
        for bad in ["", "v", "x.y", "1.", "1.2.3.4", "-1"] {
            assert_eq!(Version::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn they_compare_as_numbers() {
        assert!(Version::parse("1.100") > Version::parse("1.88"));
        assert!(Version::parse("6.2.0") >= Version::parse("6.2"));
        assert!(Version::parse("6.0.16") < Version::parse("6.2"));
    }

    #[test]
    fn what_servers_print() {
        let redis =
            "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0";
        assert_eq!(Version::of_redis(redis), Some(Version::new(7, 0, 15)));
        let valkey =
            "Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=4a6e5b7a1d2c3f40";
        assert_eq!(Version::of_redis(valkey), Some(Version::new(8, 1, 1)));
        assert_eq!(Version::of_redis("GNU sed 4.9"), None);
    }

    #[test]
    fn requirements() {
        assert_eq!(Version::at_least(">=20"), Some(Version::new(20, 0, 0)));
        assert_eq!(Version::at_least(">= 18.2"), Some(Version::new(18, 2, 0)));
        assert_eq!(Version::at_least("^20"), None);
    }

    #[test]
    fn shown_without_zeros_at_the_end() {
        assert_eq!(Version::new(20, 0, 0).to_string(), "20");
        assert_eq!(Version::new(6, 2, 0).to_string(), "6.2");
        assert_eq!(Version::new(7, 0, 15).to_string(), "7.0.15");
    }
}

//! Whole nodes in processes of their own, saying and hearing the same broadcasts on the same Redis.

pub mod contender;
pub mod job;
pub mod measure;
pub mod report;
pub mod worker;

/// What went wrong. It ends the program.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Something that may go wrong.
pub type Result<T> = std::result::Result<T, Error>;

//! All of it, at random.

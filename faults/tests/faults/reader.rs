//! The reader's link breaks, or its server hangs.

//! Stand-ins for the macros of `tracing` and `metrics`, for builds without these features.

#[cfg(not(feature = "tracing"))]
pub(crate) mod tracing {
    macro_rules! nothing {
        ($($argument:tt)*) => {
            ()
        };
    }
    pub(crate) use {nothing as debug, nothing as error, nothing as info, nothing as warn};
}

#[cfg(not(feature = "metrics"))]
pub(crate) mod metrics {
    macro_rules! nothing {
        ($($argument:tt)*) => {
            $crate::unobserved::metrics::Nothing
        };
    }
    pub(crate) use {nothing as counter, nothing as gauge};

    /// A counter or a gauge that keeps nothing.
    pub(crate) struct Nothing;

    pub(crate) type Gauge = Nothing;

    impl Nothing {
        pub(crate) fn increment(&self, _by: u64) {}

        pub(crate) fn set(&self, _value: f64) {}
    }
}

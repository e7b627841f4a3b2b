//! What the router counts.

use prometheus::{IntCounter, IntGauge, Registry};

/// See the module.
#[derive(Debug)]
pub(super) struct Gauges {
    pub routes: IntGauge,
    pub swaps: IntCounter,
    pub skipped: IntGauge,
    pub skipped_total: IntCounter,
    pub skipped_commands: IntGauge,
    pub skipped_commands_total: IntCounter,
    pub noted: IntGauge,
    pub noted_total: IntCounter,
    pub source_ended: IntCounter,
}

impl Gauges {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = Self {
            routes: IntGauge::new("lictor_lb_routes", "Routes in the table, built-in ones included.")?,
            swaps: IntCounter::new("lictor_lb_table_swaps_total", "Routing tables that took effect.")?,
            skipped: IntGauge::new("lictor_lb_skipped_tags", "Tags that make no route now.")?,
            skipped_total: IntCounter::new(
                "lictor_lb_skipped_tags_total",
                "Tags that were found to make no route.",
            )?,
            skipped_commands: IntGauge::new(
                "lictor_lb_skipped_commands",
                "Lines of route commands now that are none.",
            )?,
            skipped_commands_total: IntCounter::new(
                "lictor_lb_skipped_commands_total",
                "Lines of route commands that were found to be none.",
            )?,
            noted: IntGauge::new(
                "lictor_lb_noted_tags",
                "Options of tags now that have no effect, or not the one that was meant.",
            )?,
            noted_total: IntCounter::new(
                "lictor_lb_noted_tags_total",
                "Options of tags that were found to have no effect, or not the one that was meant.",
            )?,
            source_ended: IntCounter::new(
                "lictor_lb_source_ended_total",
                "Times that the source of routes ended for good: the table stays as it is until the next start.",
            )?,
        };
        registry.register(Box::new(gauges.routes.clone()))?;
        registry.register(Box::new(gauges.swaps.clone()))?;
        registry.register(Box::new(gauges.skipped.clone()))?;
        registry.register(Box::new(gauges.skipped_total.clone()))?;
        registry.register(Box::new(gauges.skipped_commands.clone()))?;
        registry.register(Box::new(gauges.skipped_commands_total.clone()))?;
        registry.register(Box::new(gauges.noted.clone()))?;
        registry.register(Box::new(gauges.noted_total.clone()))?;
        registry.register(Box::new(gauges.source_ended.clone()))?;
        Ok(gauges)
    }
}

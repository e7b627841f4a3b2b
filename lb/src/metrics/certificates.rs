//! What is told of certificate sources, read from them when somebody asks the registry.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::scrape::{Families, Value};
use crate::tls::Stores;

/// Certificates of one source that are shown one by one; a series each must not be what ends a scrape.
const MAX_SHOWN: usize = 1000;

/// Gives what the sources are like to a Prometheus registry.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    stores: Stores,
    /// By its descriptions a registry tells collectors apart, so there has to be one.
    desc: Desc,
}

impl Certificates {
    pub(crate) fn new(stores: Stores) -> Result<Self, prometheus::Error> {
        let labels = vec!["source".to_owned()];
        let name = "lictor_lb_certificates".to_owned();
        let desc = Desc::new(
            name,
            "Certificates of a source.".to_owned(),
            labels,
            HashMap::new(),
        )?;
        Ok(Self { stores, desc })
    }
}

impl Collector for Certificates {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::new(&[]);
        for source in self.stores.status() {
            let of = [source.name.as_str()];
            families.add("certificate_failures_total", &of, Value::Number(source.failures));
            families.add("certificate_updates_total", &of, Value::Number(source.updates));
            let count = source.certificates.len().try_into().unwrap_or(u64::MAX);
            families.add("certificates", &of, Value::Number(count));
            for shown in source.certificates.iter().take(MAX_SHOWN) {
                let end = Value::Number(shown.not_after.try_into().unwrap_or(0));
                families.add("certificate_end_seconds", &[&source.name, &shown.entry], end);
            }
        }
        for token in self.stores.vault_tokens() {
            let of = [token.from.as_str()];
            families.add("vault_token_failures_total", &of, Value::Number(token.failures));
            if let Some(end) = token.end {
                families.add("vault_token_end_seconds", &of, Value::Number(end));
            }
        }
        families.done()
    }
}

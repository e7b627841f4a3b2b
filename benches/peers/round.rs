//! One case from its start to its samples: contenders take turns, so that a slow minute slows them all.

use crate::backend::Backend;
use crate::case::Case;
use crate::certificate::Certificate;
use crate::machine::{Machine, Outcome};
use crate::proxy::{Duty, Proxy};
use crate::report::{Row, Sample};

/// How often, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rounds: u32,
    pub seconds: u32,
}

/// What all cases share.
pub struct Stage {
    pub machine: Machine,
    pub backend: Backend,
    pub certificate: Certificate,
}

impl Stage {
    pub fn set() -> Outcome<Self> {
        let machine = Machine::new()?;
        Ok(Self {
            backend: Backend::start(&machine)?,
            certificate: Certificate::make(&machine)?,
            machine,
        })
    }

    /// Every contender is warmed up once, then measured once a round; who begins changes from round to round.
    pub fn run(&self, case: &Case, plan: Plan) -> Outcome<Vec<Row>> {
        let duty = Duty {
            front: case.front,
            target: self.backend.http,
            certificate: &self.certificate,
        };
        let mut rows = Vec::new();
        let mut proxies = Vec::new();
        for &kind in case.contenders {
            let proxy = Proxy::start(kind, &duty, &self.machine)?;
            self.measure(case, &proxy, plan.seconds)
                .map_err(|e| format!("{}: {e}", kind.name()))?;
            proxies.push(proxy);
            rows.push(Row {
                name: kind.name(),
                samples: Vec::new(),
            });
        }
        for round in 0..plan.rounds as usize {
            for turn in 0..proxies.len() {
                let next = (round + turn) % proxies.len();
                let row = &mut rows[next];
                let sample = self.measure(case, &proxies[next], plan.seconds);
                row.samples
                    .push(sample.map_err(|e| format!("{}: {e}", row.name))?);
            }
        }
        Ok(rows)
    }

    fn measure(&self, case: &Case, proxy: &Proxy, seconds: u32) -> Outcome<Sample> {
        let before = proxy.time();
        let tally = case.load.put(&self.machine, case.front, proxy.address, seconds)?;
        let spent = proxy.time().seconds_since(&before);
        Ok(Sample {
            rate: tally.count / tally.seconds,
            p50: tally.p50,
            p99: tally.p99,
            cost: spent / tally.count * case.unit.cost_of,
            resident: proxy.resident_mib(),
        })
    }
}

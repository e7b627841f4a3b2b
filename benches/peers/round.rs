//! One case from its start to its samples: contenders take turns, so that a slow minute slows them all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::backend::Backend;
use crate::case::{Case, Contender};
use crate::certificate::Certificate;
use crate::client::echo;
use crate::client::registry::Services;
use crate::load::{Load, Put, Target};
use crate::machine::{Machine, Outcome};
use crate::proxy::{Duty, Proxy};
use crate::report::{Row, Sample};
use crate::verdict::Spread;

/// The share that has to have come about in most rounds, of requests at a given rate and of changes, each as a table of its
/// own: below it the machine was busy with something else.
const ENOUGH: f64 = 0.9;

/// How often, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rounds: u32,
    pub seconds: u32,
}

/// What all cases share.
pub struct Stage {
    backend: Backend,
    echo: echo::Server,
    certificate: Certificate,
    /// Goes last: its folder is that of all others.
    pub machine: Machine,
}

/// A case that runs.
struct Race<'a> {
    stage: &'a Stage,
    case: &'a Case,
    seconds: u32,
    /// For loads at half of what is possible, once that is known.
    rate: Option<f64>,
}

impl Stage {
    pub fn set() -> Outcome<Self> {
        let machine = Machine::new()?;
        Ok(Self {
            backend: Backend::start(&machine)?,
            echo: echo::Server::start()?,
            certificate: Certificate::make(&machine)?,
            machine,
        })
    }

    /// Every contender is warmed up once, then measured once a round; who begins changes from round to round.
    pub fn run(&self, case: &Case, plan: Plan) -> Outcome<Vec<Row>> {
        let mut race = Race {
            stage: self,
            case,
            seconds: plan.seconds,
            rate: None,
        };
        let mut rows = Vec::new();
        let mut proxies = Vec::new();
        let mut slowest = f64::INFINITY;
        for contender in case.contenders {
            let name = contender.name();
            let begun = race
                .start(contender)
                .and_then(|proxy| Ok((race.measure(contender, &proxy)?, proxy)));
            let (warm, proxy) = begun.map_err(|e| format!("{name}: {e}"))?;
            slowest = slowest.min(warm.rate);
            proxies.push(proxy);
            rows.push(Row {
                name,
                samples: Vec::new(),
            });
        }
        race.rate = Some(slowest / 2.0);
        for round in 0..plan.rounds as usize {
            for turn in 0..proxies.len() {
                let next = (round + turn) % proxies.len();
                let row = &mut rows[next];
                let sample = race.measure(&case.contenders[next], &proxies[next]);
                row.samples
                    .push(sample.map_err(|e| format!("{}: {e}", row.name))?);
            }
        }
        race.came_about(&rows)?;
        Ok(rows)
    }
}

impl Race<'_> {
    fn start(&self, contender: &Contender) -> Outcome<Proxy> {
        let duty = Duty {
            front: self.case.front,
            routes: contender.routes,
            target: match self.case.load {
                Load::Echo => self.stage.echo.address,
                _ => self.stage.backend.http,
            },
            certificate: &self.stage.certificate,
        };
        Proxy::start(contender.kind, &duty, &self.stage.machine)
    }

    fn measure(&self, contender: &Contender, proxy: &Proxy) -> Outcome<Sample> {
        // Counted outside of what is measured, and only where it matters: metrics of many services are long.
        let changed = proxy.services.as_ref().filter(|_| self.changes(contender) > 0);
        let tables = changed.map(Services::tables).transpose()?;
        let before = proxy.time();
        let Put { tally, held } = self.put(contender, proxy)?;
        let after = proxy.time();
        let resident = proxy.resident_mib();
        drop(held);
        let mut took_effect = 1.0;
        if let (Some(services), Some(tables)) = (changed, tables) {
            let ordered = tally.seconds * f64::from(self.changes(contender));
            took_effect = (services.tables()? - tables) / ordered;
        }
        Ok(Sample {
            rate: tally.count / tally.seconds,
            p50: tally.p50,
            p99: tally.p99,
            cost: after.seconds_since(&before) / tally.count * self.case.unit.cost_of,
            resident,
            waited: after.waited_since(&before) / tally.seconds,
            took_effect,
        })
    }

    /// Whether what was asked of the contenders came about in most rounds.
    fn came_about(&self, rows: &[Row]) -> Outcome<()> {
        let wanted = self.rate.filter(|_| matches!(self.case.load, Load::Half));
        for Row { name, samples } in rows {
            let median = |figure: fn(&Sample) -> f64| {
                Spread::of(samples.iter().map(figure).collect()).map_or(f64::NAN, |spread| spread.median)
            };
            let rate = median(|sample| sample.rate);
            if let Some(wanted) = wanted.filter(|wanted| rate < ENOUGH * wanted) {
                let culprit = format!("{name}: {wanted:.0} requests a second were wanted");
                return Err(format!("{culprit}, {rate:.0} came about"));
            }
            let took_effect = median(|sample| sample.took_effect);
            if took_effect < ENOUGH {
                let percent = took_effect * 100.0;
                return Err(format!("{name}: only {percent:.0} % of the changes took effect"));
            }
        }
        Ok(())
    }

    /// Changes a second; none while it is found out what rate is possible, which takes all of a core.
    fn changes(&self, contender: &Contender) -> u32 {
        self.rate.map_or(0, |_| contender.changes)
    }

    /// The load, and beside it the changes of the table that the contender has to live with.
    fn put(&self, contender: &Contender, proxy: &Proxy) -> Outcome<Put> {
        let target = Target {
            machine: &self.stage.machine,
            certificate: &self.stage.certificate,
            front: self.case.front,
            routes: contender.routes,
            address: proxy.address,
            services: proxy.services.as_ref(),
            seconds: self.seconds,
            rate: self.rate,
        };
        let rate = self.changes(contender);
        let Some(services) = proxy.services.as_ref().filter(|_| rate > 0) else {
            return self.case.load.put(&target);
        };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let changes = scope.spawn(|| services.change(rate, &stop));
            let put = self.case.load.put(&target);
            stop.store(true, Ordering::Relaxed);
            let changed = changes
                .join()
                .map_err(|_| "whoever changes the table panicked".to_owned())?;
            changed.and(put)
        })
    }
}

//! Names of the metrics of the object layer, and their Prometheus text.
//!
//! `/metrics` calls [`render`] with the meter of its bucket.

use std::fmt::Write as _;

use esker_types::MonotonicTime;

use crate::{Lifeline, Operation, RequestMeter, StorePulse};

/// Requests sent to the object store.
pub const OBJECT_REQUESTS_TOTAL: &str = "esker_object_requests_total";
/// Body bytes sent to or received from the object store.
pub const OBJECT_BYTES_TOTAL: &str = "esker_object_bytes_total";
/// Time of a request to the object store.
pub const OBJECT_REQUEST_SECONDS: &str = "esker_object_request_seconds";
/// Second puts sent because the first was slow.
pub const OBJECT_HEDGES_TOTAL: &str = "esker_object_hedges_total";
/// Requests sent again after a failure.
pub const OBJECT_RETRIES_TOTAL: &str = "esker_object_retries_total";

/// How long a kind of request has stopped getting through; 0 while it does.
pub const OBJECT_STOPPED_SECONDS: &str = "esker_object_stopped_seconds";

/// The pulse as Prometheus text.
#[must_use]
pub fn render_pulse(pulse: &StorePulse, now: MonotonicTime) -> String {
    let mut text = format!(
        "# HELP {OBJECT_STOPPED_SECONDS} How long no request of a kind has got through.\n\
         # TYPE {OBJECT_STOPPED_SECONDS} gauge\n"
    );
    for lifeline in Lifeline::ALL {
        let seconds = pulse.stopped_for(lifeline, now).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{OBJECT_STOPPED_SECONDS}{{request=\"{}\"}} {}",
            lifeline.label(),
            seconds.as_secs()
        );
    }
    text
}

/// The meter as Prometheus text, one family after the other.
#[must_use]
pub fn render(meter: &RequestMeter) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = render_into(meter, &mut text);
    text
}

fn render_into(meter: &RequestMeter, text: &mut String) -> std::fmt::Result {
    let rows = meter.snapshot();
    writeln!(
        text,
        "# HELP {OBJECT_REQUESTS_TOTAL} Requests sent to the object store."
    )?;
    writeln!(text, "# TYPE {OBJECT_REQUESTS_TOTAL} counter")?;
    for row in &rows {
        writeln!(
            text,
            "{OBJECT_REQUESTS_TOTAL}{{op=\"{}\",outcome=\"{}\",class=\"{}\"}} {}",
            row.operation.label(),
            row.outcome.label(),
            row.class.label(),
            row.count
        )?;
    }
    writeln!(
        text,
        "# HELP {OBJECT_BYTES_TOTAL} Body bytes sent or received."
    )?;
    writeln!(text, "# TYPE {OBJECT_BYTES_TOTAL} counter")?;
    for row in &rows {
        writeln!(
            text,
            "{OBJECT_BYTES_TOTAL}{{op=\"{}\",outcome=\"{}\",class=\"{}\"}} {}",
            row.operation.label(),
            row.outcome.label(),
            row.class.label(),
            row.bytes
        )?;
    }
    render_latencies(meter, text)?;
    writeln!(
        text,
        "# HELP {OBJECT_HEDGES_TOTAL} Second puts, sent as the first was slow."
    )?;
    writeln!(text, "# TYPE {OBJECT_HEDGES_TOTAL} counter")?;
    writeln!(text, "{OBJECT_HEDGES_TOTAL} {}", meter.hedges())?;
    writeln!(
        text,
        "# HELP {OBJECT_RETRIES_TOTAL} Requests sent again after a failure."
    )?;
    writeln!(text, "# TYPE {OBJECT_RETRIES_TOTAL} counter")?;
    for operation in Operation::ALL {
        let retries = meter.retries(operation);
        writeln!(
            text,
            "{OBJECT_RETRIES_TOTAL}{{op=\"{}\"}} {retries}",
            operation.label()
        )?;
    }
    Ok(())
}

fn render_latencies(meter: &RequestMeter, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "# HELP {OBJECT_REQUEST_SECONDS} Time of a request to the object store."
    )?;
    writeln!(text, "# TYPE {OBJECT_REQUEST_SECONDS} histogram")?;
    for row in meter.latencies() {
        let labels = format!(
            "op=\"{}\",class=\"{}\"",
            row.operation.label(),
            row.class.label()
        );
        for (bound, count) in &row.buckets {
            let bound = bound.map_or_else(
                || "+Inf".to_owned(),
                |millis| {
                    std::time::Duration::from_millis(millis)
                        .as_secs_f64()
                        .to_string()
                },
            );
            writeln!(
                text,
                "{OBJECT_REQUEST_SECONDS}_bucket{{{labels},le=\"{bound}\"}} {count}"
            )?;
        }
        let sum = row.sum.as_secs_f64();
        writeln!(text, "{OBJECT_REQUEST_SECONDS}_sum{{{labels}}} {sum}")?;
        writeln!(
            text,
            "{OBJECT_REQUEST_SECONDS}_count{{{labels}}} {}",
            row.count
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meter::FinishedRequest;
    use crate::{KeyClass, RequestOutcome};

    #[test]
    fn prometheus_text_has_every_family() {
        let meter = RequestMeter::new();
        meter.record(FinishedRequest {
            operation: Operation::Get,
            class: KeyClass::Journal,
            outcome: RequestOutcome::Missing,
            bytes: 0,
            elapsed: Duration::from_millis(3),
        });

        let text = render(&meter);

        assert!(text.contains(
            "esker_object_requests_total{op=\"get\",outcome=\"missing\",class=\"journal\"} 1\n"
        ));
        assert!(text.contains("le=\"0.005\"} 1\n") && text.contains("le=\"0.002\"} 0\n"));
        for family in [
            OBJECT_BYTES_TOTAL,
            OBJECT_HEDGES_TOTAL,
            OBJECT_RETRIES_TOTAL,
        ] {
            assert!(text.contains(family));
        }
    }
}

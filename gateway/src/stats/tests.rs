use super::summary::size;
use super::*;

fn layers(names: &[&str]) -> HashMap<Digest, u64> {
    names
        .iter()
        .map(|name| (Digest::of(name.as_bytes()), 1_000_000))
        .collect()
}

#[test]
fn a_run_ends_in_four_lines() {
    let stats = Stats::new(None);
    assert_eq!(
        stats.summary().lines(),
        [
            "no cache was there to use",
            "0 layers sent (0 B), 0 there before",
            "no cache was stored",
            "nothing was lost"
        ]
    );
    stats.imported("app/main", &layers(&["a", "b", "c"]), 1);
    stats.imported("app/main", &layers(&["a", "b", "c"]), 1);
    for blob in [&b"a"[..], b"a", b"of no cache"] {
        stats.wanted(&Digest::of(blob));
    }
    stats.fetched(1_000_000);
    stats.stored(&Digest::of(b"new"), 2_345_678_901, false, Duration::ZERO);
    stats.stored(&Digest::of(b"a"), 1_000_000, true, Duration::ZERO);
    stats.published("app/main", 4, 3_000_000);
    stats.lost(LayerOutcome::Lost, "a layer is gone".to_owned());
    assert_eq!(
        stats.summary().lines(),
        [
            "1 of 3 layers used, 1.0 MB of 3.0 MB fetched",
            "1 layers sent (2.3 GB), 1 there before",
            "stored app/main (4 layers, 3.0 MB)",
            "1 layers lost or damaged, 0 requests retried"
        ]
    );
}

#[test]
fn metrics_have_the_names_that_monitoring_systems_expect() {
    let stats = Stats::new(None);
    stats.request("HEAD", "/v2/x", "blob", 200, Duration::from_millis(2));
    stats.request("EVIL", "/v2/x", "blob", 405, Duration::from_millis(2));
    stats.lookup(true, false);
    stats.set_plugins(vec![ServingPlugin {
        role: "to".to_owned(),
        r#type: "azblob".to_owned(),
        version: "0.1.0".to_owned(),
        digest: Digest::of(b""),
    }]);
    let text = stats.metrics();
    for line in [
        r#"build_cache_gateway_requests_total{method="HEAD",route="blob",status="200"} 1"#,
        r#"build_cache_gateway_requests_total{method="other",route="blob",status="405"} 1"#,
        r#"build_cache_gateway_lookups_total{answered_by="memory",found="no"} 1"#,
        r#"build_cache_gateway_request_seconds_count{route="blob"} 2"#,
        r#"build_cache_gateway_plugin_info{role="to",type="azblob",version="0.1.0","#,
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("# EOF").count(), 1);
}

#[test]
fn any_number_of_names_takes_bounded_memory() {
    let stats = Stats::new(None);
    (0..1000).for_each(|n| stats.absent(&format!("app/{n}")));
    let summary = stats.summary();
    assert_eq!(summary.caches.len(), CACHES + 1);
    assert_eq!(summary.caches["(others)"].absent, 800);
}

#[test]
fn sizes_are_readable() {
    let cases = [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_999, "1.0 MB"),
        (5 << 40, "5.5 TB"),
    ];
    for (bytes, text) in cases {
        assert_eq!(size(bytes), text);
    }
}

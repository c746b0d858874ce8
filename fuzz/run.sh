#!/bin/sh
# Runs the fuzz targets, each for so many seconds: fuzz/run.sh SECONDS [TARGET...]
#
# The counters that libFuzzer steers by come from flags that the stable compiler takes; cargo-fuzz and a nightly
# compiler are not needed, a C++ compiler is. A finding is written to target/findings and ends the run.
set -eu
cd "$(dirname "$0")"
seconds=$1
shift
[ $# -gt 0 ] || set -- names ranges manifests queries routes log config
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
    cargo build --release --locked --target "$host"
mkdir -p target/findings
for target in "$@"; do
    mkdir -p "target/inputs/$target"
    RUST_BACKTRACE=0 "target/$host/release/$target" "target/inputs/$target" "seeds/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -artifact_prefix="target/findings/$target-" \
        >"target/findings/$target.log" 2>&1 || {
        tail -40 "target/findings/$target.log"
        exit 1
    }
    echo "fuzz: $target: $(sed -n 's/^Done \(.*\)/\1/p' "target/findings/$target.log")"
done

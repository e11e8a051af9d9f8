#!/usr/bin/env bash
# All benchmarks, one after the other; what they print is also in BUILD/bench/*.txt. Nothing else should run meanwhile.
#
#     bench.sh BUILD [bench_torch.py]
#
# PyTorch's side is left out, and the script says so, if python3-torch or the file is not there. PyTorch needs a fast BLAS:
# OPENBLAS_DIR names the folder of OpenBLAS's libblas.so.3 (bench/compare.py says more). CASES, THREADS, PAIRS and SECS
# narrow the comparison.
set -euo pipefail

build=$1
torch=${2:-}
python=${PYTHON:-/usr/bin/python3}
results=$build/bench

echo "== the machine"
"$build/tools/ebb" bench --threads 1 | tee "$results/machine.txt"
"$build/tools/ebb" bench --threads 2 | tee -a "$results/machine.txt"
echo "== what a node costs"
"$build/bench/graph-cost" | tee "$results/graph-cost.txt"
echo "== convolutions and products against oneDNN alone"
"$build/bench/alone" 1 | tee "$results/alone.txt"
"$build/bench/alone" 2 | tee -a "$results/alone.txt"
echo "== kernels against the memory bandwidth"
"$build/bench/kernels" memory | tee "$results/memory.txt"

if [ ! -f "$torch" ]; then
    echo "skipped: PyTorch: there is no file ${torch:-bench_torch.py}"
elif ! "$python" -c "import torch" 2>/dev/null; then
    echo "skipped: PyTorch: $python has no module torch (package python3-torch)"
else
    echo "== against PyTorch"
    python3 bench/compare.py --ebb "$build/bench/ebb-bench" --torch "$torch" --python "$python" \
        --threads "${THREADS:-1,2}" --pairs "${PAIRS:-5}" --secs "${SECS:-1.5}" ${CASES:+--cases "$CASES"} \
        --json "$results/compare.json" | tee "$results/compare.txt"
fi

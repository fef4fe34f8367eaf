#!/usr/bin/env bash
# What only a GPU can show, in one go; no step keeps the next from running.
#
#   tests/gpu/run.sh [--dry-run] RESULTS      --dry-run: the same on a CPU, on few pictures
#
# TRTREG_TEST_DATA   folder with models/, images/, coco128_labels.json
# TRTREG_WAITING     home of a registry with a model `mnist` and an unproven plan of it for sm_89; may be absent
# PYTHON             an interpreter that has what trtreg needs, with onnxruntime-gpu; tensorrt-rtx and torch if at hand
#
# Leaves doctor.json (for tests/probing/recorded), engines.jsonl (what each `get` gave) and measured.json.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
pictures=32 rounds=200
if [ "${1:-}" = --dry-run ]; then pictures=4 rounds=3; shift; fi
results=$(mkdir -p "${1:?where to leave the results}" && cd "$1" && pwd)
data=${TRTREG_TEST_DATA:-$root/../shared/data}
python=${PYTHON:-python3}
export PYTHONPATH=$root/registry:$root/cli:$root/migrations:$here${PYTHONPATH:+:$PYTHONPATH}
TRTREG_HOME=$(mktemp -d)
export TRTREG_HOME
trap 'rm -rf "$TRTREG_HOME"' EXIT

trtreg() { "$python" -m trtreg_cli.main "$@"; }
step() {
    echo "--- $*"
    local start=$SECONDS
    "$@"
    echo "--- exit $?, $((SECONDS - start)) s"
}
# Of what `get --json` says, where it came from, the digests of its files, and what the gate saw.
get() {
    trtreg get yolov5s "$@" --json >"$TRTREG_HOME/answer.json" && "$python" - "$TRTREG_HOME/answer.json" "$results/engines.jsonl" <<'END'
import json, sys
from pathlib import Path
engine = json.loads(Path(sys.argv[1]).read_text())
manifest, gate = engine["manifest"], engine["manifest"]["gate"]
print(engine["source"], engine["key"][:12], manifest["target"], engine["seconds"])
print(*(f"  {file['name']} {file['size']} {file['sha256'][:12]}" for file in manifest["plan"]["files"]), sep="\n")
print(" ", gate["verdict"], *gate["original"][:2], sep="\n    ")
with Path(sys.argv[2]).open("a") as lines:
    lines.write(json.dumps(engine) + "\n")
END
}

int8=(--int8 --calibration pictures --keep-fp32 '/model.24/*')
step "$python" "$here/record.py" "$results/doctor.json"
step trtreg doctor
step "$python" "$here/pictures.py" "$data" "$((pictures / 2))" "$TRTREG_HOME/pictures.npz"
step trtreg model add yolov5s "$data/models/yolov5s.onnx" --sample "pictures=$TRTREG_HOME/pictures.npz"
step get
step get --fp16
step get "${int8[@]}"
step get
step get
step get --fp16 --rebuild
step trtreg explain yolov5s --fp16
step trtreg ls
step "$python" "$here/measure.py" "$data" "$results/measured.json" "$pictures" "$rounds"
step trtreg get yolov5s --backend tensorrt-rtx
step trtreg get yolov5s --backend tensorrt
step trtreg get yolov5s --backend tensorrt-rtx --target sm_89
step trtreg gate --waiting
if [ -d "${TRTREG_WAITING:-}" ]; then
    export TRTREG_HOME=$TRTREG_WAITING
    key=$(trtreg ls --unproven --json | "$python" -c 'import json, sys; print(json.load(sys.stdin)[0]["manifest"]["key"])')
    step trtreg ls
    step trtreg gate --waiting
    step trtreg gate "$key"
    plan=$(trtreg get mnist --backend tensorrt-rtx --target sm_89 --allow-unproven)
    step "$python" -c 'import sys, trtreg.backends as b, pathlib; b.backend("tensorrt-rtx").load(pathlib.Path(sys.argv[1]))' "$plan"
    step "$python" "$here/refusals.py" "$data/models/mnist-8.onnx" "$plan"
fi
(cd "$root" && TRTREG_GPU=1 TRTREG_TEST_DATA=$data step "$python" -m pytest -q -p no:cacheprovider tests/gpu)

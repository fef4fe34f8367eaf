#!/usr/bin/env bash
# trtreg in a minute: a model goes in, a validated engine comes out, and at once the second time.
# `make demo` runs this. MODEL=path/to/yolov5s.onnx takes a model of yours. All it writes lies in .demo/.
set -euo pipefail

model=${MODEL:+$(realpath -- "$MODEL")}
cd "$(dirname "$0")/.."
rm -rf .demo
mkdir .demo
cd .demo
# A registry of yours stays out of this.
unset "${!TRTREG_@}"
export TRTREG_HOME=$PWD/registry

say() { printf '\n# %s\n' "$1"; }

run() {
  printf '$ %s\n' "$*"
  local begin=${EPOCHREALTIME//[^0-9]/}
  "$@"
  local end=${EPOCHREALTIME//[^0-9]/}
  printf '(%d ms)\n' $(((end - begin) / 1000))
}

if [ -n "$model" ]; then
  say "The model is $model"
else
  say "No MODEL given: trtreg writes the YOLOv5s network itself, with seeded random weights. It detects nothing."
  model=yolov5s.onnx
  run python ../examples/write_yolov5.py "$model"
fi

say "Register it."
run trtreg model add yolov5s "$model"

say "Ask for its fp16 engine. There is none: it is built, compared with ONNX Runtime, and published."
run trtreg get yolov5s --fp16

say "What the gate measured."
key=$(trtreg --quiet build yolov5s --fp16)
run trtreg show "${key:0:12}"

say "Ask again: a hit."
run trtreg get yolov5s --fp16
run trtreg explain yolov5s --fp16

#!/bin/sh
# Fetches an engine onto a machine that has curl and sha256sum, and nothing of trtreg.
#
#   trtreg url yolov5s --fp16 > engine.urls          where trtreg is, and may read the store
#   examples/fetch.sh engine.urls /srv/yolov5s       where the engine is wanted; prints the path of the file to load
#
# engine.urls has a line for each file: SHA-256, bytes, URL, name; the file to load is the last. The URLs expire.
set -eu

[ $# -eq 2 ] || { echo "usage: $0 FILE-OF-URLS FOLDER" >&2; exit 2; }
folder=$2
load=

while read -r sha256 size url name; do
  final=$folder/$name
  load=$final
  mkdir -p "$(dirname "$final")"
  if [ -f "$final" ] && echo "$sha256  $final" | sha256sum --check --status; then
    continue # it is there already
  fi
  curl --fail --silent --show-error --location --retry 5 --output "$final.part" "$url" </dev/null
  # Nothing gets its name before its bytes are known to be right.
  if ! echo "$sha256  $final.part" | sha256sum --check --status; then
    rm -f "$final.part"
    echo "$name is not what it should be: $size bytes of SHA-256 $sha256" >&2
    exit 7
  fi
  mv "$final.part" "$final"
done <"$1"

[ -n "$load" ] || { echo "$1 names no file" >&2; exit 2; }
echo "$load"

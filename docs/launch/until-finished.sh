#!/bin/bash
# Trains in a container; exit status 0 only when the run is finished.
#
# A run that was asked to stop saves and exits with 0. Kubernetes would take that for
# success and start nothing again, so a run without a report ends with 75 here.
set -euo pipefail

for argument in "$@"; do
  if [[ $argument == --workdir=* ]]; then workdir=${argument#--workdir=}; fi
done
: "${workdir:?got no --workdir=FOLDER: give one on a disk that all hosts see}"

# Signals must reach Python; bash would keep them until Python has ended.
stop() { kill -TERM "$child"; }
"${PYTHON:-python}" -m crossearth_jax.main "$@" &
child=$!
trap stop TERM INT
until wait "$child"; do
  status=$?
  # Above 128 a signal cut the waiting short, or it ended Python.
  if (( status <= 128 )) || ! kill -0 "$child" 2> /dev/null; then
    exit "$status"
  fi
done
[[ -e $workdir/report.json ]] || exit 75

#!/bin/bash
# CrossEarth on machines that ssh reaches: one process per machine, with all its GPUs.
#
#   HOSTS="alpha beta gamma" bash docs/launch/ssh.sh --config configs/casid.py:sub \
#     --config.data.root=/shared/casid --config.train.batch_size=12
#
# Checkout, Python and data must be at the same place on every machine, WORKDIR on a
# disk that all see. The first of HOSTS is the coordinator; PORT must be open there.
# Ctrl-C saves and stops all hosts. See docs/launch/README.md.
set -euo pipefail

read -ra hosts <<< "${HOSTS:?names of the machines, e.g. HOSTS='alpha beta'}"
read -ra ssh <<< "${SSH:-ssh -n -o BatchMode=yes}"
PORT=${PORT:-29500}
FOLDER=${FOLDER:-$PWD}  # the checkout, where configs/ is
PYTHON=${PYTHON:-python}
WORKDIR=${WORKDIR:-$FOLDER/runs/ssh}

# One signal is enough: the host that gets it tells the others, and all stop at one step.
asked=
stop() {
  asked=new
  "${ssh[@]}" "${hosts[0]}" "kill -TERM \$(cat ${WORKDIR@Q}/launch.pid)"
}
trap stop INT TERM

started=()
for i in "${!hosts[@]}"; do
  command=("$PYTHON" -m crossearth_jax.main --workdir "$WORKDIR"
           --coordinator "${hosts[0]}:$PORT" --hosts "${#hosts[@]}" --host "$i" "$@")
  before="cd ${FOLDER@Q}"
  if (( i == 0 )); then
    before+=" && mkdir -p ${WORKDIR@Q} && echo \$\$ > ${WORKDIR@Q}/launch.pid"
  fi
  # Quoted once more (@Q), because the shell over there takes it apart again.
  "${ssh[@]}" "${hosts[$i]}" "$before && exec ${command[*]@Q}" 2>&1 \
    | sed -u "s/^/${hosts[$i]}: /" &
  started+=($!)
done

failed=0
for process in "${started[@]}"; do
  until wait "$process"; do
    status=$?
    if [[ $asked == new ]]; then  # the signal cut the waiting short, not the process
      asked=done
      continue
    fi
    failed=$status
    break
  done
done
exit "$failed"

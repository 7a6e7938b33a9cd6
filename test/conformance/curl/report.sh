# What a run found, as lines of JSON on standard output; ../README.md says which.
# They are written to descriptor 3, because a step's own standard output is the
# detail of its line.
exec 3>&1

failures=0

# step NAME FUNCTION runs a function in a shell of its own, in which the first
# command that fails ends it, and reports how it ended. What it prints is the detail.
step() {
  local said ok=true
  rm -f "$scratch/picture"
  # Not "if ! said=...": there the shell would go on after a command that failed.
  set +e
  said=$(set -eE; trap 'blame "$LINENO" "$BASH_COMMAND"' ERR; "$2" 2>"$scratch/stderr")
  if [[ $? -ne 0 ]]; then
    ok=false
    said=$(<"$scratch/stderr")
    failures=$((failures + 1))
  fi
  set -e
  jq --null-input --compact-output '{library: "curl", version: "", step: $step, ok: $ok, detail: $detail} + ($picture[0] // {})' \
    --arg step "$1" --argjson ok "$ok" --arg detail "$said" --slurpfile picture "$(picture)" >&3
}

# blame says which command failed, and what the server had answered before.
blame() {
  echo "line $1: $2; the last answer was ${status-none} ${body-}" >&2
}

# fail ends a step.
fail() {
  echo "$1" >&2
  exit 1
}

# shows QR_CODE TEXT has the picture read that a step was given.
shows() {
  jq --null-input '{qr_code: $qr_code, text: $text}' --arg qr_code "$1" --arg text "$2" >"$scratch/picture"
}

picture() {
  if [[ -f $scratch/picture ]]; then
    echo "$scratch/picture"
  else
    echo /dev/null
  fi
}

# secrets makes values known that went through the server.
secrets() {
  jq --null-input --compact-output '{secrets: $ARGS.positional}' --args "$@" >&3
}

# finish makes the run fail if a step has.
finish() {
  exit $((failures > 0))
}

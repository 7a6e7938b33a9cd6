# Writes the results of a run as lines of JSON on standard output; ../README.md
# documents them. They go to descriptor 3, because the standard output of a step is the
# detail of its line.
exec 3>&1

failures=0

# step NAME FUNCTION runs a function in a separate shell, which ends at the first
# command that fails, and reports the result. The output of the function is the detail.
step() {
  local said ok=true
  rm -f "$scratch/picture"
  # "if ! said=..." would not work: there the shell continues after a failed command.
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

# blame prints the failed command and the last answer of the server.
blame() {
  echo "line $1: $2; the last answer was ${status-none} ${body-}" >&2
}

# fail ends a step.
fail() {
  echo "$1" >&2
  exit 1
}

# shows QR_CODE TEXT reports a picture that the server returned, and its expected text.
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

# secrets reports values that went through the server and that no log may contain.
secrets() {
  jq --null-input --compact-output '{secrets: $ARGS.positional}' --args "$@" >&3
}

# finish makes the run fail if a step has.
finish() {
  exit $((failures > 0))
}

#!/usr/bin/env bash
# Runs the complete life of factors against a server with only curl, and prints the
# result of each step. ../README.md documents the environment.
set -euo pipefail
shopt -s inherit_errexit # a command in $(...) also ends at its first failure
cd "$(dirname "${BASH_SOURCE[0]}")"

: "${COUNTERSIGN_URL:?}" "${COUNTERSIGN_API_KEY:?}" "${COUNTERSIGN_NETWORK_URL:?}"
: "${COUNTERSIGN_BRIEF_URL:?}" "${COUNTERSIGN_BRIEF_API_KEY:?}" "${COUNTERSIGN_BRIEF_NETWORK_URL:?}"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

source ./report.sh
source ./fixture.sh
for chapter in factors challenges refusals users lists retries time webhooks; do
  source "./steps/$chapter.sh"
done
finish

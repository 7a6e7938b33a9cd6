#!/usr/bin/env bash
# Drives a server through the whole life of factors with curl alone, and prints the
# outcome of each step. ../README.md says what is in the environment.
set -euo pipefail
shopt -s inherit_errexit # what is in $(...) ends at the first failure too
cd "$(dirname "${BASH_SOURCE[0]}")"

: "${COUNTERSIGN_URL:?}" "${COUNTERSIGN_API_KEY:?}" "${COUNTERSIGN_NETWORK_URL:?}"
: "${COUNTERSIGN_BRIEF_URL:?}" "${COUNTERSIGN_BRIEF_API_KEY:?}" "${COUNTERSIGN_BRIEF_NETWORK_URL:?}"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

source ./report.sh
source ./world.sh
for chapter in factors challenges refusals users lists retries time webhooks; do
  source "./steps/$chapter.sh"
done
finish

#!/bin/sh
# The store in /var/lib/countersign, its keyset and the account stay: without them no
# user of the server could sign in again. Remove them by hand.
set -e

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi

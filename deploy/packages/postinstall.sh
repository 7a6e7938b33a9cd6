#!/bin/sh
# Creates the account of the server. The first start is left to the administrator, after
# a look at /etc/countersign.yaml; an upgrade restarts a server that runs.
set -e

if command -v systemd-sysusers >/dev/null 2>&1; then
  systemd-sysusers countersign.conf
elif ! id countersign >/dev/null 2>&1; then
  if command -v useradd >/dev/null 2>&1; then
    useradd --system --user-group --home-dir /var/lib/countersign --shell /usr/sbin/nologin countersign
  else
    addgroup -S countersign
    adduser -S -D -H -h /var/lib/countersign -s /sbin/nologin -G countersign countersign
  fi
fi

# The same as countersign.tmpfiles, which keeps it so.
chgrp countersign /etc/countersign.yaml
chmod 640 /etc/countersign.yaml
mkdir -p /etc/countersign
chgrp countersign /etc/countersign
chmod 750 /etc/countersign

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart countersign.service
fi

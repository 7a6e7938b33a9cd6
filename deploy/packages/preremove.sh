#!/bin/sh
# Stops the server before its files are removed, but not in an upgrade: dpkg passes
# "remove", rpm the number of versions that remain, and apk the version.
set -e

case ${1:-} in
upgrade | deconfigure | failed-upgrade | [1-9]) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now countersign.socket countersign.service
fi

#!/bin/sh
# Installs the Debian packages that the nightly tests use, where that can be done: as root, on a machine with apt.
# It never fails: what is not there is said here, and the tests that need it are skipped and say so again.
set -u

say() { echo "nightly: $*" >&2; }

here() { command -v "$1" >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1; }

if here initdb && here postgres; then
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  say "PostgreSQL is not here, and neither is apt: the tests of a ledger on PostgreSQL are skipped"
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  say "PostgreSQL is not here, and only root installs it (apt install postgresql): its tests are skipped"
  exit 0
fi

say "installing postgresql ..."
export DEBIAN_FRONTEND=noninteractive
# The tests start a server of their own: the package need not make and start one.
mkdir -p /etc/postgresql-common/createcluster.d
own=/etc/postgresql-common/createcluster.d/titian-nightly.conf
echo "create_main_cluster = false" >"$own"
log=$(mktemp)
{ apt-get update && apt-get install -y --no-install-recommends postgresql; } >"$log" 2>&1 || {
  tail -n 5 "$log" >&2
  say "postgresql could not be installed (the last lines are above): its tests are skipped"
}
rm -f "$log" "$own"
exit 0

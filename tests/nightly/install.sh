#!/bin/sh
# Installs the Debian packages that the nightly tests use, where that can be done: as root, on a machine with apt.
# It never fails: what is not there is said here, and the tests that need it are skipped and say so again.
set -u

say() { echo "nightly: $*" >&2; }

here() {
  command -v "$1" >/dev/null 2>&1 || ls /usr/sbin/"$1" /sbin/"$1" /usr/lib/postgresql/*/bin/"$1" 2>/dev/null | grep -q .
}

wanted=
{ here initdb && here postgres; } || wanted="$wanted postgresql"
# A Linux in a process, whose power is cut, and the file system of its disk.
[ "$(uname -m)" != x86_64 ] || here linux.uml || wanted="$wanted user-mode-linux"
[ "$(uname -m)" != x86_64 ] || here mke2fs || wanted="$wanted e2fsprogs"
here promtool || wanted="$wanted prometheus"
here chromium || wanted="$wanted chromium"
[ -n "$wanted" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  say "not here, and neither is apt:$wanted. Their tests are skipped"
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  say "not here, and only root installs them (apt install$wanted): their tests are skipped"
  exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# The tests start a server of their own: the package need not make and start one.
mkdir -p /etc/postgresql-common/createcluster.d
own=/etc/postgresql-common/createcluster.d/titian-nightly.conf
echo "create_main_cluster = false" >"$own"
log=$(mktemp)
apt-get update >"$log" 2>&1 || tail -n 5 "$log" >&2
# One by one: a distribution that lacks one of them still gets the others.
for package in $wanted; do
  say "installing $package ..."
  if [ "$package" = prometheus ]; then  # its tool alone: the package would start a server, and again at each boot
    part=$(mktemp -d)
    chmod 0755 "$part"
    (cd "$part" && apt-get download prometheus && dpkg-deb -x prometheus_*.deb . &&
      install -m 0755 usr/bin/promtool /usr/local/bin/promtool) >"$log" 2>&1 || {
      tail -n 5 "$log" >&2
      say "promtool could not be installed (the last lines are above): its tests are skipped"
    }
    rm -rf "$part"
    continue
  fi
  apt-get install -y --no-install-recommends "$package" >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    say "$package could not be installed (the last lines are above): its tests are skipped"
  }
done
rm -f "$log" "$own"
exit 0

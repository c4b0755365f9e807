# Installs the packages named as arguments, and starts no service: tests start servers of their own.
set -eu
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# One source of packages that can't be reached need not be the one that matters: the installation decides.
for pause in 5 20 60 0; do
    if apt-get -o Acquire::Retries=5 update; then
        break
    fi
    echo "apt-get update failed; in the end the package lists that are there must do" >&2
    sleep "$pause"
done
apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"

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
attempt() {
    # One source of packages that can't be reached need not be the one that matters: the installation decides.
    apt-get -o Acquire::Retries=5 update || echo "apt-get update failed; trying with the package lists that are there" >&2
    apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}
for pause in 5 20 60; do
    if attempt "$@"; then
        exit 0
    fi
    echo "once more in $pause seconds" >&2
    sleep "$pause"
done
attempt "$@"

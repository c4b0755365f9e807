#!/usr/bin/env bash
# Notes the processor time that each crate takes to compile, in the file that COMPILE_TIMES names. Unlike the figures
# of `cargo build --timings`, it does not depend on what else the machine is doing:
#
#   COMPILE_TIMES=$PWD/target/times RUSTC_WRAPPER=$PWD/xtask/src/compile-times.sh cargo build --target-dir target/timed ...
#   awk '{ sum[$1] += $2 + $3 } END { for (name in sum) printf "%6.1f s  %s\n", sum[name], name }' target/times | sort -rn
set -u
name=$(grep -oE -- '--crate-name [a-z0-9_]+' <<<"$*" | cut -d ' ' -f 2)
TIMEFORMAT='%U %S'
exec 3>&1 4>&2
times=$({ time "$@" 1>&3 2>&4; } 2>&1)
status=$?
echo "${name:-rustc} $times" >>"$COMPILE_TIMES"
exit $status

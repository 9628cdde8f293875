#!/bin/sh
# SPDX-FileCopyrightText: The caddy-dpop authors
# SPDX-License-Identifier: Apache-2.0
#
# Checks the model of the replay log with spin (apt-get install spin; needs a C compiler). Our protocol has to be
# free of a double accept in all of its states, some eleven million; each variant without one of its rules has to
# show one. Takes about a minute and a gigabyte.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/announce.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# check <name> <found|none> [flag]: build the verifier for one variant and compare its finding.
check() {
	name=$1 want=$2
	shift 2
	rm -f pan.c out
	spin -a "$@" "$model" </dev/null >spin.out || { cat spin.out; exit 1; }
	gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c
	./pan -m100000 -E >out 2>&1 || true
	if grep -q 'search depth too small\|out of memory\|MEMLIM' out; then
		echo "$name: the search was not complete"
		cat out
		exit 1
	fi
	if grep -q 'assertion violated' out; then got=found; else got=none; fi
	states=$(awk '/states, stored/ {print $1}' out)
	echo "$name: double accept $got, $states states"
	if [ "$got" != "$want" ] || [ -z "$states" ]; then
		cat out
		exit 1
	fi
}

check "look, then announce" found -DLOOK_FIRST
check "without the pass check" found -DNO_PASS
check "without marks" found -DNO_MARKS
check "announce, then look" none

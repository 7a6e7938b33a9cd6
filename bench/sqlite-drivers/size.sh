#!/bin/bash
# Prints, for each driver, what a stripped static binary weighs and what its
# packages add to a build whose standard library is cached (elapsed, CPU seconds).
# "none" is the same program without a driver. mattn needs cgo and a C compiler.
set -euo pipefail
cd "$(dirname "$0")"
dir=$(mktemp -d ./size-XXXXXX)
trap 'rm -rf "$dir"' EXIT
module=github.com/countersign-mfa/countersign/bench/sqlite-drivers
TIMEFORMAT='%R %U %S'

program() { # program DRIVER IMPORT BODY
	mkdir -p "$dir/$1"
	printf 'package main\n\nimport (\n\t"database/sql"\n\t"net/http"\n\t"os"\n%s)\n\nfunc main() {\n\t_, _ = sql.Open, http.ListenAndServe\n\t%s\n}\n' \
		"$2" "$3" >"$dir/$1/main.go"
}

build() { # build DRIVER CGO CACHE
	CGO_ENABLED=$2 GOCACHE=$(realpath "$3") go build -ldflags='-s -w' -o "$dir/$1/out" "$dir/$1"
}

mkdir "$dir/cache0" "$dir/cache1"
program none '' 'println(os.Args[0])'
build none 1 "$dir/cache1"
build none 0 "$dir/cache0"
echo "none $(stat -c %s "$dir/none/out") bytes"
for driver in ncruces zombiezen modernc mattn; do
	cgo=0
	[ $driver != mattn ] || cgo=1
	program $driver "$(printf '\n\t"%s/%s"\n ' $module $driver)" "_, _ = $driver.Driver.Open(os.Args[1])"
	rm -rf "$dir/cache"
	cp -r "$dir/cache$cgo" "$dir/cache"
	seconds=$({ time build $driver $cgo "$dir/cache"; } 2>&1)
	echo "$driver $(stat -c %s "$dir/$driver/out") bytes, elapsed user system: $seconds"
done

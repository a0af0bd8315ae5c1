#!/usr/bin/env bash
# The scripts that a person runs refuse what is wrong before they touch anything.
set -euo pipefail

source=$1
place=$(mktemp -d)
trap 'rm -rf -- "$place"' EXIT
fail() { printf 'test_scripts: %s\n' "$*" >&2; exit 1; }

# Neither a package manager nor a compiler nor sudo may be called by what follows.
mkdir "$place/bin"
for program in apt-get sudo dpkg-query cmake; do
    # shellcheck disable=SC2016 # $0 is the fake program's
    printf '#!/bin/sh\necho "$0 was called" >>%q\nexit 1\n' "$place/called" >"$place/bin/$program"
    chmod +x "$place/bin/$program"
done
export PATH=$place/bin:$PATH TEKUP_RUN=$place/run TEKUP_DATA=$place/data
touch "$place/file"

# expect STATUS TEXT COMMAND...: the exit status, and what stands in the output.
expect()
{
    local status=0 output
    output=$("${@:3}" 2>&1) || status=$?
    [[ $status == "$1" ]] || fail "'${*:3}' ended with $status instead of $1: $output"
    grep -qF -- "$2" <<<"$output" || fail "'${*:3}' does not say '$2': $output"
}

expect 2 "does not exist" "$source/tools/run" "$place/missing"
expect 2 "is not a directory" "$source/tools/run" "$place/file"
expect 2 "is empty" "$source/tools/run" ""
expect 2 "no option --colour" "$source/tools/run" --colour
expect 2 "one DIRECTORY" "$source/tools/run" "$place" "$place"
expect 2 "TEKUP_RUN must be an absolute path" env TEKUP_RUN=run "$source/tools/run" "$place"
expect 0 "Usage: ./tools/run" "$source/tools/run" --help
expect 0 "is not running" "$source/tools/run" --stop
expect 2 "no option --colour" "$source/tools/test" --colour
expect 0 "Usage: ./tools/test" "$source/tools/test" --help
expect 2 "usage: tools/packages" "$source/tools/packages"
expect 2 "usage: tools/packages" "$source/tools/packages" everything
[[ ! -e $place/called ]] || fail "$(cat "$place/called")"
[[ ! -e $place/run && ! -e $place/data ]] || fail "a directory was made"

# What it says at its end names the console.
next=$(sed -n '/^Next:/,/^NEXT/p' "$source/tools/run")
for command in search console status --help; do
    grep -qF -- "\$tekup $command" <<<"$next" || fail "the end of tools/run does not name 'tekup $command'"
done

# The process id in DATA may belong to anything by now: only a tekupd is stopped.
mkdir "$place/data"
sleep 60 &
sleeper=$!
echo "$sleeper" >"$place/data/tekupd.lock"
expect 0 "is not running" "$source/tools/run" --stop
kill -0 "$sleeper" || fail "a process that is no tekupd was stopped"
kill "$sleeper"

# Nor is one waited for that has ended and that nobody collects, as in a container without an init.
cp "$(command -v sleep)" "$place/tekupd"
bash -c '"$0/tekupd" 0 & echo $! >"$1/tekupd.lock"; exec sleep 60' "$place" "$TEKUP_DATA" &
parent=$!
for ((i = 0; i < 100; i++)); do
    ! grep -qs '^State:.Z' "/proc/$(cat "$TEKUP_DATA/tekupd.lock")/status" || break
    sleep 0.1
done
expect 0 "is not running" "$source/tools/run" --stop
kill "$parent"

# The count of tests is honest about what did not end well.
cat >"$place/junit.xml" <<'XML'
<testsuite>
  <testcase name="unit" status="run"><system-out>
[====] Synthesis: Tested: 6 | Passing: 5 | Failing: 0 | Crashing: 0
  </system-out></testcase>
  <testcase name="leaks" status="fail"><system-out>
[====] Synthesis: Tested: 3 | Passing: 3 | Failing: 0 | Crashing: 0
ERROR: LeakSanitizer: detected memory leaks
  </system-out></testcase>
  <testcase name="integration" status="fail"><system-out>
SKIPPED [2] test_x.py:12: no /dev/full here
1 failed, 30 passed, 2 skipped, 1 warning in 75.23s (0:01:15)
  </system-out></testcase>
  <testcase name="script" status="run"><system-out/></testcase>
  <testcase name="crash" status="fail"><system-out/></testcase>
  <testcase name="missing" status="notrun"><skipped message="Unable to find executable"/></testcase>
  <testcase name="left out" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>
</testsuite>
XML
expect 0 "skipped in integration: test_x.py:12: no /dev/full here (2)" "$source/tools/tally" "$place/junit.xml"
counts=$("$source/tools/tally" "$place/junit.xml" 2>/dev/null)
# passed 5+3+30+1, failed 0+1(leak)+1+0+1+1, skipped 1+0+2+0+0+0+1
[[ $counts == "39 4 4" ]] || fail "counted $counts"

# What is run a second time: failed cases alone, and few; and what passed then only is still told.
unsure() { "$source/tools/tally" --unsure "$place/$1"; }
one() { printf '<testcase name="%s" status="%s"><system-out>%s</system-out></testcase>' "$@"; }
suite() { printf '<testsuite>%s</testsuite>' "${*:2}" >"$place/$1"; }
broken=$(one x fail $'\n1 failed, 3 passed in 2.00s\n') mended=$(one x run $'\n4 passed in 2.00s\n')
leaky=$(one y fail $'ERROR: LeakSanitizer: x\n1 failed, 3 passed in 2.00s\n') crashed=$(one z fail '')
suite once.xml "$broken" "$(one w run '')"
suite twice.xml "$mended"
suite again.xml "$broken"
suite leaky.xml "$broken" "$leaky"
suite crashed.xml "$broken" "$crashed"
suite many.xml "$broken" "${broken/\"x/\"a}" "${broken/\"x/\"b}" "${broken/\"x/\"c}"
[[ $(unsure once.xml) == '^(x)$' ]] || fail "not run again: $(unsure once.xml)"
[[ -z $(unsure twice.xml)$(unsure leaky.xml)$(unsure crashed.xml)$(unsure many.xml) ]] || fail "run again for no reason"
expect 0 "x: passed when run again by itself, and 1 failed before" "$source/tools/tally" "$place/once.xml" "$place/twice.xml"
expect 0 "x: 1 failed, twice" "$source/tools/tally" "$place/once.xml" "$place/again.xml"
[[ $("$source/tools/tally" "$place/once.xml" "$place/twice.xml" 2>/dev/null) == "5 0 0" ]] || fail "counted a second run wrong"
[[ $("$source/tools/tally" "$place/once.xml" "$place/again.xml" 2>/dev/null) == "4 1 0" ]] || fail "forgave a second failure"

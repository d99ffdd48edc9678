# shellcheck shell=bash
# Sourced by ./test and .ci/run: runs the parts of a check one after the other, each with a time limit, goes on after
# a failure, and prints what came of them.
#
#   part NAME LIMIT COMMAND…     LIMIT as timeout(1) reads it
#   skip NAME REASON             a part that cannot run here
#   note TEXT                    something that the summary must repeat
#   summary                      prints all of it; its status is 1 when a part failed
#
# Tests report their numbers in $PARTS/tally (see scripts/gotest).

PARTS=$(mktemp -d)
export PARTS
running=
parts_failed=0
lines=()

leave() {
	status=$?
	trap - EXIT
	if [[ -n $running ]]; then
		kill -TERM "$running" 2>/dev/null || true
		wait "$running" 2>/dev/null || true
	fi
	rm -rf "$PARTS"
	exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

part() {
	local name=$1 limit=$2 began=$SECONDS status=0
	shift 2
	printf '\n=== %s (at most %s)\n' "$name" "$limit"
	# In the background, so that an interrupt reaches this shell, which then ends the part.
	timeout --kill-after=15 "$limit" "$@" </dev/null &
	running=$!
	wait "$running" || status=$?
	running=
	local took=$((SECONDS - began))
	if ((status == 0)); then
		lines+=("$(printf 'ok      %4ds  %s' "$took" "$name")")
	else
		((status == 124 || status == 137)) && printf '=== %s ran out of its %s\n' "$name" "$limit"
		lines+=("$(printf 'FAILED  %4ds  %s (status %d)' "$took" "$name" "$status")")
		parts_failed=$((parts_failed + 1))
	fi
	return "$status"
}

skip() {
	printf '\n=== %s: SKIPPED: %s\n' "$1" "$2"
	lines+=("SKIPPED        $1: $2")
}

note() {
	printf '=== NOTE: %s\n' "$1"
	lines+=("NOTE           $1")
}

summary() {
	local passed=0 failed=0 skipped=0 p f s
	if [[ -f $PARTS/tally ]]; then
		while read -r p f s; do
			passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
		done <"$PARTS/tally"
	fi
	printf '\n=== Summary, after %d min %d s\n' $((SECONDS / 60)) $((SECONDS % 60))
	printf '%s\n' "${lines[@]}"
	# For a run that this one is a part of.
	[[ -z ${WATERTIGHT_TALLY-} ]] || echo "$passed $failed $skipped" >>"$WATERTIGHT_TALLY"
	printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	((parts_failed == 0))
}

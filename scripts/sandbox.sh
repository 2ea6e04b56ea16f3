# Sourced by demo, release, footprint and bench: a throw-away home below a directory that is removed at the end, modules in it,
# and one hub. Ends only what it has started. The caller has set `root`.

# need PROGRAM WHAT-TO-DO: ends with 3 when a program is missing.
need() {
    command -v "$1" >/dev/null 2>&1 && return
    echo "$(basename "$0"): $1 is missing; $2" >&2
    exit 3
}

# Sets parachute, testchild and respawn to a debug build, made when it is not up to date.
debug_build() {
    need cargo 'install Rust: https://rustup.rs'
    need cc 'install a C compiler, on Debian: apt-get install gcc libc6-dev'
    (cd "$root" && cargo build --quiet --bins --examples)
    programs_in "$(cd "$root" && cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug"
}

# Sets them to the static release build, made when it is not up to date; PARACHUTE_BIN names another build.
release_build() {
    [ -z "${PARACHUTE_BIN:-}" ] || { programs_in "$(dirname "$PARACHUTE_BIN")"; return; }
    release=$("$root/scripts/release")
    programs_in "$release"
}

# They are called from elsewhere and linked to, so their path is made absolute.
programs_in() {
    programs=$(cd "$1" && pwd) || exit 3
    parachute=$programs/parachute testchild=$programs/examples/testchild respawn=$programs/examples/respawn
}

# A new sandbox; the one before is removed. Sets `sandbox` and `home`.
sandbox_open() {
    sandbox_close
    trap sandbox_close EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    sandbox=$(mktemp -d "${TMPDIR:-/tmp}/parachute.XXXXXX")
    home=$sandbox/home
    mkdir -m 700 "$home" "$sandbox/user" "$sandbox/modules" "$sandbox/bin"
    ln -s "$testchild" "$sandbox/bin/parachute-testchild"
    hub_port=$("$testchild" free-port | sed 's/^port //')
    rows=0 hub= watcher=
    : >"$sandbox/rows"
}

sandbox_close() {
    [ -n "${sandbox:-}" ] || return 0
    hub_stop
    rm -rf "$sandbox"
    sandbox=
}

# row NAME PORT DIRECTORY: a row for a package that is there.
row() {
    [ "$rows" -eq 0 ] || echo ',' >>"$sandbox/rows"
    printf '{"name":"%s","port":%d,"paths":["/%s"],"health":"/health","version":"1.0.0","installDir":"%s"}' \
        "$1" "$2" "$1" "$3" >>"$sandbox/rows"
    rows=$((rows + 1))
}

# module NAME RUN ARG...: a package that runs the test child with these arguments and these `run` settings, and its
# row. It gets a port of its own, below those of outgoing connections; nothing looks whether it is free.
module() {
    name=$1 run=$2 argv='"parachute-testchild"'
    shift 2
    for arg; do argv="$argv,\"$arg\""; done
    mkdir -p "$sandbox/modules/$name/.parachute"
    port=$((21000 + rows))
    printf '{"name":"%s","manifestName":"%s","port":%d,"paths":["/%s"],"health":"/health","startCmd":[%s],"run":%s}\n' \
        "$name" "$name" "$port" "$name" "$argv" "$run" >"$sandbox/modules/$name/.parachute/module.json"
    row "$name" "$port" "$sandbox/modules/$name"
}

# modules N: so many that wait for ever and stamp their start into $sandbox/starts.
modules() {
    : >"$sandbox/starts"
    made=0
    while [ "$made" -lt "$1" ]; do
        made=$((made + 1))
        module "m$made" '{"ready":"none"}' sleep "$sandbox/starts"
    done
}

# Writes services.json from the rows so far.
install_rows() {
    { echo '{"services":['; cat "$sandbox/rows"; echo ']}'; } >"$home/services.json"
}

# inside COMMAND...: runs it in an environment built from nothing.
inside() {
    (become "$@")
}

become() {
    exec env -i PATH="$PATH" HOME="$sandbox/user" PARACHUTE_HOME="$home" PARACHUTE_EXTRA_PATH="$sandbox/bin" \
        PORT="$hub_port" "$@"
}

# Starts the hub; its output goes to $sandbox/serve.log. Returns once it listens.
hub_start() {
    install_rows
    (become "$parachute" serve) >"$sandbox/serve.log" 2>&1 &
    hub=$!
    until [ -s "$home/hub/run/hub.port" ]; do
        kill -0 "$hub" 2>/dev/null || hub_is_missing
        sleep 0.05
    done
}

# The same under the test child's stopwatch: once the hub answers, $sandbox/watch holds `began`, `pid` and `answered`,
# and after hub_stop `ended` and `status`.
hub_watch() {
    install_rows
    rm -f "$sandbox/hold"
    mkfifo "$sandbox/hold"
    (become "$testchild" measure "$hub_port" "$sandbox/serve.log" "$parachute" serve) \
        <"$sandbox/hold" >"$sandbox/watch" &
    watcher=$!
    # Its end is the word to stop.
    exec 3>"$sandbox/hold"
    until grep -q '^answered ' "$sandbox/watch"; do
        kill -0 "$watcher" 2>/dev/null || hub_is_missing
        sleep 0.05
    done
}

hub_is_missing() {
    echo "$(basename "$0"): the hub did not start:" >&2
    cat "$sandbox/serve.log" >&2
    exit 1
}

# Ends the hub and waits for it.
hub_stop() {
    if [ -n "${watcher:-}" ]; then
        exec 3>&-
        wait "$watcher" || :
    elif [ -n "${hub:-}" ]; then
        kill -TERM "$hub" 2>/dev/null || :
        wait "$hub" 2>/dev/null || :
    fi
    hub= watcher=
}

# until_started N: waits until so many starts are stamped; 120 s at most.
until_started() {
    looks=0
    until [ "$(grep -c '^start ' "$sandbox/starts")" -ge "$1" ]; do
        looks=$((looks + 1))
        [ "$looks" -lt 1200 ] || { echo "$(basename "$0"): not all of $1 modules started in 120 s" >&2; exit 1; }
        sleep 0.1
    done
}

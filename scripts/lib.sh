# Set-up shared by the scripts; sourced, never run. Needs only bash, Python 3.11 or later and git.
# The environment is `.venv` in the checkout; PYTHON names another interpreter to make it from.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Print the first Python on the path that runs and is new enough; names that are there and do not run are passed over.
find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sqlite3, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# What tests need of the system: each program with the Debian packages that bring it.
system_programs="git:git gcc:gcc,libc6-dev make:make node:nodejs npm:npm initdb:postgresql psql:postgresql-client sshd:openssh-server
    ssh:openssh-client ssh-keygen:openssh-client bwrap:bubblewrap"

# Install through apt-get whatever of that is missing.
install_system_packages() {
    local python pair missing=()
    for pair in $system_programs; do
        is_installed "${pair%%:*}" || missing+=(${pair#*:})
    done
    python=$(find_python) && "$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    [ ${#missing[@]} -gt 0 ] || return 0
    missing=(${missing[@]//,/ })
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || fail "missing: ${missing[*]}, and only root can install it, with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Bring `.agents` up to date with requirements/agents: the agent programs that tests start, from their packages.
install_agents() {
    local agents=$root/.agents
    if [ -e "$agents/stamp" ] && [ "$(cat "$agents/stamp")" = "$(agents_stamp)" ]; then return; fi
    is_installed npm || fail "npm is missing: install it first (Debian, Ubuntu: sudo apt install npm)"
    echo "setting up $agents (1.3 GB)" >&2
    mkdir -p "$agents"
    rm -f "$agents/stamp"
    cp "$root"/requirements/agents/package*.json "$agents/"
    # not `npm ci`: it wants the packages of all other systems in the lock file too, and not every registry has them
    npm install --prefix "$agents" --no-audit --no-fund --no-update-notifier --loglevel=error >"$agents/install.log" 2>&1 ||
        fail "cannot install the agent programs; the last lines of $agents/install.log:" "$(tail -n 20 "$agents/install.log")"
    agents_stamp >"$agents/stamp"
}

agents_stamp() {
    { printf '%s\n' "$root" "$(node --version 2>/dev/null)" && cat "$root"/requirements/agents/package*.json; } | cksum
}

# Whether a program is on the path, or where daemons and PostgreSQL's own programs are put.
is_installed() {
    (PATH=$PATH:${system_places-/usr/sbin:$(printf '%s:' /usr/lib/postgresql/*/bin)} && command -v "$1" >/dev/null)
}

# Bring `.venv` up to date with requirements/$1.txt (run, or dev, which holds all of run) and the project itself.
make_environment() {
    local kind=$1 python
    if is_current "$kind" || { [ "$kind" = run ] && is_current dev; }; then return; fi
    command -v git >/dev/null || fail "git is missing: install it first (Debian, Ubuntu: sudo apt install git)"
    echo "setting up $venv" >&2
    if ! is_usable; then
        python=$(find_python) || fail "no Python 3.11 or later runs here: install one, or name one with PYTHON=/path/to/python3"
        "$python" -m venv --clear --without-pip "$venv"
    fi
    install --require-hashes -r "$root/requirements/$kind.txt"
    install --no-deps -e "$root"
    "$venv/bin/python" -m compileall -q "$root/src/autoresearch" || true  # starts are quicker; where it cannot be written they are not
    printf '%s\n' "$root" >"$venv/root"
    stamp "$kind" >"$venv/stamp-$kind"
}

# Whether `.venv` is an environment of this very checkout that runs.
is_usable() {
    [ ! -e "$venv/root" ] || [ "$(cat "$venv/root")" = "$root" ] || return 1
    "$venv/bin/python" -c 'import sys; sys.exit(sys.prefix == sys.base_prefix or sys.version_info < (3, 11))' 2>/dev/null
}

is_current() {
    [ -e "$venv/stamp-$1" ] && [ "$(cat "$venv/stamp-$1")" = "$(stamp "$1")" ] && is_usable
}

stamp() {
    cat "$root/requirements/$1.txt" "$root/pyproject.toml" | cksum
}

# Install into `.venv`: by uv, fetched into it if it is missing; by pip, slower, where uv cannot (a private index or certificate).
install() {
    local uv log=$venv/install.log
    if uv=$(get_uv 2>>"$log"); then
        "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" "$@" 2>>"$log" && return
        echo "uv could not install (see $log): trying pip, which takes longer" >&2
    fi
    run_pip install --quiet "$@" || fail "cannot install: the messages above and $log say why"
}

# Print where uv is: on the path, else in `.venv`, where it is put if it is missing.
get_uv() {
    command -v uv || command -v "$venv/bin/uv" && return
    run_pip install --quiet --require-hashes -r "$root/requirements/uv.txt" >&2 && command -v "$venv/bin/uv"
}

# pip for `.venv`: its own, else the system's pointed at it, which works also where that refuses to touch the system itself.
run_pip() {
    local python
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null 2>&1; then
        "$venv/bin/python" -m pip "$@"
    elif python=$(find_python) && "$python" -m pip --version >/dev/null 2>&1; then
        "$python" -m pip --python "$venv/bin/python" "$@"
    else
        fail "this Python has neither ensurepip nor pip: install one (Debian, Ubuntu: sudo apt install python3-venv), or install uv"
    fi
}

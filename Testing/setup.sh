#!/usr/bin/env bash
# Sets up the virtual environment for the Makefile.
# usage: setup.sh VENV core|test|dev      (environment: PYTHON, an interpreter to prefer)
set -euo pipefail

venv=$1
extra=$2

say() { echo "x2br: $*" >&2; }
fail() { say "error: $*"; exit 1; }
can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
apt_install() {
    say "installing $* with apt"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# An interpreter is taken by running it: a name on the PATH may be a shim that leads nowhere.
supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

make_environment() {
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1 && supported "$venv/bin/python"; then
        return
    fi
    local python=""
    for candidate in ${PYTHON:-} python3.12 python3.11 python3 python; do
        if supported "$candidate"; then python=$candidate; break; fi
    done
    [ -n "$python" ] || fail "no working Python 3.11 or 3.12; install one, or name it: make PYTHON=/path/to/python3.12"
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        local package
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        can_apt || fail "Python's venv is missing; install it: sudo apt-get install $package"
        apt_install "$package"
    fi
    say "making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear "$venv"
}

# What VTK and Qt load for offscreen views, library and Debian package side by side.
system_libraries() {
    local wanted="libEGL.so.1=libegl1 libGL.so.1=libgl1 libgthread-2.0.so.0=libglib2.0-0 libdbus-1.so.3=libdbus-1-3
        libfontconfig.so.1=libfontconfig1 libxkbcommon.so.0=libxkbcommon0"
    local missing=() pair
    for pair in $wanted; do
        "$venv/bin/python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "${pair%%=*}" >/dev/null 2>&1 ||
            missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    # Mesa's drivers render without a graphics card; the loaders above come without them where recommendations are off.
    missing+=(libgl1-mesa-dri)
    can_apt || fail "system libraries are missing; install them: sudo apt-get install ${missing[*]}"
    apt_install "${missing[@]}"
}

# The judge of the DICOM files that we write; without it that one test is skipped.
dicom_validator() {
    command -v dciodvfy >/dev/null && return
    if can_apt; then apt_install dicom3tools; else say "note: dciodvfy is missing, its test is skipped; sudo apt-get install dicom3tools"; fi
}

# The browser of the report's tests; without it they are skipped, and fail in CI.
browser() {
    local name
    for name in chromium chromium-browser google-chrome; do command -v "$name" >/dev/null && return; done
    if can_apt; then apt_install chromium; else say "note: Chromium is missing, the report's tests are skipped; sudo apt-get install chromium"; fi
}

make_environment
if [ "$extra" = core ]; then
    target=.
else
    system_libraries
    dicom_validator
    browser
    target=".[$extra]"
fi
say "installing $target into $venv (the first time this fetches PyTorch: some gigabytes, some minutes)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary --editable "$target" </dev/null

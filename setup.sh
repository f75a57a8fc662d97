#!/bin/sh
# setup.sh VENV WHAT STAMP: a virtual environment with an editable install of WHAT.
# Safe to run again: the stamp is written only when everything is in place.
set -u
venv=$1 what=$2 stamp=$3
python=${PYTHON:-python3}

say() { printf '%s\n' "$*" >&2; }

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || {
    say "blemish needs Python 3.10 to 3.13, but '$python' is $("$python" --version 2>&1)."
    say "Name another one: make demo PYTHON=python3.12"
    exit 1
}
free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024 / 1024) }')
if [ "$free" -lt 8 ] && [ ! -e "$venv/ready" ] && [ ! -e "$venv/ready-dev" ]; then
    say "blemish[train] needs about 8 GB of disk (torch alone takes 6), but only $free GB are free."
    say "Free some space, or install the small runtime alone: pip install ."
    exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
    say "A virtual environment could not be made in '$venv'."
    say "On Debian and Ubuntu: apt install python3-venv"
    exit 1
}
say "Installing $what into $venv (torch is large: a few minutes the first time) ..."
log=$venv/install.log
"$venv/bin/python" -m pip install --editable "$what" >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    say ""
    say "pip could not install blemish; its last words are above, all of them in $log."
    say "No connection? Fill a folder elsewhere with: pip download '$what' hatchling editables -d wheels"
    say "and run: PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels make demo"
    say "No space? 'df -h .' shows what is left. Running make again goes on from here."
    exit 1
}
touch "$venv/$stamp"

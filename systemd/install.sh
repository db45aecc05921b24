#!/bin/sh
# Installs, upgrades and removes DiTing under systemd.
#
#   install.sh [install] [--cloud | --both] [--root DIR] [SOURCE]
#   install.sh upgrade   [--root DIR] [SOURCE]
#   install.sh upgrade   --rollback [--root DIR]
#   install.sh uninstall [--purge] [--root DIR]
#
# SOURCE: a wheel, an sdist, or a folder with the source; by default the one that this script lies
# in. Without --cloud or --both it is the box that is installed. --root: another root folder than /,
# in which nothing is started.
#
# /opt/diting/versions/X is a venv of version X, made of wheels alone: pip's own settings decide
# where these come from (PIP_FIND_LINKS and PIP_NO_INDEX: from a folder, without a network).
# `current` and `previous` point to two of them; others go. A version takes over at once and whole
# when it is complete and finds no fault with the configuration, and gives way again where its
# service does not start. Configurations are never touched; `uninstall` leaves them and all data
# where they are, unless --purge.
set -eu

say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; exit "$1"; }

command=install parts='' root='' source='' rollback='' purge=''
case "${1:-}" in install | upgrade | uninstall) command=$1; shift ;; esac
while [ $# -gt 0 ]; do
    case "$1" in
    --cloud) parts=cloud ;;
    --both) parts='box cloud' ;;
    --root) [ $# -gt 1 ] || usage 2 >&2; root=${2%/}; shift ;;
    --rollback) rollback=1 ;;
    --purge) purge=1 ;;
    -h | --help) usage 0 ;;
    -*) die "no option $1; --help tells which there are" ;;
    *) [ -z "$source" ] || usage 2 >&2; source=$1 ;;
    esac
    shift
done
[ -z "$rollback" ] || [ "$command" = upgrade ] || die "--rollback goes with upgrade"
[ -z "$purge" ] || [ "$command" = uninstall ] || die "--purge goes with uninstall"
[ -n "$root" ] || [ "$(id -u)" = 0 ] || die "needs root (or --root DIR)"

here=$(cd "$(dirname "$0")" && pwd)
opt=$root/opt/diting
etc=$root/etc/diting
units=$root/etc/systemd/system
python=${PYTHON:-python3}
build='' began=''

cleanup() {
    [ -z "$build" ] || rm -rf "$build"
    [ -z "$began" ] || [ -e "$began/.complete" ] || rm -rf "$began"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
ctl() { if live; then systemctl "$@"; fi; }
target() { if [ -L "$opt/$1" ]; then basename "$(readlink "$opt/$1")"; fi; }
point() { # NAME VERSION: in one step, so that there is always a version
    ln -sfn "versions/$2" "$opt/$1.new"
    mv -fT "$opt/$1.new" "$opt/$1"
}

only_once() {
    mkdir -p "$opt"
    exec 9>"$opt/.lock"
    flock -n 9 || die "another one is at work on $opt"
}

# SOURCE -> $wheel and $setup, the folder with units and constraints
find_wheel() {
    setup=$here
    case "$source" in
    *.whl)
        [ -f "$source" ] || die "$source: no such file"
        wheel=$source
        return
        ;;
    '') source=$(dirname "$here") ;;
    esac
    [ -e "$source" ] || die "$source: no such file or folder"
    build=$(mktemp -d)
    mkdir "$build/source"
    if [ -f "$source" ]; then
        tar -xf "$source" -C "$build/source" --strip-components=1 || die "$source: no sdist"
    else
        [ -f "$source/pyproject.toml" ] || die "$source: no source of DiTing (no pyproject.toml)"
        # A copy: building leaves its traces, and picks up those of builds before it.
        tar -cf - -C "$source" --exclude='./.*' --exclude=./build --exclude='*.egg-info' . |
            tar -xf - -C "$build/source"
    fi
    source=$build/source
    if [ -d "$source/systemd" ]; then setup=$source/systemd; fi
    # The same source gives the same wheel, and so the same version.
    export SOURCE_DATE_EPOCH=1000000000
    pip wheel --no-deps --wheel-dir "$build" "$source" || die "$source: cannot be built"
    for wheel in "$build"/*.whl; do :; done
}

# One pip for all versions, which then need none of their own.
pip() {
    if ! "$opt/pip/bin/python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$opt/pip"
        "$python" -m venv "$opt/pip" >/dev/null ||
            die "$python cannot make a venv: apt-get install python3-venv"
    fi
    "$opt/pip/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"
}

constraints() {
    for file in "$setup/constraints.txt" "$setup/../constraints.txt"; do
        if [ -f "$file" ]; then echo "$file"; return; fi
    done
    die "no constraints.txt beside $setup"
}

# $wheel, $setup, $parts -> $version, complete in its folder
make_version() {
    pins=$(constraints)
    name=$(basename "$wheel" | cut -d- -f2)
    digest=$( { cat "$wheel" "$pins"; echo "$parts"; cd "$setup" && cat ./*.service ./*.conf \
        ./*.rules install.sh; } | sha256sum | cut -c1-8)
    version=$name-$digest
    folder=$opt/versions/$version
    if [ -e "$folder/.complete" ] && "$folder/bin/diting" --version >/dev/null 2>&1; then
        say "$version is there already"
        return
    fi
    began=$folder
    rm -rf "$folder"
    mkdir -p "$opt/versions"
    "$python" -m venv --without-pip "$folder" || die "$python cannot make a venv"
    extra=''
    case "$parts" in *cloud*) extra='[cloud]' ;; esac
    pip --python "$folder/bin/python" install --only-binary=:all: --constraint "$pins" \
        "$wheel$extra" || die "$version cannot be installed"
    "$folder/bin/diting" --version >/dev/null || die "$version does not run"
    mkdir "$folder/setup"
    cp "$setup"/*.service "$setup"/*.conf "$setup"/*.rules "$setup"/*.yaml "$setup/install.sh" \
        "$pins" "$folder/setup"
    if [ -f "$setup/../docs/operations.md" ]; then
        cp "$setup/../docs/operations.md" "$folder/setup"
    fi
    echo "$parts" >"$folder/setup/parts"
    touch "$folder/.complete"
}

# Refuse a version that cannot use the configuration that is there.
check_configuration() {
    for part in $parts; do
        if [ -f "$etc/$part.yaml" ]; then
            "$opt/versions/$version/bin/diting" check "$etc/$part.yaml" >&2 ||
                die "$version cannot use $etc/$part.yaml; nothing was changed"
        fi
    done
}

parts_of() { cat "$opt/versions/$1/setup/parts"; }

put_files() { # VERSION: units and the like
    from=$opt/versions/$1/setup
    mkdir -p "$units" "$root/etc/sysusers.d" "$root/etc/tmpfiles.d" "$root/etc/udev/rules.d"
    for part in $(parts_of "$1"); do
        install -m 644 "$from/diting-$part.service" "$units/"
        install -D -m 644 "$from/$part.example.yaml" "$etc/$part.example.yaml"
    done
    install -m 644 "$from/diting.sysusers.conf" "$root/etc/sysusers.d/diting.conf"
    install -m 644 "$from/diting.tmpfiles.conf" "$root/etc/tmpfiles.d/diting.conf"
    install -m 644 "$from/70-diting.rules" "$root/etc/udev/rules.d/"
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers ${root:+--root="$root"} diting.conf
        systemd-tmpfiles ${root:+--root="$root"} --create diting.conf
    fi
    ctl daemon-reload
    if live && command -v udevadm >/dev/null; then
        udevadm control --reload
        udevadm trigger --subsystem-match=tty
    fi
}

restart() { # PARTS: those services that have something to do
    for part in $1; do
        if [ -f "$etc/$part.yaml" ]; then
            ctl enable --quiet "diting-$part"
            ctl restart "diting-$part" || return 1
        fi
    done
}

switch() { # VERSION
    before=$(target current)
    if [ "$1" != "$before" ]; then
        if [ -n "$before" ]; then point previous "$before"; fi
        point current "$1"
    fi
    put_files "$1"
    if restart "$(parts_of "$1")"; then return; fi
    if [ -z "$before" ] || [ "$before" = "$1" ]; then die "$1 does not start: see journalctl"; fi
    point current "$before"
    put_files "$before"
    restart "$(parts_of "$before")" || :
    die "$1 does not start: see journalctl. $before is back"
}

prune() {
    for folder in "$opt"/versions/*; do
        case "$(basename "$folder")" in
        "$(target current)" | "$(target previous)") ;;
        *) rm -rf "$folder" ;;
        esac
    done
}

do_install() {
    only_once
    if [ -z "$parts" ] && [ -f "$opt/current/setup/parts" ]; then
        parts=$(cat "$opt/current/setup/parts")
    fi
    parts=${parts:-box}
    if [ "$command" = upgrade ] && [ -z "$(target current)" ]; then
        die "nothing is installed in $opt"
    fi
    find_wheel
    make_version
    check_configuration
    switch "$version"
    prune
    say "$version is installed in $opt"
    for part in $parts; do
        if [ ! -f "$etc/$part.yaml" ]; then
            say "now write $etc/$part.yaml (see $part.example.yaml there), then:" \
                "systemctl enable --now diting-$part"
        fi
    done
}

do_rollback() {
    only_once
    version=$(target previous)
    if [ -z "$version" ] || [ ! -e "$opt/versions/$version/.complete" ]; then
        die "there is no version before the present one"
    fi
    switch "$version"
    say "$version is back in $opt"
}

do_uninstall() {
    only_once
    for part in box cloud; do
        if [ -f "$units/diting-$part.service" ]; then
            ctl disable --quiet --now "diting-$part" || :
            rm -f "$units/diting-$part.service"
        fi
        rm -f "$etc/$part.example.yaml"
    done
    rm -f "$root/etc/udev/rules.d/70-diting.rules" "$root/etc/sysusers.d/diting.conf" \
        "$root/etc/tmpfiles.d/diting.conf"
    ctl daemon-reload
    rm -rf "$opt"
    if [ -n "$purge" ]; then
        rm -rf "$etc" "$root/var/lib/diting" "$root/var/lib/diting-cloud" \
            "$root/var/cache/diting-cloud"
        say "DiTing, its configuration and its data are gone"
    else
        say "DiTing is gone; left are $etc, $root/var/lib/diting and $root/var/lib/diting-cloud"
    fi
}

if [ -n "$rollback" ]; then do_rollback; else "do_$([ "$command" = upgrade ] && echo install || echo "$command")"; fi

#!/usr/bin/env bash
# Installs a bundle (bundle.sh) on a host without a network:
#
#   install.sh [--prefix /opt/modelworks] [--home /var/lib/modelworks] [--unit]
#
# --prefix  where the programs go; a new folder
# --home    data folder; the bundle's backup, if it has one, is restored into it (it must be empty)
# --unit    install and start the systemd unit, under a user `modelworks` that is made; as root
#
# Every file is compared with SHA256SUMS first. Compare the bundle's own digest with the one that
# bundle.sh printed before you unpack it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=/opt/modelworks home=/var/lib/modelworks unit=no
while [ $# -gt 0 ]; do
    case $1 in
        --prefix) prefix=${2:?--prefix wants a folder}; shift 2 ;;
        --home) home=${2:?--home wants a folder}; shift 2 ;;
        --unit) unit=yes; shift ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
done
fail() { echo "install: $*" >&2; exit 1; }

cd "$here"
sha256sum --quiet --strict -c SHA256SUMS || fail "the bundle was damaged: copy it again"
[ "$(find . -type f ! -name SHA256SUMS | wc -l)" = "$(wc -l < SHA256SUMS)" ] ||
    fail "the bundle holds files that SHA256SUMS does not name"
python=${PYTHON:-python$(cat python)}
command -v "$python" > /dev/null || fail "needs $python (with venv): PYTHON names another path of it"
[ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$(cat python)" ] ||
    fail "the wheels are for Python $(cat python), and $python is another"
[ ! -e "$prefix" ] || fail "$prefix exists: name another --prefix, or move it away"
[ $unit = no ] || [ "$(id -u)" = 0 ] || fail "--unit wants root"

trap 'rm -rf "$prefix"; echo "install: nothing was installed" >&2' ERR INT TERM
"$python" -m venv "$prefix"
"$prefix/bin/pip" install --quiet --disable-pip-version-check --no-index --find-links wheels \
    "modelworks[$(cat extras)]"
trap - ERR INT TERM
if [ -f backup.tar ]; then
    MODELWORKS_HOME=$home "$prefix/bin/modelworks" restore backup.tar
fi
if [ $unit = yes ]; then
    id modelworks > /dev/null 2>&1 ||
        useradd --system --home-dir "$home" --shell /usr/sbin/nologin modelworks
    mkdir -p "$home"
    chown -R modelworks: "$home"
    sed -e "s#/opt/modelworks/bin#$prefix/bin#" -e "s#MODELWORKS_HOME=[^ ]*#MODELWORKS_HOME=$home#" \
        modelworks.service > /etc/systemd/system/modelworks.service
    systemctl daemon-reload
    systemctl enable --now modelworks
fi
echo "installed: $prefix/bin/modelworks"

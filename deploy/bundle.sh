#!/usr/bin/env bash
# Everything that a host without a network needs, as one tar:
#
#   deploy/bundle.sh modelworks-0.1.0-py3-none-any.whl bundle.tar [backup.tar]
#
# Run it where pip reaches an index, with the Python (3.11 to 3.13) and kind of machine of the host.
# EXTRAS names what is installed (platform,postgres); the backup brings the models (modelworks
# backup). On the host: tar xf bundle.tar && modelworks-bundle/install.sh --help
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
wheel=$(realpath "$1") output=$(realpath -m "$2") backup=${3:+$(realpath "$3")}
extras=${EXTRAS:-platform,postgres} python=${PYTHON:-python3}
[ ! -e "$output" ] || { echo "$output exists" >&2; exit 1; }

work=$(mktemp -d "$(dirname "$output")/.bundle-XXXXXX")
trap 'rm -rf "$work"' EXIT
bundle=$work/modelworks-bundle
mkdir -p "$bundle/wheels"
cp "$wheel" "$bundle/wheels/"
"$python" -m pip download --quiet --disable-pip-version-check --only-binary :all: \
    --dest "$bundle/wheels" "${wheel}[$extras]"
cp "$here/install.sh" "$here/systemd/modelworks.service" "$bundle/"
chmod 755 "$bundle/install.sh"
[ -z "$backup" ] || cp "$backup" "$bundle/backup.tar"
echo "$extras" > "$bundle/extras"
"$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' > "$bundle/python"
(cd "$bundle" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS)
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf "$work/whole.tar" modelworks-bundle
mv "$work/whole.tar" "$output"
sha256sum "$output"

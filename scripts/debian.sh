#!/usr/bin/env bash
# Debian packages that real tests and benchmarks start; installed where root and apt are there.
# debian.sh: what every test and benchmark wants; debian.sh peers: what the other servers want.
set -euo pipefail
wanted=(wrk postgresql npm nginx haproxy openssl skopeo docker-registry dockerd docker-compose mmdebstrap iptables chromium mosquitto systemd-analyze prometheus prometheus-alertmanager dnsmasq redis-server)
[ "${1:-}" != peers ] || wanted=(wrk java)
missing=()
for name in "${wanted[@]}"; do
    # postgresql has its programs in a folder of its version, off the PATH.
    command -v "$name" >/dev/null || [ -n "$(ls -d /usr/lib/"$name"/*/bin 2>/dev/null)" ] || missing+=("$name")
done
missing=("${missing[@]/#java/default-jre-headless}")
missing=("${missing[@]/#dockerd/docker.io}")
missing=("${missing[@]/#systemd-analyze/systemd}")
missing=("${missing[@]/#dnsmasq/dnsmasq-base}")
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    # Tests start what they need themselves: no service of the machine is to run because of them.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
else
    echo "debian: not installed: ${missing[*]}; what needs them is skipped. As root: apt-get install --no-install-recommends ${missing[*]}" >&2
fi

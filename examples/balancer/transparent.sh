#!/bin/sh
# SPDX-License-Identifier: MIT
# On the balancer, before HAProxy with haproxy-transparent.cfg. What the machines send to clients passes here; what belongs to
# a socket of HAProxy that has the address of a client is delivered here, and not forwarded. Needs nftables.
set -eu
nft -f - <<'RULES'
table ip cloister
delete table ip cloister
table ip cloister {
    chain prerouting {
        type filter hook prerouting priority mangle
        meta l4proto tcp socket transparent 1 meta mark set 1
    }
}
RULES
ip rule del fwmark 1 lookup 100 2>/dev/null || true
ip rule add fwmark 1 lookup 100
ip route replace local 0.0.0.0/0 dev lo table 100

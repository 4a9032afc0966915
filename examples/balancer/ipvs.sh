#!/bin/sh
# SPDX-License-Identifier: MIT
# IPVS: the kernel of the balancer gives the connections to 203.0.113.7:7007 to three machines, and keeps the client's address.
#   ipvs.sh direct         on the balancer: machines in its network, whose answers do not pass it
#   ipvs.sh nat            on the balancer: machines whose default route it is
#   ipvs.sh machine        on each machine, for `direct`: it has the address, and does not answer ARP for it
#   ipvs.sh drain HOST     no new connections for 10.7.0.HOST, those that it has go on
#   ipvs.sh fill HOST      new ones again
# Nothing here looks whether a machine serves: that is the work of keepalived, for example. Needs ipvsadm and ip_vs.
set -eu
service=203.0.113.7:7007
spread() { # -g or -m
    sysctl -qw net.ipv4.ip_forward=1
    ip address replace 203.0.113.7/32 dev lo
    ipvsadm -D -t $service 2>/dev/null || true
    ipvsadm -A -t $service -s wlc
    for host in 11 12 13; do
        ipvsadm -a -t $service -r 10.7.0.$host:7007 "$1"
    done
    sysctl -qw net.ipv4.vs.expire_nodest_conn=1    # when a machine is removed, its clients learn it
}
weight() { # HOST WEIGHT
    method=$(ipvsadm -S -n | sed -n "s/.*-r 10\.7\.0\.$1:7007 \(-[gm]\) .*/\1/p")
    ipvsadm -e -t $service -r "10.7.0.$1:7007" "$method" -w "$2"
}
case ${1:-} in
direct) spread -g ;;
nat) spread -m ;;
machine)
    sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
    ip address replace 203.0.113.7/32 dev lo
    ;;
drain) weight "$2" 0 ;;
fill) weight "$2" 1 ;;
*)
    sed -n '4,8s/^# //p' "$0" >&2
    exit 64
    ;;
esac

#!/bin/sh
# SPDX-License-Identifier: MIT
# A router spreads connections over machines that all have the address 203.0.113.7; their answers need not pass it.
#   ecmp.sh balancer [HOST...]   on the router: the machines 10.7.0.HOST get the connections (11 12 13 if none is named)
#   ecmp.sh machine              on each machine
# With `resilient`, connections of the machines that stay keep their machine when another one goes (ip-nexthop(8)).
set -eu
case ${1:-} in
balancer)
    shift
    [ $# -gt 0 ] || set -- 11 12 13
    sysctl -qw net.ipv4.ip_forward=1 net.ipv4.fib_multipath_hash_policy=1    # the hash has the ports, too
    group=
    for host; do
        ip nexthop replace id "$host" via "10.7.0.$host" dev inner
        group=$group${group:+/}$host
    done
    ip nexthop replace id 1 group "$group" type resilient buckets 128
    ip route replace 203.0.113.7/32 nhid 1
    ;;
machine)
    ip address replace 203.0.113.7/32 dev lo
    # Only for machines in the network of that address: they must not answer ARP for it.
    sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
    ;;
*)
    sed -n '3,6s/^# //p' "$0" >&2
    exit 64
    ;;
esac

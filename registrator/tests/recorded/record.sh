#!/bin/sh
# Records inspect answers of a real engine beside this file: one container per line of `cases`,
# its host's particulars taken out. Needs docker, gcc and jq; leaves nothing behind.
# To add a case: add its line, run this with its name, commit the new file. Without names: all of them.
# Those called swarm-* are tasks, and come from `docker service create` on engines of a swarm, through the same filter.
set -eu
wanted=$*
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
made="$work/made"
: >"$made"
clean() {
    xargs -r docker rm -f <"$made" >/dev/null 2>&1 || true
    docker network rm rec-front rec-back rec-six >/dev/null 2>&1 || true
    ip addr del 10.9.9.9/32 dev lo 2>/dev/null || true
    docker rmi -f recorded/nginx:1 recorded/redis recorded/dns recorded/bare recorded/healthy >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap clean EXIT

printf '#include <stdlib.h>\n#include <unistd.h>\nint main(int c, char **v) { if (c > 1) return atoi(v[1]); for (;;) pause(); }' >"$work/idle.c"
gcc -static -O1 -o "$work/idle" "$work/idle.c"
image() { # name, further instructions
    printf 'FROM scratch\nCOPY idle /idle\n%b\nENTRYPOINT ["/idle"]\n' "$2" | docker build -q -t "$1" -f - "$work" >/dev/null
}
image recorded/nginx:1 'EXPOSE 80 443\nSTOPSIGNAL SIGQUIT'
image recorded/redis 'EXPOSE 6379'
image recorded/dns 'EXPOSE 53/tcp 53/udp'
image recorded/bare ''
image recorded/healthy 'EXPOSE 80\nHEALTHCHECK --interval=1s --retries=1 CMD ["/idle", "0"]'
docker network create --subnet 172.18.0.0/16 rec-front >/dev/null
docker network create --subnet 172.19.0.0/16 --internal rec-back >/dev/null
docker network create --subnet 172.20.0.0/16 --ipv6 --subnet fd00:20::/64 rec-six >/dev/null
ip addr add 10.9.9.9/32 dev lo

# Each recording has an id that says which it is, and keeps it.
number() { # case
    if [ -e "$here/$1.json" ]; then
        jq -r .Id "$here/$1.json"
    else
        last=$(jq -r .Id "$here"/*.json | sort | tail -n 1 | sed 's/^0*//')
        printf '%064d' $((last + 1))
    fi
}
record() { # case
    echo "s/$(docker inspect -f '{{.Id}}' "rec-$1")/$(number "$1")/g" >>"$work/ids"
    case " ${wanted:-$1} " in *" $1 "*) ;; *) return 0 ;; esac
    docker inspect "rec-$1" | jq --arg case "$1" '.[0] | {
        Id: .Id, Name: "/\($case)", Image, Created: "2026-01-01T00:00:00Z",
        State: (.State | del(.Pid) | .StartedAt |= sub("^20.*"; "2026-01-01T00:00:01Z")
                       | .FinishedAt |= sub("^20.*"; "2026-01-01T00:00:02Z")),
        Config: (.Config | {Env, Labels, ExposedPorts, Image, StopSignal, StopTimeout, Healthcheck}),
        HostConfig: (.HostConfig | {NetworkMode, PortBindings, PublishAllPorts}),
        NetworkSettings: (.NetworkSettings | {Ports, Networks: (.Networks | map_values({IPAddress, GlobalIPv6Address, Gateway}))})
    } | del(.. | .Start?, .End?)' | sed -f "$work/ids" >"$work/recorded"
    mv "$work/recorded" "$here/$1.json"
}
run() { # case, arguments of docker run
    case=$1
    shift
    docker run -d --name "rec-$case" "$@" >/dev/null
    echo "rec-$case" >>"$made"
    record "$case"
}

run published-one -p 10000:6379 recorded/redis
run published-all -P recorded/nginx:1
run published-first -p 18080:80 recorded/nginx:1
run exposed-only recorded/nginx:1
run udp-only -p 10053:53/udp recorded/bare
run tcp-and-udp -p 10054:53 -p 10054:53/udp recorded/dns
run loopback -p 127.0.0.1:18081:80 recorded/bare
run loopback-and-wildcard -p 127.0.0.1:18083:80 -p 18084:80 recorded/bare
run loopback-v6 -p '[::1]:18085:80' recorded/bare
run wildcard-v6 -p '[::]:18086:80' recorded/bare
run user-network --network rec-front -p 18087:80 recorded/bare
run host --network host recorded/nginx:1
run host-bare --network host recorded/bare
run none --network none recorded/redis
run owner -p 18088:80 recorded/bare
run sidecar --network container:rec-owner --label a=b recorded/nginx:1
run by-digest -p 18089:6379 "$(docker image inspect -f '{{.Id}}' recorded/redis)"
run stop-timeout --stop-timeout 60 --stop-signal SIGUSR1 -p 18090:80 recorded/bare
run health-starting -p 18091:80 --health-start-period 60s --health-interval 60s recorded/healthy
run healthy -p 18092:80 recorded/healthy
until [ "$(docker inspect -f '{{.State.Health.Status}}' rec-healthy)" = healthy ]; do :; done
record healthy
run unhealthy -p 18093:80 --health-cmd none recorded/healthy
until [ "$(docker inspect -f '{{.State.Health.Status}}' rec-unhealthy)" = unhealthy ]; do :; done
record unhealthy
run paused -p 18094:80 recorded/bare
docker pause rec-paused >/dev/null
record paused
run exited -p 18095:80 -P recorded/nginx:1 3
docker wait rec-exited >/dev/null
record exited
run restarting --restart always -p 18096:80 recorded/nginx:1 1
until [ "$(docker inspect -f '{{.State.Status}} {{.RestartCount}}' rec-restarting)" = 'restarting 3' ]; do :; done
record restarting
run two-bindings -p 10.9.9.9:18099:80 -p 172.17.0.1:18098:80 recorded/bare
run one-of-all -p 10.9.9.9:18101:80 -p 18100:80 recorded/bare
run two-networks --network rec-front -p 18102:80 recorded/bare
docker network connect rec-back rec-two-networks
record two-networks
run internal-network --network rec-back -p 18103:80 recorded/bare
run six-network --network rec-six -p 18104:80 recorded/bare
run host-published --network host -p 18081:80 recorded/bare
docker create --name rec-created -P recorded/redis >/dev/null
echo rec-created >>"$made"
record created

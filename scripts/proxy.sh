# Sourced by bench: the edge beside nginx and haproxy, all three in front of the same nginx, and beside the edge one that
# logs its requests. Every round measures all of them one after the other, so that they meet the same machine. Needs
# nginx, haproxy, wrk and curl.

PROXY_BIG_BYTES=104857600
# What is compared with each other everywhere.
FRONTS='direct nginx haproxy edge'

# Starts nginx with a configuration in the sandbox: $1 names it, standard input is what goes into `http`.
nginx_start() {
    mkdir -p "$sandbox/$1"
    {
        # As root, nginx would give its worker to somebody who may not look into the sandbox.
        [ "$(id -u)" -ne 0 ] || echo 'user root;'
        echo "worker_processes 1; daemon off; error_log $sandbox/$1/error.log; pid $sandbox/$1/pid;"
        echo 'events { worker_connections 4096; }'
        echo "http { access_log off; keepalive_requests 100000000; client_max_body_size 0;"
        for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $sandbox/$1/$kind;"; done
        cat
        echo '}'
    } >"$sandbox/$1/nginx.conf"
    nginx -e "$sandbox/$1/error.log" -p "$sandbox/$1" -c "$sandbox/$1/nginx.conf" &
    servers="$servers $!"
    until [ -s "$sandbox/$1/pid" ]; do sleep 0.05; done
}

# The worker does the work.
nginx_pids() {
    cat "$sandbox/$1/pid"
    pgrep -P "$(cat "$sandbox/$1/pid")"
}

proxy_open() {
    for program in nginx haproxy wrk curl; do
        PATH="$PATH:/usr/sbin" need "$program" "install it, on Debian: apt-get install nginx-light haproxy wrk curl"
    done
    PATH="$PATH:/usr/sbin"
    sandbox_open
    servers=
    trap 'servers_end; sandbox_close' EXIT
    backend_port=21000 nginx_port=21901 haproxy_port=21902
    mkdir -p "$sandbox/files/m"
    head -c "$PROXY_BIG_BYTES" /dev/zero >"$sandbox/files/m/big"
    printf ok. >"$sandbox/files/m/small"
    nginx_start backend <<CONF
server {
    listen 127.0.0.1:$backend_port backlog=4096;
    location = /m { return 200 'ok.'; }
    # Reads all of a body before it answers; whoever sends one through a proxy may stop at an early answer.
    location = /m/up {
        client_body_buffer_size $((PROXY_BIG_BYTES + 4096)); proxy_request_buffering on; proxy_pass_request_body off;
        proxy_set_header Content-Length ''; proxy_pass http://127.0.0.1:$backend_port/m/sink;
    }
    location = /m/sink { return 204; }
    location /m/ { root $sandbox/files; }
}
CONF
    nginx_start front <<CONF
upstream backend { server 127.0.0.1:$backend_port; keepalive 256; keepalive_requests 100000000; }
server {
    listen 127.0.0.1:$nginx_port backlog=4096;
    location / {
        proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection '';
        proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; proxy_set_header Host \$host;
        proxy_buffering off; proxy_request_buffering off;
    }
}
CONF
    cat >"$sandbox/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    option forwardfor
    http-reuse always
frontend f
    bind 127.0.0.1:$haproxy_port
    default_backend b
backend b
    server s 127.0.0.1:$backend_port pool-max-conn 256
CONF
    haproxy -f "$sandbox/haproxy.cfg" -db >"$sandbox/haproxy.log" 2>&1 &
    haproxy_pid=$!
    servers="$servers $haproxy_pid"
    # A row for the backend, which the hub does not run.
    mkdir -p "$sandbox/modules/m"
    row m "$backend_port" "$sandbox/modules/m"
    hub_start
    logging_hub_start
    for port in "$nginx_port" "$haproxy_port" "$hub_port" "$logging_port"; do
        until [ "$(curl -s "http://127.0.0.1:$port/m" || :)" = ok. ]; do sleep 0.1; done
    done
}

# Ends our own servers, by number, and waits for them: what they still write would be in the way of removing it.
servers_end() {
    for server in $servers; do kill "$server" 2>/dev/null || :; done
    for server in $servers; do wait "$server" 2>/dev/null || :; done
    servers=
}

# A second hub in front of the same backend, one that logs every request.
logging_hub_start() {
    logging_port=$("$testchild" free-port | sed 's/^port //')
    mkdir -m 700 "$sandbox/logging"
    (
        home=$sandbox/logging hub_port=$logging_port
        install_rows
        become env PARACHUTE_ACCESS_LOG=json PARACHUTE_ACCESS_LOG_FILE="$sandbox/access.log" "$parachute" serve
    ) >"$sandbox/logging.log" 2>&1 &
    logging_hub=$!
    servers="$servers $logging_hub"
}

# front NAME: sets `port` and `pids`.
front() {
    case $1 in
        direct) port=$backend_port pids=$(nginx_pids backend) ;;
        nginx) port=$nginx_port pids=$(nginx_pids front) ;;
        haproxy) port=$haproxy_port pids=$haproxy_pid ;;
        edge) port=$hub_port pids=$hub ;;
        logging) port=$logging_port pids=$logging_hub ;;
    esac
}

all_ticks() {
    for pid in $pids; do ticks "$pid"; done | awk '{ sum += $1 } END { print sum + 0 }'
}

# requests CONNECTIONS keep|close NAME...: requests with so many connections at a time through each of these fronts.
requests() {
    connections=$1 kind=$2 header='X-Test: 1'
    shift 2
    [ "$kind" = keep ] || header='Connection: close'
    for round in $(seq "$PROXY_ROUNDS"); do
        for name; do
            front "$name"
            before=$(all_ticks)
            wrk -t1 -c"$connections" -d"$PROXY_SECONDS" --latency -H "$header" "http://127.0.0.1:$port/m" >"$sandbox/wrk"
            used=$(($(all_ticks) - before))
            awk -v ticks="$used" -v per_s="$TICKS_PER_S" '
                function us(text) { v = text + 0; return text ~ /us$/ ? v : text ~ /ms$/ ? v * 1000 : v * 1000000 }
                $1 == "50%" { p50 = us($2) } $1 == "99%" { p99 = us($2) }
                / requests in / { requests = $1 } $1 == "Requests/sec:" { rate = $2 }
                /Non-2xx|Socket errors/ { bad = 1 }
                END { printf "%d %d %d %.2f %d\n", rate, p50, p99, ticks / per_s * 1e6 / requests, bad }
            ' "$sandbox/wrk" >>"$sandbox/requests.$connections.$kind.$name"
        done
    done
    : >"$sandbox/medians"
    for name; do
        file=$sandbox/requests.$connections.$kind.$name
        column() { awk -v n="$1" '{ print $n }' "$file" | median; }
        bad=$(awk '{ bad += $5 } END { print bad + 0 }' "$file")
        rate=$(column 1) cpu=$(column 4)
        p50=$(column 2) p99=$(column 3)
        echo "$name $rate $cpu $p50 $p99" >>"$sandbox/medians"
        printf '%-38s %8s req/s  p50 %6s us  p99 %7s us  %7s us CPU a request%s\n' "$connections $kind, $name" \
            "$rate" "$p50" "$p99" "$cpu" "$([ "$bad" = 0 ] || echo ", errors in $bad rounds")"
    done
    better="$connections $kind, edge : better of both"
    printf '%-38s %8s x req/s (budget 1.1)  %s x p50  %s x p99  %s x CPU a request (budget 0.9)\n' "$better" \
        "$(edge_to_best 2 most)" "$(edge_to_best 4 least)" "$(edge_to_best 5 least)" "$(edge_to_best 3 least)"
}

# edge_to_best COLUMN most|least: what the edge has in this column of `medians`, by the better of nginx and haproxy; each
# yardstick is the better of the two in that respect.
edge_to_best() {
    awk -v n="$1" -v kind="$2" '
        { of[$1] = $n }
        END {
            nginx_is_better = kind == "most" ? of["nginx"] > of["haproxy"] : of["nginx"] < of["haproxy"]
            best = nginx_is_better ? of["nginx"] : of["haproxy"]
            # Of a thing too short to be measured there is no ratio.
            if (best > 0) printf "%.2f", of["edge"] / best; else printf "-"
        }' "$sandbox/medians"
}

# A large body, down or up.
large() {
    for round in $(seq "$PROXY_ROUNDS"); do
        for name in $FRONTS; do
            front "$name"
            before=$(all_ticks)
            case $1 in
                down) speed=$(curl -s -o /dev/null -w '%{speed_download}' "http://127.0.0.1:$port/m/big") ;;
                up) speed=$(curl -s -o /dev/null -T "$sandbox/files/m/big" -H 'Expect:' -w '%{speed_upload}' "http://127.0.0.1:$port/m/up") ;;
            esac
            used=$(($(all_ticks) - before))
            awk -v speed="$speed" -v ticks="$used" -v per_s="$TICKS_PER_S" -v bytes="$PROXY_BIG_BYTES" \
                'BEGIN { printf "%d %.2f\n", speed / 1e6, ticks / per_s * 1e9 / bytes }' >>"$sandbox/large.$1.$name"
        done
    done
    : >"$sandbox/medians"
    for name in $FRONTS; do
        file=$sandbox/large.$1.$name
        column() { awk -v n="$1" '{ print $n }' "$file" | median; }
        speed=$(column 1) cpu=$(column 2)
        [ "$name" != direct ] || direct=$speed
        echo "$name $speed $cpu" >>"$sandbox/medians"
        printf '%-38s %8s MB/s  %s CPU s/GB\n' "100 MiB $1, $name" "$speed" "$cpu"
    done
    # The edge is the last of them.
    awk -v line="100 MiB $1, edge : direct" -v edge="$speed" -v direct="$direct" \
        'BEGIN { printf "%-38s %8.2f (budget 0.85)\n", line, edge / direct }'
    printf '%-38s %8s x MB/s  %s x CPU s/GB\n' "100 MiB $1, edge : better of both" \
        "$(edge_to_best 2 most)" "$(edge_to_best 3 least)"
}

proxy() {
    proxy_open
    for connections in 1 16 256; do requests "$connections" keep $FRONTS; done
    requests 64 keep $FRONTS logging
    for connections in 1 16 64 256; do requests "$connections" close $FRONTS; done
    large down
    large up
    servers_end
    hub_stop
}

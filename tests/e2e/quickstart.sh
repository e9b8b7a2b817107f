#!/usr/bin/env bash
# From nothing to a consumed record: starts Esker on ./esker-data, writes and reads records through the Kafka port,
# says how to go on, and keeps serving until Ctrl-C. The data stays.
# Usage: quickstart.sh [ESKER_BINARY]
#   ESKER_KAFKA_LISTEN, ESKER_HTTP_LISTEN   other addresses than 127.0.0.1:9092 and 127.0.0.1:8080
#   ESKER_QUICKSTART_EXIT=1                 stop after the demonstration
set -euo pipefail

binary=${1:-esker}
kafka=${ESKER_KAFKA_LISTEN:-127.0.0.1:9092}
http=${ESKER_HTTP_LISTEN:-127.0.0.1:8080}
data=./esker-data
topic=quickstart
ready_seconds_max=30
server=

bold= plain=
[ -t 1 ] && bold=$'\033[1m' plain=$'\033[0m'
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }
show() { printf '  $ %s\n' "$*"; }

is_open() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }

is_ready() { # no curl needed: one request over bash's own sockets
  local status
  { exec 3<>"/dev/tcp/${http%:*}/${http##*:}"; } 2>/dev/null || return 1
  printf 'GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$http" >&3
  read -r -t 2 status <&3 || status=
  exec 3<&- 3>&-
  [[ $status == *" 200 "* ]]
}

stop() {
  [ -n "$server" ] || return 0
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" || true
  server=
}

command -v "$binary" >/dev/null || fail "there is no binary at $binary: run \`make build\`, then pass its path"
is_open "$kafka" && fail "$kafka is taken: stop what listens there, or set ESKER_KAFKA_LISTEN=127.0.0.1:19092"
is_open "$http" && fail "$http is taken: stop what listens there, or set ESKER_HTTP_LISTEN=127.0.0.1:18080"

say "Starting Esker on the directory $data"
show "esker serve --store file://$data --kafka-listen $kafka --http-listen $http"
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$binary" serve --store "file://$data" --kafka-listen "$kafka" --http-listen "$http" \
  --log-level warn --log-format text &
server=$!
tries=$((ready_seconds_max * 20))
until is_ready; do
  kill -0 "$server" 2>/dev/null || { wait "$server" || true; server=; fail "esker did not start: its reason is above"; }
  [ $((tries -= 1)) -gt 0 ] || fail "esker is not ready after $ready_seconds_max s"
  sleep 0.05
done

client() { "$binary" "$@" --bootstrap "$kafka"; }

say "Creating the topic \"$topic\""
if client topic describe "$topic" >/dev/null 2>&1; then
  echo "  it is there, from an earlier run"
else
  show "esker topic create $topic --partitions 1 --bootstrap $kafka"
  client topic create "$topic" --partitions 1
fi

say "Producing three records through the Kafka port"
show "printf 'en|hello\\nfr|bonjour\\nde|hallo\\n' | esker produce $topic --key-separator '|' --bootstrap $kafka"
printf 'en|hello\nfr|bonjour\nde|hallo\n' | client produce "$topic" --key-separator '|' --no-progress

say "Consuming the last three"
show "esker consume $topic --from -3 --format '%o %k %v\\n' --bootstrap $kafka"
client consume "$topic" --from -3 --format 'offset %o  key %k  value %v\n' --no-progress

say "It works. Go on with any Kafka client on $kafka"
cat <<TEXT
  Kafka's tools  kafka-console-consumer.sh --bootstrap-server $kafka --topic $topic --from-beginning
                 echo hi | kafka-console-producer.sh --bootstrap-server $kafka --topic $topic
  kcat           echo hi | kcat -b $kafka -P -t $topic
                 kcat -b $kafka -C -t $topic -o beginning
  curl           curl http://$http/api/v1/topics/$topic/records -d '{"records":[{"key":"en","value":"hi"}]}'
                 curl http://$http/api/v1/topics/$topic/partitions/0/records
  on S3          esker serve --store s3://BUCKET/PREFIX
TEXT

if [ "${ESKER_QUICKSTART_EXIT:-}" = 1 ]; then
  stop
  say "Stopped. The records are in $data"
  exit 0
fi

say "Serving until Ctrl-C; the records stay in $data"
status=0
wait "$server" || status=$?
server=
exit "$status"

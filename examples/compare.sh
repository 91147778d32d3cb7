#!/usr/bin/env bash
# Which of two pictures is better for a prompt? Asked of a server that `rewardrt serve` started.
#   examples/compare.sh "four blue triangles" first.png second.png
set -euo pipefail
server=${REWARDRT_SERVER:-http://127.0.0.1:8080}
token=(${REWARDRT_TOKEN:+-H "authorization: Bearer $REWARDRT_TOKEN"})
curl --silent --show-error --fail-with-body "${token[@]}" \
    --form-string prompt="$1" --form first=@"$2" --form second=@"$3" "$server/v1/compare"

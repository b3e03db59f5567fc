#!/bin/sh
# Ask an agent with curl; the answer comes as one JSON object, and `jq -r .text` would show its text alone.
#
# Run: RUMA_URL=http://127.0.0.1:8420/t/main RUMA_KEY=ruma_… sh ask.sh '{"question": "What does delivery cost?"}'

set -eu

curl --silent --show-error --fail-with-body "$RUMA_URL/api/chat" \
    --header "Authorization: Bearer $RUMA_KEY" \
    --header 'Content-Type: application/json' \
    --data "$1"

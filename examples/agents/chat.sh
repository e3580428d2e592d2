#!/bin/sh
# A chat without a browser: curl, and the server keeps the conversation.
#     espalier serve &
#     sh examples/agents/chat.sh trip-42 http://127.0.0.1:8000
# Each line is a turn; starting it again with the same name goes on with the conversation.
set -eu
name=$1
url=${2:-http://127.0.0.1:8000}

# A text as a JSON string: the server reads nothing else, whatever is typed.
quoted() { printf '%s' "$1" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e 's/^/"/' -e 's/$/"/'; }

printf '> '
while IFS= read -r line; do
    body=$(printf '{"session_id": "%s", "session_mode": "append", "messages": [{"role": "user", "content": %s}]}' \
        "$name" "$(quoted "$line")")
    answer=$(curl --silent --show-error --fail-with-body "$url/v1/chat/completions" \
        -H 'Content-Type: application/json' -d "$body") || { printf '%s\n' "$answer"; exit 1; }
    text=$(printf '%s' "$answer" | sed -e 's/.*"content":"\(\([^"\]\|\\.\)*\)".*/\1/' -e 's/\\"/"/g')
    printf '%b\n> ' "$text"
done

#!/bin/sh
# Redis as a cache: nothing on disk, since PostgreSQL is the truth. The configuration comes by standard
# input, so the password shows neither in a file nor among the processes.
set -eu
exec "${REDIS_SERVER:-redis-server}" - --port "${REDIS_PORT:-6379}" <<CONFIGURATION
requirepass $(cat "${SECRETS_DIR:-/run/secrets}/redis")
user pipeline_reader on >$(cat "${SECRETS_DIR:-/run/secrets}/redis_reader") %R~price:* &prices -@all +@connection +get +mget +subscribe +unsubscribe
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
CONFIGURATION

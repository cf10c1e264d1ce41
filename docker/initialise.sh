#!/bin/sh
# Runs to its end before Airflow and the dashboard start, and again after each upgrade: our schema and its
# roles, instruments and trading hours, the declared topics, Airflow's own database and login. Each step does nothing if all is there.
set -eu
SECRETS_DIR=${SECRETS_DIR:-/run/secrets}

python -m include.storage.migrate
python "$(dirname -- "$0")/role_passwords.py" "$SECRETS_DIR"
python -m include.stack.reference
python -m include.stack.topics

# Airflow opens its login file for appending, so it lies in the state folder and not among the secrets.
umask 077
mkdir -p "$AIRFLOW_HOME"
printf '{"admin": "%s"}' "$(cat "$SECRETS_DIR/airflow_admin")" >"$AIRFLOW_HOME/passwords.json"
airflow db migrate
python -m include.operators.pools >"$AIRFLOW_HOME/pools.json"
airflow pools import "$AIRFLOW_HOME/pools.json"

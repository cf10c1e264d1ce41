#!/bin/sh
# Turns the secret files that this container was given into the settings of the platform and of Airflow,
# then becomes the command. A container is given only the files that its service needs.
set -eu
SECRETS_DIR=${SECRETS_DIR:-/run/secrets}
: "${POSTGRES_HOST:=postgres}" "${POSTGRES_PORT:=5432}" "${REDIS_HOST:=redis}" "${REDIS_PORT:=6379}"

given() { [ -r "$SECRETS_DIR/$1" ]; }
secret() { cat "$SECRETS_DIR/$1"; }
database_url() { printf 'postgresql://%s:%s@%s:%s/financial_data' "$1" "$(secret "$2")" "$POSTGRES_HOST" "$POSTGRES_PORT"; }
database_connection() {
    printf '{"conn_type": "postgres", "host": "%s", "port": %s, "schema": "financial_data", "login": "%s", "password": "%s"}' \
        "$POSTGRES_HOST" "$POSTGRES_PORT" "$1" "$(secret "$2")"
}

if given database_owner; then
    DATABASE_URL=$(database_url dataeng database_owner)
    export DATABASE_URL
fi
if given pipeline_writer; then
    WRITER_DATABASE_URL=$(database_url pipeline_writer pipeline_writer)
    export WRITER_DATABASE_URL
fi
if given pipeline_reader; then
    READER_DATABASE_URL=$(database_url pipeline_reader pipeline_reader)
    export READER_DATABASE_URL
fi
if given pipeline_checker; then
    CHECKER_DATABASE_URL=$(database_url pipeline_checker pipeline_checker)
    export CHECKER_DATABASE_URL
fi
if given redis; then
    REDIS_URL="redis://:$(secret redis)@$REDIS_HOST:$REDIS_PORT/0"
    export REDIS_URL
fi
if given redis_reader; then
    READER_REDIS_URL="redis://pipeline_reader:$(secret redis_reader)@$REDIS_HOST:$REDIS_PORT/0"
    export READER_REDIS_URL
fi

if given airflow_admin && [ -n "${AIRFLOW_USERNAME:-}" ]; then
    AIRFLOW_PASSWORD=$(secret airflow_admin)
    export AIRFLOW_PASSWORD
fi

# Airflow's own: metadata database, keys that all its parts share, and the connections of the DAGs.
if given airflow_database; then
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow:$(secret airflow_database)@$POSTGRES_HOST:$POSTGRES_PORT/airflow"
    AIRFLOW__CORE__FERNET_KEY=$(secret airflow_fernet_key)
    AIRFLOW__API_AUTH__JWT_SECRET=$(secret airflow_jwt_secret)
    AIRFLOW__API__SECRET_KEY=$(secret airflow_api_secret)
    export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN AIRFLOW__CORE__FERNET_KEY
    export AIRFLOW__API_AUTH__JWT_SECRET AIRFLOW__API__SECRET_KEY
    AIRFLOW_CONN_KAFKA_DEFAULT="{\"conn_type\": \"kafka\", \"extra\": {\"bootstrap.servers\": \"$KAFKA_BOOTSTRAP_SERVERS\"}}"
    AIRFLOW_CONN_SPARK_DEFAULT="{\"conn_type\": \"spark\", \"host\": \"$SPARK_MASTER\", \"extra\": {\"deploy-mode\": \"client\", \"spark-binary\": \"spark-submit\"}}"
    AIRFLOW_CONN_POSTGRES_DEFAULT=$(database_connection pipeline_writer pipeline_writer)
    AIRFLOW_CONN_POSTGRES_OWNER=$(database_connection dataeng database_owner)
    AIRFLOW_CONN_POSTGRES_CHECKER=$(database_connection pipeline_checker pipeline_checker)
    AIRFLOW_CONN_REDIS_DEFAULT="{\"conn_type\": \"redis\", \"host\": \"$REDIS_HOST\", \"port\": $REDIS_PORT, \"password\": \"$(secret redis)\", \"extra\": {\"db\": 0}}"
    export AIRFLOW_CONN_KAFKA_DEFAULT AIRFLOW_CONN_SPARK_DEFAULT AIRFLOW_CONN_POSTGRES_DEFAULT
    export AIRFLOW_CONN_POSTGRES_OWNER AIRFLOW_CONN_POSTGRES_CHECKER AIRFLOW_CONN_REDIS_DEFAULT
fi

# Any market but the live one comes from the stand-in; the live code path stays the same code.
if [ "${MARKET:-live}" != live ]; then
    : "${SANDBOX_ADDRESS:=sandbox:8070}"
    export YAHOO_BASE_URL="http://$SANDBOX_ADDRESS/yahoo" YAHOO_STREAM_URL="ws://$SANDBOX_ADDRESS/yahoo/stream"
    export BINANCE_BASE_URL="http://$SANDBOX_ADDRESS/binance" BINANCE_STREAM_URL="ws://$SANDBOX_ADDRESS/binance/stream"
    export COINGECKO_BASE_URL="http://$SANDBOX_ADDRESS/coingecko"
    export ALPHA_VANTAGE_BASE_URL="http://$SANDBOX_ADDRESS/alpha_vantage"
    # The stand-in has keys of its own, one a plan: a real one is not sent there.
    export ALPHA_VANTAGE_PLAN="${ALPHA_VANTAGE_PLAN:-realtime}"
    export ALPHA_VANTAGE_API_KEY="sandbox-$ALPHA_VANTAGE_PLAN" COINGECKO_API_KEY=
fi
exec "$@"

#!/bin/sh
# Turns the secret files that this container was given into the settings of the platform and of Airflow,
# then becomes the command. A container only gets the files that its service needs.
set -eu
SECRETS_DIR=${SECRETS_DIR:-/run/secrets}
: "${POSTGRES_ADDRESS:=postgres:5432}" "${REDIS_ADDRESS:=redis:6379}"

given() { [ -r "$SECRETS_DIR/$1" ]; }
secret() { cat "$SECRETS_DIR/$1"; }
database() { printf 'postgresql://%s:%s@%s/financial_data' "$1" "$(secret "$2")" "$POSTGRES_ADDRESS"; }

if given database_owner; then
    DATABASE_URL=$(database dataeng database_owner)
    export DATABASE_URL
    # The Airflow connection; its port is the address's last part.
    AIRFLOW_CONN_POSTGRES_DEFAULT="$DATABASE_URL"
    export AIRFLOW_CONN_POSTGRES_DEFAULT
fi
if given pipeline_writer; then
    WRITER_DATABASE_URL=$(database pipeline_writer pipeline_writer)
    export WRITER_DATABASE_URL
fi
if given pipeline_reader; then
    READER_DATABASE_URL=$(database pipeline_reader pipeline_reader)
    export READER_DATABASE_URL
fi
if given redis; then
    REDIS_URL="redis://:$(secret redis)@$REDIS_ADDRESS/0"
    AIRFLOW_CONN_REDIS_DEFAULT="$REDIS_URL"
    export REDIS_URL AIRFLOW_CONN_REDIS_DEFAULT
fi
if given airflow_database; then
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql+psycopg2://airflow:$(secret airflow_database)@$POSTGRES_ADDRESS/airflow"
    AIRFLOW__CORE__FERNET_KEY=$(secret airflow_fernet_key)
    AIRFLOW__API_AUTH__JWT_SECRET=$(secret airflow_jwt_secret)
    AIRFLOW__API__SECRET_KEY=$(secret airflow_api_secret)
    export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN AIRFLOW__CORE__FERNET_KEY
    export AIRFLOW__API_AUTH__JWT_SECRET AIRFLOW__API__SECRET_KEY
fi
if [ "${MARKET:-live}" != live ]; then
    : "${SANDBOX_URL:=http://sandbox:8070}"
    sandbox_stream="ws://${SANDBOX_URL#*://}"
    export YAHOO_BASE_URL="$SANDBOX_URL/yahoo" YAHOO_STREAM_URL="$sandbox_stream/yahoo/stream"
    export BINANCE_BASE_URL="$SANDBOX_URL/binance" BINANCE_STREAM_URL="$sandbox_stream/binance/stream"
    export COINGECKO_BASE_URL="$SANDBOX_URL/coingecko" ALPHA_VANTAGE_BASE_URL="$SANDBOX_URL/alpha_vantage"
fi
exec "$@"

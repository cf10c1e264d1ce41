#!/bin/sh
# Makes the secrets of the Docker Compose stack, once: one file each in docker/secrets, mode 0600.
# A file that is there is kept. `make-secrets.sh DIR` writes elsewhere.
set -eu
umask 077
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
target=${1:-"$here/secrets"}

hexadecimal() { od -An -v -N16 -tx1 /dev/urandom | tr -d ' \n'; }
# 32 bytes in URL-safe base64: the form that Airflow's Fernet key has.
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

mkdir -p "$target"
chmod 700 "$target"
made=0
for name in postgres_admin database_owner pipeline_writer pipeline_reader pipeline_checker \
    airflow_database airflow_admin airflow_fernet_key airflow_jwt_secret airflow_api_secret redis redis_reader; do
    file="$target/$name"
    if [ -s "$file" ]; then
        chmod 600 "$file"
        continue
    fi
    case $name in
        airflow_fernet_key) fernet >"$file.new" ;;
        *) hexadecimal >"$file.new" ;;
    esac
    mv "$file.new" "$file"
    made=$((made + 1))
done
echo "make-secrets: $made made, in $target"

# The containers do not run as root and must be able to read the files: they run as this user.
user=$(id -u)
if [ "$user" -eq 0 ]; then
    chown -R "${PIPELINE_UID:-1000}:${PIPELINE_GID:-1000}" "$target"
elif [ "$user" != "${PIPELINE_UID:-1000}" ]; then
    echo "make-secrets: your user number is not 1000; put these two lines into .env before the first build:"
    echo "PIPELINE_UID=$user"
    echo "PIPELINE_GID=$(id -g)"
fi

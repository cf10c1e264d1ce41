"""Start, stop and look at a whole stack: ordered, idempotent, with the reason when something fails."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx2
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from include.errors import StackError
from include.operations.stream import SPARK_DRIVER, opened_store
from include.settings import active_market_file, required
from include.stack import airflow, kafka, postgres, preflight, processes
from include.stack.jars import install_jars
from include.stack.layout import Layout, last_log_line, write_private
from include.stack.plan import Plan, as_line
from include.stack.reference import bring_up_to_date
from include.stack.services import PROBE_ERRORS, Service, services
from include.stack.supervisor import RUNNING_STATES, Supervisor
from include.storage.database import set_role_passwords

POLL_SECONDS = 0.25
SHUTDOWN_SECONDS = 20
_STOP_ORDER = ("dashboard", "sandbox", "kafka", "redis", "postgres")
DAGS_KNOWN_SECONDS = 120
DRIVER_SCRIPT = "spark_jobs/stream.py"
#: What Airflow keeps running beside the services, by the name that people use.
DETACHED = {"stream": DRIVER_SCRIPT, "trades": "include.producers.trade_stream_main"}
#: Each finishes its batch and gives up its lease within this time, or is killed.
DETACHED_STOP_SECONDS = 40

Say = Callable[[str], None]


class Stack:
    """One stack. `say` gets a line for each step that takes time."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self.plan = plan
        self._say = say
        self.supervisor = Supervisor(plan.layout)
        self.services = services(plan)

    def up(self) -> bool:
        """Bring everything up; False if it was up already. Raises StackError naming what failed."""
        if self._all_run():
            self._want_stream("./pipeline up")
            self._unpause()
            return False
        self._say("checking the machine")
        install_jars()
        running = self._running()
        to_start = [service for service in self.services if service.name not in running]
        preflight.check(self.plan, to_start, is_mended=bool(running))
        self.up_stores()
        self._say("bringing Airflow's database up to date")
        airflow.migrate(self.plan)
        rest = [service for service in self.services if service.needs_schema]
        self._say("starting Airflow (api-server, scheduler, dag-processor, triggerer) and the dashboard")
        self._want_stream("./pipeline up")
        self._start(rest)
        self._unpause()
        return True

    def up_stores(self) -> None:
        """Bring up what keeps and carries data, with schema, roles and topics as they should be."""
        plan = self.plan
        running = self._running()
        for service in self.services:
            if service.prepare is not None and service.name not in running:
                service.prepare(plan)
        write_private(plan.layout.stack_env, "".join(f"{as_line(*pair)}\n" for pair in plan.environment().items()))
        write_private(active_market_file(plan.layout.home), plan.market)
        if not self.supervisor.is_alive():
            self.supervisor.launch([service.program for service in self.services], plan.process_environment())
        stores = [service for service in self.services if not service.needs_schema]
        self._say(f"starting {', '.join(service.name for service in stores)}")
        self._start(stores)
        self._say("bringing schema, roles and topics up to date")
        postgres.create_databases(plan)
        self._migrate_schema()
        kafka.create_topics(required(plan.settings.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS"))

    def down(self) -> None:
        """Stop everything; see `bring_down`."""
        bring_down(self.plan.layout, self._say)

    def restart(self, name: str) -> None:
        """Restart one service; `stream` and `trades` are Airflow's to bring back."""
        if name in DETACHED:
            if name == "stream":
                self._want_stream("./pipeline restart stream")
            stop_detached(self.plan.layout, name, self._say)
            return
        service = self.service(name)
        self.supervisor.stop(name)
        self._start([service])

    def service(self, name: str) -> Service:
        """Raises StackError with the names there are."""
        for service in self.services:
            if service.name == name:
                return service
        known = ", ".join([*(service.name for service in self.services), *DETACHED])
        raise StackError(f"there is no service {name}; there are {known}")

    def _all_run(self) -> bool:
        running = self._running()
        if not all(service.name in running for service in self.services):
            return False
        with ThreadPoolExecutor(len(self.services)) as pool:
            return not any(pool.map(self.why_unwell, self.services))

    def why_unwell(self, service: Service) -> str:
        """What the service's probe says; empty if it is well."""
        try:
            service.probe(self.plan)
        except PROBE_ERRORS as error:
            return f"{type(error).__name__}: {error}".strip().splitlines()[0][:240]
        return ""

    def _running(self) -> set[str]:
        states = self.supervisor.processes()
        return {name for name, facts in states.items() if facts["statename"] in RUNNING_STATES}

    def _start(self, wanted: Iterable[Service]) -> None:
        chosen = list(wanted)
        for service in chosen:
            self.supervisor.start(service.name)
        with ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(self._await_ready, chosen))

    def _await_ready(self, service: Service) -> None:
        deadline = time.monotonic() + service.ready_seconds
        while reason := self.why_unwell(service):
            state = self.supervisor.processes().get(service.name, {}).get("statename", "GONE")
            if time.monotonic() > deadline or state not in RUNNING_STATES:
                said = last_log_line(self.plan.layout.log(service.name))
                raise StackError(
                    f"{service.name} did not come up ({state.lower()}; {reason}); its log ends: {said or 'empty'} "
                    f"- see ./pipeline logs {service.name}"
                )
            time.sleep(service.poll_seconds)

    def _migrate_schema(self) -> None:
        # Alembic takes as long to load as `./pipeline status` to answer, which has no use for it.
        from include.storage import migrate

        plan = self.plan
        url = required(plan.settings.database_url, "DATABASE_URL")
        migrate.upgrade(url, plan.market, via="./pipeline up")
        bring_up_to_date(plan.settings)
        roles = ("pipeline_writer", "pipeline_reader", "pipeline_checker")
        set_role_passwords(url, {role: getattr(plan.secrets, role) for role in roles})

    def _want_stream(self, by: str) -> None:
        """Whoever stopped it before: who types this wants it to run."""
        with opened_store(required(self.plan.settings.database_url, "DATABASE_URL"), SPARK_DRIVER) as store:
            store.desire("running", by=by, why="typed")

    def _unpause(self) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type((KeyError, httpx2.HTTPError)),
            stop=stop_after_delay(DAGS_KNOWN_SECONDS),
            wait=wait_fixed(1),
        )
        try:
            retrying(airflow.unpause_all, self.plan)
        except RetryError as error:
            reason = error.last_attempt.exception()
            raise StackError(
                f"Airflow does not show all DAGs yet ({reason}): see ./pipeline logs airflow-dag-processor"
            ) from error


def bring_down(layout: Layout, say: Say) -> None:
    """Stop in reverse order: first what starts things, then the driver, then the stores.

    Asks supervisord what runs, so that it works whatever became of the settings; what supervisord does not
    know any more is found by its mark.
    """
    supervisor = Supervisor(layout)
    names = list(supervisor.processes())
    starters = [name for name in names if name.startswith("airflow-")]
    if starters:
        say("stopping Airflow")
        with ThreadPoolExecutor(len(starters)) as pool:
            list(pool.map(supervisor.stop, starters))
    for name in ("trades", "stream"):
        stop_detached(layout, name, say)
    for name in sorted(set(names) - set(starters), key=_STOP_ORDER.index):
        say(f"stopping {name}")
        supervisor.stop(name)
    if supervisor.is_alive():
        supervisor.shutdown()
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while supervisor.is_alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    processes.end_all(layout)
    shutil.rmtree(layout.socket.parent, ignore_errors=True)


def stop_detached(layout: Layout, name: str, say: Say) -> None:
    """Ask the Spark driver or the trade stream to finish its batch and leave."""
    found = processes.running_python(layout, DETACHED[name])
    if found:
        say(f"stopping {name} (it finishes its batch)")
        processes.end(found, DETACHED_STOP_SECONDS)

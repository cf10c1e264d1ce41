"""The operations page's view from the settings: what is not set is a door that the page says is missing."""

from __future__ import annotations

from include.dashboard.operations_view import Doors, LetterDesk, OperationsView, Quota, SourceFacts
from include.operations.dag_runs import AirflowRuns
from include.operations.kafka_look import KafkaLook
from include.settings import Settings
from include.sources.base import Declaration
from include.sources.registry import declarations
from include.storage.gap_reads import GapReader
from include.storage.operations_reads import OperationsReader


def operations_view(chosen: Settings, database_url: str, airflow_url: str, desk: LetterDesk | None) -> OperationsView:
    """Connects to nothing before it is asked. `airflow_url` is where people find Airflow."""
    servers = chosen.kafka_bootstrap_servers
    doors = Doors(
        OperationsReader(database_url),
        GapReader(database_url),
        None if servers is None else KafkaLook(servers),
        _airflow_runs(chosen),
        desk,
    )
    return OperationsView(doors, [source_facts(each, chosen) for each in declarations(chosen)], airflow_url)


def source_facts(declaration: Declaration, chosen: Settings) -> SourceFacts:
    """Its quotas with the values that the settings give them."""
    quotas = tuple(
        Quota(rule.setting.upper(), rule.seconds, int(getattr(chosen, rule.setting, rule.default)))
        for rule in declaration.rates
    )
    key = declaration.key_setting
    return SourceFacts(
        declaration.name,
        declaration.unit,
        quotas,
        key is None or getattr(chosen, key, None) is not None,
        tuple(sorted({each.asset_class for each in declaration.capabilities})),
    )


def _airflow_runs(chosen: Settings) -> AirflowRuns | None:
    if chosen.airflow_url is None or chosen.airflow_username is None or chosen.airflow_password is None:
        return None
    return AirflowRuns(str(chosen.airflow_url), chosen.airflow_username, chosen.airflow_password.get_secret_value())

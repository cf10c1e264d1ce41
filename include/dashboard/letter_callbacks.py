"""Dead letters on the operations page: listed, opened, judged, and replayed when somebody has confirmed."""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from typing import Any

from dash import ALL, Dash, Input, Output, State, ctx, no_update

from include.dashboard.components.letters_list import CHOICE, letter_opened, letters_table, refused, verdict
from include.dashboard.components.notice import notice
from include.dashboard.components.panel_state import panel
from include.dashboard.operations_callbacks import look
from include.dashboard.operations_selection import OperationsSelection
from include.dashboard.operations_view import LETTERS_SHOWN, Judged, Letter, LetterDesk, OperationsView
from include.dashboard.remembered import Known
from include.errors import MarketDataError

_AWAY = "The dead letters cannot be read"
#: Verdict, ids that may be confirmed, whether the button is hidden, and what makes the list be read again.
Told = tuple[Any, list[str], bool, Any]


def register(app: Dash, view: OperationsView, *, can_replay: bool) -> None:
    """Without `can_replay` nothing here can write."""

    @app.callback(
        Output("letters", "children"),
        Output("letters-shown", "data"),
        Input("refresh", "n_intervals"),
        Input("url", "search"),
        Input("letters-changed", "data"),
        State({"type": CHOICE, "letter": ALL}, "checked"),
        State({"type": CHOICE, "letter": ALL}, "id"),
        State("letters-shown", "data"),
    )
    async def show_letters(
        _beat: int | None,
        search: str | None,
        _changed: int | None,
        checked: list[bool],
        ids: list[dict[str, str]],
        shown: str | None,
    ) -> tuple[Any, Any]:
        known, selection = await look(view, view.letters), view.select(search)
        version = version_of(known, selection)
        # Nothing is drawn anew while nothing is new: what is being chosen stays chosen.
        if version == shown:
            return no_update, no_update
        chosen, now = chosen_of(checked, ids), view.clock()
        drawn = panel(known, lambda found: letters_table(found, chosen, selection, now, can_replay=can_replay), _AWAY)
        return drawn, version

    @app.callback(Output("letter-opened", "children"), Input("url", "search"))
    async def open_letter(search: str | None) -> Any:
        selection = view.select(search)
        return await get_running_loop().run_in_executor(view.threads, opened, view.desk, selection)

    if can_replay:
        _register_replay(app, view)


def _register_replay(app: Dash, view: OperationsView) -> None:
    @app.callback(
        Output("letters-verdict", "children"),
        Output("letters-judged", "data"),
        Output("letters-confirm", "hidden"),
        Output("letters-changed", "data"),
        Input("letters-judge", "n_clicks"),
        Input("letters-confirm", "n_clicks"),
        State({"type": CHOICE, "letter": ALL}, "checked"),
        State({"type": CHOICE, "letter": ALL}, "id"),
        State("letters-judged", "data"),
        prevent_initial_call=True,
    )
    async def replay(
        judging: int | None,
        confirming: int | None,
        checked: list[bool],
        ids: list[dict[str, str]],
        judged: list[str] | None,
    ) -> Any:
        desk = view.desk
        if desk is None or not (judging or confirming):
            return no_update, no_update, no_update, no_update
        loop = get_running_loop()
        if ctx.triggered_id == "letters-confirm":
            told = await loop.run_in_executor(view.threads, confirmed, desk, judged or [], confirming)
            view.letters.forget()
            return told
        return await loop.run_in_executor(view.threads, judged_first, desk, chosen_of(checked, ids))


def judged_first(desk: LetterDesk, chosen: Sequence[str]) -> Told:
    """The verdict of a dry run; only where something would be published there is something to confirm."""
    if not chosen:
        return refused("Nothing is chosen:", "tick the letters to replay"), [], True, no_update
    outcomes, trouble = _asked(lambda: desk.judge(chosen))
    if outcomes is None:
        return trouble, [], True, no_update
    events = sum(each.events for each in outcomes)
    return verdict(outcomes, is_dry=True), list(chosen) if events else [], not events, no_update


def confirmed(desk: LetterDesk, ids: Sequence[str], clicks: int | None) -> Told:
    """What was judged is published, and nothing else."""
    if not ids:
        return refused("Nothing to publish:", "judge the letters first"), [], True, no_update
    outcomes, trouble = _asked(lambda: desk.replay(ids))
    told = trouble if outcomes is None else verdict(outcomes, is_dry=False)
    return told, [], True, clicks


def opened(desk: LetterDesk | None, selection: OperationsSelection) -> Any:
    if selection.letter is None or desk is None:
        return None
    try:
        return letter_opened(desk.get(selection.letter), selection)
    except MarketDataError as error:
        return notice("This dead letter cannot be opened", str(error), "trouble")


def chosen_of(checked: Sequence[bool | None], ids: Sequence[dict[str, str]]) -> list[str]:
    """The ids of the ticked boxes, in the order of the list."""
    return [each["letter"] for each, is_chosen in zip(ids, checked, strict=True) if is_chosen][:LETTERS_SHOWN]


def version_of(known: Known[Sequence[Letter]], selection: OperationsSelection) -> str:
    """Equal while there is nothing new to draw."""
    letters = None if known.value is None else [(each.id, each.outcome) for each in known.value]
    # Links to a letter keep what else the address says.
    return f"{hash(str(letters))} {known.failure} {selection}"


def _asked(question: Callable[[], Sequence[Judged]]) -> tuple[Sequence[Judged] | None, Any]:
    try:
        return question(), None
    except MarketDataError as error:
        return None, refused("It was not done:", str(error))

"""A person's word in the middle of a run, where its form asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param

#: So long a question stays open; then it counts as refused.
ANSWER_WITHIN = timedelta(days=1)
#: The field of the form.
APPROVE = "approve"


def approve_param() -> Param:
    return Param(
        False,
        type="boolean",
        title="Ask a person first",
        description="The run then waits in Required Actions, which shows what would be done, for a day at most.",
    )


class AskedApproval(ApprovalOperator):
    """Waits for a person if `body` is not empty, and where the form has the field APPROVE only if it wants it.

    Rejected, or not answered in time, it skips what comes directly after it. The answer, with who gave it and when, is
    the task's XCom; without a question that is null.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(response_timeout=ANSWER_WITHIN, defaults=self.REJECT, **more)

    def execute(self, context: Any) -> Any:
        if context["params"].get(APPROVE, True) and self.body:
            return super().execute(context)
        self.log.info("nobody is asked: %s", "not wanted" if self.body else "there is nothing to decide")
        return None


def decided_by(run: Any, answer: Mapping[str, Any] | None) -> str:
    """Who wants what a run does: the user who triggered it, and who approved it if somebody was asked."""
    by = getattr(run, "triggering_user_name", None) or "scheduler"
    return by if answer is None else f"{by}, approved by {answerer(answer)}"


def answerer(answer: Mapping[str, Any]) -> str:
    """The user's name; an answer that nobody gave came by the clock."""
    user = answer["responded_by_user"]
    return user["name"] if user else "nobody in time"


def is_rejected(answer: Mapping[str, Any] | None) -> bool:
    return answer is not None and ApprovalOperator.REJECT in answer["chosen_options"]

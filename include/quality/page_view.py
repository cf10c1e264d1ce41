"""Great Expectations' pages without scripts and without anything from another host: our templates around its sections.

Its own page templates load about ten files from public hosts; the folder for views cannot replace them by name.
"""

from __future__ import annotations

from great_expectations.render.view.view import DefaultJinjaIndexPageView, DefaultJinjaPageView


class OfflinePage(DefaultJinjaPageView):
    """A validation result."""

    _template = "offline_page.j2"


class OfflineIndex(DefaultJinjaIndexPageView):
    """The list of all results."""

    _template = "offline_index.j2"

"""Print the result of `demure inspect`: each kind of result has a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, facts
from demure_cli.output.terminal import terminal
from demure_cli.views.explanation import show_explanation
from demure_cli.views.interests import show_interest, show_interests
from demure_cli.views.item import show_item
from demure_cli.views.listing import show_listing
from demure_cli.views.modality import show_modality
from demure_cli.views.overview import show_overview
from demure_cli.views.segments import show_segments
from demure_cli.views.user import show_user

if TYPE_CHECKING:
    from demure.diagnosis.attribution import ChoiceExplanation
    from demure.diagnosis.tables import (
        Export,
        InterestsView,
        InterestView,
        ItemView,
        Listing,
        ModalityView,
        Overview,
        Segments,
        UserView,
    )

    View = Overview | UserView | ItemView | ModalityView | InterestsView | InterestView | Segments | Listing | Export
    Result = View | ChoiceExplanation


def show(result: Result) -> None:
    """Print any result of `demure inspect`."""
    from demure.diagnosis import tables
    from demure.diagnosis.attribution import ChoiceExplanation

    if isinstance(result, ChoiceExplanation):
        show_explanation(result)
    elif isinstance(result, tables.Overview):
        show_overview(result)
    elif isinstance(result, tables.UserView):
        show_user(result)
    elif isinstance(result, tables.ItemView):
        show_item(result)
    elif isinstance(result, tables.ModalityView):
        show_modality(result)
    elif isinstance(result, tables.InterestsView):
        show_interests(result)
    elif isinstance(result, tables.InterestView):
        show_interest(result)
    elif isinstance(result, tables.Segments):
        show_segments(result)
    elif isinstance(result, tables.Listing):
        show_listing(result)
    else:
        terminal.result(facts([("rows", count(result.rows)), ("file", result.export)]))
        terminal.notes(getattr(result, "notes", ()))

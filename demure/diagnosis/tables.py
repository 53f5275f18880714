"""The views of `demure inspect` in one place: overview, segments, one user, one item, one modality, and the export.

Every view reads the tables of a run folder; no verdict is computed again.
"""

from __future__ import annotations

from demure.diagnosis.export import Export, export
from demure.diagnosis.interests.view import InterestsView, InterestView, interests
from demure.diagnosis.item import ItemView, item_view
from demure.diagnosis.listing import Listing, listing
from demure.diagnosis.modality import ModalityView, modality_view
from demure.diagnosis.overview import Overview, overview
from demure.diagnosis.segments import KINDS, Segments, segments
from demure.diagnosis.user import UserView, user_view

__all__ = [
    "KINDS",
    "Export",
    "InterestView",
    "InterestsView",
    "ItemView",
    "Listing",
    "ModalityView",
    "Overview",
    "Segments",
    "UserView",
    "export",
    "interests",
    "item_view",
    "listing",
    "modality_view",
    "overview",
    "segments",
    "user_view",
]

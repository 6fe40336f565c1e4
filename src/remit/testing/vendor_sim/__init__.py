"""A model vendor with OpenAI's wire format that keeps its own books; see the README beside this file."""

from remit.testing.vendor_sim.books import Books, BooksSummary, ModelSummary, Row, RowsPage, statement_csv
from remit.testing.vendor_sim.prices import (
    DEFAULT_PRICES,
    BilledTokens,
    InvalidPriceListError,
    ModelPrices,
    PriceList,
    Rate,
)
from remit.testing.vendor_sim.process import VendorError, VendorProcess
from remit.testing.vendor_sim.script import InvalidScriptError, Script, script_text, words
from remit.testing.vendor_sim.server import VendorSim

__all__ = [
    "DEFAULT_PRICES",
    "BilledTokens",
    "Books",
    "BooksSummary",
    "InvalidPriceListError",
    "InvalidScriptError",
    "ModelPrices",
    "ModelSummary",
    "PriceList",
    "Rate",
    "Row",
    "RowsPage",
    "Script",
    "VendorError",
    "VendorProcess",
    "VendorSim",
    "script_text",
    "statement_csv",
    "words",
]

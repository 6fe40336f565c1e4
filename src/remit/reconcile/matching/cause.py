"""Why a vendor's bill and the ledger differ: every cause a finding can have, and what follows from each."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

Group = Literal["tokens", "price", "non-token", "time", "delivery", "money", "scope", "none"]
Booking = Literal["adjustment", "explained", "look"]
"""`adjustment`: booked, so that the ledger says what the vendor charges. `explained`: nothing is booked, as it is right the way it
is or will be by itself. `look`: a person decides first."""


class Cause(StrEnum):
    """All of them, in the order of their groups."""

    CACHED_INCLUSIVE = "cached_inclusive"
    CACHE_COUNT = "cache_count"
    CACHE_WRITE_TTL = "cache_write_ttl"
    CACHE_STORAGE = "cache_storage"
    REASONING_HIDDEN = "reasoning_hidden"
    REJECTED_PREDICTION = "rejected_prediction"
    MODALITY = "modality"
    SERVER_TOOL_TOKENS = "server_tool_tokens"
    SYSTEM_TOKENS = "system_tokens"
    TOKENIZER_CHANGE = "tokenizer_change"
    ESTIMATED_USAGE = "estimated_usage"

    BATCH_DISCOUNT = "batch_discount"
    SERVICE_TIER = "service_tier"
    TIER_DOWNGRADE = "tier_downgrade"
    LONG_CONTEXT = "long_context"
    DATA_RESIDENCY = "data_residency"
    CROSS_REGION = "cross_region"
    UNIT_SCALE = "unit_scale"
    FINE_TUNED = "fine_tuned"
    PRICE_CHANGE = "price_change"
    TIME_OF_DAY = "time_of_day"
    STALE_CATALOGUE = "stale_catalogue"
    NEGOTIATED_DISCOUNT = "negotiated_discount"
    COMMITTED_DRAWDOWN = "committed_drawdown"
    PRICED_AT_ZERO = "priced_at_zero"

    WEB_SEARCH = "web_search"
    CODE_EXECUTION = "code_execution"
    SESSION_HOURS = "session_hours"
    STORAGE = "storage"
    IMAGES = "images"
    EMBEDDINGS = "embeddings"
    MINIMUM_BILLING = "minimum_billing"

    UTC_CUT = "utc_cut"
    REQUEST_BOUNDARY = "request_boundary"
    LATE_ROWS = "late_rows"
    BATCH_NEXT_MONTH = "batch_next_month"
    BACKDATED_CREDIT = "backdated_credit"

    CLIENT_DISCONNECT = "client_disconnect"
    RETRY_BILLED = "retry_billed"
    SDK_RETRY = "sdk_retry"
    TIMEOUT = "timeout"
    FALLBACK = "fallback"
    DUPLICATE_EVENTS = "duplicate_events"
    USAGE_CHUNK_LOST = "usage_chunk_lost"

    FREE_TIER = "free_tier"
    CREDIT = "credit"
    TAX = "tax"
    FX = "fx"
    MARKETPLACE = "marketplace"
    PLATFORM_FEE = "platform_fee"
    LINE_ROUNDING = "line_rounding"
    REFUND = "refund"
    PREPAYMENT = "prepayment"

    SHADOW_USE = "shadow_use"
    WORKBENCH = "workbench"
    OTHER_PRODUCTS = "other_products"
    SHARED_KEY = "shared_key"
    CACHE_HITS = "cache_hits"

    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class About:
    """What people are told of a cause: its group, one sentence, the numbers its rule decides on, and what is done about it."""

    group: Group
    sentence: str
    looks_at: str
    booking: Booking


_ADJUST: Final = "adjustment"
_EXPLAINED: Final = "explained"
_LOOK: Final = "look"

ABOUT: Final[dict[Cause, About]] = {
    Cause.CACHED_INCLUSIVE: About(
        "tokens",
        "One side counts cached tokens as input as well, the other does not.",
        "input differs by exactly the cached tokens, and nothing else differs",
        _ADJUST,
    ),
    Cause.CACHE_COUNT: About(
        "tokens",
        "Cached tokens are counted otherwise, while requests, input and output agree.",
        "only cache reads or cache writes differ",
        _ADJUST,
    ),
    Cause.CACHE_WRITE_TTL: About(
        "tokens",
        "Cache writes of one duration are booked as those of another, at another price.",
        "the kinds of cache writes differ, and their sum agrees",
        _ADJUST,
    ),
    Cause.CACHE_STORAGE: About(
        "tokens",
        "The vendor charges for keeping a cache, by token and hour.",
        "a storage line of a cache, which the ledger does not meter",
        _ADJUST,
    ),
    Cause.REASONING_HIDDEN: About(
        "tokens",
        "The vendor bills reasoning tokens that its answers did not state.",
        "the vendor states reasoning tokens and the ledger has none; requests agree",
        _ADJUST,
    ),
    Cause.REJECTED_PREDICTION: About(
        "tokens",
        "Predicted tokens that were rejected are billed as output.",
        "output differs by exactly the rejected tokens that answers stated",
        _ADJUST,
    ),
    Cause.MODALITY: About(
        "tokens",
        "Text on one side is audio or images on the other.",
        "kinds of input, or of output, differ, and their sum agrees",
        _ADJUST,
    ),
    Cause.SERVER_TOOL_TOKENS: About(
        "tokens",
        "Tools that the vendor runs put text into the input.",
        "more input where the vendor states tool calls; requests and output agree",
        _ADJUST,
    ),
    Cause.SYSTEM_TOKENS: About(
        "tokens",
        "The vendor adds the same number of tokens of its own to every request.",
        "input differs by one whole number for each request, the same on every day; output agrees",
        _ADJUST,
    ),
    Cause.TOKENIZER_CHANGE: About(
        "tokens",
        "The vendor counts the same text as more or fewer tokens than the tokenizer counted with here.",
        "all usage was counted here, and differs in one proportion on every day",
        _ADJUST,
    ),
    Cause.ESTIMATED_USAGE: About(
        "tokens",
        "Usage was missing from answers, and what was booked instead is not what the vendor counted.",
        "the difference is within what was booked as an estimate; requests agree",
        _ADJUST,
    ),
    Cause.BATCH_DISCOUNT: About(
        "price",
        "Batches cost half, and were booked at the full price, or the reverse.",
        "quantities agree, one side is a batch, and the amount is half or double",
        _ADJUST,
    ),
    Cause.SERVICE_TIER: About(
        "price",
        "The vendor charged another service tier than was booked.",
        "quantities agree, and the amount is that of another tier of the price book; or what one tier lacks another has more",
        _ADJUST,
    ),
    Cause.TIER_DOWNGRADE: About(
        "price",
        "A tier was asked for and booked, and the vendor served and charged the default one.",
        "as for a service tier, where the booked tier is the one asked for and the charged one is the default",
        _ADJUST,
    ),
    Cause.LONG_CONTEXT: About(
        "price",
        "Whole requests above a length of input are charged at a higher price.",
        "quantities agree, and the amount is that of a band above a threshold for the requests the vendor says are in it",
        _ADJUST,
    ),
    Cause.DATA_RESIDENCY: About(
        "price",
        "Keeping inference in one geography costs more.",
        "every meter is dearer by the same whole percentage, and the vendor states a geography",
        _ADJUST,
    ),
    Cause.CROSS_REGION: About(
        "price",
        "Calls were served by another region than the one they were booked under.",
        "what one region lacks another has more, day by day and meter by meter",
        _ADJUST,
    ),
    Cause.UNIT_SCALE: About(
        "price",
        "A price for a thousand was taken for a price for a million, or the reverse.",
        "quantities agree, and amounts differ by a factor of a thousand",
        _LOOK,
    ),
    Cause.FINE_TUNED: About(
        "price",
        "A fine-tuned model costs otherwise for each token, and is hosted by the hour.",
        "the model is a fine-tuned one, and one unit price or a hosting line fits what is charged",
        _ADJUST,
    ),
    Cause.PRICE_CHANGE: About(
        "price",
        "A price changed within the month, and not at the same instant on both sides.",
        "quantities agree, and the amount is that at a price of another day of the price book",
        _ADJUST,
    ),
    Cause.TIME_OF_DAY: About(
        "price",
        "The price depends on the hour, and another hour's was booked.",
        "quantities agree, and the amount is at, or between, prices of other hours of that day",
        _ADJUST,
    ),
    Cause.STALE_CATALOGUE: About(
        "price",
        "The price book has an old or wrong price.",
        "quantities agree, and one other unit price fits from some day on",
        _ADJUST,
    ),
    Cause.NEGOTIATED_DISCOUNT: About(
        "price",
        "The contract gives a discount that the price book does not know.",
        "every meter is cheaper by the same proportion all month, or the list amount is what was booked",
        _ADJUST,
    ),
    Cause.COMMITTED_DRAWDOWN: About(
        "price",
        "The usage was paid for by a commitment bought before.",
        "nothing is charged, and the list amount is what was booked; or a tier bought ahead has no costs all month",
        _EXPLAINED,
    ),
    Cause.PRICED_AT_ZERO: About(
        "price",
        "Usage was booked at a price of zero, and the vendor charges for it.",
        "quantities agree, the ledger has tokens and no amount, and the vendor has one",
        _LOOK,
    ),
    Cause.WEB_SEARCH: About(
        "non-token", "Searches that the vendor ran are charged by the call.", "lines of web searches", _ADJUST
    ),
    Cause.CODE_EXECUTION: About(
        "non-token", "Code that the vendor ran is charged by time.", "lines of code execution", _ADJUST
    ),
    Cause.SESSION_HOURS: About(
        "non-token", "Sessions are charged by the hour or by their number.", "lines of sessions", _ADJUST
    ),
    Cause.STORAGE: About(
        "non-token", "Files and vector stores are charged by size and time.", "storage lines", _ADJUST
    ),
    Cause.IMAGES: About(
        "non-token", "Images are charged by the piece.", "lines of images that the ledger does not meter", _ADJUST
    ),
    Cause.EMBEDDINGS: About(
        "non-token",
        "Embeddings are charged on a key of the gateway, and did not pass through it.",
        "usage of an embedding model that the ledger does not have on that key",
        _ADJUST,
    ),
    Cause.MINIMUM_BILLING: About(
        "non-token",
        "The vendor bills a least quantity for each request.",
        "the vendor's seconds are one whole number for each request, and more than were metered",
        _ADJUST,
    ),
    Cause.UTC_CUT: About(
        "time",
        "The vendor's days begin at another hour than UTC's.",
        "what is missing on a day is there on the next, and the sums of the month are equal",
        _EXPLAINED,
    ),
    Cause.REQUEST_BOUNDARY: About(
        "time",
        "Requests that ran over midnight are booked by their start here and by their end there.",
        "days differ by exactly what was on its way at midnight",
        _EXPLAINED,
    ),
    Cause.LATE_ROWS: About(
        "time",
        "The vendor states some days later than others.",
        "the last days of a series are missing in the statement, or lines of an earlier month are in it",
        _EXPLAINED,
    ),
    Cause.BATCH_NEXT_MONTH: About(
        "time",
        "Batches that end in the next month are billed there.",
        "the last days of a series of batches are missing in the statement, or batches of an earlier month are in it",
        _EXPLAINED,
    ),
    Cause.BACKDATED_CREDIT: About(
        "time",
        "A credit of an earlier month is in this month's statement.",
        "a credit line dated before the month",
        _ADJUST,
    ),
    Cause.CLIENT_DISCONNECT: About(
        "delivery",
        "The caller hung up, the vendor went on, and the ledger could not see how far.",
        "the difference lies within the calls whose caller left; requests agree",
        _ADJUST,
    ),
    Cause.RETRY_BILLED: About(
        "delivery",
        "Attempts that failed here were billed.",
        "the vendor has exactly as many requests more as there are attempts settled at nothing",
        _ADJUST,
    ),
    Cause.SDK_RETRY: About(
        "delivery",
        "Retries by the caller's library were billed as requests of their own.",
        "the vendor has exactly as many requests more as callers' libraries numbered later attempts",
        _ADJUST,
    ),
    Cause.TIMEOUT: About(
        "delivery",
        "Calls that took too long were booked at their ceiling, and the vendor charges otherwise.",
        "the difference lies within the calls that timed out",
        _ADJUST,
    ),
    Cause.FALLBACK: About(
        "delivery",
        "Calls went to another vendor after failing at this one, which billed them too.",
        "the vendor has exactly as many requests more as calls fell back from it",
        _ADJUST,
    ),
    Cause.DUPLICATE_EVENTS: About(
        "delivery",
        "Every event was counted twice on one side.",
        "requests and all quantities are exactly double",
        _LOOK,
    ),
    Cause.USAGE_CHUNK_LOST: About(
        "delivery",
        "The part of a stream that states usage was lost, and too little was booked.",
        "requests agree, the vendor counted more, and the ledger has calls without tokens or whose vendor dropped",
        _ADJUST,
    ),
    Cause.FREE_TIER: About(
        "money", "The vendor gives usage for free.", "quantities agree, and nothing is charged", _ADJUST
    ),
    Cause.CREDIT: About("money", "Promotional or prepaid credits pay a part of the bill.", "credit lines", _LOOK),
    Cause.TAX: About("money", "Tax is on the bill and not in the ledger.", "tax lines", _ADJUST),
    Cause.FX: About(
        "money",
        "The bill is in another currency, and its rate is not the one costs were converted at.",
        "the bill's currency, its rate, and the amount of its usage against the cost lines",
        _ADJUST,
    ),
    Cause.MARKETPLACE: About(
        "money",
        "A marketplace issues the bill, and adds or takes its share.",
        "lines of an issuer that is not the vendor",
        _ADJUST,
    ),
    Cause.PLATFORM_FEE: About(
        "money",
        "The vendor charges a percentage of credits bought, or of usage.",
        "fee lines, and which percentage of usage or credits they are",
        _ADJUST,
    ),
    Cause.LINE_ROUNDING: About(
        "money",
        "Amounts are rounded, line by line.",
        "each line differs by no more than the vendor's tolerance",
        _ADJUST,
    ),
    Cause.REFUND: About("money", "A credit note or a refund.", "credits and corrections that say so", _ADJUST),
    Cause.PREPAYMENT: About(
        "money",
        "Credits or a commitment were bought, which is no usage yet.",
        "purchase lines",
        _EXPLAINED,
    ),
    Cause.SHADOW_USE: About(
        "scope",
        "A key that the gateway does not know spends.",
        "usage of a key or project that belongs to no deployment",
        _LOOK,
    ),
    Cause.WORKBENCH: About(
        "scope",
        "People use the vendor's own playground.",
        "usage that the vendor states to have no key",
        _LOOK,
    ),
    Cause.OTHER_PRODUCTS: About(
        "scope",
        "Other products are bought on the same account.",
        "lines that name no model and no meter of models",
        _LOOK,
    ),
    Cause.SHARED_KEY: About(
        "scope",
        "A key of the gateway is used past it as well.",
        "a model on a known key that the ledger never saw there",
        _LOOK,
    ),
    Cause.CACHE_HITS: About(
        "scope",
        "Answers came from the gateway's own cache, so no vendor charges for them.",
        "the vendor has exactly as many requests and tokens fewer as were answered from the cache",
        _ADJUST,
    ),
    Cause.UNEXPLAINED: About("none", "No rule's numbers fit.", "what is left", _LOOK),
}

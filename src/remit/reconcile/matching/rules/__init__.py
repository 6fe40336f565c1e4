"""The rules, in the order in which they are asked. Each explains a part of a series' difference, or nothing.

Whose usage it is comes first, then on which days, then how many calls there were, then what they used, then at which price: a
difference in counts is never taken for one in prices. Within each, a rule that is decided on equality comes before one that is
decided on bounds.
"""

from collections.abc import Callable
from typing import Final

from remit.reconcile.matching.claims import Rest
from remit.reconcile.matching.context import Context
from remit.reconcile.matching.rules import delivery, others, price, scope, time, tokens
from remit.reconcile.matching.rules.common import Claims
from remit.reconcile.matching.series import Series

Rule = Callable[[Series, Rest, Context], Claims]

RULES: Final[tuple[Rule, ...]] = (
    # whose
    scope.workbench,
    scope.shadow_use,
    scope.other_products,
    scope.embeddings,
    others.unmetered,
    # when
    time.missing_days,
    time.request_boundary,
    time.utc_cut,
    scope.shared_key,
    # how many calls
    scope.cache_hits,
    delivery.duplicate_events,
    delivery.fallback,
    delivery.retry_billed,
    delivery.sdk_retry,
    # what they used, by equality
    tokens.cache_write_ttl,
    tokens.modality,
    tokens.reasoning_hidden,
    tokens.rejected_prediction,
    tokens.cached_inclusive,
    others.minimum_billing,
    # by bounds
    delivery.client_disconnect,
    delivery.timeout,
    delivery.usage_chunk_lost,
    delivery.estimated_usage,
    tokens.tokenizer_change,
    tokens.system_tokens,
    tokens.server_tool_tokens,
    tokens.cache_count,
    # at which price
    time.missing_costs,
    price.priced_at_zero,
    price.committed_drawdown,
    price.free_tier,
    price.unit_scale,
    price.batch_discount,
    price.other_tier,
    price.long_context,
    price.time_of_day,
    price.price_change,
    price.data_residency,
    price.negotiated_discount,
    price.stale_catalogue,
)

"""Longest outputs of models, which the catalogue of prices does not hold.

Used only where neither the caller nor the grant bounds the output: the bound is sent to the vendor, so one that is
too high is refused by the vendor and one that is too low cuts the answer off; neither makes a ceiling unsound.
Source: the `max output tokens` of OpenAI's model pages as model listings repeat them in November 2026; not checked
against the live interface. A price override states it for any other model.
"""

_OPENAI_MAX_OUTPUT_TOKENS = {
    "gpt-3.5-turbo": 4_096,
    "gpt-4": 8_192,
    "gpt-4-turbo": 4_096,
    "gpt-4o": 16_384,
    "gpt-4o-2024-05-13": 4_096,
    "gpt-4o-mini": 16_384,
    "chatgpt-4o-latest": 16_384,
    "gpt-4.1": 32_768,
    "gpt-4.1-mini": 32_768,
    "gpt-4.1-nano": 32_768,
    "o1": 100_000,
    "o3": 100_000,
    "o3-mini": 100_000,
    "o4-mini": 100_000,
    "gpt-5": 128_000,
    "gpt-5-mini": 128_000,
    "gpt-5-nano": 128_000,
    "gpt-5.1": 128_000,
    "gpt-5.2": 128_000,
    "gpt-5.4": 128_000,
    "gpt-5.4-mini": 128_000,
    "gpt-5.4-nano": 128_000,
    "gpt-5.5": 128_000,
    "gpt-5.6-sol": 128_000,
    "gpt-6-astra": 128_000,
}
# Some ids of a catalogue entry answer less than the entry's own model.
_OPENAI_SHORTER_IDS = {"gpt-5-chat-latest": 16_384, "gpt-5.1-chat-latest": 16_384, "gpt-5.2-chat-latest": 16_384}


def known_max_output_tokens(vendor: str, catalogue_id: str, requested: str) -> int | None:
    """Longest output of a model, or None where it is not known."""
    if vendor not in {"openai", "azure"}:
        return None
    return _OPENAI_SHORTER_IDS.get(requested.lower()) or _OPENAI_MAX_OUTPUT_TOKENS.get(catalogue_id)

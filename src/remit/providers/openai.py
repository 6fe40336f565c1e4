"""The OpenAI chat completions wire format: the names the gateway imports."""

from remit.providers.openai_clamp import ClampOptions, OutputField, clamp, sent_service_tier
from remit.providers.openai_errors import openai_error
from remit.providers.openai_request import ChatRequest, Problem, parse_chat_request
from remit.providers.openai_stream import StreamReader
from remit.providers.openai_tokens import exact_input_tokens, image_tokens
from remit.providers.openai_usage import ResponseFacts, usage_from_response

__all__ = [
    "ChatRequest",
    "ClampOptions",
    "OutputField",
    "Problem",
    "ResponseFacts",
    "StreamReader",
    "clamp",
    "exact_input_tokens",
    "image_tokens",
    "openai_error",
    "parse_chat_request",
    "sent_service_tier",
    "usage_from_response",
]

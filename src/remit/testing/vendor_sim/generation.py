"""What the vendor makes of one chat request: read, checked, and turned into the work it will do and bill."""

import msgspec

from remit.testing.vendor_sim.prices import DEFAULT_TIER, SERVICE_TIERS, BilledTokens, ModelPrices, PriceList
from remit.testing.vendor_sim.script import InvalidScriptError, Script, ScriptReader

MAX_CHOICES = 128
_TOKENS_PER_MESSAGE = 3
_TOKENS_PER_REPLY = 3
# The most a chat template may add to the bytes of the contents, per message and once.
_MAX_TEMPLATE_PER_MESSAGE = 4
_MAX_TEMPLATE = 8


class Refusal(Exception):  # noqa: N818 - the vendor's answer to a bad request, not a failure of the simulator
    """The vendor answers with an error; the fields are those of OpenAI's error object."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


class Part(msgspec.Struct, gc=False):
    """A piece of a message's content."""

    type: str
    text: str | None = None


class Message(msgspec.Struct):
    """One chat message, as far as it matters here."""

    role: str
    content: str | list[msgspec.Raw] | None = None
    name: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class StreamOptions(msgspec.Struct, gc=False):
    """OpenAI's `stream_options`."""

    include_usage: bool | None = None


class NamedFunction(msgspec.Struct, gc=False):
    """The name of a function the model may call."""

    name: str


class Tool(msgspec.Struct, gc=False):
    """One entry of `tools`."""

    function: NamedFunction | None = None


class ChatRequest(msgspec.Struct):
    """The body of `POST /v1/chat/completions`, as far as it changes what is generated or billed."""

    model: str
    messages: list[Message]
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    service_tier: str | None = None
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()


class Generation(msgspec.Struct, kw_only=True):
    """The work of one call. Counts are tokens; `completion_tokens` and `reasoning_tokens` are per choice.

    Nothing but the last three fields changes: they keep what was made of the others, for the next call with the same
    body.
    """

    requested_model: str
    prices: ModelPrices
    tier: str
    choices: int
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    finish_reason: str
    tool_name: str
    stream: bool
    include_usage: bool
    script: Script
    script_line: str
    full_bill: tuple[BilledTokens, int] | None = None
    json_tail: bytes | None = None
    stream_pieces: list[bytes] | None = None

    @property
    def visible_tokens(self) -> int:
        """Tokens of text per choice: what is left beside the reasoning."""
        return self.completion_tokens - self.reasoning_tokens

    def bill(self, generated: int | None) -> tuple[BilledTokens, int]:
        """Tokens and amount in nano-USD to invoice for all of the work, or for `generated` tokens per choice."""
        if generated is not None:
            tokens = self.billed_tokens(generated)
            return tokens, self.prices.invoice_nanousd(self.tier, tokens)
        if self.full_bill is None:
            tokens = self.billed_tokens()
            self.full_bill = tokens, self.prices.invoice_nanousd(self.tier, tokens)
        return self.full_bill

    def billed_tokens(self, generated: int | None = None) -> BilledTokens:
        """Tokens to invoice, all of the work or, with `generated` tokens per choice, what was done of it."""
        per_choice = self.completion_tokens if generated is None else generated
        if self.script.usage == "zero_output":
            per_choice = 0
        return BilledTokens(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            cache_write_tokens=self.cache_write_tokens,
            completion_tokens=per_choice * self.choices,
            reasoning_tokens=min(self.reasoning_tokens, per_choice) * self.choices,
        )


_decode_request = msgspec.json.Decoder(ChatRequest).decode
_decode_part = msgspec.json.Decoder(Part).decode
_decode_tools = msgspec.json.Decoder(list[Tool]).decode


def read_request(body: bytes) -> ChatRequest:
    """The request of a body; raises Refusal with status 400 for anything else."""
    try:
        return _decode_request(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, str(error)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Refusal(400, "We could not parse the JSON body of your request.") from None


def plan(request: ChatRequest, prices: PriceList, scripts: ScriptReader) -> Generation:
    """The work a request asks for; raises Refusal where the vendor would not do it."""
    listed = prices.models.get(request.model)
    if listed is None:
        message = f"The model `{request.model}` does not exist or you do not have access to it."
        raise Refusal(404, message, code="model_not_found")
    if not request.messages:
        raise Refusal(400, "[] is too short - 'messages'", param="messages")
    bound = _output_bound(request, listed)
    choices = 1 if request.n is None else request.n
    if not 1 <= choices <= MAX_CHOICES:
        raise Refusal(400, f"{choices} is not between 1 and {MAX_CHOICES} - 'n'", param="n")
    try:
        line, script = scripts.of(_last_user_text(request.messages))
        served = _served_model(script, listed, prices)
        tier = _served_tier(request, script, served)
    except InvalidScriptError as error:
        raise Refusal(400, f"sim script: {error}", code="sim_script_invalid") from None
    completion = bound if script.completion_tokens is None else min(script.completion_tokens, bound)
    prompt, cached, written = _prompt_tokens(request, script)
    return Generation(
        requested_model=request.model,
        prices=served,
        tier=tier,
        choices=choices,
        prompt_tokens=prompt,
        cached_tokens=cached,
        cache_write_tokens=written,
        completion_tokens=completion,
        reasoning_tokens=min(script.reasoning_tokens, completion),
        finish_reason=_finish_reason(script, bound),
        tool_name=_tool_name(request) if script.content == "tool_call" else "",
        stream=request.stream is True,
        include_usage=request.stream_options is not None and request.stream_options.include_usage is True,
        script=script,
        script_line=line,
    )


def _output_bound(request: ChatRequest, listed: ModelPrices) -> int:
    """Tokens per choice the model may generate: the caller's bound, never above the model's own."""
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise Refusal(400, message, param="max_tokens", code="invalid_parameter_combination")
    name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    bound = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    if bound is None:
        return listed.max_output_tokens
    if bound < 1:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {bound} instead."
        raise Refusal(400, message, param=name, code="integer_below_min_value")
    return min(bound, listed.max_output_tokens)


def _finish_reason(script: Script, bound: int) -> str:
    if script.completion_tokens is None or script.completion_tokens > bound:
        return "length"
    return "tool_calls" if script.content == "tool_call" else "stop"


def _served_model(script: Script, listed: ModelPrices, prices: PriceList) -> ModelPrices:
    if script.served_model is None:
        return listed
    if script.served_model not in prices.models:
        raise InvalidScriptError(f"served_model `{script.served_model}` is not in the price list")
    return prices.models[script.served_model]


def _served_tier(request: ChatRequest, script: Script, served: ModelPrices) -> str:
    """The tier asked for where the model is sold in it, else the default one; a scripted one must be sold."""
    if script.served_tier is not None:
        if script.served_tier not in served.rates:
            raise InvalidScriptError(f"served_tier `{script.served_tier}` has no price for `{served.name}`")
        return script.served_tier
    asked = request.service_tier
    if asked is None:
        return DEFAULT_TIER
    if asked not in SERVICE_TIERS:
        raise Refusal(400, f"Invalid value: '{asked}'.", param="service_tier", code="invalid_value")
    return asked if asked in served.rates else DEFAULT_TIER


def _prompt_tokens(request: ChatRequest, script: Script) -> tuple[int, int, int]:
    """Prompt tokens, and which of them were read from and written to a cache.

    Byte-level BPE gives no more tokens than the text has bytes; a real vendor cannot bill more than those and its
    template, so neither does this one unless the script is `unsound`.
    """
    content_bytes = len(request.tools) + len(request.functions) + len(request.response_format)
    for message in request.messages:
        content_bytes += _message_bytes(message)
    messages = len(request.messages)
    if script.prompt_tokens is None:
        prompt = max(1, -(-content_bytes // 4)) + _TOKENS_PER_MESSAGE * messages + _TOKENS_PER_REPLY
    else:
        prompt = script.prompt_tokens
    if not script.unsound:
        prompt = min(prompt, content_bytes + _MAX_TEMPLATE_PER_MESSAGE * messages + _MAX_TEMPLATE)
    cached = min(script.cached_tokens, prompt)
    return prompt, cached, min(script.cache_write_tokens, prompt - cached)


def _message_bytes(message: Message) -> int:
    size = len(message.tool_calls) + (_utf8_length(message.name) if message.name else 0)
    content = message.content
    if isinstance(content, str):
        return size + _utf8_length(content)
    for raw in content or ():
        part = _read_part(raw)
        size += len(raw) if part.text is None else _utf8_length(part.text)
    return size


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _read_part(raw: msgspec.Raw) -> Part:
    try:
        return _decode_part(raw)
    except msgspec.MsgspecError as error:
        raise Refusal(400, str(error), param="messages") from None


def _last_user_text(messages: list[Message]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            if isinstance(message.content, str):
                return message.content
            return next((part.text for part in map(_read_part, message.content or ()) if part.text is not None), "")
    return ""


def _tool_name(request: ChatRequest) -> str:
    try:
        tools = _decode_tools(request.tools) if len(request.tools) else []
    except msgspec.MsgspecError as error:
        raise Refusal(400, str(error), param="tools") from None
    return next((tool.function.name for tool in tools if tool.function is not None), "sim_tool")

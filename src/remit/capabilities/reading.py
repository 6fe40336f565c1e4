"""Reading a token without checking a signature: needs no cryptography, and decides nothing."""

from remit.capabilities.chain import authority_of, block_ids
from remit.capabilities.encoding import Frame, Invalid, decode_token
from remit.capabilities.model import Block0, CapabilityProblem, HolderBlock, Verified
from remit.capabilities.payload import parse_block0, parse_holder_block


def read_blocks(frame: Frame) -> tuple[Block0, list[HolderBlock]] | Invalid:
    """The blocks of a frame, every one of them well formed."""
    first = parse_block0(frame.blocks[0].payload)
    if isinstance(first, Invalid):
        return first
    later = []
    for framed in frame.blocks[1:]:
        block = parse_holder_block(framed.payload)
        if isinstance(block, Invalid):
            return block
        later.append(block)
    return first, later


def inspect(token: str) -> Verified | CapabilityProblem:
    """What a token would authorise if its signatures verified, at whatever time: for reading, never for deciding."""
    frame = decode_token(token)
    if isinstance(frame, Invalid):
        return CapabilityProblem("invalid", frame.reason)
    blocks = read_blocks(frame)
    if isinstance(blocks, Invalid):
        return CapabilityProblem("invalid", blocks.reason)
    first, later = blocks
    ids = block_ids([one.payload for one in frame.blocks])
    authority = authority_of(frame.kid, first, ids, later, bearer=frame.bearer_secret is not None)
    return CapabilityProblem("invalid", authority.reason) if isinstance(authority, Invalid) else authority

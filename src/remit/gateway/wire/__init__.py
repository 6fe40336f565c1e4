"""HTTP/1.1 on both sides of the gateway: strict, bounded, by callbacks. See README.md in this folder."""

from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.head import Headers, render_request
from remit.gateway.wire.limits import VendorLimits, WireLimits
from remit.gateway.wire.pool import Origin, VendorPool
from remit.gateway.wire.server import CallerServer
from remit.gateway.wire.tls import vendor_ssl_context
from remit.gateway.wire.vendor import FailureReason, VendorCall, VendorSink

__all__ = [
    "CallerServer",
    "Exchange",
    "FailureReason",
    "Headers",
    "Origin",
    "VendorCall",
    "VendorLimits",
    "VendorPool",
    "VendorSink",
    "WireLimits",
    "render_request",
    "vendor_ssl_context",
]

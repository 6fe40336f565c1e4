"""The data plane: requests from callers are admitted, forwarded to vendors, settled and recorded."""

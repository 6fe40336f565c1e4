"""The control plane's HTTP API. Importing this package loads nothing; `remit.api.server` loads Litestar."""

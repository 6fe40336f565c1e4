"""The application: routes, limits, how refusals look, the OpenAPI document."""

from typing import Any, Final

import psycopg
from litestar import Litestar, get
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from remit import __version__
from remit.api.apply import apply_manifest
from remit.api.audit import read_audit
from remit.api.auth import PersonAuthentication
from remit.api.bodies import MAX_BODY_BYTES, StrictRequest
from remit.api.books import Months, Reconciliations
from remit.api.capabilities import Capabilities
from remit.api.care import doctor, gateways, health, notifications
from remit.api.cost_rules import CostRules
from remit.api.debts import debts
from remit.api.delegation import Delegation
from remit.api.deliveries import dead_letters, retry_dead_letter
from remit.api.document import DocumentPlugin, document
from remit.api.edge import BodyTooSlowError, Edge
from remit.api.findings import findings
from remit.api.focus import read_focus
from remit.api.grants import Grants
from remit.api.hooks import hear
from remit.api.jobs import jobs, retry_failed_job
from remit.api.keys import Keys
from remit.api.ledger import Ledger
from remit.api.ledger_reports import LedgerReports
from remit.api.outcomes import Outcomes
from remit.api.params import refuse_odd_parameters
from remit.api.problems import Refusal, on_archived, on_failure, on_http_exception, on_refusal, on_unreachable
from remit.api.proofs import Proofs
from remit.api.revocations import Revocations
from remit.api.roles import People, Roles, Tokens
from remit.api.scim import SCIM_ROUTES
from remit.api.services import Services
from remit.api.sign_in_routes import begin_sign_in, end_sign_in
from remit.api.statements import Statements
from remit.api.tags import Tags
from remit.api.tickets import Tickets
from remit.api.token import exchange_token
from remit.api.trips import Trips, security_feed
from remit.ledger.model import ArchivedError

OPENAPI_PATH = "/v1/openapi.json"


@get(OPENAPI_PATH, exclude_from_auth=True, include_in_schema=False, sync_to_thread=True)
def openapi_document(request: StrictRequest) -> dict[str, Any]:
    """What can be asked here, for people and for tools that make clients."""
    return document(request.app)


_ROUTES: Final = (
    Grants,
    Delegation,
    apply_manifest,
    Keys,
    Tags,
    Capabilities,
    exchange_token,
    Revocations,
    Tickets,
    Trips,
    security_feed,
    Ledger,
    read_focus,
    Outcomes,
    Proofs,
    LedgerReports,
    CostRules,
    Roles,
    People,
    Tokens,
    begin_sign_in,
    end_sign_in,
    *SCIM_ROUTES,
    debts,
    findings,
    read_audit,
    Statements,
    Reconciliations,
    Months,
    health,
    doctor,
    gateways,
    notifications,
    dead_letters,
    retry_dead_letter,
    jobs,
    retry_failed_job,
    hear,
    openapi_document,
)


def make_app(services: Services) -> Edge:
    """The ASGI application over these services."""

    def provide() -> Services:
        return services

    app = Litestar(
        route_handlers=_ROUTES,
        dependencies={"services": Provide(provide, sync_to_thread=False)},
        middleware=[
            DefineMiddleware(PersonAuthentication, people=services.people, writes=services.writes, clock=services.clock)
        ],
        before_request=refuse_odd_parameters,
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
        exception_handlers=_handlers(),
        openapi_config=_openapi(),
        logging_config=None,
        pdb_on_exception=False,
        debug=False,
    )
    return Edge(app, services.clock)


def _handlers() -> dict[Any, Any]:
    return {
        Refusal: on_refusal,
        HTTPException: on_http_exception,
        ArchivedError: on_archived,
        psycopg.OperationalError: on_unreachable,
        BodyTooSlowError: _leave,
        Exception: on_failure,
    }


def _leave(_: object, error: Exception) -> Any:
    """The edge answers this one."""
    raise error


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="a person token, `rp_...`")
    return OpenAPIConfig(
        title="Remit",
        version=__version__,
        description="Grants, access keys, capabilities and the ledger of Remit. Money is integer nano-USD.",
        # The framework's own pages for the document; they need a token like everything else. Ours is `openapi_document`.
        path="/v1/openapi",
        render_plugins=[DocumentPlugin(path="/openapi.json")],
        components=Components(security_schemes={"person": bearer}),
        security=[{"person": []}],
        use_handler_docstrings=True,
    )

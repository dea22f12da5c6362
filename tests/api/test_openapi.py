"""The description of the routes: it is valid, it is served, and what the routes do is what it says."""

import json
import re

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from support.api import ANN, BOB, PROGRAM, RUN_OF_A, A, Api, B, functions, operator
from support.snapshots import Snapshots

from backup_core.triggers import openapi
from backup_core.triggers.routes import ROUTES, Route

# Requests that do not fit: where nothing is asked for, there are none.
_WAYS = [
    (route, mode)
    for route in ROUTES
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or "{" in route.path or route.writes or route.query.__struct_fields__
]
_EXAMPLES = min(settings().max_examples, 170)  # thirty ways: 750 requests, and 5,100 in a soak
_CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
_KNOWN = {"tenant": [A, B], "account": [ANN, BOB], "run": [RUN_OF_A], "snapshot": ["latest"]}


def test_the_description_is_served_to_anyone(api: Api) -> None:
    """Without a key: whoever writes a client needs it first."""
    reply = api.get("/api/openapi.json", {})
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.document == openapi.document()


def test_the_description_has_every_function_and_no_other() -> None:
    """What is registered is what is described, with the same methods and paths; what answers 404 needs no word."""
    registered = {(each.method, re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", each.path.pattern)) for each in functions()}
    registered = {(method, path) for method, path in registered if path != "/api/{rest}"}
    described = {
        (method.upper(), path.replace(".", r"\."))
        for path, methods in openapi.document()["paths"].items()
        for method in methods
    }
    assert registered == described and len(described) == len(ROUTES)


def test_every_schema_is_one() -> None:
    """Each component can be used to check a document, and every reference leads somewhere."""
    document = openapi.document()
    text = json.dumps(document)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in document["components"]["schemas"], name
    for name in document["components"]["schemas"]:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.validator_for(schema)
    schemathesis.openapi.from_dict(document).validate()


def test_operations_have_one_name_each() -> None:
    """Clients are generated from them."""
    names = [operation["operationId"] for path in openapi.document()["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def asked(shared_api: Api) -> Api:
    """With something behind every route."""
    snapshots = Snapshots()
    snapshots.add({"a": {"b": b"1"}, "c": b"2"})
    shared_api.service.repositories[A, ANN] = snapshots.repository
    for account in (ANN, BOB):
        tenant = A if account == ANN else B
        run = shared_api.send("POST", "/api/runs", PROGRAM, json_body={"tenant": tenant, "account": account})
        _KNOWN["run"].append(run.document["id"])
    return shared_api


@pytest.mark.parametrize(("route", "mode"), _WAYS, ids=lambda each: each.name)
def test_generated_requests_are_answered_as_described(asked: Api, route: Route, mode: GenerationMode) -> None:
    """Whether a request fits the description or not: no error of ours, and no answer that is not in it."""
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", asked.wsgi)
    operation = schema[f"/{route.path}"][route.method]

    @settings(max_examples=_EXAMPLES)
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: schemathesis.Case, data: st.DataObject) -> None:
        for name, known in _KNOWN.items():
            if name in case.path_parameters and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(known))
        who = data.draw(st.sampled_from([PROGRAM, operator(A), {}]))
        case.call_and_validate(headers=who, checks=_CHECKS)

    ask()

"""A property-based tester throws what the served OpenAPI document allows at a real proxy, operation by operation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks

from tests.admin.test_frame import PLAIN
from tests.harness import RunningProxy, running_proxy

RULES = (
    PLAIN
    + """services:
  - {name: worker, priority: optional, dry_run: true, command: {stop: ["true"], start: ["true"]}}
"""
)
checks.load_all_checks()
HELD = [
    checks.not_a_server_error,
    *(
        checks.CHECKS.get_one(name)
        for name in ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
    ),
]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_proxy(RULES, tmp_path_factory.mktemp("fuzzed")) as one:
        yield one


def test_the_api_is_as_its_document_says(proxy: RunningProxy) -> None:
    schema = schemathesis.openapi.from_url(f"{proxy.admin_url}/api/v1/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 15
    wrong: list[str] = []
    for operation in operations:
        if operation.path.endswith("/events"):
            continue  # never ends

        @given(operation.as_strategy())
        @settings(
            max_examples=5,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=HELD, timeout=20)

        try:
            holds()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            wrong.append(f"{operation.label}: {error}"[:1500])
    assert not wrong, "\n\n".join(wrong)

"""The history of deployments, in a folder and in S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from cluster.lifecycle.rollouts.history import DeploymentHistory, FilesInS3, open_history
from cluster.services.errors import ServiceError

pytestmark = pytest.mark.unit


@pytest.fixture
def history(tmp_path: Path) -> DeploymentHistory:
    return open_history(str(tmp_path / "objects"))


def test_deployments_are_numbered_and_read_back(history: DeploymentHistory) -> None:
    assert history.last() is None
    first = history.add("up", {"a": 1})
    second = history.add("deploy", {"a": 2})
    assert (first.number, second.number) == (1, 2)
    assert history.last() == second
    assert history.all() == [first, second]


def test_before_is_the_nearest_earlier_with_another_configuration(history: DeploymentHistory) -> None:
    first = history.add("up", {"a": 1})
    history.add("deploy", {"a": 2})
    again = history.add("deploy", {"a": 2})
    assert history.before(again) == first
    assert history.before(first) is None


def test_two_rollbacks_go_back_twice(history: DeploymentHistory) -> None:
    configs = [history.add("deploy", {"a": value}) for value in (1, 2, 3)]
    back = history.add("rollback to 2", configs[1].rendered, origin=2)
    assert history.before(back) == configs[0]
    assert history.before(history.add("deploy", {"a": 9})) == configs[2]


def test_configuration_that_would_be_the_same_on_this_cluster_is_passed_over(history: DeploymentHistory) -> None:
    other = history.add("up", {"setting": 1, "port": 1})
    history.add("up", {"setting": 2, "port": 1})
    current = history.add("up", {"setting": 2, "port": 2})
    assert history.before(current, lambda earlier: {**earlier, "port": 2}) == other


def test_unknown_number_is_refused(history: DeploymentHistory) -> None:
    with pytest.raises(ServiceError, match="no deployment has the number 7"):
        history.get(7)


def test_number_that_somebody_else_took_meanwhile_is_not_overwritten(
    history: DeploymentHistory, tmp_path: Path
) -> None:
    other = open_history(str(tmp_path / "objects"))
    numbers = {item.add("deploy", {"by": name}).number for name, item in (("a", history), ("b", other))}
    assert numbers == {1, 2}


def test_history_in_s3_lists_reads_and_refuses_a_taken_number() -> None:
    client: Any = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    files = FilesInS3(client, "bucket", "production/deployments")
    keys = [f"production/deployments/{number:06d}.json" for number in (1, 2)]
    with Stubber(client) as stub:
        listing = {"Contents": [{"Key": key} for key in [keys[1], keys[0], "production/deployments/readme.txt"]]}
        stub.add_response("list_objects_v2", listing, {"Bucket": "bucket", "Prefix": "production/deployments/"})
        assert files.numbers() == [1, 2]
        expected = {"Bucket": "bucket", "Key": keys[1], "Body": ANY, "IfNoneMatch": "*"}
        stub.add_client_error("put_object", "PreconditionFailed", http_status_code=412, expected_params=expected)
        with pytest.raises(FileExistsError):
            files.add(2, "{}")
        stub.add_response("put_object", {}, {**expected, "Key": "production/deployments/000003.json"})
        files.add(3, "{}")
        stub.assert_no_pending_responses()

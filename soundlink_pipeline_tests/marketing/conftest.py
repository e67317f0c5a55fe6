from soundlink_pipeline_tests.alerts.conftest import _no_waiting, receiver
from soundlink_pipeline_tests.marts.conftest import marts, project, warehouse

__all__ = ["_no_waiting", "marts", "project", "receiver", "warehouse"]

"""A local service that speaks as much of W&B's protocol as its real client needs to list runs and scan histories.

It answers GraphQL queries over HTTP: Viewer, Runs (with cursors and the filters that the tests use), RunHistoryKeys,
RunParquetHistory (without exported files, so all rows are live) and SampledHistoryPage. It does not speak the export
of histories as Parquet files, mutations, or W&B's full language of filters.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

PAGE = 3  # runs per page
STEPS = np.arange(1, 13) * 1000  # env steps of the evaluations of a run


@dataclass
class FakeRun:
    """A run that the service holds."""

    id: str
    name: str
    config: Mapping[str, Any]
    rows: list[dict[str, Any]]
    state: str = "finished"
    sweep: str | None = None


@dataclass
class Service:
    """The service: its runs, and the failures that it is told to answer with.

    Attributes:
        runs: runs of the project me/proj, oldest first.
        failures: HTTP status codes by operation, one answer each, before the operation succeeds.
        requests: how often each operation was asked for.
    """

    runs: list[FakeRun]
    failures: dict[str, list[int]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def answer(self, operation: str, variables: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the data of an operation, None if it is not known."""
        if operation in ("Viewer", "GetDefaultEntity"):
            return {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if (variables.get("entity"), variables.get("project")) != ("me", "proj"):
            return {"project": None}
        if operation == "Runs":
            return {"project": self._page(json.loads(variables["filters"]), variables.get("cursor"))}
        (run,) = [run for run in self.runs if run.id in (variables.get(key) for key in ("name", "run", "runName"))]
        if operation == "RunHistoryKeys":
            return {"project": {"run": {"historyKeys": {"lastStep": run.rows[-1]["_step"], "keys": {}}}}}
        if operation == "RunParquetHistory":
            live = [{"_step": row["_step"]} for row in run.rows]
            return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": live}}}}
        if operation == "SampledHistoryPage":
            spec = json.loads(variables["spec"])
            inside = [row for row in run.rows if spec["minStep"] <= row["_step"] <= spec["maxStep"]]
            rows = [row for row in inside if set(spec["keys"]) <= set(row)]
            shown = [{key: row[key] for key in spec["keys"]} for row in rows][: spec["samples"]]
            return {"project": {"run": {"sampledHistory": [shown]}}}
        return None

    def _page(self, filters: Mapping[str, Any], cursor: str | None) -> dict[str, Any]:
        kept = [run for run in self.runs if all(_fits(run, one) for one in filters.get("$and", [filters]))]
        first = int(cursor or 0)
        page = kept[first : first + PAGE]
        return {
            "internalId": "1", "runCount": len(kept), "readOnly": False,
            "runs": {
                "edges": [{"node": _node(run), "cursor": str(first + n)} for n, run in enumerate(page, start=1)],
                "pageInfo": {"endCursor": str(first + len(page)), "hasNextPage": first + len(page) < len(kept)},
            },
        }  # fmt: skip


def _fits(run: FakeRun, wanted: Mapping[str, Any]) -> bool:
    facts = {"name": run.id, "sweep": run.sweep, "state": run.state}
    facts |= {f"config.{key}": value for key, value in run.config.items()}
    return all(facts.get(key) == value for key, value in wanted.items())


def _node(run: FakeRun) -> dict[str, Any]:
    last = {key: value for row in run.rows for key, value in row.items()}
    return {
        "projectId": "1", "id": f"storage-{run.id}", "tags": [], "name": run.id, "displayName": run.name,
        "sweepName": run.sweep, "state": run.state, "group": None, "jobType": None, "commit": None, "readOnly": False,
        "createdAt": "2026-01-01T00:00:00", "heartbeatAt": "2026-01-01T01:00:00", "description": None, "notes": None,
        "historyLineCount": len(run.rows), "user": {"name": "me", "username": "me"}, "systemMetrics": "{}",
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()} | {"_wandb": {"value": {}}}),
        "summaryMetrics": json.dumps(last),
    }  # fmt: skip


@contextmanager
def served(service: Service) -> Iterator[Service]:
    """Serve on a free local port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = 404, b""
            if self.path == "/graphql":
                asked = json.loads(body)
                operation = asked["query"].split("query ", 1)[1].split("(")[0].split("{")[0].strip()
                service.requests[operation] += 1
                planned = service.failures.get(operation, [])
                status = planned.pop(0) if planned else 200
                data = service.answer(operation, asked.get("variables") or {})
                answer = {"data": data} if data is not None else {"errors": [{"message": f"no {operation} here"}]}
                content = json.dumps(answer if status == 200 else {"errors": [{"message": "planned"}]}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def evaluation_rows(utd: float, seed: int) -> list[dict[str, Any]]:
    """Return evaluations, and rows of losses between them; W&B's own step numbers the rows."""
    returns = 900 * (1 - np.exp(-STEPS * (1 - 0.4 / utd) * (1 + 0.1 * seed) / 4000))
    pairs = [
        ({"losses/q": 1.0, "global_step": int(step) - 1}, {"eval/mean_reward": float(value), "global_step": int(step)})
        for step, value in zip(STEPS, returns, strict=True)
    ]
    return [{"_step": i, **row} for i, row in enumerate(row for pair in pairs for row in pair)]


def sweep_run(utd: int, seed: int, **changed: Any) -> FakeRun:
    """Return a run of a small sweep over the UTD."""
    config = {"algo": "SAC", "env_id": "Ant-v4", "batch_size": 256, "lr": 3e-4, "utd": utd, "seed": seed}
    return FakeRun(
        id=f"id{utd}{seed}",
        name=f"sac-{utd}-{seed}",
        config=config,
        rows=changed.pop("rows", evaluation_rows(utd, seed)),
        **changed,
    )


def client_environment(service: Service, cache: Path) -> dict[str, str]:
    """Return the variables with which W&B's client talks to the service."""
    key = "x" * 40
    return {
        "WANDB_BASE_URL": service.url, "WANDB_API_KEY": key, "WANDB_CACHE_DIR": str(cache),
        "WANDB_ERROR_REPORTING": "false",
    }  # fmt: skip

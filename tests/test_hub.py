"""Backbones and runs by name, from a local server that speaks like the hub."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from typing import Any

import jax
import numpy as np
import pytest

from pointata_jax import hub
from pointata_jax.errors import InputError
from pointata_jax.models.backbone_file import save_backbone
from pointata_jax.models.point_mae import Backbone, BackboneConfig

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = BackboneConfig(
    width=24, depth=1, num_heads=2, embedder_widths=(8, 16, 16), num_groups=8, group_size=8
)

_CLIENT = """
import json, sys
from pointata_jax import hub
from pointata_jax.errors import InputError
from pointata_jax.models.backbone_file import load_backbone
answers = []
for name in sys.argv[1:]:
    try:
        if name.startswith("run "):
            folder = hub.fetch_run(name[4:])
            answers.append(sorted(path.name for path in folder.iterdir()))
            continue
        path, pinned = hub.fetch_backbone(name)
        config, variables = load_backbone(name)
        answers.append([str(path), pinned, path.with_name(hub.SOURCE_BANK).is_file(), config.width])
    except InputError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


class _Hub(http.server.BaseHTTPRequestHandler):
    """Repositories of files by name; `gated/…` answers 403."""

    repos: dict[str, dict[str, bytes]] = {}

    def log_message(self, format, *args):
        pass

    def _fail(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, body, headers=()):
        self.send_response(200)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self):
        parts = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        repo = "/".join(parts[2:4] if api else parts[:2])
        if repo.startswith("gated/"):
            return self._fail(403, "GatedRepo")
        if repo not in self.repos:
            return self._fail(404, "RepoNotFound")
        files = self.repos[repo]
        revision = parts[5 if api else 3] if len(parts) > 4 else "main"
        if revision not in ("main", "v1", COMMIT):
            return self._fail(404, "RevisionNotFound")
        if api:
            info = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            return self._answer(json.dumps(info).encode(), [("Content-Type", "application/json")])
        name = "/".join(parts[4:])
        if name not in files:
            return self._fail(404, "EntryNotFound")
        tag = hashlib.sha1(files[name]).hexdigest()
        return self._answer(files[name], [("X-Repo-Commit", COMMIT), ("ETag", f'"{tag}"')])

    do_HEAD = do_GET


@pytest.fixture
def server(tmp_path):
    """`server.repos[name] = files`; `ask(*names, **variables)` asks a fresh process for them."""
    handler: Any = type("Handler", (_Hub,), {"repos": {}})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{running.server_port}"

    def ask(*names, **variables):
        environment = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": endpoint, **variables}
        done = subprocess.run(
            [sys.executable, "-c", _CLIENT, *names],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    handler.ask = staticmethod(ask)
    yield handler
    running.shutdown()
    running.server_close()


@pytest.fixture
def backbone(tmp_path):
    cloud = np.zeros((1, 16, 3), np.float32)
    save_backbone(tmp_path / "b", CONFIG, Backbone(CONFIG).init(jax.random.key(0), cloud))
    return (tmp_path / "b").read_bytes()


def test_backbones_come_by_name_and_stay_in_the_cache(server, backbone):
    both = {hub.BACKBONE: backbone, hub.SOURCE_BANK: b"bank", "x/old.pth": b"", "big.bin": b""}
    server.repos.update({"me/tiny": both, "me/one": {"sub/a.safetensors": backbone}})
    names = ("hf:me/tiny", "hf:me/tiny@v1", "hf:me/one", f"hf:me/one@{COMMIT}/sub/a.safetensors")
    first, tagged, alone, named = answers = server.ask(*names)
    assert all(isinstance(answer, list) and answer[3] == 24 for answer in answers), answers
    assert first[1] == tagged[1] == f"hf:me/tiny@{COMMIT}/{hub.BACKBONE}"
    assert first[2]
    assert not alone[2]
    assert alone[:2] == named[:2]
    # The big file was not fetched.
    assert not any("big.bin" in entry for entry in os.listdir(os.path.dirname(first[0])))
    # Without a connection the cache is used, by either name.
    server.repos.clear()
    offline = server.ask(first[1], "hf:me/tiny", "hf:me/other", HF_HUB_OFFLINE="1")
    assert offline[:2] == [first, first]
    assert "cannot be fetched and is not in the cache" in offline[2]
    gone = server.ask("hf:me/tiny", HF_ENDPOINT="http://127.0.0.1:9")
    assert gone == [first]
    # A repository that the hub says is gone is not taken from the cache.
    assert "no public repository me/tiny" in server.ask("hf:me/tiny")[0]


def test_of_a_run_what_predicts_is_fetched(server):
    files = dict.fromkeys(("config.json", hub.ADAPTER, "result.json", "README.md"), b"{}")
    server.repos.update({"me/run": files, "me/half": {"config.json": b"{}"}})
    whole, half = server.ask("run hf:me/run", "run hf:me/half")
    assert whole == [hub.ADAPTER, "config.json", "result.json"]
    assert half == "hf:me/half holds no run: it lacks adapter.safetensors."


def test_what_is_not_there_is_a_sentence(server):
    server.repos["me/two"] = {"a.pth": b"", "b.pth": b"", "readme.md": b""}
    answers = server.ask("hf:me/two", "hf:me/two@v9", "hf:me/two/c.pth", "hf:gated/x", "hf:me/none")
    for answer, words in zip(
        answers,
        (
            "holds several, a.pth, b.pth: write hf:me/two/a.pth",
            "no revision 'v9'",
            "no file 'c.pth'",
            "is gated",
            "no public repository me/none",
        ),
        strict=True,
    ):
        assert words in answer


@pytest.mark.parametrize(
    "name", ["hf:", "hf:alone", "hf:a/b@", "hf:a/b/../c", "hf:a/b/", "hf:a b/c"]
)
def test_names_that_are_none(name):
    with pytest.raises(InputError, match="is no name on the hub"):
        hub.parse(name)

"""A stand-in for the Hugging Face Hub on this machine: repositories, revisions, tokens, files and commits.

It speaks as much of the hub's protocol as huggingface_hub uses for one file of weights and a card, and
stops after MOST_REQUESTS.
"""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

MOST_REQUESTS = 400
TOKEN = "hf_right"  # the one that may write


class Repository:
    """Commits, each {file: content}, and branches.

    Attributes:
      private: whether only TOKEN may read it.
      gated: whether nobody may read its files.
    """

    def __init__(self, private: bool = False, gated: bool = False):
        self.private, self.gated = private, gated
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.commit({}, "main")

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        content = self.commits.get(self.branches.get(branch, ""), {}) | files
        sha = hashlib.sha1(repr((len(self.commits), sorted(content))).encode()).hexdigest()
        self.commits[sha], self.branches[branch] = content, sha
        return sha

    def find(self, revision: str) -> str | None:
        sha = self.branches.get(revision, revision)
        return sha if sha in self.commits else None


class StandIn(ThreadingHTTPServer):
    """Serves `repositories`; `requests` lists what came, "METHOD /path"."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def add(self, name: str, files: dict[str, bytes], **settings: bool) -> Repository:
        self.repositories[name] = Repository(**settings)
        self.repositories[name].commit(files)
        return self.repositories[name]

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the game


@contextlib.contextmanager
def serving() -> Iterator[StandIn]:
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Refused(Exception):
    def __init__(self, status: int, code: str | None = None):
        super().__init__(status)
        self.status, self.code = status, code


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: StandIn

    def log_message(self, *args):
        pass

    def _serve(self):
        self.server.requests.append(f"{self.command} {urlsplit(self.path).path}")
        self.body = self._read()
        try:
            if len(self.server.requests) > MOST_REQUESTS:
                raise _Refused(410)
            self._route(urlsplit(self.path).path.strip("/").split("/"))
        except _Refused as refused:
            self._answer(refused.status, b"{}", {"X-Error-Code": refused.code} if refused.code else {})

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while length := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _route(self, parts: list[str]):
        match parts:
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                self._create()
            case ["api", "models", user, repo, *rest]:
                self._api(f"{user}/{repo}", rest)
            case ["upload", oid]:
                self.server.uploads[oid] = self.body
                self._answer(200, b"")
            case [user, repo, "info", "lfs", "objects", "batch"]:
                self._batch(f"{user}/{repo.removesuffix('.git')}")
            case [user, repo, "resolve", revision, *file]:
                self._resolve(f"{user}/{repo}", unquote(revision), "/".join(file))
            case _:
                raise _Refused(404)

    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _writer(self):
        if not self._authorized():
            raise _Refused(403 if self.headers.get("Authorization") else 401)

    def _repository(self, name: str) -> Repository:
        found = self.server.repositories.get(name)
        if found is None or (found.private and not self._authorized()):
            raise _Refused(404 if self.headers.get("Authorization") else 401, "RepoNotFound")
        return found

    def _create(self):
        self._writer()
        asked = json.loads(self.body)
        name = asked["name"] if "/" in asked["name"] else f"{asked['organization']}/{asked['name']}"
        if name in self.server.repositories:
            return self._json({"url": f"{self.server.address}/{name}"}, 409)
        self.server.repositories[name] = Repository(
            private=bool(asked.get("private")) or asked.get("visibility") == "private"
        )
        self._json({"url": f"{self.server.address}/{name}"})

    def _api(self, name: str, rest: list[str]):
        repository = self._repository(name)
        match rest:
            case ["branch", branch]:
                self._writer()
                repository.branches[unquote(branch)] = repository.branches["main"]
                self._json({})
            case ["preupload", _]:
                self._writer()
                files = json.loads(self.body)["files"]
                modes = [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                        "oid": None,
                    }
                    for file in files
                ]
                self._json({"files": modes})
            case ["commit", revision]:
                self._commit(repository, name, unquote(revision))
            case ["tree", revision, *_]:
                content = self._content(repository, unquote(revision))
                self._json([self._entry(path, data) for path, data in content.items()])
            case [] | ["revision", _]:
                revision = unquote(rest[1]) if rest else "main"
                content = self._content(repository, revision)
                siblings = [{"rfilename": path} for path in content]
                sha = repository.find(revision)
                self._json({"id": name, "modelId": name, "sha": sha, "siblings": siblings, "tags": []})
            case _:
                raise _Refused(404)

    def _entry(self, path: str, data: bytes) -> dict:
        entry = {"type": "file", "path": path, "size": len(data), "oid": git_digest(data)}
        if path.endswith(".safetensors"):
            digest = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 134}
        return entry

    def _content(self, repository: Repository, revision: str) -> dict[str, bytes]:
        sha = repository.find(revision)
        if sha is None:
            raise _Refused(404, "RevisionNotFound")
        return repository.commits[sha]

    def _commit(self, repository: Repository, name: str, revision: str):
        self._writer()
        files = {}
        for line in map(json.loads, self.body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.uploads[value["oid"]]
        sha = repository.commit(files, revision)
        self._json(
            {"commitOid": sha, "commitUrl": f"{self.server.address}/{name}/commit/{sha}", "hookOutput": ""}
        )

    def _batch(self, name: str):
        self._repository(name)
        self._writer()
        objects = [
            each | {"actions": {"upload": {"href": f"{self.server.address}/upload/{each['oid']}"}}}
            for each in json.loads(self.body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _resolve(self, name: str, revision: str, file: str):
        repository = self._repository(name)
        if repository.gated:
            raise _Refused(403, "GatedRepo")
        content = self._content(repository, revision)
        if file not in content:
            raise _Refused(404, "EntryNotFound")
        data, entry = content[file], self._entry(file, content[file])
        headers = {
            "X-Repo-Commit": repository.find(revision),
            "ETag": f'"{entry.get("lfs", entry)["oid"]}"',
            "X-Linked-Size": str(len(data)),
        }
        self._answer(200, data, headers)

    def _json(self, value, status: int = 200):
        self._answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict | None = None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

"""A dataset repository of the Hub on the loopback: commits, LFS uploads and downloads, in memory.

Speaks what huggingface_hub 0.25 to 2 send: preupload, LFS batch, PUT, commit, paths-info, resolve.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "me/baselines"
FIRST = "a" * 40
TOKEN = "hf_secretsecretsecret"


@dataclass
class DatasetHub:
    """One repository and the faults to plant.

    Attributes:
        commits: The files of each commit.
        main: The newest commit of main.
        requests: How many pull requests were made.
        reads_only: Refuses a commit to main.
        is_private: Shows nothing without the token.
        uploads_left: How many uploads succeed before the others fail; ``None`` for all.
        moves: Whether another commit comes just before the next one.
        wrong: Files that are sent with other bytes of the same length.
        ignored: Files that the repository's .gitignore names.
        breaks_after: How many downloads succeed before the others are cut off; ``None`` for all.
        asked: Method and path of every request.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=lambda: {FIRST: {}})
    main: str = FIRST
    requests: int = 0
    reads_only: bool = False
    is_private: bool = False
    uploads_left: int | None = None
    moves: bool = False
    wrong: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    breaks_after: int | None = None
    asked: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    endpoint: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def commit(self, parent: str, files: dict[str, bytes]) -> str:
        """A commit of ``files`` on top of ``parent``."""
        named = f"{parent} {sorted(files)}"
        made = hashlib.sha1(named.encode()).hexdigest()
        self.commits[made] = {**self.commits[parent], **files}
        return made

    def handler(self):
        """The handler of a server's requests."""
        return type("Handler", (_Handler,), {"hub": self})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: DatasetHub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._route()

    def do_GET(self):
        self._route()

    def do_POST(self):
        self._route()

    def do_PUT(self):
        self._route()

    def _route(self):
        url = urlsplit(self.path)
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.hub.lock:
            self.hub.asked.append(f"{self.command} {url.path}")
            is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if self.hub.is_private and not is_known and not url.path.startswith("/lfs/"):
                self._fail(401, "RepoNotFound")
                return
            self._dispatch(url.path, parse_qs(url.query))

    def _dispatch(self, path, query):
        api, plain = f"/api/datasets/{REPOSITORY}/", f"/datasets/{REPOSITORY}"
        if path.startswith("/lfs/"):
            self._upload(path.removeprefix("/lfs/"))
        elif path == f"{plain}.git/info/lfs/objects/batch":
            self._batch()
        elif path.startswith(f"{plain}/resolve/"):
            self._download(*path.removeprefix(f"{plain}/resolve/").split("/", 1))
        elif path.startswith(api):
            verb, _, revision = path.removeprefix(api).partition("/")
            answer = {
                "revision": self._revision,
                "paths-info": self._paths,
                "preupload": self._preupload,
                "commit": self._commit,
            }.get(verb)
            if answer is None:
                self._fail(404, "EntryNotFound")
            else:
                answer(revision, query)
        else:
            self._fail(404, "RepoNotFound")

    def _known(self, revision):
        return self.hub.main if revision == "main" else revision

    def _revision(self, revision, query):
        commit = self._known(revision)
        if commit not in self.hub.commits:
            self._fail(404, "RevisionNotFound")
            return
        self._json({"id": REPOSITORY, "sha": commit, "private": False, "disabled": False,
                    "gated": False, "downloads": 0, "likes": 0, "tags": [],
                    "siblings": []})  # fmt: skip

    def _paths(self, revision, query):
        files = self.hub.commits.get(self._known(revision))
        if files is None:
            self._fail(404, "RevisionNotFound")
            return
        if self.headers.get("Content-Type", "").startswith("application/json"):
            asked = json.loads(self._body)["paths"]
        else:
            asked = parse_qs(self._body.decode())["paths"]
        rows = [
            {"type": "file", "path": name, "size": len(files[name]), "oid": _sha1(files[name]),
             "lfs": {"oid": _sha256(files[name]), "size": len(files[name]), "pointerSize": 134}}
            for name in asked if name in files
        ]  # fmt: skip
        self._json(rows)

    def _preupload(self, revision, query):
        if self.hub.reads_only and "create_pr" not in query:
            self._fail(403, "")
            return
        rows = [
            {"path": one["path"], "uploadMode": "lfs" if one["size"] > 600 else "regular",
             "shouldIgnore": one["path"] in self.hub.ignored}
            for one in json.loads(self._body)["files"]
        ]  # fmt: skip
        self._json({"files": rows})

    def _batch(self):
        rows = []
        for one in json.loads(self._body)["objects"]:
            row = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.blobs:
                row["actions"] = {"upload": {"href": f"{self.hub.endpoint}/lfs/{one['oid']}"}}
            rows.append(row)
        self._json({"objects": rows, "transfer": "basic"})

    def _upload(self, oid):
        if self.hub.uploads_left == 0:
            self._fail(400, "")
            return
        if self.hub.uploads_left is not None:
            self.hub.uploads_left -= 1
        assert _sha256(self._body) == oid
        self.hub.blobs[oid] = self._body
        self._json({})

    def _commit(self, revision, query):
        lines = [json.loads(line) for line in self._body.splitlines()]
        parent = lines[0]["value"]["parentCommit"]
        if self.hub.moves:
            self.hub.moves = False
            self.hub.main = self.hub.commit(self.hub.main, {"README.md": b"# of another"})
        as_request = "create_pr" in query
        if parent != self.hub.main and not as_request:
            self._fail(412, "", "A commit has happened since. Please refresh and try again.")
            return
        files = {}
        for line in lines[1:]:
            value = line["value"]
            is_plain = line["key"] == "file"
            files[value["path"]] = (
                base64.b64decode(value["content"]) if is_plain else self.hub.blobs[value["oid"]]
            )
        made = self.hub.commit(parent, files)
        if as_request:
            self.hub.requests += 1
        else:
            self.hub.main = made
        place = f"{self.hub.endpoint}/datasets/{REPOSITORY}"
        answer = {"success": True, "commitOid": made, "commitUrl": f"{place}/commit/{made}"}
        if as_request:
            answer["pullRequestUrl"] = f"{place}/discussions/{self.hub.requests}"
        self._json(answer)

    def _download(self, commit, name):
        files = self.hub.commits.get(commit, {})
        if name not in files:
            self._fail(404, "EntryNotFound")
            return
        content = files[name]
        etag = _sha256(content)
        if name in self.hub.wrong:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if self.command == "GET" and self.hub.breaks_after is not None:
            if self.hub.breaks_after == 0:
                self._fail(403, "")
                return
            self.hub.breaks_after -= 1
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit}
        self._send(200, content, headers)

    def _json(self, value):
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _fail(self, status, code, message=""):
        headers = {"X-Error-Code": code} if code else {}
        if message:
            headers["X-Error-Message"] = message
        self._send(status, b"", headers)

    def _send(self, status, content, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _sha1(content):
    return hashlib.sha1(content).hexdigest()


def _sha256(content):
    return hashlib.sha256(content).hexdigest()

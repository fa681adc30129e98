"""A Hub on the loopback: the few endpoints that huggingface_hub asks, over files in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPOSITORY = "google/ddpm-cifar10-32"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Files of one repository and the faults to plant; ``asked`` lists the paths, in order."""

    files: dict[str, bytes]
    listed_sizes: dict[str, int] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    cut_off: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""

    def handler(self):
        """The handler of a server's requests."""
        return _handler(self)


@contextmanager
def serve(hub):
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub.handler())
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self._answer(with_body=False)

        def do_GET(self):
            self._answer(with_body=True)

        def _answer(self, *, with_body):
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            if path == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
                self._send(_listing(hub), {"Content-Type": "application/json"}, with_body)
                return
            if path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":  # huggingface_hub 2 asks for it
                self._send(_tree(hub), {"Content-Type": "application/json"}, with_body)
                return
            name = path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
            if name == path or name not in hub.files or name in hub.absent:
                self._refuse()
                return
            content = hub.files[name]
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self._send(content, headers, with_body, cut=name in hub.cut_off)

        def _refuse(self):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, content, headers, with_body, *, cut=False):
            self.send_response(200)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True

    return Handler


def _listing(hub):
    siblings = [
        {"rfilename": name, "size": hub.listed_sizes.get(name, len(content))}
        for name, content in sorted(hub.files.items())
    ]
    return json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode()


def _tree(hub):
    files = [
        {
            "type": "file",
            "path": name,
            "size": hub.listed_sizes.get(name, len(content)),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        for name, content in sorted(hub.files.items())
    ]
    return json.dumps(files).encode()
